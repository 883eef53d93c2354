"""A build that grows: the rows of the earlier one stay as they are, byte for byte, and only new clips cost anything.

What is asked about a clip follows from a survey of the whole build (`paqa.elsewhere`), and so do the rows that the text
alone would give away. A build that counted again with each new clip would change a little everywhere. Grown, it keeps
the survey that it began with and what it decided about each row; counted anew (without --grow) it changes once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from paqa import shard
from paqa.elsewhere import Survey
from paqa.errors import PaqaError
from paqa.shortcuts import GUESSABLE, UNHEARD, dependent
from paqa.store import write_atomically
from paqa.types import Item, Quarantined

FILE = "survey.json"


@dataclass(frozen=True)
class Counts:
    """What is written: the survey (clips by kind of sound; questions by template, choices, answer), and rows left out.

    The latter stand in quarantine.parquet too, which a build that fails writes anew.
    """

    sounds: list[tuple[tuple[str, str], int]]
    answers: list[tuple[tuple[str, tuple[str, ...], str], int]]
    left_out: list[Quarantined]


@dataclass(frozen=True)
class Earlier:
    """What an earlier build settled: its survey, `audio_dependence` and key by row, and rows left out by their key."""

    survey: Survey
    rows: dict[str, tuple[float, str]]
    left_out: dict[str, Quarantined]

    def without(self, items: Sequence[Item]) -> tuple[list[Item], list[Quarantined]]:
        """The items that the earlier build did not leave out, and its rows about those that it did."""
        kept = [item for item in items if item.key not in self.left_out]
        return kept, [self.left_out[item.key] for item in items if item.key in self.left_out]

    def settled(self, items: Iterable[Item]) -> dict[str, float]:
        """The dependence of rows that the earlier build has, word for word, by id."""
        known = ((item, self.rows[item.id]) for item in items if item.id in self.rows)
        return {item.id: found for item, (found, name) in known if dependent(item, found).key == name}


def save(out: Path, survey: Survey, lost: Iterable[Quarantined]) -> None:
    """Write `survey.json` beside the shards."""
    left_out = sorted({q for q in lost if q.reason in (GUESSABLE, UNHEARD)}, key=lambda q: q.id)
    counts = Counts(sorted(survey.sounds.items()), sorted(survey.answers.items()), left_out)
    write_atomically(out / FILE, msgspec.json.encode(counts))


def load(out: Path) -> Earlier:
    """What the build in a folder settled; PaqaError where there is none, or one of another version."""
    try:
        counts = msgspec.json.decode((out / FILE).read_bytes(), type=Counts)
    except FileNotFoundError:
        raise PaqaError(
            f"--grow: {out} holds no finished build with a {FILE}; build it once without --grow, then add clips"
        ) from None
    except msgspec.ValidationError as error:
        raise PaqaError(
            f"{out / FILE}: made by another version of paqa ({error}); run once more without --grow"
        ) from None
    rows = shard.rows(out, ["id", "key", "audio_dependence"])
    known = {r["id"]: (r["audio_dependence"], r["key"]) for r in rows if r["audio_dependence"] is not None}
    survey = Survey(Counter(dict(counts.sounds)), Counter(dict(counts.answers)))
    return Earlier(survey, known, {q.fingerprint: q for q in counts.left_out})
