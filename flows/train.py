"""The Prefect flow behind `paqa-train all`: SFT, GRPO and evaluation in a row. No training logic lives here.

Every stage goes on from its own checkpoints, so running the flow again after anything went wrong repeats
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.server import Server, running
from paqa.errors import PaqaError
from paqa.train import evaluate, grpo, sft
from paqa.train.config import OFF, AllConfig, ModelConfig, need

Figures = dict[str, dict[str, float]]


def shared(config: AllConfig, out: str, model: str) -> dict[str, Any]:
    """What the flow decides for a stage."""
    same = {
        name: getattr(config, name)
        for name in ModelConfig.__dataclass_fields__
        if name not in ("model", "out")
    }
    return same | {"model": model, "out": str(Path(config.out) / out)}


def trained(config: AllConfig, stage: str) -> str:
    """The model of a stage that is done: its best, or its last where nothing was validated."""
    folder = Path(config.out) / stage
    return str(folder / "best" if (folder / "best").is_dir() else folder / "last")


@task(cache_policy=NO_CACHE, persist_result=False)
def stage(call: Callable[[], Any]) -> Any:
    """One stage, from its last checkpoint on."""
    return call()


def run(name: str, call: Callable[[], Any]) -> Any:
    """A stage under its own name in the UI."""
    named: Any = stage.with_options(name=name)
    return named(call)


@flow(name="train", validate_parameters=False)
def train(config: AllConfig) -> Figures:
    """SFT on the base, GRPO on its best, and the figures of all three on the same questions."""
    need(config, "model", "data", "out")
    _need_same_training(config)
    sft_config = replace(config.sft, **shared(config, "sft", config.model))
    run("sft", partial(sft.train, sft_config))
    grpo_config = replace(config.grpo, **shared(config, "grpo", trained(config, "sft")))
    run("grpo", partial(grpo.train, grpo_config))
    models = {"base": config.model, "sft": trained(config, "sft"), "grpo": trained(config, "grpo")}
    figures: Figures = {}
    for name, model in models.items():
        eval_config = replace(config.eval, **shared(config, f"eval-{name}", model))
        paused = (
            config.grpo.pause if eval_config.pause == OFF else eval_config.pause
        )  # as it was trained, unless it is said otherwise
        eval_config = replace(eval_config, pause=paused if name == "grpo" else OFF)
        columns = run(f"eval-{name}", partial(evaluate.run, eval_config))
        figures |= {f"{name} {condition}": column for condition, column in columns.items()}
    create_table_artifact(
        key="eval", table=side_by_side(figures), description="The same questions before and after each stage"
    )
    return figures


def _need_same_training(config: AllConfig) -> None:
    """Raise PaqaError where GRPO could not go on with what SFT trains."""
    sft_config, grpo_config = config.sft, config.grpo
    if sft_config.train != grpo_config.train:
        raise PaqaError(
            f"--grpo-train: found {grpo_config.train}; expected {sft_config.train}, as SFT trains"
        )
    if sft_config.train == "full":
        return
    for name in ("rank", "alpha"):
        made, asked = getattr(sft_config, name), getattr(grpo_config, name)
        if made != asked:
            raise PaqaError(
                f"--grpo-{name}: found {asked}; expected {made}, that of the adapter that --sft-{name} makes"
            )
    if grpo_config.projector and not sft_config.projector:
        raise PaqaError("--grpo-projector: SFT trains no projector; give --no-grpo-projector as well")


def side_by_side(figures: Figures) -> list[dict[str, Any]]:
    """The figures as rows, a column for each model; the UI hides a column without a name."""
    keys = dict.fromkeys(key for column in figures.values() for key in column)
    return [
        {"figure": key} | {n: round(c[key], 4) if key in c else None for n, c in figures.items()}
        for key in keys
    ]


def launch(config: AllConfig) -> Figures:
    """Run the flow against the Prefect server over the folder of runs (see flows/server.py)."""
    home = Path(config.out).resolve().parent / ".paqa"
    server = Server(home).start()
    try:
        with running(home, server):
            return train(config)
    finally:
        server.stop()
