"""`paqa calibrate`: fit confidences for a recipe's engines."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from paqa.cli.environment import Commands, use_models


def add_parsers(commands: Commands) -> None:
    """Add the command and its flags."""
    parser = commands.add_parser(
        "calibrate", help="fit how probable it is that predictions are right, for a recipe's engines"
    )
    parser.add_argument("recipe", type=Path, help="a recipe.toml of material with truth")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to build (default: data/NAME)")
    parser.add_argument("--store", metavar="URL", help="where engine outputs and the calibration are kept")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    parser.add_argument("--profile", metavar="NAME", help="the engines: embedded, or paper")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where weights lie that no package ships")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the calibration to a JSON file as well"
    )


def run_calibrate(args: argparse.Namespace) -> int:
    """`paqa calibrate`: build the material, fit, print how well it holds, keep the models in the store."""
    from paqa.dataset import summary
    from paqa.execution.local import build
    from paqa.perception import calibration
    from paqa.pipeline import calibrate, recipe_files
    from paqa.storage.store import write_atomically

    use_models(args.models)
    recipe = recipe_files.load(args.recipe)
    recipe = recipe_files.change(recipe, [f"profile={args.profile}"] if args.profile else [])
    out = args.out or Path("data") / recipe.name
    # only the clips are needed: whatever becomes of their rows, the build shall not fail
    gates = replace(recipe.gates, min_confidence=0.0, max_quarantined=1.0, shortcuts="off")
    built = build(replace(recipe, gates=gates), out, workers=args.workers, store=args.store)
    print(summary.text(built), end="\n\n")
    result = calibrate.calibrate(out)
    calibration.keep(result.calibration, result.store)
    print(calibrate.text(result, recipe.gates.min_confidence))
    if args.write:
        write_atomically(args.write, calibration.encoded(result.calibration))
        print(f"written to {args.write}")
    return 0


COMMANDS = {"calibrate": run_calibrate}
