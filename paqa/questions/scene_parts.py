"""What questions are about: background sounds, lines that can be quoted, and what other clips hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from paqa.questions.english import spoken, upper
from paqa.spans import Interval


@dataclass(frozen=True)
class OtherClips:
    """What a build holds besides the clip that is asked about.

    `foreign` are translations of what is said in other clips of the same source, as wrong choices; `sounds`
    are all kinds of background sound, as AudioSet's machine id and label, with the number of clips that hold
    them; `words` are words that are said, as the code of their language ("" where it is not known) and the
    word, with the number of clips in which it is said; `answers` says for a template and a sorted tuple of
    choices how often each of them is right. `digest` stands for `sounds`, `words` and `answers`: equal
    digests, equal contents.
    """

    foreign: tuple[str, ...] = ()
    sounds: Mapping[tuple[str, str], int] = field(default_factory=dict)
    answers: Mapping[tuple[str, tuple[str, ...]], Mapping[str, int]] = field(default_factory=dict)
    digest: str = ""
    words: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def words_of(self, language: str | None) -> dict[str, int]:
        """The words of one language, with the number of clips in which each is said."""
        return {word: n for (code, word), n in self.words.items() if code == (language or "")}

    def odds(self, template: str, choices: Iterable[str], answer: str) -> float:
        """The share of questions with this answer to keep, so that each choice is right equally often.

        Questions are kept as often as those of the rarest answer, and a few more: small counts say little.
        """
        offered = tuple(sorted(choices))
        counts = self.answers.get((template, offered), {})
        rarest = min((counts.get(choice, 0) for choice in offered), default=0)
        return min(1.0, (rarest + math.sqrt(rarest) / 2 + 1) / max(1, counts.get(answer, 0)))


NO_OTHER_CLIPS = OtherClips()  # where there is but one clip


@dataclass(frozen=True)
class Background:
    """One kind of background sound: its events, by index, and the separate occasions on which it sounds."""

    label: str
    mid: str
    events: tuple[int, ...]
    occasions: tuple[Interval, ...]
    safe: bool

    @property
    def start_ms(self) -> int:
        return self.occasions[0][0]

    @property
    def end_ms(self) -> int:
        return self.occasions[-1][1]

    @property
    def name(self) -> str:
        return spoken(self.label)

    @property
    def choice(self) -> str:
        return upper(self.name)


@dataclass(frozen=True)
class Line:
    """Something a question can quote: a turn, or (`whole` is False) the first sentences of a long one."""

    turn: int
    speaker: int
    text: str
    span: Interval
    whole: bool

    @property
    def choice(self) -> str:
        return f'"{self.text}"'
