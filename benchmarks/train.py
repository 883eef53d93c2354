r"""What training costs, phase by phase, against floors measured on the same machine: `python
benchmarks/train.py`.

    python benchmarks/train.py --base DIR          # the embedded base (made by paqa-train base)
    python benchmarks/train.py --base DIR --shape 7b --device cuda --prompts 8 --group 8 \
        --seconds 30 --new 512

Completions never end early, so that every figure is about the same tokens. The floor of a decoding step is
what must be read once (weights, each prompt's and each completion's keys and values) over the speed of a
plain copy; that of a training pass is its multiplications over the speed of a large one. `generate` is
transformers' own, from embeddings, on the same prompts; TRL has no audio path and scores Qwen2-Audio without
hearing, so there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paqa.rationale.prompt import PromptQuestion
from paqa.train import families, model
from paqa.train.batch_layout import Prompt, Tree
from paqa.train.config import OFF, GrpoConfig, PauseConfig
from paqa.train.grpo import LearningGroup, learning_group, objective
from paqa.train.model import Policy
from paqa.train.rollout import Sampling, rollout

AUDIO_7B = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
TEXT_7B = {"model_type": "qwen2", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
TEXT_7B |= {
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 8192,
    "vocab_size": 156032,
}


def shaped(base: str, device: str) -> Policy:
    """Qwen2-Audio-7B's shape with random bfloat16 weights, and the base's tokenizer."""
    from transformers import (
        AutoProcessor,
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        WhisperFeatureExtractor,
    )

    processor = AutoProcessor.from_pretrained(base)
    processor.feature_extractor = WhisperFeatureExtractor(feature_size=128)
    token = processor.tokenizer.convert_tokens_to_ids(families.AUDIO)
    config = Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", "num_mel_bins": 128, **AUDIO_7B},
        text_config=TEXT_7B,
        audio_token_index=token,
    )
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        net = Qwen2AudioForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    net.requires_grad_(False)
    return Policy(net, processor, "7b").eval()


class Clock:
    """Seconds of calls, the best of several after one to warm up."""

    def __init__(self, device: torch.device, repeats: int):
        self.device, self.repeats = device, repeats

    def __call__(self, call: Callable[[], Any]) -> float:
        times = []
        for _ in range(self.repeats + 1):
            self._wait()
            began = time.perf_counter()
            call()
            self._wait()
            times.append(time.perf_counter() - began)
        return min(times[1:])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def floors(device: torch.device, dtype: torch.dtype, clock: Clock) -> tuple[float, float]:
    """Bytes a second of a plain copy (read and written) and multiply-adds x 2 a second of a large product."""
    n = 1 << (28 if device.type == "cuda" else 25)
    x, y = torch.zeros(n, device=device), torch.zeros(n, device=device)
    copied = 2 * x.nbytes / clock(lambda: y.copy_(x))
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device, dtype=dtype)
    return copied, 2 * side**3 / clock(lambda: a @ a)


def generate(policy: Policy, prompts: list[Prompt], group: int, new: int) -> None:
    """The same completions by transformers: prompts padded to the left, every row with a cache of its own."""
    longest = max(len(p.ids) for p in prompts)
    ids = torch.full((len(prompts), longest), policy.pad_id)
    mask = torch.zeros_like(ids)
    for i, p in enumerate(prompts):
        ids[i, -len(p.ids) :], mask[i, -len(p.ids) :] = p.ids, 1
    with torch.no_grad():
        x = policy.embed(ids.to(policy.device), [p.sound for p in prompts])
        policy.inner.generate(
            inputs_embeds=x, attention_mask=mask.to(policy.device), do_sample=True,
            num_return_sequences=group, max_new_tokens=new, min_new_tokens=new, pad_token_id=policy.pad_id,
        )  # fmt: skip


def learning(policy: Policy, trees: list[Tree], clock: Clock) -> tuple[float, float]:
    """Seconds of a forward pass over trees, and of forward and backward together."""
    policy.train()

    def forward() -> torch.Tensor:
        return policy.score(trees)[0].sum()

    one, both = clock(forward), clock(lambda: forward().backward())
    policy.zero_grad()
    policy.eval()
    return one, both


def measure(policy: Policy, args: argparse.Namespace) -> dict[str, float]:
    """All figures, seconds unless named otherwise."""
    clock = Clock(policy.device, args.repeats)
    dtype = policy.text.embed_tokens.weight.dtype
    bandwidth, speed = floors(policy.device, dtype, clock)
    policy.forbidden[policy.stop_ids] = -torch.inf  # type: ignore[operator,index]
    rng = np.random.default_rng(0)
    clips = [
        (0.1 * rng.standard_normal(16000 * args.seconds)).astype(np.float32) for _ in range(args.prompts)
    ]
    asked = PromptQuestion(
        "q", "Who speaks first, and what is heard in the background while they do?", ("A dog", "A bell")
    )
    found: dict[str, float] = {"copy_gb_per_s": bandwidth / 1e9, "product_tflop_per_s": speed / 1e12}
    found["encode"] = clock(lambda: [policy.encode(c) for c in clips])
    prompts = [policy.prompt(asked, policy.encode(c)) for c in clips]
    rows, new = args.prompts * args.group, args.new
    found["prompt_tokens"] = len(prompts[0].ids)
    seeds = range(rows)
    always = PauseConfig(mode="always", tokens=8, runs=3, warmup=0, cooldown=4, window=1)

    def rolled(name: str, pause: PauseConfig) -> Any:
        best: Any = None
        for _ in range(args.repeats + bool(args.compile)):
            done = rollout(
                policy, prompts, args.group, seeds, Sampling(new, pause=pause, compile=args.compile)
            )
            best = done if best is None or done.seconds["decode"] < best.seconds["decode"] else best
        found.update({f"rollout_{name}/{k}": v for k, v in best.seconds.items()})
        found[f"rollout_{name}/step"] = best.seconds["decode"] / best.ids.shape[1]
        found[f"rollout_{name}/tokens_per_s"] = int(best.sampled.sum()) / sum(best.seconds.values())
        return best

    rolled("off", OFF)
    rolled("always", always)
    weights = sum(p.nbytes for n, p in policy.text.named_parameters() if "embed_tokens" not in n)
    weights += policy.inner.lm_head.weight.nbytes
    text = policy.text.config
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    token = (
        2
        * text.num_hidden_layers
        * text.num_key_value_heads
        * width
        * policy.inner.lm_head.weight.element_size()
    )
    read = weights + token * (sum(len(p.ids) for p in prompts) + rows * new / 2)
    found["floor/step"] = read / bandwidth
    found["floor/step_share"] = found["floor/step"] / found["rollout_off/step"]
    if not args.no_generate:
        seconds = clock(lambda: generate(policy, prompts, args.group, new))
        found |= {"generate": seconds, "generate/tokens_per_s": rows * new / seconds}
    policy.train_lora(32, 64, projector=True, checkpointing=args.checkpointing)
    plain = rolled("lora", OFF)  # what GRPO decodes with
    shared = plain.trees(prompts, range(args.prompts))
    apart = [Tree(t.prompt, (c,), (k,)) for t in shared for c, k in zip(t.completions, t.learn, strict=True)]
    found["score/shared"], found["learn/shared"] = each(policy, shared, clock)
    found["score/apart"], found["learn/apart"] = each(policy, apart, clock)
    tokens = sum(t.length for t in shared)
    parameters = weights / policy.inner.lm_head.weight.element_size()
    flops = (
        4 * parameters * tokens
    )  # forward, and backward to the activations: frozen weights have no gradient
    found |= {"learn/tokens": tokens, "learn/tokens_per_s": tokens / found["learn/shared"]}
    found["learn/share_of_product"] = flops / found["learn/shared"] / speed
    config = GrpoConfig(group=args.group, max_new=new, pause=OFF)
    factor = torch.linspace(-1, 1, args.group).expand(args.prompts, args.group)
    parts = [learning_group(plain, prompts, b, factor, config, args.group) for b in range(args.prompts)]
    for name, beta in (("grpo", 0.0), ("grpo_kl", 0.04)):
        using = replace(config, beta=beta)
        found[f"{name}/objective"] = sum(clock(partial(backward, policy, p, using, rows)) for p in parts)
    whole = found["encode"] + sum(plain.seconds.values()) + found["grpo/objective"]
    return found | {"grpo/step": whole, "grpo/tokens_per_s": rows * new / whole}


def backward(policy: Policy, one: LearningGroup, config: GrpoConfig, rows: int) -> None:
    """A group's share of a step."""
    policy.train()
    objective(policy, [one], config, rows)[0].backward()
    policy.eval()


def each(policy: Policy, trees: list[Tree], clock: Clock) -> tuple[float, float]:
    """The same, one tree a pass."""
    told = [learning(policy, [t], clock) for t in trees]
    return sum(a for a, _ in told), sum(b for _, b in told)


def main() -> None:
    """Measure, print, and keep as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--base", required=True, help="a folder made by paqa-train base")
    flags.add_argument("--shape", choices=["base", "7b"], default="base")
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    flags.add_argument("--prompts", type=int, default=2)
    flags.add_argument("--group", type=int, default=4)
    flags.add_argument("--seconds", type=int, default=10, help="of audio a prompt")
    flags.add_argument("--new", type=int, default=64, help="sampled tokens a completion")
    flags.add_argument("--repeats", type=int, default=2)
    flags.add_argument("--checkpointing", action="store_true")
    flags.add_argument("--compile", action="store_true", help="the decoding step")
    flags.add_argument("--no-generate", action="store_true")
    flags.add_argument("--json", type=Path)
    args = flags.parse_args()
    torch.manual_seed(0)
    policy = (
        shaped(args.base, args.device)
        if args.shape == "7b"
        else model.load(args.base, args.device, args.dtype)
    )
    name = (
        torch.cuda.get_device_name()
        if policy.device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    about = {k: v for k, v in vars(args).items() if k not in ("json", "base")} | {"machine": name}
    about |= {"torch": torch.__version__, "threads": torch.get_num_threads(), "dtype": str(policy.net.dtype)}
    found = measure(policy, copy.copy(args))
    for key, value in found.items():
        print(f"{key:<28} {value:12.4f}")
    if args.json:
        args.json.write_text(
            json.dumps({"about": about, "figures": found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
