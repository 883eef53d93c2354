"""The dataset card (README.md of a build): what the Hub and `load_dataset(DIR)` need, and what a person asks first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paqa.recipe import Recipe
from paqa.types import Clip, Item

if TYPE_CHECKING:
    from paqa.summary import Summary

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def render(recipe: Recipe, done: Summary, clips: Sequence[Clip], items: Sequence[Item]) -> str:
    """Markdown with the YAML header that names the splits' files."""
    return "\n".join([*_header(recipe, done), *_body(recipe, done, clips, items)]) + "\n"


def _header(recipe: Recipe, done: Summary) -> list[str]:
    size = next((name for limit, name in SIZES if done.items < limit), "10M<n<100M")
    lines = [
        "---",
        "task_categories:",
        "- audio-text-to-text",
        "tags:",
        "- audio-question-answering",
        "- chain-of-thought",
    ]
    lines += ["- paqa", f"pretty_name: {recipe.name}", "size_categories:", f"- {size}"]
    if done.by_split:
        lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in done.by_split:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return [*lines, "---", ""]


def _body(recipe: Recipe, done: Summary, clips: Sequence[Clip], items: Sequence[Item]) -> list[str]:
    truth = sum(i.answers_from == "truth" for i in items)
    lines = [f"# {recipe.name}", "", recipe.description or "Perception-aware question answering, made with paqa.", ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {split} | {n} questions |" for split, n in done.by_split.items()]
    lines += [f"| {name} | {n} questions |" for name, n in done.by_subset.items()]
    lines += [f"| open-ended | {done.by_answer.get('open', 0)} questions without choices |"]
    lines += [f"| difficulty | {done.difficulty:.2f} on average, from 0 to 1 |"]
    heard = sum(i.reflection.startswith("heard:") for i in items if i.reflection)
    lines += [f"| reflected | {sum(i.reflected for i in items)} questions, {heard} of them after a real mishearing |"]
    lines += [f"| clips | {done.clips}, {done.audio_s:,.0f} s, {recipe.audio.rate} Hz |"]
    lines += [f"| answers | {truth} from truth, {len(items) - truth} from what was heard |"]
    lines += [f"| {h.stage} | {h.engine} ({h.revision}) |" for h in dict.fromkeys(h for i in items for h in i.heard_by)]
    lines += [
        "",
        "## Licences",
        "",
        "Each row has its own `license` and `source`.",
        "",
        "| licence | clips |",
        "|---|---|",
    ]
    return lines + [f"| {name} | {n} |" for name, n in sorted(Counter(c.license for c in clips).items())]
