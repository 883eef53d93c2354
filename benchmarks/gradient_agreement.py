"""Why GRPO changes little: how far gradients of independent batches of completions agree, at SFT's end.

`python benchmarks/gradient_agreement.py --out data/ladder` after `make ladder`: the mean cosine between the
gradients of so many steps of GRPO, none of which is taken, of the same model on other prompts. A cosine of c
says that a step's gradient is signal to a share of c, and noise for the rest (of its squared length).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch
from ladder import GRPO, PAUSE, Ladder
from torch import Tensor
from torch.nn.functional import cosine_similarity

from paqa.train import grpo
from paqa.train.config import GrpoConfig
from paqa.train.data import Stream
from paqa.train.length_limits import with_limits
from paqa.train.trainer import Trainer, begin


class GradientRecorder(Trainer):
    """Keeps the gradient of every step, and takes none."""

    def __init__(self, *args: object):
        super().__init__(*args)  # type: ignore[arg-type]
        self.gradients: list[Tensor] = []

    def update(self) -> float:
        """Keep the gradient; returns its norm."""
        parts = [p.grad.flatten() for p in self.params.values() if p.grad is not None]
        self.gradients.append(torch.cat(parts).clone())
        self.optimizer.zero_grad(set_to_none=True)
        return float(self.gradients[-1].norm())


def agreement(config: GrpoConfig) -> dict[str, float]:
    """The mean cosine between gradients of the config's steps, and what the completions were like."""
    ranks, policy, clips, rows, _ = begin(config)
    config = with_limits(config, policy, rows, ranks)
    stream = Stream(rows, config.seed, config.mix, [1] * len(rows), config.prompts)
    recorder = GradientRecorder(policy, config, config.steps, ranks)
    reward = grpo.reward_function(config)
    steps = []
    for n in range(config.steps):
        values = grpo.reinforce(recorder, config, clips, stream.at(n)[1], n, reward)
        steps.append({key: values[key] for key in ("reward", "accuracy", "perception", "entropy", "dropped")})
        print(json.dumps(steps[-1]), file=sys.stderr, flush=True)
    pairs = [cosine_similarity(a, b, dim=0) for a, b in combinations(recorder.gradients, 2)]
    cosines = torch.stack(pairs)
    means = {key: sum(step[key] for step in steps) / len(steps) for key in steps[0]}
    return {
        "completions": config.prompts * config.group,
        "gradients": len(recorder.gradients),
        "cosine": float(cosines.mean()),
        "cosine_largest": float(cosines.max()),
        **means,
    }


def main() -> None:
    """Print the figures, keep them with --json."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("data/ladder"), help="what make ladder wrote")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--steps", type=int, default=8, help="gradients")
    flags.add_argument("--temperature", type=float, default=1.0)
    flags.add_argument("--json", type=Path)
    args = flags.parse_args()
    torch.set_num_threads(1)
    ladder = Ladder(args.out, args.seed)
    pause = replace(PAUSE, mode="never")
    with tempfile.TemporaryDirectory() as folder:
        same = ladder.same("grpo", "sft") | {"out": folder}
        config = replace(GRPO, steps=args.steps, temperature=args.temperature, pause=pause, **same)
        figures = {"temperature": args.temperature, **agreement(config)}
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
