"""DeepFilterNet3 with onnxruntime equals the authors' C library."""

import numpy as np
import pytest
import soundfile
from closeness import steps
from conftest import CORPUS

from paqa.engines import _deepfilter
from paqa.engines._signal import fit_length
from paqa.engines.deepfilternet import DeepFilterNet, DeepFilterNetParams
from paqa.types import Audio

RATE = 48_000
LEAST_SNR = 80.0  # dB; measured: 95 to 134 on ten kinds of signals, 83 on 20 ms of near silence


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    """1.5 s of silence, then 1.5 s of a voice at 10 dB over white noise."""
    voice, rate = soundfile.read(min((CORPUS / "speech").rglob("*.flac")), dtype="float32", frames=RATE * 2)
    voice = fit_length(np.repeat(voice, round(RATE / rate)), RATE * 3 // 2)
    noise = np.random.default_rng(0).standard_normal(len(voice)) * np.std(voice) * 0.3
    return np.concatenate([np.zeros(RATE * 3 // 2), voice + noise]).astype(np.float32)


@pytest.fixture(scope="module")
def engine() -> DeepFilterNet:
    return DeepFilterNet()


def speech(samples: np.ndarray, **params: object) -> np.ndarray:
    """The speech stem of mono samples at 48 kHz."""
    return (
        DeepFilterNet(DeepFilterNetParams(**params))([Audio(samples[None], RATE)])[0]
        .stems["speech"]
        .samples[0]
    )


def snr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    error = np.sum((reference - estimate).astype(np.float64) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / max(error, 1e-30)))


@pytest.mark.parametrize("params", [{}, {"post_filter_beta": 0.02, "attenuation_db": 12.0}])
def test_equals_the_library_on_speech_in_noise(noisy: np.ndarray, params: dict[str, float]) -> None:
    reference = speech(noisy, runtime="library", **params)
    assert np.std(reference) > 1e-3
    assert snr_db(reference, speech(noisy, **params)) > LEAST_SNR


def test_equals_the_library_on_white_noise() -> None:
    noise = (np.random.default_rng(1).standard_normal(RATE + 123) * 0.1).astype(np.float32)
    assert snr_db(speech(noise, runtime="library"), speech(noise)) > LEAST_SNR


@pytest.mark.parametrize("samples", [1, 480, 481, 960])
def test_equals_the_library_on_short_clips(samples: int) -> None:
    click = np.full(samples, 0.5, dtype=np.float32)
    reference, found = speech(click, runtime="library"), speech(click)
    assert found.shape == reference.shape == (samples,)
    assert steps(found, reference, size=0.5) < 5  # steps of the click; seen: 0.4


def test_silence_stays_silence(engine: DeepFilterNet) -> None:
    stems = engine([Audio(np.zeros((1, RATE), np.float32), RATE)])[0].stems
    assert not stems["speech"].samples.any()
    assert not stems["background"].samples.any()


def test_does_not_depend_on_the_chunk(noisy: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = speech(noisy)
    monkeypatch.setattr(_deepfilter, "CHUNK", 7)
    assert snr_db(whole, speech(noisy)) > 100


def test_a_batch_on_two_threads_equals_single_clips(noisy: np.ndarray, engine: DeepFilterNet) -> None:
    clips = [Audio(np.stack([noisy, noisy[::-1]]), RATE), Audio(noisy[None, 70_000:90_000], 16_000)]
    batch = DeepFilterNet(threads=2)(clips)
    for clip, heard in zip(clips, batch, strict=True):
        alone = engine([clip])[0]
        assert heard.stems["speech"].samples.shape == clip.samples.shape
        for name, stem in alone.stems.items():
            np.testing.assert_array_equal(heard.stems[name].samples, stem.samples)


def test_bands_cover_the_spectrum() -> None:
    sizes = np.diff(_deepfilter.band_starts())
    assert (len(sizes), sizes.sum(), sizes.min()) == (32, 481, 2)
