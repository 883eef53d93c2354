"""Completions of prompts: prompts are read once and their keys and values shared by the group; PAUSE where
told.

A row's randomness is its own seed's, one number for each sampled token: what is sampled depends neither on
the other rows nor on how long the row has waited.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from paqa.train.batch_layout import Prompt, Tree
from paqa.train.config import OFF, PauseConfig
from paqa.train.model import Policy
from paqa.train.pause import UNBOUND, Bounds, Watch, keyword_rows

BUCKET = 64  # slots by which the visible part of the completions' cache grows: few shapes
LOOK = 8  # steps between two looks at whether all rows have ended


@dataclass(eq=False)
class Rollout:
    """N = prompts x group completions of at most C tokens, the group of a prompt in consecutive rows.

    `real` marks tokens that exist, `sampled` those that the model chose; the rest of the real ones the
    environment forced: PAUSE, or the end of a row that gave up. `logp` is that of sampled tokens,
    `confidence` the windowed one.
    """

    ids: Tensor
    real: Tensor
    sampled: Tensor
    logp: Tensor
    confidence: Tensor
    lowest: Tensor  # [N] lowest group confidence; the mean where a row is shorter than the window
    aborted: Tensor  # [N] the environment gave it up
    cut: Tensor  # [N] it was still going on at the limit
    pauses: Tensor  # [N] runs of PAUSE
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """Sampled tokens `[N]`: what counts as length."""
        return self.sampled.sum(1)

    def texts(self, policy: Policy) -> list[str]:
        """What was said, without PAUSE and the end of the turn."""
        said = [row[keep].tolist() for row, keep in zip(self.ids, self.sampled, strict=True)]
        return [policy.tokenizer.decode([i for i in ids if i not in policy.stop_ids]) for ids in said]

    def trees(self, prompts: Sequence[Prompt], only: Sequence[int], stripped: bool = False) -> list[Tree]:
        """The chosen prompts with their groups; `stripped` leaves out what was forced."""
        group = len(self.ids) // len(prompts)
        ids, there, learn = (
            self.ids.cpu(),
            (self.sampled if stripped else self.real).cpu(),
            self.sampled.cpu(),
        )
        found = []
        for b in only:
            rows = range(b * group, (b + 1) * group)
            completions = tuple(ids[i][there[i]] for i in rows)
            found.append(Tree(prompts[b], completions, tuple(learn[i][there[i]] for i in rows)))
        return found


@dataclass(eq=False)
class _Cache:
    """Keys and values: the prompts' `[B, h, P, d]` and the completions' `[N, h, C, d]`, one pair a layer."""

    prefix: list[tuple[Tensor, Tensor]]
    suffix: list[tuple[Tensor, Tensor]]
    padding: Tensor  # [B, 1, 1, P] additive


@torch.no_grad()
def rollout(
    policy: Policy,
    prompts: Sequence[Prompt],
    group: int,
    seeds: Sequence[int],
    max_new: int,
    temperature: float = 1.0,
    pause: PauseConfig = OFF,
    bounds: Bounds = UNBOUND,
    compile: bool = False,
) -> Rollout:
    """`group` completions of each prompt, of at most `max_new` sampled tokens; temperature 0 takes the
    likeliest.

    `seeds` holds one number a row. PAUSE comes on top of `max_new`. `compile` makes one graph of a step: slow
    to begin with, then fewer kernels.
    """
    began = time.perf_counter()
    rows, device = len(prompts) * group, policy.device
    slots = max_new + (pause.runs * pause.tokens if pause.inserts else 0)
    hidden, cache, position = _prefill(policy, prompts, group, slots)
    read = time.perf_counter()
    words = keyword_rows(
        pause.keywords, lambda t: policy.tokenizer(t, add_special_tokens=False)["input_ids"], device
    )
    watch = None if pause.mode == "off" else Watch(pause, bounds, rows, max_new, words)
    noise = torch.stack([_uniform(seed, max_new) for seed in seeds]).to(device)
    out = _blank(policy, rows, slots)
    alive, sampled = (
        torch.ones(rows, dtype=torch.bool, device=device),
        torch.zeros_like(noise[:, 0], dtype=torch.long),
    )
    stops = torch.tensor(policy.stop_ids, device=device)
    never = torch.zeros_like(alive)
    step, used = compiled() if compile else decode, slots
    for t in range(slots):
        logits = policy.logits(hidden)
        plain = logits.log_softmax(-1)  # confidence is the model's own, however it is sampled
        logp = plain if temperature in (0.0, 1.0) else (logits / temperature).log_softmax(-1)
        wait, give_up, confidence = watch.decide(plain, alive) if watch else (never, never, noise[:, 0])
        chosen = alive & ~wait & ~give_up
        token = _choose(logp, noise.gather(1, sampled.clamp(max=max_new - 1)[:, None]), temperature)
        token = torch.where(wait, policy.pause_id, torch.where(give_up, policy.end_id, token))
        token = torch.where(alive, token, policy.pad_id)
        out.ids[:, t], out.real[:, t], out.sampled[:, t] = token, alive, chosen
        out.logp[:, t] = torch.where(chosen, logp.gather(-1, token[:, None]).squeeze(-1), 0.0)
        if watch:
            watch.heard(token, chosen)
            out.confidence[:, t] = torch.where(chosen | give_up, confidence, torch.nan)
        sampled = sampled + chosen
        ended = give_up | (chosen & torch.isin(token, stops))
        out.aborted |= give_up
        out.cut |= chosen & ~ended & (sampled >= max_new)
        alive = alive & ~ended & (sampled < max_new)
        if t + 1 == slots or (t % LOOK == LOOK - 1 and not bool(alive.any())):
            used = t + 1
            break
        x = policy.embed(token)[:, None]
        hidden = step(policy.text, x, position + t, torch.tensor([t], device=device), _upto(cache, t), group)
    for name in ("ids", "real", "sampled", "logp", "confidence"):
        setattr(out, name, getattr(out, name)[:, :used])
    if watch:
        out.pauses, out.lowest = watch.runs, _lowest(out.confidence, watch.mean())
    out.seconds = {"prefill": read - began, "decode": time.perf_counter() - read}
    return out


def _blank(policy: Policy, rows: int, slots: int) -> Rollout:
    device = policy.device
    no = torch.zeros(rows, slots, dtype=torch.bool, device=device)
    flat = torch.zeros(rows, device=device)
    return Rollout(
        ids=torch.full((rows, slots), policy.pad_id, device=device),
        real=no,
        sampled=no.clone(),
        logp=torch.zeros(rows, slots, device=device),
        confidence=torch.full((rows, slots), torch.nan, device=device),
        lowest=flat + torch.nan,
        aborted=no[:, 0].clone(),
        cut=no[:, 0].clone(),
        pauses=flat.long(),
    )


def _uniform(seed: int, n: int) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed))


def _choose(logp: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """One token a row `[N]`: the likeliest, or where the distribution function passes the row's number in [0,
    1).
    """
    if temperature == 0.0:
        return logp.argmax(-1)
    passed = logp.double().exp().cumsum(-1)
    return torch.searchsorted(passed, noise.double() * passed[:, -1:], right=True).squeeze(-1)


def _lowest(confidence: Tensor, mean: Tensor) -> Tensor:
    low = confidence.masked_fill(confidence.isnan(), torch.inf).min(1).values
    return torch.where(low.isinf(), mean, low)


def _prefill(
    policy: Policy, prompts: Sequence[Prompt], group: int, slots: int
) -> tuple[Tensor, _Cache, Tensor]:
    """The last hidden state `[N, H]`, the cache, and the position `[N, 1]` of the first new token."""
    from transformers import DynamicCache

    text, device = policy.text, policy.device
    longest = max(len(p.ids) for p in prompts)
    ids = torch.full((len(prompts), longest), policy.pad_id)
    mask = torch.zeros(len(prompts), longest, dtype=torch.long)
    for i, p in enumerate(prompts):
        ids[i, longest - len(p.ids) :] = p.ids
        mask[i, longest - len(p.ids) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    kept: Any = DynamicCache(config=text.config)
    out = text(
        inputs_embeds=policy.embed(ids, [p.sound for p in prompts]),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        past_key_values=kept,
        use_cache=True,
    )
    prefix = [(layer.keys, layer.values) for layer in kept.layers]
    rows, there = (
        len(prompts) * group,
        slots + BUCKET,
    )  # more than any bucket: all have the same strides to compile
    suffix = [
        (k.new_zeros(rows, k.shape[1], there, k.shape[3]), v.new_zeros(rows, v.shape[1], there, v.shape[3]))
        for k, v in prefix
    ]
    padding = torch.zeros(mask.shape, device=device).masked_fill(mask == 0, -torch.inf)[:, None, None]
    hidden = out.last_hidden_state[:, -1].repeat_interleave(group, 0)
    return hidden, _Cache(prefix, suffix, padding), mask.sum(1).repeat_interleave(group)[:, None]


def _upto(cache: _Cache, t: int) -> _Cache:
    """The cache with the slots up to the bucket of t."""
    end = (t // BUCKET + 1) * BUCKET
    return _Cache(cache.prefix, [(k[:, :, :end], v[:, :, :end]) for k, v in cache.suffix], cache.padding)


@lru_cache
def compiled() -> Callable[..., Tensor]:
    """`decode` as one graph for all lengths."""
    return torch.compile(decode, dynamic=True)


def decode(text: Any, x: Tensor, position: Tensor, slot: Tensor, cache: _Cache, group: int) -> Tensor:
    """One token a row through a Llama or Qwen2 text model: embeddings `[N, 1, H]` to hidden states `[N, H]`.

    Writes its keys and values into the cache at `slot` `[1]`. A group's queries meet their prompt's keys
    together, so that these are read once.
    """
    rotate = sys.modules[type(text).__module__].apply_rotary_pos_emb
    turn = text.rotary_emb(x, position)
    rows = x.shape[0]
    for layer, (pk, pv), (sk, sv) in zip(text.layers, cache.prefix, cache.suffix, strict=True):
        a = layer.self_attn
        b, heads, p, d = pk.shape
        h = layer.input_layernorm(x)
        q, k, v = (f(h).view(rows, 1, -1, d).transpose(1, 2) for f in (a.q_proj, a.k_proj, a.v_proj))
        q, k = rotate(q, k, *turn)
        sk.index_copy_(2, slot, k)
        sv.index_copy_(2, slot, v)
        q = q.reshape(rows, heads, -1, d) * a.scaling  # queries that share a key head side by side
        joint = q.view(b, group, heads, -1, d).transpose(1, 2).reshape(b, heads, -1, d)
        before = (joint @ pk.transpose(2, 3)).float() + cache.padding
        before = before.view(b, heads, group, -1, p).transpose(1, 2).reshape(rows, heads, -1, p)
        own = (q @ sk.transpose(2, 3)).float()
        own = own.masked_fill(torch.arange(sk.shape[2], device=x.device) > slot, -torch.inf)
        weight = torch.cat([before, own], -1).softmax(-1).to(x.dtype)
        joint = weight[..., :p].reshape(b, group, heads, -1, p).transpose(1, 2).reshape(b, heads, -1, p)
        y = (joint @ pv).view(b, heads, group, -1, d).transpose(1, 2).reshape(rows, heads, -1, d)
        y = (y + weight[..., p:] @ sv).reshape(rows, 1, -1)
        x = x + a.o_proj(y)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return text.norm(x)[:, 0]
