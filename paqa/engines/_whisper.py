"""openai-whisper's decoder for several windows with several beams each.

The library's beam search takes one window at a time, and computes keys and values of its audio for each beam.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple


class Aligner(NamedTuple):
    """The parts of a model that the library's alignment uses; takes features in place of a spectrogram."""

    decoder: Any
    device: Any
    dims: Any
    alignment_heads: Any

    def __call__(self, features: Any, tokens: Any) -> Any:
        return self.decoder(tokens, features)


@cache
def beam_sharing_attention() -> type[Any]:
    """A module around cross-attention that takes the beams of a window for further positions of one query.

    All beams attend to the same audio, so its keys and values are computed once a window, not once a beam.
    """
    from torch import nn

    class BeamSharingAttention(nn.Module):
        def __init__(self, inner: Any):
            super().__init__()
            self.inner = inner

        def forward(self, x: Any, xa: Any = None, mask: Any = None, kv_cache: Any = None) -> Any:
            beams, length = x.shape[0] // xa.shape[0], x.shape[1]
            out, qk = self.inner(x.reshape(xa.shape[0], beams * length, -1), xa, mask, kv_cache)
            return out.reshape(x.shape), qk

    return BeamSharingAttention


@cache
def batched_decoding_task() -> type[Any]:
    """The library's decoding task, for several windows with several beams each.

    The library pairs every beam with its window's audio only where there is one window; the shared attention
    takes one row of audio a window, the rest of the task one a beam.
    """
    from whisper.decoding import DecodingTask

    class BatchedTask(DecodingTask):  # type: ignore[misc]
        def _get_audio_features(self, mel: Any) -> Any:
            return super()._get_audio_features(mel).repeat_interleave(self.n_group, dim=0)

        def _detect_language(self, audio_features: Any, tokens: Any) -> Any:
            return super()._detect_language(audio_features[:: self.n_group], tokens)

        def _main_loop(self, audio_features: Any, tokens: Any) -> Any:
            return super()._main_loop(audio_features[:: self.n_group], tokens)

    return BatchedTask
