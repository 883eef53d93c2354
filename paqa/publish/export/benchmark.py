"""What MMAU's and MMAR's layouts share: rows that their scorers can judge, and the kind of sound of a row.

Both scorers compare sets of words: right is what holds all words of the answer and no word that only a wrong
choice has. So an open-ended row, an answer without words, and a choice made of the answer's words in another
order ("rain, then a dog") cannot be judged by them; such rows are skipped and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from paqa import audioset
from paqa.errors import PaqaError
from paqa.publish.export.job import ExportRow, Job
from paqa.types import Event, Item, Scene

MUSIC = "/m/04rlf"
VOICE = "/m/09l8g"  # Human voice


def judged(job: Job) -> Iterator[ExportRow]:
    """The rows that the scorers can judge; the others are counted by reason."""
    for row in job.rows():
        reason = unfit(row.item)
        if reason:
            job.skipped[reason] += 1
        else:
            yield row


def unfit(item: Item) -> str | None:
    """Why the scorers cannot judge a row, or None."""
    if item.answer_index is None:
        return "open_ended"
    right = words(item.answer)
    if not right:
        return "answer_without_words"
    others = [choice for i, choice in enumerate(item.choices) if i != item.answer_index]
    return "choices_of_the_same_words" if any(words(choice) == right for choice in others) else None


def words(text: str) -> frozenset[str]:
    """The different words of a text, without case."""
    return frozenset(re.findall(r"\w+", text.lower()))


def subject(item: Item) -> str:
    """The kind of the evidence: "speech", "music" or "sound"; without any, of all sounds of the scene."""
    if any(e.kind != "event" for e in item.evidence):
        return "speech"
    cited = [item.scene.events[e.index] for e in item.evidence if e.kind == "event"] or list(
        item.scene.events
    )
    if not cited:
        return "speech"
    return "music" if all(_is(event, MUSIC) for event in cited) else "sound"


def modality(scene: Scene) -> str:
    """MMAR's word for what a scene holds, e.g. "mix-sound-speech"."""
    music = any(_is(e, MUSIC) for e in scene.events)
    sound = any(not _is(e, MUSIC) and not _is(e, VOICE) for e in scene.events)
    speech = bool(scene.turns) or any(_is(e, VOICE) for e in scene.events)
    held = [name for name, there in (("sound", sound), ("music", music), ("speech", speech)) if there]
    return "-".join(["mix", *held]) if len(held) > 1 else (held or ["sound"])[0]


def _is(event: Event, mid: str) -> bool:
    try:
        return event.mid == mid or mid in audioset.ancestors(event.mid)
    except PaqaError:  # a class of the user's own
        return False
