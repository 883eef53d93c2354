"""TRL's GRPO loop beside ours, as far as it goes: `PYTHONPATH=. python benchmarks/trl_loop.py --base DIR`.

TRL has no audio path. What is shown here, by running it: its trainer with Qwen2-Audio's processor (the error
is kept), and with the tokenizer alone, on text of as many tokens as our prompts have, counting how often the
encoder runs. So the two step times are of equal work but for the sound: TRL's is that of a policy that hears
nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paqa.rationale.prompt import PromptQuestion
from paqa.train import model
from paqa.train.adapters import LORA
from paqa.train.config import OFF, GrpoConfig
from paqa.train.grpo import learning_group, objective
from paqa.train.model import Policy
from paqa.train.rollout import Sampling, rollout

RANK, ALPHA = 32, 64


def ours(policy: Policy, clips: list[np.ndarray], group: int, new: int, steps: int) -> float:
    """Seconds of a step, the best of several: hear, sample, score, learn, update."""
    policy.train_lora(RANK, ALPHA, projector=False, checkpointing=False)
    policy.forbidden[policy.stop_ids] = -torch.inf  # type: ignore[operator,index]
    optimizer = torch.optim.AdamW(policy.trained().values(), lr=1e-5)
    config, rows = GrpoConfig(group=group, max_new=new, pause=OFF), group * len(clips)
    factor = torch.linspace(-1, 1, group).expand(len(clips), group)
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        prompts = [
            policy.prompt(PromptQuestion("q", "What is heard?", ("A dog", "A bell")), policy.encode(c))
            for c in clips
        ]
        done = rollout(policy, prompts, group, range(rows), Sampling(new, pause=OFF))
        for b in range(len(clips)):
            one = learning_group(done, prompts, b, factor, config, group)
            objective(policy, [one], config, rows)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return min(times)


def theirs(
    base: str, device: str, tokens: int, prompts: int, group: int, new: int, steps: int
) -> dict[str, Any]:
    """TRL with the processor, and with the tokenizer: an error, seconds of a step, runs of the encoder."""
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback

    told: dict[str, Any] = {"trl": trl.__version__}
    heard: list[str] = []
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        began = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter() - self.began)

    def trainer(policy: Policy, reads: Any, folder: str) -> Any:
        word = policy.tokenizer(" sound", add_special_tokens=False)["input_ids"][0]
        texts = [policy.tokenizer.decode([word] * tokens) for _ in range(prompts)]
        policy.inner.model.audio_tower.register_forward_hook(lambda *_: heard.append("run"))
        config = trl.GRPOConfig(
            output_dir=folder, per_device_train_batch_size=prompts * group, num_generations=group,
            max_steps=steps, max_completion_length=new, generation_kwargs={"min_new_tokens": new}, beta=0.0,
            loss_type="dr_grpo", learning_rate=1e-5, use_cpu=policy.device.type == "cpu", bf16=False,
            save_strategy="no", report_to=[], gradient_checkpointing=False, disable_tqdm=True,
        )  # fmt: skip
        return trl.GRPOTrainer(
            model=policy.net, args=config, processing_class=reads,
            train_dataset=Dataset.from_dict({"prompt": texts}), callbacks=[Clock()],
            reward_funcs=lambda completions, **_: [float(len(c) % 7) for c in completions],
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LORA),
        )  # fmt: skip

    for name in ("processor", "tokenizer"):
        policy = model.load(base, device, "float32")
        with tempfile.TemporaryDirectory() as folder:
            try:
                trainer(policy, getattr(policy, name), folder).train()
                told[name] = {"step": min(times), "encoder_runs": len(heard)}
            except (AttributeError, TypeError, ValueError, RuntimeError) as error:  # the finding
                told[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return told


def main() -> None:
    """Measure both, print, and keep as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--base", required=True, help="a folder made by paqa-train base")
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--prompts", type=int, default=2)
    flags.add_argument("--group", type=int, default=4)
    flags.add_argument("--seconds", type=float, default=10.0, help="of audio a prompt")
    flags.add_argument("--new", type=int, default=32, help="sampled tokens a completion")
    flags.add_argument("--steps", type=int, default=2)
    flags.add_argument("--json", type=Path)
    args = flags.parse_args()
    rng = np.random.default_rng(0)
    clips = [
        (0.1 * rng.standard_normal(int(16_000 * args.seconds))).astype(np.float32)
        for _ in range(args.prompts)
    ]
    policy = model.load(args.base, args.device, "float32")
    length = len(
        policy.prompt(PromptQuestion("q", "What is heard?", ("A dog", "A bell")), policy.encode(clips[0])).ids
    )
    told: dict[str, Any] = {
        "prompt_tokens": length,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    told |= {k: getattr(args, k) for k in ("device", "prompts", "group", "seconds", "new", "steps")}
    told["ours"] = {"step": ours(policy, clips, args.group, args.new, args.steps)}
    told |= theirs(args.base, args.device, length, args.prompts, args.group, args.new, args.steps)
    print(json.dumps(told, indent=1))
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
