"""Stages that look at the rows of all clips at once: questions of benchmarks, and what text alone answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from paqa.curation import contamination, shortcuts
from paqa.curation.shortcut_classifiers import Text
from paqa.pipeline.stages import BuildState
from paqa.types import Item


def without_benchmarks(state: BuildState, items: list[Item]) -> list[Item]:
    """Items without those whose question is a benchmark's."""
    benchmarks = state.recipe.gates.benchmarks
    if not benchmarks:
        return items
    folder = Path(state.recipe.folder)
    questions = [question for b in benchmarks for question in contamination.questions(b, folder)]
    copied = contamination.copied_questions(items, questions, {b.name: b.similarity for b in benchmarks})
    state.quarantined += copied
    gone = {row.id for row in copied}
    return [item for item in items if item.id not in gone]


def without_shortcuts(state: BuildState, items: list[Item]) -> list[Item]:
    """Measure what the text alone answers: rows get their dependence on the audio, some are left out.

    PaqaError where too much of the build can be answered without the audio.
    """
    gates = state.recipe.gates
    if gates.shortcuts == "off":
        return items
    settled = {}
    if state.earlier:
        items, left_out = state.earlier.without(items)
        settled = state.earlier.settled(items)
        state.quarantined += left_out
    thinned = _thinned(state, shortcuts.texts(items), settled)
    kept, guessable = shortcuts.mark(items, thinned)
    state.quarantined += guessable
    if warning := shortcuts.enforce(thinned.scored.report, gates, state.out):
        state.warnings.append(warning)
    return kept


def _thinned(state: BuildState, rows: list[Text], settled: dict[str, float]) -> shortcuts.Thinned:
    """What the classifiers make of these rows, which the store keeps: a known build need not train them."""
    gates = state.recipe.gates
    where = shortcuts.thinned_key(rows, gates, settled, state.text_answers)
    if where and state.store.has(where, ".json"):
        return state.store.get_json(where, shortcuts.Thinned)
    call = partial(shortcuts.thin, rows, gates, settled, state.text_answers)
    thinned = state.run("shortcuts", [call], [len(rows)], "rows")[0]
    if where:
        state.store.put_json(where, thinned)
    return thinned
