"""What templates are made of: drafts of questions, and the sounds and lines that they ask about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from paqa.questions.context import Context
from paqa.types import Evidence

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
