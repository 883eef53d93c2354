"""The families of models that are trained: what differs between them, and how a base is loaded.

What they share: `lm_head`, and under `model` an `audio_tower` and a `language_model` whose layers are Llama's
or Qwen2's. Audio takes the places of its placeholder token one row each, and positions count tokens, those of
audio like those of text: Qwen2.5-Omni's three axes of positions are equal where there are no images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from paqa.errors import PaqaError
from paqa.train import encoder

AUDIO = "<|AUDIO|>"  # the placeholder of Qwen's models


@dataclass(frozen=True)
class Family:
    """One family; what is not given is as in Qwen2-Audio."""

    types: tuple[str, ...]  # `model_type` of its checkpoints, of its network last
    network: str  # the class of transformers
    language_models: tuple[str, ...]  # their `model_type`
    encoding: str | int  # of a kept clip; another one where `encode` makes other rows of the same samples
    encode_window: Callable[[np.ndarray, Any, Any, int], Tensor] = encoder.whisper
    audio: str = AUDIO  # the placeholder, once in the chat template, and once a row in a prompt
    around: tuple[str, str] = ("", "")  # what the processor writes before and behind the rows
    projector: str = "multi_modal_projector"  # the module under `model`
    processor: str = "AutoProcessor"

    @property
    def name(self) -> str:
        return self.types[-1]

    def longest(self, processor: Any) -> int:
        """Samples of the longest audio: a window, or as many windows as the processor cuts audio into."""
        extractor = processor.feature_extractor
        windows = getattr(processor, "max_audio_len", extractor.chunk_length) // extractor.chunk_length
        return int(windows) * int(extractor.n_samples)

    def rows(self, samples: int, processor: Any, net: Any) -> int:
        """How many rows so many samples have."""
        extractor = processor.feature_extractor
        whole, rest = divmod(samples, extractor.n_samples)
        windows = [*[extractor.n_samples] * whole, *([rest] if rest else [])]
        return sum(encoder.lengths(n, extractor, net.model.audio_tower)[1] for n in windows)

    @torch.no_grad()
    def encode(self, samples: np.ndarray, processor: Any, net: Any) -> Tensor:
        """The rows `[n, d]` that the projector takes, of mono float32 samples at 16 kHz, window by window."""
        extractor = processor.feature_extractor
        starts = range(0, len(samples), extractor.n_samples)
        windows = [samples[start : start + extractor.n_samples] for start in starts]
        return torch.cat(
            [
                self.encode_window(window, extractor, net.model, number)
                for number, window in enumerate(windows)
                if self.rows(len(window), processor, net)
            ]
        )


FAMILIES = (
    Family(("qwen2_audio",), "Qwen2AudioForConditionalGeneration", ("llama", "qwen2"), 1),
    Family(
        ("qwen2_5_omni", "qwen2_5_omni_thinker"),
        "Qwen2_5OmniThinkerForConditionalGeneration",
        ("qwen2_5_omni_text",),
        "qwen2_5_omni 1",
        encoder.omni,
        projector="audio_tower.proj",
        # Omni's processor needs torchvision for its images; of audio and text this one makes the same.
        processor="Qwen2AudioProcessor",
    ),
    Family(
        ("audioflamingo3",),
        "AudioFlamingo3ForConditionalGeneration",
        ("qwen2",),
        "audioflamingo3 1",
        audio="<sound>",
    ),
    Family(
        ("musicflamingo",),
        "MusicFlamingoForConditionalGeneration",
        ("qwen2",),
        "musicflamingo 1",
        encoder.whisper_with_time,
        audio="<sound>",
        around=("<|sound_bos|>", "<|sound_eos|>"),
    ),
)


def of(net: Any) -> Family:
    """The family of a network, with or without adapters."""
    return next(family for family in FAMILIES if family.name == net.config.model_type)


def projector(net: Any) -> nn.Module:
    """The projector of a network, which may be wrapped by adapters."""
    module: nn.Module = net.model.get_submodule(of(net).projector)
    return module


def load(source: str, processor: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The network of a checkpoint (a Hub id or a folder), and the processor of another; of Omni the thinker.

    Raises PaqaError where there is none, and where it is of no family.
    """
    import transformers

    config = _from_pretrained(lambda: transformers.AutoConfig.from_pretrained(source), source)
    language_model = getattr(config.get_text_config(), "model_type", "?")
    family = next((f for f in FAMILIES if config.model_type in f.types), None)
    if family is None or language_model not in family.language_models:
        expected = ", ".join(
            f"{' or '.join(f.types)} over {' or '.join(f.language_models)}" for f in FAMILIES
        )
        raise PaqaError(f"{source}: is {config.model_type} over {language_model}; expected {expected}")
    networks, processors = getattr(transformers, family.network), getattr(transformers, family.processor)
    net = _from_pretrained(
        lambda: networks.from_pretrained(source, dtype=dtype, attn_implementation="sdpa"), source
    )
    return net, _from_pretrained(lambda: processors.from_pretrained(processor), processor)


def _from_pretrained(read: Callable[[], Any], source: str) -> Any:
    try:
        return read()
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:200]
        last = Path(source).parent / "last"
        there = f"; there is {last}" if last.is_dir() else ""
        raise PaqaError(
            f"{source}: no model there ({reason}){there}; expected a Hub id or a folder, e.g. of: "
            "paqa-train base --out DIR"
        ) from None
