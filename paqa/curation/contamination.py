"""Contamination: questions and recordings of benchmarks that a build must not hold.

A question is a copy where its wording is nearly that of a benchmark's (rapidfuzz's ratio of the two, without
case and punctuation) and at least half of its choices are offered there too: "How many people speak?" alone
is no copy. Recordings are compared by `paqa.audio.fingerprint`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paqa.audio.fingerprint import Match
from paqa.config.recipe import BenchmarkConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources import benchmark_rows
from paqa.sources.answer_choices import listed
from paqa.sources.folder import files_below, is_audio
from paqa.text import normal
from paqa.types import Clip, Item, Quarantined

SHARED_CHOICES = 0.5
ROWS = 2_000  # of our wordings compared at once


@dataclass(frozen=True)
class BenchmarkQuestion:
    """A question of a benchmark; `choices` are normalised, none where it has none."""

    benchmark: str
    question: str
    choices: frozenset[str]


def questions(config: BenchmarkConfig, folder: Path) -> list[BenchmarkQuestion]:
    """The questions of a JSON, JSON-lines or Parquet file as benchmarks publish them.

    Raises PaqaError where the file is missing, is none of these, or holds no question.
    """
    if config.questions is None:
        return []
    path = folder / config.questions
    label = f"gates.benchmarks {config.name!r}: {path}"
    asked = [question for row in _rows(path, label) for question in _questions_of(row, config.name)]
    if not asked:
        raise PaqaError(f"{label} holds no row with a `question`; name another file")
    return asked


def _rows(path: Path, label: str) -> Iterator[dict[str, Any]]:
    expected = "expected a JSON list, or one JSON object a line; paths are relative to the recipe"
    for where, row in benchmark_rows.rows(path, label, expected):
        if isinstance(row, Rejected):
            raise PaqaError(
                f"{label}: {where}: {row.detail}; else a copy of that question would go unnoticed"
            )
        yield row


def _questions_of(row: dict[str, Any], benchmark: str) -> Iterator[BenchmarkQuestion]:
    asked = benchmark_rows.question(row)
    if isinstance(asked, str):
        choices = _choices(benchmark_rows.choices(row))
        yield BenchmarkQuestion(benchmark, normal(asked), frozenset(map(normal, choices)))


def _choices(offered: Any) -> list[str]:
    """Choices as texts, without letters before them; what is no list of choices counts as one."""
    try:
        return listed(offered) or ([offered] if isinstance(offered, str) else [])
    except Rejected:
        return [str(choice) for choice in (offered if isinstance(offered, list) else [offered])]


def copied_questions(
    items: Sequence[Item], questions: Iterable[BenchmarkQuestion], similarity: Mapping[str, float]
) -> list[Quarantined]:
    """Rows whose question and choices are a benchmark's.

    `similarity` is by benchmark the least ratio of two wordings that makes a copy, in [0, 1].
    """
    by_wording: dict[str, list[BenchmarkQuestion]] = defaultdict(list)
    for question in questions:
        by_wording[question.question].append(question)
    items_by_wording: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        items_by_wording[normal(item.question)].append(item)
    least = min(similarity.values(), default=1.0)
    lost = []
    for ours, theirs, ratio in _near(sorted(items_by_wording), sorted(by_wording), least):
        for item in items_by_wording[ours]:
            match = next((q for q in by_wording[theirs] if _same_choices(item, q)), None)
            if match and ratio >= similarity[match.benchmark]:
                lost.append(_copy(item, match, ratio))
    first = {row.id: row for row in reversed(lost)}
    return [first[name] for name in sorted(first)]


def _near(ours: Sequence[str], theirs: Sequence[str], least: float) -> Iterator[tuple[str, str, float]]:
    """Pairs of a text of `ours` and one of `theirs` with at least this ratio, and the ratio in [0, 1]."""
    from rapidfuzz import fuzz, process

    for begin in range(0, len(ours) if theirs else 0, ROWS):
        part = ours[begin : begin + ROWS]
        ratios = process.cdist(part, theirs, scorer=fuzz.ratio, score_cutoff=100 * least)
        for i, j in zip(*ratios.nonzero(), strict=True):
            yield part[i], theirs[j], float(ratios[i, j]) / 100


def _same_choices(item: Item, question: BenchmarkQuestion) -> bool:
    ours = {normal(choice) for choice in item.choices or (item.answer,)}
    return not question.choices or len(ours & question.choices) >= SHARED_CHOICES * len(ours)


def _copy(item: Item, question: BenchmarkQuestion, ratio: float) -> Quarantined:
    benchmark = f"a question of benchmark {question.benchmark!r}"
    detail = f"{item.id}: {item.question!r} is {ratio:.0%} {benchmark}, choices included"
    return Quarantined(item.id, "gates", "contaminated", detail, item.key)


def recordings(config: BenchmarkConfig, folder: Path) -> list[Path]:
    """The audio files in a benchmark's folder, by path; PaqaError where there are none."""
    if config.audio is None:
        return []
    where = folder / config.audio
    files = [where / name for name in files_below(where) if is_audio(name)]
    if not files:
        raise PaqaError(
            f"gates.benchmarks {config.name!r}: {where} holds no audio; expected files like .wav or .mp3"
        )
    return files


def not_compared(files: Sequence[Path], reasons: Sequence[str]) -> list[str]:
    """A warning where files of a benchmark have no fingerprint; `reasons` are "" for files that have one."""
    lost = [reason for reason in reasons if reason]
    if not lost:
        return []
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    missing = f"{len(lost)} of {len(files)} recordings of benchmarks"
    return [f"{missing} were not compared with the clips: {lost[0]}{more}"]


def clips_with_recordings(
    clips: Sequence[Clip], matches: Iterable[Match], files: Sequence[Path]
) -> dict[int, Quarantined]:
    """By index, the clips that hold sound of a benchmark's files, and other clips of the same recordings.

    Indices in `matches` from `len(clips)` on are those of `files`.
    """
    theirs: dict[tuple[str, str], Path] = {}
    for match in matches:
        if match.first < len(clips) <= match.second:
            clip = clips[match.first]
            theirs.setdefault((clip.corpus, clip.uri), files[match.second - len(clips)])
    lost = {}
    for i, clip in enumerate(clips):
        if path := theirs.get((clip.corpus, clip.uri)):
            detail = f"{clip.uri} holds sound of {path}, a recording of a benchmark"
            lost[i] = Quarantined(clip.id, "split", "contaminated", detail, clip.sha256)
    return lost
