"""`paqa push|export|import`: a build to the Hub or into other forms, and released rows into a build."""

from __future__ import annotations

import argparse
from pathlib import Path

from paqa.cli.environment import Commands


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module and their flags."""
    _add_push(commands)
    _add_export(commands)
    _add_import(commands)


def _add_push(commands: Commands) -> None:
    parser = commands.add_parser(
        "push", help="publish a build as a dataset repository of the Hugging Face Hub"
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument("repo", metavar="ORG/NAME")
    parser.add_argument("--yes", action="store_true", help="do it (default: show what would change)")
    parser.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    parser.add_argument(
        "--prune", action="store_true", help="remove shards that this build replaces (tags keep them)"
    )
    parser.add_argument("--tag", metavar="NAME", help="name of the release (default: v1, v2, ...)")


def _add_export(commands: Commands) -> None:
    parser = commands.add_parser(
        "export", help="a build in the form that other trainers, scorers and toolkits read"
    )
    parser.add_argument(
        "format",
        help="swift, llamafactory, trl, verl, nemo_rl, mmau, mmar, lmms_eval, inspect_ai, references, "
        "lhotse, webdataset or that of a plug-in",
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="train, validation or test, repeatable"
    )
    parser.add_argument(
        "--audio", choices=("flac", "wav"), help="encoding of the audio files (default: the format's)"
    )
    parser.add_argument(
        "--scenes", choices=("rows", "truth", "heard"), default="rows", help="whose turns and words"
    )


def _add_import(commands: Commands) -> None:
    parser = commands.add_parser("import", help="clean the PAQA rows that the authors of HyPeR released")
    parser.add_argument("file", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="a new folder")
    parser.add_argument("--audio", type=Path, metavar="FOLDER", help="embed the recordings that lie here")


def run_push(args: argparse.Namespace) -> int:
    """`paqa push`: a dry run without --yes."""
    from paqa.publish import hub

    api = hub.connect()
    plan = hub.plan(args.dir, args.repo, api, args.public, args.prune, args.tag)
    print(hub.text(plan))
    if not plan.changes:
        print("\nnothing to do: the Hub has this release already")
    elif not args.yes:
        print("\nnothing was sent; add --yes to push")
    else:
        print()
        head = hub.push(plan, api, print)
        print(f"\n{args.repo}  {plan.tag or head}\nin Python:    datasets.load_dataset({args.repo!r})")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """`paqa export`."""
    from paqa.publish.export.registry import export

    splits = tuple(args.split) if args.split else None
    job = export(args.format, args.dir, args.out, splits, args.audio, args.scenes)
    print(f"written      {', '.join(f'{name} {n}' for name, n in sorted(job.written.items()))} -> {args.out}")
    for reason, n in sorted(job.skipped.items()):
        print(f"skipped      {reason} {n}")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """`paqa import`."""
    from paqa.dataset import import_hyper

    print(import_hyper.text(import_hyper.load(args.file, args.out, args.audio)))
    print(f"\nwritten to {args.out}; why rows were left out: {args.out / 'quarantine.parquet'}")
    return 0


COMMANDS = {"push": run_push, "export": run_export, "import": run_import}
