"""The dataset card (README.md of a build), which the Hub and `load_dataset(DIR)` read, and LICENSE.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paqa.config.recipe import Recipe
from paqa.dataset import clip_quality
from paqa.dataset.summary import Summary, reviewed_text, right_text
from paqa.licensing import compatibility
from paqa.types import Clip, Item

NAMED = 12  # licences, and makers, that the card itself names; LICENSE.md names all
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def render(recipe: Recipe, summary: Summary, clips: Sequence[Clip], items: Sequence[Item]) -> str:
    """Markdown with the YAML header that names the splits' files."""
    parts = [
        _header(recipe, summary),
        _body(recipe, summary, clips, items),
        _speakers(summary),
        _licenses(summary, clips, items),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def licenses(recipe: Recipe, summary: Summary, clips: Sequence[Clip], items: Sequence[Item]) -> str:
    """LICENSE.md: what the dataset comes under, and whose recordings are in it."""
    named = _attributions(compatibility.attributions(o for item in items for o in item.origins))
    return (
        "\n".join([f"# Licences of {recipe.name}", *_covered(summary, clips, items, None), "", *named]) + "\n"
    )


def unknown_speakers(clips: Mapping[str, int]) -> Iterator[str]:
    """A warning where sources do not say who speaks in several files; `clips` counts theirs by source."""
    if clips:
        listed = ", ".join(f"{n} clips of the source {source!r}" for source, n in clips.items())
        yield (
            f"nothing says whether one person speaks in several files of {listed}: the same voice may be in "
            'train and test; give each recording a `group` (type = "jsonl"), or set group = "folder" in '
            "[[sources]] where each speaker has a folder"
        )


def _speakers(summary: Summary) -> list[str]:
    lines = []
    for text in unknown_speakers(summary.speakers_unknown):
        lines += ["", f"{text[0].upper()}{text[1:]}."]
    return lines


def _header(recipe: Recipe, summary: Summary) -> list[str]:
    size = next((name for limit, name in SIZES if summary.items < limit), "10M<n<100M")
    lines = [
        "---",
        *compatibility.hub_header(summary.license),
        "task_categories:",
        "- audio-text-to-text",
        "tags:",
        "- audio-question-answering",
        "- chain-of-thought",
    ]
    lines += ["- paqa", f"pretty_name: {recipe.name}", "size_categories:", f"- {size}"]
    if summary.by_split:
        lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in summary.by_split:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return [*lines, "---", ""]


def _body(recipe: Recipe, summary: Summary, clips: Sequence[Clip], items: Sequence[Item]) -> list[str]:
    truth = sum(i.answers_from == "truth" for i in items)
    lines = [
        f"# {recipe.name}",
        "",
        recipe.description or "Perception-aware question answering, made with paqa.",
        "",
    ]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {split} | {n} questions |" for split, n in summary.by_split.items()]
    lines += [f"| {name} | {n} questions |" for name, n in summary.by_subset.items()]
    lines += [f"| open-ended | {summary.by_answer.get('open', 0)} questions without choices |"]
    lines += [f"| difficulty | {summary.difficulty:.2f} on average, from 0 to 1 |"]
    reflected = sum(i.reflected for i in items)
    misheard = sum(i.reflection.startswith("heard:") for i in items if i.reflection)
    lines += [f"| reflected | {reflected} questions, {misheard} of them after a real mishearing |"]
    lines += [f"| clips | {summary.clips}, {summary.audio_s:,.0f} s, {recipe.audio.rate} Hz |"]
    lines += [f"| answers | {truth} from truth, {len(items) - truth} from what was heard |"]
    if expected := right_text(summary):
        lines += [f"| right | {expected} |"]
    if summary.reviewed:
        lines += [f"| reviewed | {reviewed_text(summary)} |"]
    lines += [f"| {f.label} | {clip_quality.spread(f)} |" for f in summary.quality]
    if summary.verifier and summary.verifier.paraphrased:
        lines += [
            f"| reworded | {summary.verifier.paraphrased} questions, by {_cell(summary.verifier.model)} |"
        ]
    models = dict.fromkeys(model for item in items for model in item.heard_by)
    lines += [f"| {model.stage} | {model.engine} ({model.revision}) |" for model in models]
    return lines


def _licenses(summary: Summary, clips: Sequence[Clip], items: Sequence[Item]) -> list[str]:
    credits = compatibility.attributions(o for item in items for o in item.origins)
    more = f"LICENSE.md names {len(credits) - NAMED} more; " if len(credits) > NAMED else ""
    each = f"{more}each row lists its recordings with their licences in `origins`."
    return [
        "",
        "## Licences",
        *_covered(summary, clips, items, NAMED),
        "",
        *_attributions(credits[:NAMED]),
        "",
        each,
    ]


def _covered(summary: Summary, clips: Sequence[Clip], items: Sequence[Item], most: int | None) -> list[str]:
    """What the dataset comes under, and the roll-up of its material: the `most` frequent licences."""
    if summary.license:
        lines = ["", f"The dataset comes under {summary.license}; what it is made of keeps its own licence:"]
    else:
        uncovered = sum(compatibility.common(texts) is None for texts in map(compatibility.texts, items))
        note = "No one licence covers all of the dataset; each row comes under those of its material."
        if uncovered:
            note += f" For {uncovered} rows no one licence does that either: ask before you pass them on."
        lines = ["", note]
    if refused := summary.quarantined.get("license"):
        lines += ["", f"{refused} recordings were left out because theirs does not permit that."]
    lines += ["", "| licence | rows | clips | minutes | recordings |", "|---|---|---|---|---|"]
    shares = compatibility.shares_by_license(items, clips)
    lines += [
        f"| {s.license} | {s.rows} | {s.clips} | {s.minutes:.1f} | {s.recordings} |" for s in shares[:most]
    ]
    if rest := shares[len(shares[:most]) :]:
        lines += ["", f"{len(rest)} licences of fewer rows are in LICENSE.md."]
    return [*lines, "", "A row with several recordings counts under the licence of each."]


def _attributions(credits: Sequence[tuple[str, str, str]]) -> list[str]:
    return [
        "| licence | source | recording |",
        "|---|---|---|",
        *(f"| {' | '.join(map(_cell, c))} |" for c in credits),
    ]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
