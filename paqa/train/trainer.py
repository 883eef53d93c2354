"""What SFT and GRPO do around a step: processes, the optimizer, metrics, checkpoints that resume exactly.

A run's folder holds config.json, metrics.jsonl, TensorBoard events, checkpoint-N/ (resume), best/ and last/
(trained models). A checkpoint that exists is complete: it was renamed into place.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from paqa.errors import PaqaError
from paqa.storage.store import write_atomically
from paqa.train import config as configs
from paqa.train import model
from paqa.train.config import TrainConfig, need
from paqa.train.data import EncodedClips, Rows, TrainRow, draw
from paqa.train.model import Policy
from paqa.train.ranks import Ranks
from paqa.train.sound_store import sound_store
from paqa.train.trackers import Trackers

Values = dict[str, float]
PREFIX = "checkpoint-"
DAMAGE = (  # what reading a damaged checkpoint raises
    OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, UnpicklingError, SafetensorError,
)  # fmt: skip
PROGRESS = "{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]\n"


def begin(
    config: TrainConfig, reference: bool = False
) -> tuple[Ranks, Policy, EncodedClips, list[TrainRow], list[TrainRow]]:
    """The processes, the model ready to train, its encoded clips, rows to train on, and rows held out.

    With `reference` the model keeps what its stage began with.
    """
    need(config, "model", "data", "out")
    ranks = Ranks.join(model.device_of(config.device))
    policy = model.load(config.model, config.device, config.dtype, config.chunk)
    policy.sounds = sound_store(config.store, config.data, policy.inner)
    torch.manual_seed(config.seed)
    if config.train == "full":
        policy.train_full(config.projector, config.checkpointing, reference)
    else:
        policy.train_lora(config.rank, config.alpha, config.projector, config.checkpointing)
    rows = Rows(Path(config.data))
    learnt, held, left_out = rows.trained_on(config.validation, config.best_rows)
    if ranks.rank == 0 and not config.quiet:
        for notice in _notices(config, len(learnt), len(held), len(left_out)):
            print(notice, file=sys.stderr)
    policy.brief = most(row.asked.brief for row in learnt)
    policy.letters = not most(not row.asked.letters for row in learnt if row.asked.choices)
    if too_long := [row for row in (*learnt, *held) if row.item.scene.duration_ms > policy.max_ms]:
        first = f"{too_long[0].item.id} lasts {too_long[0].item.scene.duration_ms / 1000:.1f} s"
        raise PaqaError(
            f"{config.data}: {len(too_long)} rows are about more than the {policy.max_ms / 1000:g} s that "
            f"the encoder hears ({first}); build with audio.max_clip_ms = {policy.max_ms} or less"
        )
    return (
        ranks,
        policy,
        EncodedClips(policy, rows),
        learnt,
        sorted(held, key=lambda row: draw("held", row.item.id)),
    )


def most(flags: Iterable[bool]) -> bool:
    """Whether more than half of these hold."""
    listed = list(flags)
    return 2 * sum(listed) > len(listed)


def _notices(config: TrainConfig, learnt: int, held: int, left_out: int) -> Iterator[str]:
    """What the user has to know about the rows that are held out."""
    if left_out:
        yield (
            f"{left_out} of {learnt + held + left_out} train rows are left out: they share recordings or "
            f"speakers with the {held} that are held out; build with split.validation above 0 to keep them, "
            "or give --validation 0"
        )
    validated = min(held, config.validation_rows)
    if held and validated < config.best_rows:
        yield (
            f"no best model is kept, only the last: {validated} rows are validated, expected "
            f"{config.best_rows} or more to tell models apart (--best-rows); build with split.validation "
            "above 0"
        )


@dataclass
class State:
    """What a run remembers beside weights and the optimizer; `step` is its position in the data as well."""

    step: int = 0
    best: float | None = None
    best_step: int = -1
    tokens: int = 0
    seen: Values = field(default_factory=dict)  # what the last validation measured
    bounds: list[float | None] | None = None  # of confidence, in GRPO; see pause.Bounds.plain
    world: int = 1  # processes; a step's place in the data depends on their number


class Trainer:
    """The weights that are trained, their optimizer, and the run's folder."""

    def __init__(self, policy: Policy, config: TrainConfig, total: int, ranks: Ranks):
        self.policy, self.config, self.total, self.ranks = policy, config, total, ranks
        policy.max_new = config.max_new
        self.out = Path(config.out)
        self.state = State(world=ranks.world)
        self.params = policy.trained()
        self.optimizer = _optimizer(policy, config)
        self.spent: dict[str, float] = defaultdict(float)
        self.trackers: Trackers | None = None  # from the first step on
        if ranks.rank == 0:
            configs.remember(config, self.out)
        self._resume()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the seconds of a phase of this step."""
        began = time.perf_counter()
        yield
        if self.policy.device.type == "cuda":
            torch.cuda.synchronize()
        self.spent[phase] += time.perf_counter() - began

    def update(self) -> float:
        """One step of the optimizer with the gradients of all processes, summed; returns their norm."""
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.params.values()]
        if self.ranks.world > 1:
            flat = self.ranks.sum(torch.cat([g.flatten() for g in grads]))
            for g, part in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
                g.copy_(part.view_as(g))
        for p, g in zip(self.params.values(), grads, strict=True):
            p.grad = g
        norm = float(torch.nn.utils.clip_grad_norm_(self.params.values(), self.config.clip or math.inf))
        if not math.isfinite(norm):
            where = f"step {self.state.step}: the gradient is not finite ({norm})"
            raise PaqaError(f"{where}; lower --learning-rate, or set --dtype float32")
        share = rate(self.state.step, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * share
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def run(self, step: Callable[[int], Values], validate: Callable[[], Values], measure: str) -> Values:
        """Take all steps that are left; validate, save and keep the best (highest `measure`) on the way.

        `validate` also gives the number of its `rows`: with less than `best_rows` no model is the best.
        """
        config, state = self.config, self.state
        bar = self._bar()
        while state.step < self.total:
            began = time.perf_counter()
            self.spent.clear()
            values = step(state.step)
            state.step += 1
            state.tokens += int(values.get("tokens", 0))
            seconds = time.perf_counter() - began
            values |= {f"seconds/{k}": v for k, v in self.spent.items()}
            values |= {"seconds/step": seconds, "tokens_per_s": values.get("tokens", 0.0) / seconds}
            finished = state.step == self.total
            if finished or (config.validate_every and state.step % config.validate_every == 0):
                state.seen = validate()
                values |= {f"validation/{k}": v for k, v in state.seen.items()}
                if state.seen.get("rows", 0) >= config.best_rows:
                    self._keep_best(state.seen.get(measure, math.nan))
            self._log(values)
            if self.ranks.rank == 0 and (
                finished or (config.save_every and state.step % config.save_every == 0)
            ):
                self._save()
            bar.set_postfix_str(progress_line(values), refresh=False)
            bar.update()
        bar.close()
        if self.ranks.rank == 0:
            self._store(self.out / "last", self.policy.save)
        if self.trackers:
            self.trackers.finish()
        return state.seen

    def _bar(self) -> Any:
        """Progress with time left: a bar on a terminal, a line a minute in a log."""
        from tqdm import tqdm

        look: dict[str, Any] = {"total": self.total, "initial": self.state.step, "unit": "step"}
        look |= (
            {"dynamic_ncols": True} if sys.stderr.isatty() else {"mininterval": 60.0, "bar_format": PROGRESS}
        )
        return tqdm(disable=self.config.quiet or self.ranks.rank > 0, **look)

    def _log(self, values: Values) -> None:
        if self.ranks.rank:
            return
        with open(self.out / "metrics.jsonl", "a", encoding="utf-8") as file:
            rounded = {k: round(v, 6) if math.isfinite(v) else None for k, v in values.items()}
            file.write(json.dumps({"step": self.state.step, **rounded}) + "\n")
        self.trackers = self.trackers or Trackers(self.config, self.out, self.state.step)
        self.trackers.log(values, self.state.step)

    def _keep_best(self, measured: float) -> None:
        if math.isfinite(measured) and (self.state.best is None or measured > self.state.best):
            self.state.best, self.state.best_step = measured, self.state.step
            if self.ranks.rank == 0:
                self._store(self.out / "best", self.policy.save)

    def _save(self) -> None:
        def write(folder: Path) -> None:
            from safetensors.torch import save_file

            folder.mkdir()
            save_file(
                {n: p.detach().cpu().contiguous() for n, p in self.params.items()},
                folder / "trained.safetensors",
            )
            torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
            torch.save(_random_state(), folder / "rng.pt")
            write_atomically(folder / "state.json", json.dumps(asdict(self.state), allow_nan=False).encode())

        self._store(self.out / f"{PREFIX}{self.state.step:06d}", write)
        for old in checkpoints(self.out)[: -self.config.keep]:
            shutil.rmtree(old)

    def _store(self, folder: Path, write: Callable[[Path], None]) -> None:
        """Write a folder beside its place and move it there, so that nobody sees half of it."""
        fresh, stale = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
        for left in (fresh, stale):
            shutil.rmtree(left, ignore_errors=True)
        write(fresh)
        if folder.exists():
            folder.rename(stale)
        fresh.rename(folder)
        shutil.rmtree(stale, ignore_errors=True)

    def _resume(self) -> None:
        """Load the newest checkpoint: weights, optimizer, position, random state; drop later metrics."""
        metrics = self.out / "metrics.jsonl"
        if stored := checkpoints(self.out):
            try:
                self._read(stored[-1])
            except DAMAGE as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
                where = f"{stored[-1]}: not a whole checkpoint ({reason})"
                raise PaqaError(
                    f"{where}; remove this folder to go on from the one before, or from nothing"
                ) from None
            if self.state.world != self.ranks.world:
                counts = f"{self.state.world} processes and there are {self.ranks.world}"
                raise PaqaError(
                    f"{stored[-1]}: was written by {counts}; start as many, or choose another --out"
                )
            if not self.config.quiet and self.ranks.rank == 0:
                print(f"going on after step {self.state.step} of {self.out}", file=sys.stderr)
        steps = self.ranks.total({"step": self.state.step}, self.policy.device)["step"]
        if steps != self.state.step * self.ranks.world:
            raise PaqaError(
                f"{self.out}: not all processes see its checkpoints; expected a folder that all share"
            )
        if self.ranks.rank == 0 and metrics.exists():
            lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [
                line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.state.step
            ]
            write_atomically(metrics, "".join(kept).encode())

    def _read(self, folder: Path) -> None:
        from safetensors.torch import load_file

        stored = load_file(folder / "trained.safetensors")
        with torch.no_grad():
            for name, p in self.params.items():
                p.copy_(stored[name])
        plain: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", **plain))
        _random_state(torch.load(folder / "rng.pt", **plain))
        self.state = State(**json.loads((folder / "state.json").read_text(encoding="utf-8")))


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(p for p in out.glob(f"{PREFIX}*") if p.is_dir())


def rate(step: int, total: int, config: TrainConfig) -> float:
    """The share of the peak learning rate at a step: a linear warmup, then half a cosine, or constant."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.decay == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, total - config.warmup)))


def progress_line(values: Values) -> str:
    """The few figures that fit beside a progress bar."""
    names = ("loss", "reward", "tokens_per_s", "validation/loss", "validation/accuracy", "validation/reward")
    return "  ".join(f"{n} {values[n]:.4g}" for n in names if n in values)


def _optimizer(policy: Policy, config: TrainConfig) -> torch.optim.Optimizer:
    groups: dict[float, list[Any]] = defaultdict(list)
    for name, p in policy.trained().items():
        groups[config.projector_rate if policy.family.projector in name else 1.0].append(p)
    parameter_groups = [
        {"params": ps, "lr": 0.0, "highest": config.learning_rate * factor} for factor, ps in groups.items()
    ]
    return torch.optim.AdamW(
        parameter_groups, weight_decay=config.weight_decay, fused=policy.device.type == "cuda"
    )


def _random_state(restored: dict[str, Any] | None = None) -> dict[str, Any]:
    """The state of torch's generators, of all GPUs this process' own; with `restored`, set them to it."""
    if restored:
        torch.set_rng_state(restored["cpu"])
        if torch.cuda.is_available() and restored["cuda"] is not None:
            torch.cuda.set_rng_state(restored["cuda"])
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }
