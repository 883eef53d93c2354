"""What a rationale holds once it is read: its lines, its answers, and both of its readings."""

from __future__ import annotations

from dataclasses import dataclass

from paqa.types import Ms, SpeakerNumber, Unclear


@dataclass(frozen=True)
class Quote:
    """One line of SPEAKER: who is said to have said what, when."""

    start_ms: Ms
    end_ms: Ms
    speaker: SpeakerNumber
    text: str


@dataclass(frozen=True)
class Sound:
    """One line of ENV: a sound and its span."""

    start_ms: Ms
    end_ms: Ms
    label: str


@dataclass(frozen=True)
class Response:
    """A chosen option: its letter as an index, and its text as written; an open-ended answer has no
    letter.
    """

    index: int | None
    text: str


@dataclass(frozen=True)
class Reading:
    """What a rationale states about a clip: its sounds, who said what, and the transcript."""

    env: tuple[Sound, ...]
    speakers: tuple[Quote, ...]
    asr: str


@dataclass(frozen=True)
class Trace:
    """A parsed rationale.

    `first` is the reading that CAPTION states. `env`, `speakers` and `asr` are the corrected reading: the
    same, but for the lines that REFLECT corrects.
    """

    planning: str
    env: tuple[Sound, ...]
    unclear: tuple[Unclear, ...]
    speakers: tuple[Quote, ...]
    asr: str
    description: str
    reasoning: str
    summary: str
    response: Response
    first: Reading
    reflect: str | None = None
    final: Response | None = None
