"""`paqa check|audit|shortcuts|report|verdicts|show|diff`: what is in a build, and how good it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from paqa.cli.environment import Commands
from paqa.errors import PaqaError


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module and their flags."""
    _add_check(commands)
    _add_audit(commands)
    _add_shortcuts(commands)
    _add_report(commands)
    _add_verdicts(commands)
    _add_show(commands)
    _add_diff(commands)


def _add_check(commands: Commands) -> None:
    parser = commands.add_parser(
        "check", help="validate shards: schema, audio, lineage, rationale round trip, balance"
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument(
        "--license", metavar="ID", help="may it be published under this one? (default: the recipe's)"
    )
    parser.add_argument(
        "--store", action="store_true", help="also read every object in the store that it was built from"
    )


def _add_audit(commands: Commands) -> None:
    parser = commands.add_parser("audit", help="engine output against the truth, where there is truth")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw them into a folder, as PNG and SVG")


def _add_shortcuts(commands: Commands) -> None:
    parser = commands.add_parser(
        "shortcuts", help="how far the text of a build gets without listening, by template"
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument(
        "--template", metavar="NAME", help="one template, with the rows the text is surest of"
    )


def _add_report(commands: Commands) -> None:
    parser = commands.add_parser(
        "report", help="write a folder to look at and listen to a build in a browser"
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: DIR/report)")
    parser.add_argument("--store", metavar="URL", help="where the build's store lies now, if it was moved")
    parser.add_argument(
        "--clips", type=int, metavar="N", help="of a large build, have only N clips to look at"
    )
    parser.add_argument(
        "--review",
        type=int,
        metavar="N",
        help="a stratified sample of N rows to judge, in a report of its own (default: DIR/review)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the sample of --review (default: 0)"
    )


def _add_verdicts(commands: Commands) -> None:
    parser = commands.add_parser(
        "verdicts", help="the share of right rows by the verdicts of people, and how far they agree"
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="saved from a report (default: the recipe's)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")


def _add_show(commands: Commands) -> None:
    parser = commands.add_parser("show", help="print one item readably, or what was left out and why")
    parser.add_argument("dir", type=Path)
    parser.add_argument("id", nargs="?", help="an item or clip id (default: the first item)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the item's audio to a FLAC file")
    parser.add_argument(
        "--quarantine",
        action="store_true",
        help="what the last build left out, by reason; with an id, file or reason all about it",
    )


def _add_diff(commands: Commands) -> None:
    parser = commands.add_parser("diff", help="compare two builds: rows and why they differ, and figures")
    parser.add_argument("a", type=Path, metavar="A", help="the folder of a build")
    parser.add_argument("b", type=Path, metavar="B", help="the folder of another one")
    parser.add_argument(
        "--rows", type=int, default=10, metavar="N", help="name N rows of each kind (default: 10)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it, every row, to a file")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as a page for a browser")


def run_check(args: argparse.Namespace) -> int:
    """`paqa check`: exit 1 where there are problems."""
    from paqa.dataset.check import check, check_store, text

    report = check(args.dir, args.license)
    if args.store:
        objects, damaged = check_store(args.dir)
        report.problems += damaged
        print(f"store        {objects} objects, {len(damaged) or 'none'} damaged")
    print(text(report))
    return 1 if report.problems else 0


def run_audit(args: argparse.Namespace) -> int:
    """`paqa audit`."""
    from paqa.evaluation import audit_folder, plots, row_tables, tables

    audited = audit_folder.measure(args.dir)
    print(tables.table(audited.report))
    if any(accuracy.rows for accuracy in audited.answers):
        print(tables.answers(audited.answers))
    if audited.rows:
        print(row_tables.text(audited.rows))
    if args.json:
        audit_folder.save(audited, args.json)
    if args.plots:
        drawn = plots.save(audited.report, args.plots, audited.rows)
        print(f"drawn: {', '.join(map(str, drawn))}")
    return 0


def run_shortcuts(args: argparse.Namespace) -> int:
    """`paqa shortcuts`: exit 1 where the build is too easy to guess."""
    from paqa.curation import shortcuts

    report = shortcuts.load(args.dir)
    print(shortcuts.text(report, args.template))
    wrong = shortcuts.verdict(report, args.dir)
    print(f"\n{wrong}" if wrong else "\nno guesser is beyond its limit over the whole build")
    return 1 if wrong else 0


def run_report(args: argparse.Namespace) -> int:
    """`paqa report`."""
    from paqa.report.write import text, write

    if args.clips is not None and args.clips < 1:
        raise PaqaError(f"--clips {args.clips}: expected at least 1")
    if args.clips is not None and args.review is not None:
        raise PaqaError("--clips and --review: found both, expected one; --review draws rows of all clips")
    sample = None if args.review is None else (args.review, args.seed)
    print(text(write(args.dir, args.out, args.store, args.clips, sample)))
    return 0


def run_verdicts(args: argparse.Namespace) -> int:
    """`paqa verdicts`."""
    from paqa.review import measure
    from paqa.review.text import save, text

    review = measure.measure(args.dir, measure.files_of(args.dir, args.files))
    print(text(review))
    if args.json:
        save(review, args.json)
    return 0


def run_show(args: argparse.Namespace) -> int:
    """`paqa show`."""
    from paqa.dataset import show_quarantine, verifier_table
    from paqa.dataset.show import find, text

    if args.quarantine:
        print(show_quarantine.text(args.dir, args.id))
        return 0
    row = find(args.dir, args.id)
    print(text(row, verifier_table.load(args.dir).get(row["id"])))
    if args.save:
        args.save.write_bytes(row["audio"]["bytes"])
        print(f"\naudio written to {args.save}")
    return 0


def run_diff(args: argparse.Namespace) -> int:
    """`paqa diff`."""
    from paqa.report import diff, diff_page, diff_text

    if args.rows < 0:
        raise PaqaError(f"--rows {args.rows}: expected 0 or more")
    difference = diff.compare(args.a, args.b)
    if args.json:
        diff_text.save(difference, args.json)
    if args.html:
        diff_page.write(difference, args.html)
    print(diff_text.text(difference, args.rows))
    return 0


COMMANDS = {
    "check": run_check,
    "audit": run_audit,
    "shortcuts": run_shortcuts,
    "report": run_report,
    "verdicts": run_verdicts,
    "show": run_show,
    "diff": run_diff,
}
