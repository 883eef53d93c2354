"""faster-whisper for several clips at once: windows are encoded at their own length and decoded together.

The library's `transcribe` takes one clip after another and pads each window to 30 s, as Whisper was trained.
Here each clip has its `transcribe` in a greenlet. That stops where a window is to be decoded, until the other
clips have come as far: a decoder is faster with the beams of several windows than with those of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

FRAMES_A_SECOND = 100  # of a log-mel spectrogram
SHORTEST_S, SILENCE_S, STEP_S = 15, 5, 5  # of an encoded window; silence after what is heard; lengths' step
WINDOW_S = 30
TOGETHER = 8  # windows, on a CPU
AT_ONCE = 32  # clips under way, whose encoded windows are kept: 1 to 2 MB each


def cut_padding(features: np.ndarray) -> np.ndarray:
    """Less of the zeros that a log-mel window `(mels, 3000)` is padded with: `(mels, 1500)` or more.

    The encoder's time is that of the length. On 50 sentences of LibriSpeech, clean and with sounds at 0 to 15
    dB, word error rates of tiny.en were 12.0 and 26.1 % with 30 s, 12.1 and 25.1 % like this; of base 9.4 and
    18.1, 11.1 and 17.9 %. With half a second of silence tiny.en made twice as many errors.
    """
    heard = np.flatnonzero(features.any(axis=0))
    seconds = (int(heard[-1]) + 1 if len(heard) else 0) / FRAMES_A_SECOND + SILENCE_S
    kept = min(WINDOW_S, max(SHORTEST_S, -int(-seconds // STEP_S) * STEP_S))
    return features[:, : kept * FRAMES_A_SECOND]


@cache
def batched_model() -> type[Any]:
    """A `faster_whisper.WhisperModel` with `transcribe_all`."""
    from faster_whisper import WhisperModel
    from greenlet import getcurrent, greenlet

    class Waiting:
        """A CTranslate2 model whose `generate` waits for the windows of other clips."""

        def __init__(self, model: Any):
            self._model = model

        def __getattr__(self, name: str) -> Any:
            return getattr(self._model, name)

        def generate(self, encoded: Any, prompts: list[list[int]], **options: Any) -> Any:
            return getcurrent().parent.switch((encoded, prompts, options))

    class BatchedWhisperModel(WhisperModel):  # type: ignore[misc]
        """Transcribes several signals as `transcribe` does each, but for the length of its windows."""

        model: Any

        def transcribe_all(self, signals: Sequence[np.ndarray], **options: Any) -> list[list[Any]]:
            """The segments of each signal `(n,)` at 16 kHz; `options` are those of `transcribe`."""
            parts = [signals[i : i + AT_ONCE] for i in range(0, len(signals), AT_ONCE)]
            return [segments for part in parts for segments in self._transcribe_part(part, options)]

        def _transcribe_part(self, signals: Sequence[np.ndarray], options: dict[str, Any]) -> list[list[Any]]:
            model, self.model = self.model, Waiting(self.model)
            try:
                tasks = [greenlet(partial(self._segments, signal, options)) for signal in signals]
                states = [task.switch() for task in tasks]
                while waiting := [i for i, task in enumerate(tasks) if not task.dead]:
                    results = decoded(model, [states[i] for i in waiting])
                    for i, result in zip(waiting, results, strict=True):
                        states[i] = tasks[i].switch([result])
                return states
            finally:
                self.model = model

        def _segments(self, signal: np.ndarray, options: dict[str, Any]) -> list[Any]:
            return list(self.transcribe(signal, **options)[0])

        def encode(self, features: np.ndarray) -> Any:
            """As the library's, of windows with less padding."""
            return super().encode(cut_padding(features) if features.ndim == 2 else features)

    return BatchedWhisperModel


def decoded(model: Any, windows: Sequence[tuple[Any, list[list[int]], dict[str, Any]]]) -> list[Any]:
    """One result for each encoded window with its prompt and the options of `model.generate`."""
    from ctranslate2 import StorageView

    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, (encoded, (prompt,), _) in enumerate(windows):
        alike[tuple(encoded.shape), len(prompt)].append(i)
    most = TOGETHER if model.device == "cpu" else 1  # arrays of a GPU are not stacked here
    results: dict[int, Any] = {}
    for indices in alike.values():
        for start in range(0, len(indices), most):
            batch = indices[start : start + most]
            encoded, _, options = windows[batch[0]]
            if len(batch) > 1:
                encoded = StorageView.from_array(np.concatenate([np.array(windows[i][0]) for i in batch]))
            prompts = [windows[i][1][0] for i in batch]
            results |= zip(batch, model.generate(encoded, prompts, **options), strict=True)
    return [results[i] for i in range(len(windows))]
