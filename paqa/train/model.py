"""An audio language model as a policy: load it, encode clips, lay prompts and completions out, score tokens.

What differs between families of models is in families.py.

`PAUSE` never enters the embedding or the head: its one trainable row is put in where the token stands, and
its logit is minus infinity in sampling and in scoring alike. Trained weights are LoRA matrices on the
language model or all of its weights, that row, and the projector if wanted; everything else is frozen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from paqa.errors import PaqaError
from paqa.rationale import prompt as prompts
from paqa.spans import Interval
from paqa.storage.store import write_atomically
from paqa.train import adapters, families, full_weights
from paqa.train.batch_layout import Layout, Prompt, Tree, is_chain, layout, visible
from paqa.train.config import PauseConfig, parse
from paqa.train.pause_tokens import Bounds
from paqa.train.sound_store import SoundStore

PAUSE, TURN_END = "<PAUSE>", "<|im_end|>"
RATE = 16_000  # Hz, of all audio that the encoder takes
TRAINED = "paqa.json"  # in a trained folder: its base, and its adapter or that it was trained in full
Read = TypeVar("Read")


class Policy(nn.Module):
    """The model, its processor and the PAUSE row. Text in and out is ids; sound is the encoder's output."""

    def __init__(self, net: Any, processor: Any, base: str, chunk: int = 1024):
        super().__init__()
        self.net, self.processor, self.base, self.chunk = net, processor, base, chunk
        self.family = families.of(net)
        self.bounds: Bounds | None = None  # of confidence, as the last GRPO left them (see pause.py)
        self.pause_config: PauseConfig | None = None  # how that GRPO paused
        self.sounds: SoundStore | None = None  # where encoded clips are kept
        self.one_by_one = net.device.type == "cpu"  # trees are scored alone: no mask over all pairs of a pack
        self.is_full = False  # its language model's own weights were trained, or are
        self.weights_before: dict[str, Tensor] | None = None  # those that full training began with
        self.max_new = 0  # sampled tokens of a completion at most, in the last training; 0: unknown
        self.brief, self.letters = False, True  # how most rows of the last training were asked
        tokenizer = processor.tokenizer
        if PAUSE not in tokenizer.get_vocab():
            tokenizer.add_special_tokens({"extra_special_tokens": [PAUSE]})
        self.pause_id: int = tokenizer.convert_tokens_to_ids(PAUSE)
        self.audio_id: int = tokenizer.convert_tokens_to_ids(self.family.audio)
        self.end_id: int = tokenizer.convert_tokens_to_ids(TURN_END)
        for name, token_id in ((self.family.audio, self.audio_id), (TURN_END, self.end_id)):
            if name not in tokenizer.get_vocab():
                raise PaqaError(
                    f"{base}: its tokenizer has no {name} (found id {token_id}); expected one of "
                    f"{self.family.name}"
                )
        stops = {self.end_id, tokenizer.eos_token_id}
        self.stop_ids = sorted(i for i in stops if i is not None)
        self.pad_id: int = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        rows = net.get_input_embeddings().weight
        self.pause = nn.Parameter(rows.detach().float().mean(0))
        forbidden = torch.zeros(net.lm_head.weight.shape[0])
        forbidden[[i for i in (self.pause_id, self.audio_id) if i < len(forbidden)]] = -torch.inf
        forbidden[len(tokenizer) :] = -torch.inf  # rows that no token has
        self.register_buffer("forbidden", forbidden, persistent=False)
        self.to(rows.device)

    @property
    def inner(self) -> Any:
        """The transformers model, LoRA or not."""
        return self.net.get_base_model() if hasattr(self.net, "get_base_model") else self.net

    @property
    def text(self) -> Any:
        """The language model without its head."""
        return self.inner.model.language_model

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        return self.pause.device

    @property
    def max_samples(self) -> int:
        """The longest audio that the model takes, in samples."""
        return self.family.longest(self.processor)

    @property
    def max_ms(self) -> int:
        """The same in ms."""
        return round(self.max_samples * 1000 / RATE)

    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {n: p for n, p in self.named_parameters() if p.requires_grad}

    # encoding

    def encode(self, samples: np.ndarray, name: str = "clip") -> Tensor:
        """The encoder's output of shape `[n, d]` for mono float32 samples at 16 kHz, 25 rows a second.

        A clip is always encoded alone, so that its rows do not depend on a batch. Raises PaqaError for clips
        that are too long: they are never cut silently.
        """
        if len(samples) > self.max_samples:
            raise PaqaError(
                f"{name}: {len(samples) / RATE:.3f} s is longer than the {self.max_ms / 1000:g} s that the "
                f"encoder hears; cut it, or build with audio.max_clip_ms = {self.max_ms} or less"
            )
        if self.family.rows(len(samples), self.processor, self.inner) < 1:
            raise PaqaError(f"{name}: {len(samples)} samples are too few to be heard; expected 30 ms or more")
        if self.sounds:
            return self.sounds.encoded(samples, lambda: self._encode(samples))
        return self._encode(samples)

    def _encode(self, samples: np.ndarray) -> Tensor:
        return self.family.encode(samples, self.processor, self.inner)

    def as_trained(self, asked: prompts.PromptQuestion) -> prompts.PromptQuestion:
        """A question that is no row of a build, in the style of the rows that the model was trained on."""
        return replace(asked, brief=self.brief, letters=self.letters)

    def prompt(self, text: prompts.PromptQuestion, sound: Tensor) -> Prompt:
        """The chat prompt of a question over an encoded clip, `sound` of shape `[n, d]`."""
        return Prompt(self.prompt_ids(text, len(sound)), sound)

    def prompt_ids(self, text: prompts.PromptQuestion, rows: int) -> Tensor:
        """The token ids of a chat prompt, shape `[P]`, with one AUDIO for each of the sound's rows."""
        content = [{"type": "audio", "audio_url": "clip"}, {"type": "text", "text": prompts.question(text)}]
        chat = [{"role": "user", "content": content}]
        written = self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        before, behind = self.family.around
        written = written.replace(self.family.audio, f"{before}{self.family.audio}{behind}")
        ids = self.tokenizer(written, add_special_tokens=False)["input_ids"]
        if ids.count(self.audio_id) != 1:
            raise PaqaError(
                f"{text.id}: expected one {self.family.audio} in the prompt, found {ids.count(self.audio_id)}"
            )
        at = ids.index(self.audio_id)
        return torch.tensor([*ids[:at], *[self.audio_id] * rows, *ids[at + 1 :]])

    def completion_ids(self, text: str, name: str = "rationale") -> Tensor:
        """The token ids of a completion, shape `[c]`, with the end of the turn."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if any(i in (self.audio_id, self.pause_id, *self.stop_ids) for i in ids):
            raise PaqaError(
                f"{name}: its text contains a special token of the model; expected plain text and tags"
            )
        return torch.tensor([*ids, self.end_id])

    def tokens_within(self, text: str, spans: Sequence[Interval]) -> Tensor:
        """Which tokens of a completion lie within these spans of characters, shape `[c]`.

        One that reaches over an edge of a span, into a tag, does not; nor does the end of the turn.
        """
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = encoded["offset_mapping"]
        within = [any(a <= start and end <= b for a, b in spans) for start, end in offsets]
        return torch.tensor([*within, False])

    # scoring

    def embed(self, ids: Tensor, sounds: Sequence[Tensor] = ()) -> Tensor:
        """Embeddings, shape `[..., H]`, of ids `[...]`; the sounds take the places of AUDIO, in order."""
        paused = ids == self.pause_id
        x = self.net.get_input_embeddings()(ids.masked_fill(paused, 0))
        x = torch.where(paused[..., None], self.pause.to(x.dtype), x)
        if not sounds:
            return x
        projector = adapters.projector_in_use(self.inner)
        dtype = next(projector.parameters()).dtype
        rows = projector(torch.cat([s.to(self.device) for s in sounds]).to(dtype))
        return x.masked_scatter((ids == self.audio_id)[..., None], rows.to(x.dtype))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of tokens that may be written, float32 of shape `[..., V]`, of hidden `[..., H]`."""
        return self.inner.lm_head(hidden).float() + self.forbidden

    def hidden(self, trees: Sequence[Tree], x: Layout) -> Tensor:
        """The last hidden states, shape `[L, H]`, of a layout of these trees."""
        embedded = self.embed(x.ids, [t.prompt.sound for t in trees])
        limit = self.text.config.max_position_embeddings
        if len(x.ids) > limit and int(x.position.max()) >= limit:
            raise PaqaError(
                f"a prompt with its completion has {int(x.position.max()) + 1} tokens; at most {limit} fit"
            )
        out = self.text(
            inputs_embeds=embedded[None],
            attention_mask=None if is_chain(trees) else visible(x)[None, None],
            position_ids=x.position[None],
            use_cache=False,
        )
        return out.last_hidden_state[0]

    def score(self, trees: Sequence[Tree], temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Log-probabilities of all `learn` tokens in order, shape `[T]`, and their entropies, in one pass.

        Entropies have no gradient.
        """
        if self.one_by_one and len(trees) > 1:
            scores = [self.score([tree], temperature) for tree in trees]
            return torch.cat([logp for logp, _ in scores]), torch.cat([entropy for _, entropy in scores])
        x = layout(trees)
        x = Layout(*(getattr(x, f).to(self.device) for f in Layout.__dataclass_fields__))
        h = self.hidden(trees, x)[x.source]
        if not len(h):
            return h.new_zeros(0, dtype=torch.float32), h.new_zeros(0, dtype=torch.float32)
        chunks = zip(torch.split(h, self.chunk), torch.split(x.target, self.chunk), strict=True)
        parts = [
            checkpoint(self._piece, hidden, target, temperature, use_reentrant=False)
            for hidden, target in chunks
        ]
        return torch.cat([p for p, _ in parts]), torch.cat([e for _, e in parts])

    def _piece(self, hidden: Tensor, target: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """A chunk's log-probabilities and entropies; its logits are made anew in the backward pass."""
        z = self.logits(hidden) / temperature
        norm = z.logsumexp(-1)
        with torch.no_grad():
            entropy = torch.special.entr((z - norm[:, None]).exp()).sum(-1)
        return z.gather(-1, target[:, None]).squeeze(-1) - norm, entropy

    @contextmanager
    def reference(self) -> Iterator[None]:
        """The frozen model that this stage began with, its projector included."""
        before = self.weights_before
        as_before = full_weights.exchanged(self.net, before) if before else adapters.reference(self.net)
        with as_before, torch.no_grad():
            yield

    # training and saving

    def train_lora(self, rank: int, alpha: int, projector: bool, checkpointing: bool) -> None:
        """Freeze everything but LoRA matrices, the PAUSE row and, if `projector`, the projector.

        What is trained is float32. The adapter of a trained model goes on being trained. Raises PaqaError
        where it was made with another rank or alpha, or without the projector that is to be trained, and
        where the model was trained in full.
        """
        if self.is_full:
            raise PaqaError("--train: found lora, but the model was trained in full; expected full")
        if adapters.is_adapted(self.net):
            adapters.go_on(self.net, rank, alpha, projector)
        else:
            self.net = adapters.add(self.net.requires_grad_(False), rank, alpha, projector)
        if checkpointing:
            self._checkpoint_activations()

    def train_full(self, projector: bool, checkpointing: bool, reference: bool) -> None:
        """Freeze the encoder alone, and the projector unless `projector`. What is trained is float32.

        With `reference` a copy of the present weights is kept for it. Raises PaqaError where there is an
        adapter.
        """
        if adapters.is_adapted(self.net):
            raise PaqaError(
                "--train: found full, but the model has an adapter; expected lora, or a checkpoint that "
                "paqa-train export makes of the model"
            )
        full_weights.train(self.net, projector)
        self.is_full = True
        self.weights_before = full_weights.copied(self.net) if reference else None
        if checkpointing:
            self._checkpoint_activations()

    def _checkpoint_activations(self) -> None:
        named = ("activation_checkpointing_enable", "gradient_checkpointing_enable")  # newer, older
        enable = next(getattr(self.text, name) for name in named if hasattr(self.text, name))
        enable({"use_reentrant": False})

    def save(self, folder: Path) -> None:
        """Write the trained folder: adapter or weights, PAUSE row, processor, and the base it belongs to."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        names = ["adapter-0"] if adapters.is_adapted(self.net) else []
        for name in names:
            adapters.write(self.net, folder / name)
        if self.is_full:
            full_weights.write(self.net, folder)
        save_file({"pause": self.pause.detach().cpu().contiguous()}, folder / "pause.safetensors")
        self.processor.save_pretrained(folder)
        about: dict[str, Any] = {"base": self.base, "adapters": names, "full": self.is_full}
        about["bounds"] = self.bounds and self.bounds.plain()
        about["pause"] = self.pause_config and asdict(self.pause_config)
        about |= {"max_new": self.max_new, "brief": self.brief, "letters": self.letters}
        write_atomically(folder / TRAINED, json.dumps(about, indent=1).encode() + b"\n")


def device_of(requested: str) -> torch.device:
    """`auto` is the GPU where there is one, `cuda` under torchrun this process' own. Raises PaqaError."""
    local_gpu = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if requested == "auto":
        return torch.device(local_gpu if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(local_gpu if requested == "cuda" else requested)
    except RuntimeError:
        raise PaqaError(f"--device: found {requested!r}; expected auto, cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        raise PaqaError(
            f"--device: found {requested!r}, but there are {torch.cuda.device_count()} GPUs; "
            "try --device auto"
        )
    return device


def dtype_of(requested: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on a GPU that computes in it, else float32."""
    if requested != "auto":
        return torch.bfloat16 if requested == "bfloat16" else torch.float32
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def allow_tf32(device: torch.device) -> None:
    """Compute products of float32, as those of LoRA, in TF32 on a GPU: faster, of 10 bits of mantissa."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def load(source: str, device: str = "auto", dtype: str = "auto", chunk: int = 1024) -> Policy:
    """A base by Hub id or folder, or a trained folder: its base and, in float32, its adapter or weights."""
    where = device_of(device)
    allow_tf32(where)
    about_file = Path(source) / TRAINED
    if not about_file.is_file():
        policy = _load_base(source, source, where, dtype_of(dtype, where), chunk)
        policy.eval()
        return policy
    about = _read_part(source, lambda: json.loads(about_file.read_text(encoding="utf-8")))
    base = _read_part(source, lambda: str(about["base"]))
    policy = _load_base(base, source, where, dtype_of(dtype, where), chunk)
    _read_part(source, lambda: _load_trained(policy, Path(source), about))
    policy.eval()
    return policy


def _load_trained(policy: Policy, folder: Path, about: dict[str, Any]) -> None:
    """Load into a base what a trained folder holds."""
    from safetensors.torch import load_file

    names = about["adapters"]
    if len(names) > 1:
        raise PaqaError(
            f"{folder}: has {len(names)} adapters, of before one adapter went through both stages; train it "
            f"again from {policy.base}"
        )
    for name in names:
        policy.net = adapters.read(policy.net, folder / name)
    if about.get("full"):
        full_weights.read(policy.net, folder)
        policy.is_full = True
    policy.max_new = int(about.get("max_new", 0))
    policy.brief, policy.letters = bool(about.get("brief", False)), bool(about.get("letters", True))
    if bounds := about.get("bounds"):
        policy.bounds = Bounds.of(bounds)
    if stored := about.get("pause"):
        policy.pause_config = parse(stored, PauseConfig, str(folder / TRAINED))
    with torch.no_grad():
        policy.pause.copy_(load_file(folder / "pause.safetensors")["pause"])


def _read_part(folder: str, read: Callable[[], Read]) -> Read:
    """The value of `read`, which reads a part of a trained folder; PaqaError where it is incomplete."""
    try:
        return read()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:200]
        raise PaqaError(
            f"{folder}: not a whole trained model ({reason}); train it again, or take another"
        ) from None


def _load_base(source: str, processor: str, device: torch.device, dtype: torch.dtype, chunk: int) -> Policy:
    net, loaded_processor = families.load(source, processor, dtype)
    net.requires_grad_(False)
    base = str(Path(source).resolve()) if Path(source).is_dir() else source
    return Policy(net.to(device), loaded_processor, base, chunk)
