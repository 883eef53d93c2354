"""`paqa init|build|check|audit|shortcuts|report|show|push|export|import|doctor|ui`.

Imports nothing heavy until a command is chosen.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paqa import __version__
from paqa.cli import exit_status
from paqa.errors import PaqaError

if TYPE_CHECKING:
    from paqa.config.recipe import Recipe
    from paqa.execution.placement import Wanted

QUIET = {  # nothing of ours phones anywhere, and no library asks a model hub for what it cannot have offline
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYANNOTE_METRICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    top = argparse.ArgumentParser("paqa", description="Audio in, perception-grounded question answering out.")
    top.add_argument("--version", action="version", version=f"paqa {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="write a recipe with every key, its default and what it means")
    init.add_argument(
        "given", nargs="?", type=Path, metavar="FOLDER|FILE.toml", help="recordings, or what to write"
    )
    init.add_argument(
        "--out", type=Path, metavar="FILE.toml", help="what to write (default: NAME.toml, recipe.toml)"
    )

    build = commands.add_parser("build", help="from recordings to PAQA Parquet shards")
    build.add_argument("recipe", nargs="?", type=Path, help="a recipe.toml")
    build.add_argument(
        "--audio", type=Path, metavar="FOLDER", help="a folder of recordings, instead of a recipe"
    )
    build.add_argument("--out", type=Path, metavar="DIR", help="where to (default: data/NAME)")
    build.add_argument(
        "--store", metavar="URL", help="where heard things are kept (default: DIR/../.paqa/store)"
    )
    build.add_argument(
        "--runner", default="local", metavar="local|ray[:ADDRESS]", help="where: see docs/scale.md"
    )
    build.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: all cores, or what is free on Ray)"
    )
    build.add_argument("--threads", type=int, default=1, help="threads of each worker's engines (default: 1)")
    build.add_argument(
        "--profile", metavar="NAME", help="the engines: embedded, or paper (the mission's stack)"
    )
    build.add_argument("--models", type=Path, metavar="DIR", help="where weights lie that no package ships")
    build.add_argument("--device", default="cpu", help="of engines on torch: cpu (default), cuda, cuda:1")
    build.add_argument(
        "--gpus", metavar="STAGE=SHARE,...", help="on Ray, the share of a GPU of each stage's actors"
    )
    build.add_argument(
        "--gpu-slots", type=int, metavar="N", help="hearings at once on the GPU here (default: 1)"
    )
    build.add_argument(
        "--timeout",
        type=float,
        default=1,
        metavar="FACTOR",
        help="wait longer for what hangs; 0: for ever (default: 1)",
    )
    build.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe"
    )
    build.add_argument(
        "--grow", action="store_true", help="keep all rows of the build in --out, add new ones"
    )
    build.add_argument("--audit", action="store_true", help="then measure what was heard against the truth")
    build.add_argument(
        "--report", action="store_true", help="then write DIR/report, to be looked at in a browser"
    )
    build.add_argument("--quiet", action="store_true", help="no progress")

    check = commands.add_parser(
        "check", help="validate shards: schema, audio, lineage, rationale round trip, balance"
    )
    check.add_argument("dir", type=Path)
    check.add_argument(
        "--license", metavar="ID", help="may it be published under this one? (default: the recipe's)"
    )
    check.add_argument(
        "--store", action="store_true", help="also read every object in the store that it was built from"
    )

    audit = commands.add_parser("audit", help="what was heard against the truth, where there is truth")
    audit.add_argument("dir", type=Path)
    audit.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    audit.add_argument("--plots", type=Path, metavar="DIR", help="draw them into a folder, as PNG and SVG")

    shortcuts = commands.add_parser(
        "shortcuts", help="how far the text of a build gets without listening, by template"
    )
    shortcuts.add_argument("dir", type=Path)
    shortcuts.add_argument(
        "--template", metavar="NAME", help="one template, with the rows the text is surest of"
    )

    report = commands.add_parser(
        "report", help="write a folder to look at and listen to a build in a browser"
    )
    report.add_argument("dir", type=Path)
    report.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: DIR/report)")
    report.add_argument("--store", metavar="URL", help="where the build's store lies now, if it was moved")
    report.add_argument(
        "--clips", type=int, metavar="N", help="of a large build, have only N clips to look at"
    )

    show = commands.add_parser("show", help="print one item readably")
    show.add_argument("dir", type=Path)
    show.add_argument("id", nargs="?", help="an item or clip id (default: the first item)")
    show.add_argument("--save", type=Path, metavar="FILE", help="write the item's audio to a FLAC file")

    push = commands.add_parser("push", help="publish a build as a dataset repository of the Hugging Face Hub")
    push.add_argument("dir", type=Path)
    push.add_argument("repo", metavar="ORG/NAME")
    push.add_argument("--yes", action="store_true", help="do it (default: show what would change)")
    push.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    push.add_argument(
        "--prune", action="store_true", help="remove shards that this build replaces (tags keep them)"
    )
    push.add_argument("--tag", metavar="NAME", help="name of the release (default: v1, v2, ...)")

    export = commands.add_parser(
        "export", help="a build in the form that other trainers, scorers and toolkits read"
    )
    export.add_argument(
        "format", help="swift, llamafactory, trl, mmau, mmar, references, lhotse or webdataset"
    )
    export.add_argument("dir", type=Path)
    export.add_argument("out", type=Path, help="a new folder")
    export.add_argument(
        "--split", action="append", metavar="NAME", help="train, validation or test, repeatable"
    )
    export.add_argument(
        "--audio", choices=("flac", "wav"), help="encoding of the audio files (default: the format's)"
    )
    export.add_argument(
        "--scenes", choices=("rows", "truth", "heard"), default="rows", help="whose turns and words"
    )

    released = commands.add_parser("import", help="clean the PAQA rows that the authors of HyPeR released")
    released.add_argument("file", type=Path, metavar="FILE.jsonl")
    released.add_argument("--out", type=Path, metavar="DIR", required=True, help="a new folder")
    released.add_argument("--audio", type=Path, metavar="FOLDER", help="embed the recordings that lie here")

    doctor = commands.add_parser(
        "doctor", help="what is installed, where weights come from, what to run next"
    )
    doctor.add_argument("recipe", nargs="?", type=Path, help="look at the engines of this recipe only")
    doctor.add_argument("--profile", metavar="NAME", help="look at the engines of this profile only")
    doctor.add_argument("--models", type=Path, metavar="DIR", help="where weights lie that no package ships")
    doctor.add_argument("--fetch", action="store_true", help="download the weights that are missing")

    ui = commands.add_parser("ui", help="the Prefect UI over past and running builds")
    ui.add_argument("--out", type=Path, metavar="DIR", default=Path("data/demo"), help="a build's folder")
    ui.add_argument("--port", type=int, default=4200)
    ui.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="as which a tunnel reaches it",
    )
    return top


def home(out: Path) -> Path:
    """Where the builds beside `out` keep their store and their Prefect history."""
    return out.resolve().parent / ".paqa"


def use_models(folder: Path | None) -> None:
    """Have this process and its workers look for weights in `folder`."""
    if folder is None:
        return
    if not folder.is_dir():
        raise PaqaError(f"--models {folder}: no such folder; `paqa doctor` says what belongs there")
    os.environ["PAQA_MODELS"] = str(folder.resolve())


def check_device(device: str) -> None:
    """PaqaError where torch has no such device."""
    if device == "cpu":
        return
    import torch

    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in ("cuda", *found) or not found:
        raise PaqaError(f"--device {device}: torch finds {', '.join(['cpu', *found])}; name one of these")


def where(args: argparse.Namespace) -> Wanted:
    """What the flags of `paqa build` say about where calls run; PaqaError where they do not go together."""
    from paqa.execution.placement import Wanted, shares
    from paqa.pipeline.time_limits import Limits
    from paqa.storage.filesystems import filesystem

    gpus = shares(args.gpus) if args.gpus else {}
    limits = Limits(args.timeout)
    wanted = Wanted(args.runner, args.workers, args.threads, args.device, gpus, args.gpu_slots, limits)
    wanted.check()
    if args.store and "://" in args.store:
        filesystem(args.store)
    if not wanted.on_ray:
        check_device(args.device)
    return wanted


def check_installed(recipe: Recipe, on_ray: bool) -> None:
    """PaqaError that names all packages that a build wants and that are missing, and the extras that bring
    them.
    """
    from paqa.config.recipe import PROFILES
    from paqa.engines.base import engine_class, extra_of, installed, missing_packages

    kinds = [engine_class(recipe.stage_config(stage).engine) for stage in PROFILES[recipe.profile]]
    missing = {name: extra_of(kind) for kind in kinds for name in missing_packages(kind)}
    missing |= {name: extra_of(kinds[0]) for name in ("prefect", "av") if not installed(name)}
    if on_ray and not installed("ray"):
        missing["ray"] = "cluster"
    if missing:
        extras = ",".join(sorted(set(missing.values())))
        raise PaqaError(f"not installed: {', '.join(missing)}; run: uv pip install 'paqa[{extras}]'")


def run_init(args: argparse.Namespace) -> int:
    """`paqa init`."""
    from paqa.pipeline import recipe_starter

    print(recipe_starter.said(recipe_starter.write(args.given, args.out)))
    return 0


def run_build(args: argparse.Namespace) -> int:
    """`paqa build`."""
    from paqa.perception.engine_runs import engines_used
    from paqa.pipeline import precheck, recipes
    from paqa.storage.redact import without_secrets

    if (args.recipe is None) == (args.audio is None):
        raise PaqaError("name a recipe (paqa build RECIPE.toml) or a folder (paqa build --audio FOLDER)")
    wanted = where(args)
    use_models(args.models)
    profile = [f"profile={args.profile}"] if args.profile else []
    recipe = recipes.for_folder(args.audio) if args.audio else recipes.load(args.recipe)
    recipe = recipes.change(recipe, [*profile, *args.set])
    check_installed(recipe, wanted.on_ray)
    engines_used(recipe)  # weights that are missing are missed now, not after hours of decoding
    out = args.out or Path("data") / recipe.name
    precheck.check(recipe, out, args.grow)
    store = args.store or str(home(out) / "store")
    store = without_secrets(store, "--store") if "://" in store else str(Path(store).resolve())

    from flows import settings
    from flows.server import Server

    settings.apply(home(out))
    server = Server(home(out)).start()  # comes up while Prefect is imported
    try:
        from flows.build import launch
        from paqa.dataset.summary import text

        after = {"audit": args.audit, "report": args.report, "growing": args.grow}
        done = launch(recipe, out, home(out), server, store, wanted, args.quiet, **after)
    finally:
        server.stop()
    print(f"\n{text(done)}\n")
    shown = shlex.quote(str(out))
    if args.report:
        print(f"report:       {out / 'report' / 'index.html'}")
    print(f"look at one:  paqa show {shown}\nvalidate:     paqa check {shown}")
    print(
        f"in Python:    datasets.load_dataset({str(out)!r})  (decoding there wants FFmpeg: apt-get install ffmpeg)"
    )
    return 0


def run_check(args: argparse.Namespace) -> int:
    """`paqa check`: exit 1 where there are problems."""
    from paqa.dataset.check import check, check_store, text

    found = check(args.dir, args.license)
    if args.store:
        objects, damaged = check_store(args.dir)
        found.problems += damaged
        print(f"store        {objects} objects, {len(damaged) or 'none'} damaged")
    print(text(found))
    return 1 if found.problems else 0


def run_audit(args: argparse.Namespace) -> int:
    """`paqa audit`."""
    from paqa.evaluation import build_audit, plots, tables

    report, answers = found = build_audit.measure(args.dir)
    print(tables.table(report))
    print(tables.answers(answers))
    if args.json:
        build_audit.save(found, args.json)
    if args.plots:
        print(f"drawn: {', '.join(str(path) for path in plots.save(report, args.plots))}")
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
    print(text(write(args.dir, args.out, args.store, args.clips)))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """`paqa show`."""
    from paqa.dataset.show import find, text

    row = find(args.dir, args.id)
    print(text(row))
    if args.save:
        args.save.write_bytes(row["audio"]["bytes"])
        print(f"\naudio written to {args.save}")
    return 0


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
    done = export(args.format, args.dir, args.out, splits, args.audio, args.scenes)
    print(
        f"written      {', '.join(f'{name} {n}' for name, n in sorted(done.written.items()))} -> {args.out}"
    )
    for reason, n in sorted(done.skipped.items()):
        print(f"skipped      {reason} {n}")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """`paqa import`."""
    from paqa.dataset import import_hyper

    print(import_hyper.text(import_hyper.load(args.file, args.out, args.audio)))
    print(f"\nwritten to {args.out}; why rows were left out: {args.out / 'quarantine.parquet'}")
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    """`paqa doctor`: exit 1 where something needed is missing."""
    from paqa.cli.doctor import examine, text, wanted

    use_models(args.models)
    findings = examine(wanted(args.recipe, args.profile), args.fetch)
    print(text(findings))
    return 0 if all(f.ok for f in findings if f.needed) else 1


def run_ui(args: argparse.Namespace) -> int:
    """`paqa ui`."""
    from flows import pages, server
    from paqa.engines.base import installed

    if not installed("prefect"):
        raise PaqaError("prefect is not installed; run: uv pip install 'paqa[flow]'")
    os.environ[pages.HOSTS] = ",".join([*pages.named_hosts(), *args.allowed_host])
    server.ui(home(args.out), args.port)
    return 0


COMMANDS = {
    "init": run_init,
    "build": run_build,
    "check": run_check,
    "audit": run_audit,
    "shortcuts": run_shortcuts,
    "report": run_report,
    "show": run_show,
    "push": run_push,
    "export": run_export,
    "import": run_import,
    "doctor": run_doctor,
    "ui": run_ui,
}


EXTRAS = {
    "build": "embedded",
    "audit": "audit",
    "push": "hub",
    "ui": "flow",
}  # what is wanted beside the light core
GO_ON = "stopped; what was finished is kept, run the same command again to go on"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line on stderr and exit 2, Ctrl-C exits 130 (see
    paqa/cli/exit_status.py).
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return exit_status.run(parser(), argv, lambda args: COMMANDS[args.command](args), GO_ON, EXTRAS)


if __name__ == "__main__":
    sys.exit(main())
