"""faster-whisper for several clips at once: the same segments as one after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import CORPUS

pytest.importorskip("faster_whisper")

from paqa.engines._batched_whisper import cut_padding, decoded
from paqa.engines.faster_whisper import FasterWhisper, FasterWhisperParams
from paqa.types import Audio

FILES = ("allison-01", "awb-02", "ked-03", "rms-04", "slt-05", "kal-03")


@pytest.fixture(scope="module")
def engine() -> FasterWhisper:
    return FasterWhisper(FasterWhisperParams(language="en"))


@pytest.fixture(scope="module")
def signals() -> list[np.ndarray]:
    """Sentences of the demo, one of 40 s (two windows), and one without speech."""
    read = [_at_16k(CORPUS / "speech" / f"{name}.flac") for name in FILES]
    long = np.concatenate([np.concatenate(read)] * 3)[: 40 * 16_000]
    return [*read, long, np.zeros(32_000, np.float32)]


def _at_16k(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    return samples


@pytest.mark.parametrize(
    ("seconds", "kept"), [(0, 15), (2, 15), (9.99, 15), (10.01, 20), (20, 25), (21, 30), (30, 30)]
)
def test_a_window_keeps_what_is_heard_and_some_silence(seconds: float, kept: int) -> None:
    features = np.zeros((80, 3000), np.float32)
    features[:, : round(seconds * 100)] = 0.5
    assert cut_padding(features).shape == (80, kept * 100)
    assert (cut_padding(features) == features[:, : kept * 100]).all()


def test_together_they_are_transcribed_as_alone(engine: FasterWhisper, signals: list[np.ndarray]) -> None:
    clips = [Audio(signal[None], 16_000) for signal in signals]
    together, alone = engine(clips), [engine([clip])[0] for clip in clips]
    assert [[w.text for w in o.words] for o in together] == [[w.text for w in o.words] for o in alone]
    assert len(together[6].words) > 3 * len(together[0].words)
    assert not together[7].words
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours.words, theirs.words, strict=True):
            assert replace(a, score=0) == replace(b, score=0)
            assert a.score == pytest.approx(b.score, abs=1e-4)


def test_windows_are_decoded_together(
    engine: FasterWhisper, signals: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def counted(model: object, windows: list[tuple[object, list[list[int]], dict[str, object]]]) -> object:
        sizes.append(len(windows))
        return decoded(model, windows)

    monkeypatch.setattr("paqa.engines._batched_whisper.decoded", counted)
    engine([Audio(signal[None], 16_000) for signal in signals])
    assert sizes[0] == 7  # of all clips with speech
    assert len(sizes) >= 2  # and the second window of the long one
    sizes.clear()
    monkeypatch.setattr("paqa.engines._batched_whisper.AT_ONCE", 3)
    engine([Audio(signal[None], 16_000) for signal in signals[:6]])
    assert max(sizes) == 3


def test_a_clip_that_fails_leaves_the_model_as_it_was(
    engine: FasterWhisper, signals: list[np.ndarray]
) -> None:
    model = engine._english
    with pytest.raises(TypeError, match="incompatible function arguments"):
        model.transcribe_all(signals[:2], language="en", beam_size=-1, vad_filter=False)
    assert engine([Audio(signals[0][None], 16_000)])[0].words
