"""What templates are made of: drafts of questions, and the sounds and lines that they ask about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from paqa.questions.english import spoken, upper
from paqa.spans import Interval
from paqa.types import Evidence

if TYPE_CHECKING:
    from paqa.questions.context import Context

Level = Literal["environment", "speaker"]
NONE = "None of these"  # as a choice: right where none of the others holds
A_NUMBER = "Answer with a number in words."
A_SPEAKER = "Answer with the number of the speaker, as in: Speaker 2."


@dataclass(frozen=True)
class Draft:
    """One question before its choices are drawn.

    Of `decoys`, best first, the first few that differ become wrong choices; with fewer than `fewest` choices
    the question is not asked. `plan` completes "I need to ..."; `why_wrong` argues against the decoys used.
    `margin` in [0, 1] says how safe the perception behind the answer is.
    """

    texts: tuple[str, ...]
    answer: str
    decoys: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    plan: str
    reasoning: str
    why_wrong: Callable[[Sequence[str]], str]
    margin: float
    fewest: int = 3


@dataclass(frozen=True)
class QuestionTemplate:
    """A kind of question: its name, its family (`task`), its level, and the function that drafts it.

    `labelled` ones ask for what only a source's labels tell. The choices of `closed` ones do not depend on
    which of them is right, as those of counts, speakers and parts of a clip: `OtherClips.odds` balances their
    answers. `none` says that "None of these" may be a choice: nothing in the wording says that one of the
    choices holds. `open` says how to answer where no choices are given ("Answer with a number."), empty where
    an answer without choices could not be compared word by word.
    """

    name: str
    task: str
    level: Level
    drafts: Callable[[Context], Iterator[Draft]]
    labelled: bool = False
    closed: bool = False
    none: bool = False
    open: str = ""


@dataclass(frozen=True)
class OtherClips:
    """What a build holds besides the clip that is asked about.

    `foreign` are translations of what is said in other clips of the same source, as wrong choices; `sounds`
    are all kinds of background sound, as AudioSet's machine id and label, with the number of clips that hold
    them; `answers` says for a template and a sorted tuple of choices how often each of them is right.
    `digest` stands for `sounds` and `answers`: equal digests, equal contents.
    """

    foreign: tuple[str, ...] = ()
    sounds: Mapping[tuple[str, str], int] = field(default_factory=dict)
    answers: Mapping[tuple[str, tuple[str, ...]], Mapping[str, int]] = field(default_factory=dict)
    digest: str = ""

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
