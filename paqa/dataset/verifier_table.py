"""What a verifier said of a build: `verifier.parquet`, a row for each row that was gated, and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from paqa.curation.chat_client import Usage
from paqa.curation.paraphrase import KEPT
from paqa.curation.verifier import VerifiedRow
from paqa.dataset import shards
from paqa.storage.build_folder import VERIFIER
from paqa.types import Item


@dataclass(frozen=True)
class VerifierFigures:
    """Counts over all rows that were gated.

    `text_right` of `text_replies` without audio are right, where chance expects `text_chance`. `agreement` is
    the mean over `audio_rows`, those with a reply to the audio; `sounds_confirmed` the mean over rows with
    sounds. `refused` counts rows that keep our words by the reason.
    """

    model: str
    usage: Usage
    rows: int
    text_replies: int
    text_right: int
    text_chance: float
    audio_rows: int
    agreement: float | None
    sounds_confirmed: float | None
    paraphrased: int
    refused: dict[str, int]


def figures(
    model: str, usage: Usage, rows: Sequence[VerifiedRow], choices: Mapping[str, int]
) -> VerifierFigures:
    """The figures of a table; `choices` are the numbers of choices of rows by id."""
    wordings = [row.paraphrase for row in rows if row.paraphrase is not None]
    reasons = sorted({name for name in wordings if name != KEPT})
    agreements = [row.agreement for row in rows if row.agreement is not None]
    confirmed = [row.sounds_confirmed for row in rows if row.sounds_confirmed is not None]
    return VerifierFigures(
        model=model,
        usage=usage,
        rows=len(rows),
        text_replies=sum(row.text_replies for row in rows),
        text_right=sum(row.text_right for row in rows),
        text_chance=round(sum(row.text_replies / choices[row.id] for row in rows if row.text_replies), 2),
        audio_rows=len(agreements),
        agreement=round(fmean(agreements), 4) if agreements else None,
        sounds_confirmed=round(fmean(confirmed), 4) if confirmed else None,
        paraphrased=wordings.count(KEPT),
        refused={name: wordings.count(name) for name in reasons},
    )


def text(counted: VerifierFigures) -> str:
    """The figures in one line."""
    return "; ".join((f"{counted.model}: {_spent(counted.usage)}", *_results(counted)))


def _spent(usage: Usage) -> str:
    spent = f"{usage.requests} requests, {usage.stored} replies from the store"
    if usage.replies > usage.unmetered:
        spent += f", {usage.prompt_tokens:,} tokens read and {usage.completion_tokens:,} written"
    if usage.unmetered:
        spent += f", {usage.unmetered} replies without a count of tokens"
    lost = ((usage.failed, "without a reply"), (usage.skipped, "not asked"))
    return spent + "".join(f", {n} {what}" for n, what in lost if n)


def _results(counted: VerifierFigures) -> Iterator[str]:
    if n := counted.text_replies:
        right, chance = counted.text_right / n, counted.text_chance / n
        yield f"the text alone is answered right in {right:.0%} of {n} (chance {chance:.0%})"
    if counted.agreement is not None:
        yield f"with audio it agrees in {counted.agreement:.0%} ({counted.audio_rows} rows)"
    if counted.sounds_confirmed is not None:
        yield f"it names {counted.sounds_confirmed:.0%} of the sounds"
    if counted.paraphrased or counted.refused:
        reasons = ", ".join(f"{name} {n}" for name, n in counted.refused.items()) or "none"
        yield f"{counted.paraphrased} rows reworded, {sum(counted.refused.values())} not ({reasons})"


def warning(usage: Usage, limit: int) -> str | None:
    """One line where not all was asked, or had a reply; else None."""
    again = "run the same command again, which asks what is missing"
    if usage.stopped:
        return (
            f"the verifier was asked no more after {usage.requests} requests ({usage.stopped}): rows stay, "
            f"and what it was not asked is empty; mend that and {again}"
        )
    if usage.skipped:
        return f"{usage.skipped} prompts were not sent, verifier.max_requests is {limit}; {again}"
    if usage.failed:
        return f"{usage.failed} prompts have no reply of the verifier; {again}"
    return None


def write(folder: Path, rows: Sequence[VerifiedRow]) -> None:
    """Write the table of a build."""
    shards.write_table(folder / VERIFIER, VerifiedRow, sorted(rows, key=lambda row: row.id))


def load(folder: Path) -> dict[str, VerifiedRow]:
    """The rows of a build's table by id; none where no verifier was asked.

    PaqaError where another version of paqa made it.
    """
    return {row.id: row for row in shards.table_rows(folder / VERIFIER, VerifiedRow)}


def row_lines(row: VerifiedRow) -> list[tuple[str, str]]:
    """What the verifier replied to a row, in words: a name and a text for each thing that it was asked."""
    lines = []
    if n := row.text_replies:
        lines.append(("without audio", f"the row's answer in {row.text_right} of {n} replies"))
    if n := row.audio_replies:
        lines.append(("with audio", f"the row's answer in {row.audio_right} of {n} replies"))
    if row.sounds is not None:
        share = row.sounds_confirmed
        confirmed = "" if share is None else f" ({share:.0%} of the scene's sounds)"
        lines.append(("sounds", f"{', '.join(row.sounds) or 'none'}{confirmed}"))
    if row.paraphrase is not None:
        lines.append(("reworded", "yes" if row.paraphrase == KEPT else f"no: {row.paraphrase}"))
    return lines


def with_originals(items: Sequence[Item], rows: Mapping[str, VerifiedRow]) -> list[Item]:
    """Items in the words that they had before they were reworded, which judges can read."""
    return [_original(item, rows.get(item.id)) for item in items]


def _original(item: Item, row: VerifiedRow | None) -> Item:
    if row is None or row.original_question is None or row.original_rationale is None:
        return item
    return replace(item, question=row.original_question, rationale=row.original_rationale)
