"""Completions of prompts: a prompt is read once, and its group shares the keys and values.

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
from paqa.train.pause_tokens import UNBOUND, Bounds, PauseState, keyword_rows

BUCKET = 64  # slots by which the visible part of the completions' cache grows: few shapes
LOOK = 8  # steps between two looks at whether all rows have ended


@dataclass(eq=False)
class Rollout:
    """N = prompts x group completions of at most C tokens, the group of a prompt in consecutive rows.

    `ids`, `real`, `sampled`, `logp` and `confidence` have shape `[N, C]`. `real` marks tokens that exist,
    `sampled` those that the model chose; the rest of the real ones the environment forced: PAUSE, or the end
    of a row that gave up. `logp` is that of sampled tokens, `confidence` the windowed one.
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
        """How many tokens of each row were sampled, shape `[N]`: what counts as length."""
        return self.sampled.sum(1)

    def texts(self, policy: Policy) -> list[str]:
        """The texts of the completions, without PAUSE and the end of the turn."""
        texts = []
        for row, sampled in zip(self.ids, self.sampled, strict=True):
            ids = [token for token in row[sampled].tolist() if token not in policy.stop_ids]
            texts.append(policy.tokenizer.decode(ids))
        return texts

    def trees(self, prompts: Sequence[Prompt], only: Sequence[int], stripped: bool = False) -> list[Tree]:
        """The chosen prompts with their groups; `stripped` leaves out what was forced."""
        group = len(self.ids) // len(prompts)
        kept = self.sampled if stripped else self.real
        ids, kept, learn = self.ids.cpu(), kept.cpu(), self.sampled.cpu()
        trees = []
        for b in only:
            rows = range(b * group, (b + 1) * group)
            completions = tuple(ids[i][kept[i]] for i in rows)
            trees.append(Tree(prompts[b], completions, tuple(learn[i][kept[i]] for i in rows)))
        return trees


@dataclass(eq=False)
class _Cache:
    """Keys and values: the prompts' `[B, h, P, d]` and the completions' `[N, h, C, d]`, one pair a layer."""

    prefix: list[tuple[Tensor, Tensor]]
    suffix: list[tuple[Tensor, Tensor]]
    padding: Tensor  # [B, 1, 1, P] additive

    def keep(self, rows: Tensor, prompts: Tensor) -> None:
        """Go on with these rows and prompts alone; a layer at a time, so that there is little of both."""
        for i, (keys, values) in enumerate(self.suffix):
            self.suffix[i] = (keys[rows], values[rows])
        if len(prompts) < len(self.padding):
            for i, (keys, values) in enumerate(self.prefix):
                self.prefix[i] = (keys[prompts], values[prompts])
            self.padding = self.padding[prompts]


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn: at most `max_new` sampled tokens each, and PAUSE on top of these.

    Temperature 0 takes the likeliest token. `compile` makes one graph of a step: slow to begin with, then
    fewer kernels.
    """

    max_new: int
    temperature: float = 1.0
    pause: PauseConfig = OFF
    bounds: Bounds = UNBOUND
    compile: bool = False

    @property
    def slots(self) -> int:
        """The tokens that a completion may have, those of PAUSE included."""
        return self.max_new + (self.pause.runs * self.pause.tokens if self.pause.inserts else 0)


@torch.no_grad()
def rollout(
    policy: Policy, prompts: Sequence[Prompt], group: int, seeds: Sequence[int], sampling: Sampling
) -> Rollout:
    """`group` completions of each prompt; `seeds` holds one number a row, that is a completion."""
    began = time.perf_counter()
    slots = sampling.slots
    hidden, cache, position = _prefill(policy, prompts, group, slots)
    read = time.perf_counter()
    writer = _RolloutWriter(policy, sampling, seeds)
    step, used = compiled() if sampling.compile else decode, slots
    for t in range(slots):
        token = writer.write(t, policy.logits(hidden))
        look = t % LOOK == LOOK - 1
        if t + 1 == slots or (look and not bool(writer.alive.any())):
            used = t + 1
            break
        if look and not sampling.compile and (kept := rows_to_keep(writer.alive, group)):
            rows, size = kept
            cache.keep(rows, rows[::size] // group)
            writer.keep(rows)
            token, position, group = token[rows], position[rows], size
        x = policy.embed(token)[:, None]
        slot = torch.tensor([t], device=policy.device)
        hidden = step(policy.text, x, position + t, slot, _upto(cache, t), group)
    completions = writer.finished(used)
    completions.seconds = {"prefill": read - began, "decode": time.perf_counter() - read}
    return completions


def rows_to_keep(alive: Tensor, group: int) -> tuple[Tensor, int] | None:
    """The rows to go on with, numbers of shape `[n]`, and how many a prompt; None while they are over half.

    `alive`, shape `[N]`, are those that have not ended. `decode` needs groups of one size, so some
    prompts keep rows that have.
    """
    by_prompt = alive.view(-1, group)
    counts = by_prompt.sum(1)
    prompts, size = counts.nonzero(), int(counts.max())
    if 2 * len(prompts) * size > len(alive):
        return None
    members = by_prompt[prompts[:, 0]].int().argsort(1, descending=True)[:, :size]
    return (prompts * group + members).flatten(), size


class _RolloutWriter:
    """The rows of a rollout while they are written: one token each at a time, sampled or forced.

    `rows` are their numbers in the completions; `keep` leaves out some that have ended.
    """

    def __init__(self, policy: Policy, sampling: Sampling, seeds: Sequence[int]):
        rows, device = len(seeds), policy.device
        self.policy, self.sampling, self.rows = policy, sampling, torch.arange(rows, device=device)
        self.completions = _blank(policy, rows, sampling.slots)
        self.pauses = None if sampling.pause.mode == "off" else _pause_state(policy, sampling, rows)
        self.noise = torch.stack([_uniform(seed, sampling.max_new) for seed in seeds]).to(device)
        self.alive = torch.ones(rows, dtype=torch.bool, device=device)
        self.sampled = torch.zeros(rows, dtype=torch.long, device=device)
        self.stops = torch.tensor(policy.stop_ids, device=device)

    def write(self, t: int, logits: Tensor) -> Tensor:
        """Write token t of every row by its logits, shape `[n, V]`; returns the tokens `[n]`."""
        policy, max_new, temperature = self.policy, self.sampling.max_new, self.sampling.temperature
        alive, completions, rows = self.alive, self.completions, self.rows
        plain = logits.log_softmax(-1)  # confidence is the model's own, however it is sampled
        logp = plain if temperature in (0.0, 1.0) else (logits / temperature).log_softmax(-1)
        wait, give_up, confidence = self._decided(plain)
        chosen = alive & ~wait & ~give_up
        noise = self.noise.gather(1, self.sampled.clamp(max=max_new - 1)[:, None])
        token = _choose(logp, noise, temperature)
        completions.logp[rows, t] = torch.where(chosen, logp.gather(-1, token[:, None]).squeeze(-1), 0.0)
        token = torch.where(wait, policy.pause_id, torch.where(give_up, policy.end_id, token))
        token = torch.where(alive, token, policy.pad_id)
        completions.ids[rows, t], completions.real[rows, t] = token, alive
        completions.sampled[rows, t] = chosen
        if self.pauses:
            self.pauses.record(token, chosen)
            completions.confidence[rows, t] = torch.where(chosen | give_up, confidence, torch.nan)
        self.sampled = self.sampled + chosen
        ended = give_up | (chosen & torch.isin(token, self.stops))
        completions.aborted[rows] |= give_up
        completions.cut[rows] |= chosen & ~ended & (self.sampled >= max_new)
        self.alive = alive & ~ended & (self.sampled < max_new)
        return token

    def _decided(self, logp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which rows wait and which give up, and the confidence: see `PauseState.decide`."""
        if self.pauses:
            return self.pauses.decide(logp, self.alive)
        never = torch.zeros_like(self.alive)
        return never, never, self.noise[:, 0]

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the present rows, shape `[n]`; the others have ended."""
        self._note_pauses()
        self.rows, self.alive, self.sampled = self.rows[rows], self.alive[rows], self.sampled[rows]
        self.noise = self.noise[rows]
        if self.pauses:
            self.pauses.keep(rows)

    def _note_pauses(self) -> None:
        """Write the pauses of the present rows, and as their lowest confidence for now the mean."""
        if self.pauses:
            self.completions.pauses[self.rows] = self.pauses.runs
            self.completions.lowest[self.rows] = self.pauses.mean()

    def finished(self, used: int) -> Rollout:
        """The completions without the slots that no row has reached."""
        completions = self.completions
        for name in ("ids", "real", "sampled", "logp", "confidence"):
            setattr(completions, name, getattr(completions, name)[:, :used])
        self._note_pauses()
        if self.pauses:
            completions.lowest = _lowest(completions.confidence, completions.lowest)
        return completions


def _pause_state(policy: Policy, sampling: Sampling, rows: int) -> PauseState:
    def encode(text: str) -> list[int]:
        ids: list[int] = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    keywords = keyword_rows(sampling.pause.keywords, encode, policy.device)
    return PauseState(sampling.pause, sampling.bounds, rows, sampling.max_new, keywords)


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
    """One token a row `[N]` of log-probabilities `[N, V]` and a number in [0, 1) each, `[N, 1]`.

    It is the likeliest, or where the distribution function passes the row's number.
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
    read: Any = DynamicCache(config=text.config)
    out = text(
        inputs_embeds=policy.embed(ids, [p.sound for p in prompts]),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        past_key_values=read,
        use_cache=True,
    )
    prefix = [(layer.keys, layer.values) for layer in read.layers]
    rows, length = len(prompts) * group, slots + BUCKET  # over any bucket: one set of strides to compile
    suffix = [(_room(keys, rows, length), _room(values, rows, length)) for keys, values in prefix]
    padding = torch.zeros(mask.shape, device=device).masked_fill(mask == 0, -torch.inf)[:, None, None]
    hidden = out.last_hidden_state[:, -1].repeat_interleave(group, 0)
    return hidden, _Cache(prefix, suffix, padding), mask.sum(1).repeat_interleave(group)[:, None]


def _room(x: Tensor, rows: int, length: int) -> Tensor:
    """Zeros `[rows, h, length, d]` of the type and place of keys or values `[B, h, P, d]`."""
    return x.new_zeros(rows, x.shape[1], length, x.shape[3])


def _upto(cache: _Cache, t: int) -> _Cache:
    """The cache with the slots up to the bucket of t."""
    end = (t // BUCKET + 1) * BUCKET
    return _Cache(cache.prefix, [(k[:, :, :end], v[:, :, :end]) for k, v in cache.suffix], cache.padding)


@lru_cache
def compiled() -> Callable[..., Tensor]:
    """`decode` as one graph for all lengths; the same shapes."""
    return torch.compile(decode, dynamic=True)


def decode(text: Any, x: Tensor, position: Tensor, slot: Tensor, cache: _Cache, group: int) -> Tensor:
    """One token a row through a Llama, Qwen2 or Qwen2.5-Omni text model: `[N, 1, H]` to states `[N, H]`.

    Writes its keys and values into the cache at `slot` `[1]`. A group's queries meet their prompt's keys
    together, so that these are read once.
    """
    rotate = sys.modules[type(text).__module__].apply_rotary_pos_emb
    turn = text.rotary_emb(x, position)  # of Omni alike on its three axes of positions
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
        to_prompt = (joint @ pk.transpose(2, 3)).float() + cache.padding
        to_prompt = to_prompt.view(b, heads, group, -1, p).transpose(1, 2).reshape(rows, heads, -1, p)
        to_completion = (q @ sk.transpose(2, 3)).float()
        written = torch.arange(sk.shape[2], device=x.device) <= slot
        to_completion = to_completion.masked_fill(~written, -torch.inf)
        weight = torch.cat([to_prompt, to_completion], -1).softmax(-1).to(x.dtype)
        joint = weight[..., :p].reshape(b, group, heads, -1, p).transpose(1, 2).reshape(b, heads, -1, p)
        y = (joint @ pv).view(b, heads, group, -1, d).transpose(1, 2).reshape(rows, heads, -1, d)
        y = (y + weight[..., p:] @ sv).reshape(rows, 1, -1)
        x = x + a.o_proj(y)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return text.norm(x)[:, 0]
