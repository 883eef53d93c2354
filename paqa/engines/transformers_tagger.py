"""Tag with any audio-classification model of `transformers`: AST, wav2vec2, HuBERT, WavLM, Whisper encoders.

Gong, Chung and Glass, "AST: Audio Spectrogram Transformer" (Interspeech 2021) is the usual one. Such models
classify a whole input, so a window is moved over the clip, and each hop has what the windows around it say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta

from paqa import audioset
from paqa.engines._events import ClassThresholds, Hops, SpanParams, events, level_db, tags
from paqa.engines._signal import fit_length, mono
from paqa.engines._transformers import (
    Dtype,
    TransformersEngine,
    config_of,
    on_device,
    open_model,
    open_processor,
)
from paqa.engines.base import EngineOutput, Hop, Millis, not_in_key
from paqa.engines.event_scores import event_scores
from paqa.engines.weights import locate
from paqa.errors import PaqaError
from paqa.types import Audio, Stage

MANY = 8  # labels that a message names


@dataclass(frozen=True)
class TransformersTaggerParams(SpanParams):
    """The model and how it is run, beside what decides about spans."""

    # a folder, or a Hub id ORG/NAME, with @COMMIT where it is to be pinned
    model: str = not_in_key("MIT/ast-finetuned-audioset-10-10-0.4593")
    sha256: str | None = not_in_key(None)  # of the folder, as in the engine's revision
    dtype: Dtype = "float32"  # of the model's numbers
    # windows a call, on a GPU; calls are filled up to it, so that all have one shape. On a CPU the last bits
    # of a window depend on its place in the call where it is above 1
    batch_size: Annotated[int, Meta(ge=1, le=1024)] = 1
    window_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2000  # of audio that is classified at once
    hop_ms: Hop = 500  # between windows; what an event's times are first known to
    # of the outputs; auto: softmax where the model's configuration says that one class holds, else sigmoid
    activation: Literal["auto", "sigmoid", "softmax"] = "auto"
    # AudioSet class (name or machine id) of labels that have none of their name; "" for one to be left out
    labels: dict[str, str] = field(default_factory=dict)
    unmapped: Literal["refuse", "ignore"] = "refuse"  # other labels that are no AudioSet class
    max_gap_ms: Millis = 600  # spans of one class at most this far apart become one


class TransformersTagger(TransformersEngine):
    """Events on the 10 ms grid with their peak probability, and the clip-level probability of every class."""

    name: ClassVar[str] = "transformers_tagger"
    stage: ClassVar[Stage] = "tag"
    Params: ClassVar[type] = TransformersTaggerParams
    behaviour: ClassVar[int] = 1

    def __init__(
        self,
        params: TransformersTaggerParams = TransformersTaggerParams(),
        device: str = "cpu",
        threads: int = 1,
    ):
        """Opens the model; PaqaError where its labels are no AudioSet classes."""
        self.params, self.threads = params, threads
        self.revision = self.identify(params)
        folder = locate(self.remotes(params)[0])
        config = config_of(folder)
        labels = [str(config.id2label[i]) for i in range(len(config.id2label))]
        self._columns, mids = columns_of(labels, params.labels, params.unmapped, str(folder))
        self._classes = ClassThresholds.from_rules(mids, params, params.excluded, params.class_thresholds)
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        self._extractor = open_processor(AutoFeatureExtractor, folder)
        self._model = open_model(AutoModelForAudioClassification, folder, params.dtype, device)
        self._rate = int(self._extractor.sampling_rate)
        one_class = config.problem_type == "single_label_classification"
        self._softmax = params.activation == "softmax" or (params.activation == "auto" and one_class)

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        """Tag clips; windows of all of them share calls."""
        import torch

        torch.set_num_threads(self.threads)
        signals = [mono(audio, self._rate) for audio in batch]
        counts = [self._hops(signal) if np.any(signal) else 0 for signal in signals]
        windows = [self._window(s, i) for s, n in zip(signals, counts, strict=True) for i in range(n)]
        rows = self._probabilities(windows)
        outputs, first = [], 0
        for audio, signal, count in zip(batch, signals, counts, strict=True):
            outputs.append(
                self._output(audio, signal, rows[first : first + count]) if count else EngineOutput()
            )
            first += count
        return outputs

    def _output(self, audio: Audio, signal: np.ndarray, rows: np.ndarray) -> EngineOutput:
        params, classes, hops = self.params, self._classes, Hops(self.params.hop_ms)
        level = level_db(signal, self._rate, audio.duration_ms)
        tagged = events(rows, level, audio.duration_ms, classes, hops, params)
        return EngineOutput(
            events=tagged,
            event_scores=event_scores(tagged, rows, classes.mids, hops),
            tags=tags(rows.max(axis=0), classes.mids, params.tag_floor),
        )

    def _hops(self, signal: np.ndarray) -> int:
        return max(1, -(-len(signal) * 1000 // (self.params.hop_ms * self._rate)))

    def _window(self, signal: np.ndarray, hop: int) -> np.ndarray:
        """The window around a hop, moved into the clip where it would reach beyond its ends."""
        size = self.params.window_ms * self._rate // 1000
        centre = (2 * hop + 1) * self.params.hop_ms * self._rate // 2000
        start = max(0, min(centre - size // 2, len(signal) - size))
        return fit_length(signal[start : start + size], size)

    def _probabilities(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Of each window the probability of each class `(windows, classes)`."""
        size, rows = self.params.batch_size, [np.zeros((0, len(self._classes.mids)), np.float32)]
        for i in range(0, len(windows), size):
            part = windows[i : i + size]
            filled = [*part, *[part[-1]] * (size - len(part))]
            rows.append(self._model_call(filled)[: len(part)])
        return np.concatenate(rows)

    def _model_call(self, windows: list[np.ndarray]) -> np.ndarray:
        import torch

        # one by one: so that no front end pads a window to another's length
        inputs = [self._extractor(w, sampling_rate=self._rate, return_tensors="pt") for w in windows]
        joined = {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}
        with torch.inference_mode():
            logits: Any = self._model(**on_device(joined, self._model)).logits.float()
            scores = logits.softmax(-1) if self._softmax else logits.sigmoid()
        outputs = np.asarray(scores.cpu())
        return np.stack([outputs[:, columns].max(axis=1) for columns in self._columns], axis=1)


def columns_of(
    labels: Sequence[str], given: Mapping[str, str], unmapped: str, model: str
) -> tuple[list[list[int]], tuple[str, ...]]:
    """The outputs of each AudioSet class, and the machine ids of these classes.

    A label is looked up in `given`, then by its name. PaqaError names those that are no class, and those of
    `given` that the model has not.
    """
    if unknown := sorted(set(given) - set(labels)):
        raise PaqaError(f"{model}: has no label {unknown[0]!r}, which `labels` names; known: {_few(labels)}")
    by_mid: dict[str, list[int]] = {}
    without = []
    for index, label in enumerate(labels):
        mid = _mid(given.get(label, label))
        if mid:
            by_mid.setdefault(mid, []).append(index)
        elif given.get(label) != "":
            without.append(label)
    if without and (unmapped == "refuse" or not by_mid):
        raise PaqaError(
            f"{model}: {len(without)} of its {len(labels)} labels are no AudioSet classes: {_few(without)}; "
            'name their classes in `labels` ("" for none), or say unmapped = "ignore"'
        )
    return list(by_mid.values()), tuple(by_mid)


def _mid(name: str) -> str:
    """The machine id of an AudioSet class by name or id; empty where there is none."""
    try:
        return audioset.mid(audioset.label(name)) if name.startswith("/") else audioset.mid(name)
    except PaqaError:
        return ""


def _few(labels: Iterable[str]) -> str:
    names = list(labels)
    return ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
