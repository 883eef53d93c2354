"""The figures of an audit, as data: what `paqa audit --json` writes and `paqa report` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

SliceBy = Literal["all", "group", "background", "speakers"]


@dataclass(frozen=True)
class DiarizationErrors:
    """DER and its parts, as shares of `speech_s` seconds of true speaker time; may exceed 1.

    `jer` is the Jaccard error rate, a mean over true speakers in which each counts as much; always without a
    collar.
    """

    clips: int
    speech_s: float
    der: float | None
    missed: float | None
    false_alarm: float | None
    confusion: float | None
    jer: float | None


@dataclass(frozen=True)
class SpeakerCount:
    """`clips` clips with `truth` speakers for which `heard` were predicted."""

    truth: int
    heard: int
    clips: int


@dataclass(frozen=True)
class Speakers:
    """Share of clips with the right number of speakers, and the cells of the confusion table that count."""

    clips: int
    accuracy: float | None
    table: tuple[SpeakerCount, ...]


@dataclass(frozen=True)
class Transcription:
    """WER and its parts as shares of `words` true words; cpWER also wants the right speaker; may exceed 1.

    `cer` is the same of characters, spaces among them.
    """

    clips: int
    words: int
    cp_clips: int
    wer: float | None
    cp_wer: float | None
    substitutions: float | None
    deletions: float | None
    insertions: float | None
    cer: float | None


@dataclass(frozen=True)
class WordsWithoutSpeech:
    """Predicted words per minute of clips without any speech."""

    clips: int
    minutes: float
    words_per_minute: float | None


@dataclass(frozen=True)
class Detection:
    """Precision, recall and F1, micro over classes, of `heard` predicted units against `truth` true ones.

    Units are events, segments or classes.
    """

    clips: int
    truth: int
    heard: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Ranking:
    """Mean average precision of the clip-level tags over `classes` classes."""

    clips: int
    classes: int
    mean_ap: float | None


@dataclass(frozen=True)
class Separation:
    """SI-SDR in dB of clips with speech and background: of the mix, of the speech stem, and the gain."""

    clips: int
    mix_db: float | None
    speech_db: float | None
    improvement_mean_db: float | None
    improvement_median_db: float | None


@dataclass(frozen=True)
class Slice:
    """All figures of one set of clips, e.g. by "speakers": "2 speakers"."""

    by: SliceBy
    name: str
    clips: int
    diarization: DiarizationErrors
    diarization_no_collar: DiarizationErrors
    speakers: Speakers
    transcription: Transcription
    invented: WordsWithoutSpeech
    segments: Detection
    events: Detection
    classes: Detection
    classes_related: Detection
    ranking: Ranking
    separation: Separation
    intervals: dict[str, tuple[float, float]]  # 95 %, of the main figures; see paqa.evaluation.bootstrap


@dataclass(frozen=True)
class AuditReport:
    """The slices: first all clips, then by group, by background and by number of speakers."""

    slices: tuple[Slice, ...]

    @property
    def overall(self) -> Slice:
        return self.slices[0]


def to_dict(report: AuditReport) -> dict[str, Any]:
    """Plain dicts, lists and numbers, as they come back from JSON."""
    figures: dict[str, Any] = plain(report)
    return figures


def plain(value: Any) -> Any:
    """Dataclasses as they come back from JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
