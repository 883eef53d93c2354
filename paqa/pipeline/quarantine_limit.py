"""How much of what a build was given may be unusable before the build fails."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from paqa.dataset.summary import CLIP_KEPT, REJECTED_BY_REVIEW
from paqa.errors import PaqaError
from paqa.storage.build_folder import QUARANTINE
from paqa.types import Clip, Quarantined

SELECTED = {  # reasons that are no fault of what was given: it is usable, or its copy is used
    *("license", "duplicate_audio", "near_duplicate_audio", "would_leak", "contaminated"),
    *("nothing_to_ask", "answer_not_heard", "bad_line", "low_quality", REJECTED_BY_REVIEW),
    *CLIP_KEPT,
}


def given(clips: Iterable[Clip]) -> int:
    """How many clips and questions that came with them there are, each clip once."""
    return sum(1 + len(clip.questions) for clip in {clip.id: clip for clip in clips}.values())


def unusable(lost: Iterable[Quarantined]) -> list[Quarantined]:
    """What was given and could not be used: recordings, clips and questions of a source, a row each.

    Left out is what a rule of the recipe takes out of what is usable: gates, copies, leaks, licences,
    benchmarks.
    """
    rows = (q for q in lost if q.stage != "gates" and q.reason not in SELECTED)
    return list({(q.id, q.fingerprint): q for q in rows}.values())


def enforce(items: int, kept: int, lost: Sequence[Quarantined], limit: float, failed: Path) -> None:
    """Fail a build without rows, and one in which too large a share of its input was unusable.

    `kept` are the clips and their questions, as `given` counts them. The error says what to look at in
    `failed`.
    """
    look = f"look into {failed / QUARANTINE} ({_command(failed)})"
    if items == 0:
        raise PaqaError(f"no question is left: {_reasons(set(lost))}; {look}")
    gone = unusable(lost)
    total = kept + sum(q.stage != "questions" for q in gone)  # the clips of those were kept
    if len(gone) > limit * total:
        raise PaqaError(
            f"{len(gone)} of {total} recordings, clips and questions that were given could not be used "
            f"({len(gone) / total:.0%}, the recipe allows {limit:.0%}): {_reasons(gone)}; {look}, "
            "mend or remove what is there, or raise gates.max_quarantined"
        )


def _command(failed: Path) -> str:
    """The command that prints the quarantine of a build that failed."""
    return f"paqa show {shlex.quote(str(failed.parent))} --quarantine"


def split_warning(clips: int, lost: Iterable[Quarantined], limit: float) -> str | None:
    """A warning where more than a share of the clips was left out because it would leak."""
    gone = sum(q.reason == "would_leak" for q in lost)
    if gone <= limit * clips:
        return None
    return (
        f"{gone} of {clips} clips were left out because their recording, speaker or sound is on another "
        "side of the "
        "split: give what belongs together one group, or change [split]; see would_leak in quarantine"
    )


def _reasons(rows: Iterable[Quarantined]) -> str:
    counts = Counter(q.reason for q in rows).most_common(4)
    return ", ".join(f"{reason} {n}" for reason, n in counts) or "nothing was found"
