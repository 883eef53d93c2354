"""`paqa init` and `paqa build`: from recordings to shards."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from paqa.cli.environment import Commands, use_models
from paqa.errors import PaqaError

if TYPE_CHECKING:
    from paqa.config.recipe import Recipe
    from paqa.execution.placement import PlacementOptions


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module and their flags."""
    _add_init(commands)
    _add_build(commands)


def _add_init(commands: Commands) -> None:
    parser = commands.add_parser("init", help="write a recipe with every key, its default and what it means")
    parser.add_argument(
        "given", nargs="?", type=Path, metavar="FOLDER|FILE.toml", help="recordings, or what to write"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.toml", help="what to write (default: NAME.toml, recipe.toml)"
    )


def _add_build(commands: Commands) -> None:
    parser = commands.add_parser("build", help="from recordings to PAQA Parquet shards")
    parser.add_argument("recipe", nargs="?", type=Path, help="a recipe.toml")
    parser.add_argument(
        "--audio", type=Path, metavar="FOLDER", help="a folder of recordings, instead of a recipe"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to (default: data/NAME)")
    parser.add_argument(
        "--store", metavar="URL", help="where engine outputs are kept (default: DIR/../.paqa/store)"
    )
    parser.add_argument(
        "--runner", default="local", metavar="local|ray[:ADDRESS]", help="where: see docs/scale.md"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: all cores, or what is free on Ray)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of each worker's engines (default: 1)"
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="the engines: embedded, or paper (the mission's stack)"
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="where weights lie that no package ships")
    parser.add_argument("--device", default="cpu", help="of engines on torch: cpu (default), cuda, cuda:1")
    parser.add_argument(
        "--gpus", metavar="STAGE=SHARE,...", help="on Ray, the share of a GPU of each stage's actors"
    )
    parser.add_argument(
        "--gpu-slots", type=int, metavar="N", help="inferences at once on the GPU here (default: 1)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1,
        metavar="FACTOR",
        help="wait longer for what hangs; 0: for ever (default: 1)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe"
    )
    parser.add_argument(
        "--grow", action="store_true", help="keep all rows of the build in --out, add new ones"
    )
    parser.add_argument("--audit", action="store_true", help="then measure engine output against the truth")
    parser.add_argument(
        "--report", action="store_true", help="then write DIR/report, to be looked at in a browser"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def check_device(device: str) -> None:
    """PaqaError where torch has no such device."""
    if device == "cpu":
        return
    import torch

    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in ("cuda", *devices) or not devices:
        raise PaqaError(f"--device {device}: torch finds {', '.join(['cpu', *devices])}; name one of these")


def placement_of(args: argparse.Namespace) -> PlacementOptions:
    """Where calls run, by the flags of `paqa build`; PaqaError where these do not go together."""
    from paqa.execution.placement import PlacementOptions, gpu_shares
    from paqa.pipeline.time_limits import Limits
    from paqa.storage.filesystems import filesystem

    gpus = gpu_shares(args.gpus) if args.gpus else {}
    limits = Limits(args.timeout)
    placement = PlacementOptions(
        args.runner, args.workers, args.threads, args.device, gpus, args.gpu_slots, limits
    )
    placement.check()
    if args.store and "://" in args.store:
        filesystem(args.store)
    if not placement.on_ray:
        check_device(args.device)
    return placement


def check_installed(recipe: Recipe, on_ray: bool) -> None:
    """PaqaError that names all missing packages that a build needs, and the extras that bring them."""
    from paqa.config.recipe import PROFILES
    from paqa.engines.base import engine_class, extra_of, install_command, installed, missing_packages

    kinds = [engine_class(recipe.stage_config(stage).engine) for stage in PROFILES[recipe.profile]]
    missing = {name: kind for kind in kinds for name in missing_packages(kind)}
    extras = {name: extra_of(kinds[0]) or "embedded" for name in ("prefect", "av") if not installed(name)}
    if on_ray and not installed("ray"):
        extras["ray"] = "cluster"
    if missing or extras:
        names = ", ".join((*missing, *extras))
        raise PaqaError(f"not installed: {names}; run: {install_command(missing, extras.values())}")


def run_init(args: argparse.Namespace) -> int:
    """`paqa init`."""
    from paqa.pipeline import init_recipe

    print(init_recipe.said(init_recipe.write(args.given, args.out)))
    return 0


def run_build(args: argparse.Namespace) -> int:
    """`paqa build`."""
    from paqa.perception.engine_runs import engines_used
    from paqa.pipeline import precheck, recipe_files
    from paqa.storage.build_folder import home
    from paqa.storage.redact import refuse_secrets

    if (args.recipe is None) == (args.audio is None):
        raise PaqaError("name a recipe (paqa build RECIPE.toml) or a folder (paqa build --audio FOLDER)")
    placement = placement_of(args)
    use_models(args.models)
    profile = [f"profile={args.profile}"] if args.profile else []
    recipe = recipe_files.for_folder(args.audio) if args.audio else recipe_files.load(args.recipe)
    recipe = recipe_files.change(recipe, [*profile, *args.set])
    check_installed(recipe, placement.on_ray)
    engines_used(recipe)  # weights that are missing are missed now, not after hours of decoding
    out = args.out or Path("data") / recipe.name
    precheck.check(recipe, out, args.grow)
    store = args.store or str(home(out) / "store")
    store = refuse_secrets(store, "--store") if "://" in store else str(Path(store).resolve())

    from flows import settings
    from flows.server import Server

    settings.apply(home(out))
    server = Server(home(out)).start()  # comes up while Prefect is imported
    try:
        from flows.build import BuildOptions, launch
        from paqa.dataset.summary import text

        options = BuildOptions(placement, args.grow, args.audit, args.report, args.quiet)
        summary = launch(recipe, out, home(out), server, store, options)
    finally:
        server.stop()
    print(f"\n{text(summary)}\n")
    shown = shlex.quote(str(out))
    if args.report:
        print(f"report:       {out / 'report' / 'index.html'}")
    print(f"look at one:  paqa show {shown}\nleft out:     paqa show {shown} --quarantine")
    print(f"validate:     paqa check {shown}")
    note = "(decoding there wants FFmpeg: apt-get install ffmpeg)"
    print(f"in Python:    datasets.load_dataset({str(out)!r})  {note}")
    return 0


COMMANDS = {"init": run_init, "build": run_build}
