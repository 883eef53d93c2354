"""What templates are made of: drafts of questions, and the sounds and lines that they ask about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from paqa.questions.context import Context
from paqa.types import Evidence

Level = Literal["environment", "speaker"]
# What may be wrong in a scene. A question cites turns, words and events as its evidence, and claims of it:
#   speaker_count  as many people speak as the scene has, and these are numbered as they first come in
#   speaker        the cited turns are spoken by whom the scene says
#   words          the words of the cited turns are said, or the cited words where it cites these alone
#   turn_time      the cited turns begin, end and follow one another as the scene says
#   word_time      the cited words begin and end as the scene says
#   sound          the cited events are there
#   sound_time     the cited events begin and end as the scene says, and these sounds do not come elsewhere
#   absence        nothing sounds in the background that the scene does not have
Claim = Literal[
    "speaker_count", "speaker", "words", "turn_time", "word_time", "sound", "sound_time", "absence"
]
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
    an answer without choices could not be compared word by word. `rests_on` are the claims that must hold for
    the question and its answer to be right; they are about the evidence of each draft.
    """

    name: str
    task: str
    level: Level
    drafts: Callable[[Context], Iterator[Draft]]
    labelled: bool = False
    closed: bool = False
    none: bool = False
    open: str = ""
    rests_on: frozenset[Claim] = field(kw_only=True)
