"""The card of a published release: the build's card, with what the Hub and its readers ask for beside it.

Everything is taken from the shards and the files beside them, and nothing from the clock, so that the same
build gives the same card. The header names every shard: readers see a release whole or not at all, also while
the next one is being sent, and a shard that a later build replaces can stay where it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from paqa.curation import shortcuts
from paqa.dataset import card, open_build, shards, summary
from paqa.dataset.shards import SPLITS
from paqa.errors import PaqaError
from paqa.licensing import compatibility
from paqa.storage import redact
from paqa.storage.build_folder import AUDIT, CARD, LICENSES, RECIPE, SHORTCUTS
from paqa.types import Item

COLUMNS = [name for name in Item.__dataclass_fields__ if name != "scene"]
CITATION = """\
```bibtex
@misc{wang2026listenpausereasonperceptiongrounded,
  title={Listen, Pause, and Reason: Toward Perception-Grounded Hybrid Reasoning for Audio Understanding},
  author={Jieyi Wang and Yazhe Niu and Dexuan Xu and Zhongyu Wei},
  year={2026},
  eprint={2604.14806},
  archivePrefix={arXiv},
  primaryClass={cs.SD}
}
```"""


@dataclass(frozen=True)
class Shards:
    """What the shards hold, without audio, words and rationales."""

    items: tuple[Item, ...]
    languages: tuple[str, ...]
    files: dict[str, list[Path]]  # by split
    rows: dict[str, int]
    unpacked: dict[str, int]  # bytes


def read(folder: Path) -> Shards:
    """Read the shards of a build by row group; PaqaError where one is damaged or of another format."""
    items: list[Item] = []
    languages: set[str] = set()
    files: dict[str, list[Path]] = {}
    rows: dict[str, int] = {}
    unpacked: dict[str, int] = {}
    for path in shards.with_scenes(folder):
        file = shards.open_shard(path)
        split = path.name.partition("-")[0]
        if split not in SPLITS:
            raise PaqaError(
                f"{path}: found the split {split!r}, expected one of {', '.join(SPLITS)} before the dash"
            )
        files.setdefault(split, []).append(path)
        rows[split] = rows.get(split, 0) + file.metadata.num_rows
        for group in range(file.num_row_groups):
            unpacked[split] = unpacked.get(split, 0) + file.metadata.row_group(group).total_byte_size
            for row in file.read_row_group(group, columns=[*COLUMNS, "scene.language"]).to_pylist():
                languages.update(filter(None, [row["scene"]["language"]]))
                bare = {"clip_id": row["clip_id"], "duration_ms": 0}
                items.append(shards.item({**row, "scene": bare, "rationale": ""}))
    order = [split for split in SPLITS if split in files]
    return Shards(tuple(items), tuple(sorted(languages)), {s: files[s] for s in order}, rows, unpacked)


def render(folder: Path) -> dict[str, str]:
    """The texts of a release by name: the card and LICENSE.md, which it links to.

    PaqaError where the folder holds no finished build, or rows that do not permit what the recipe wants, or
    that tell of this machine's folders.
    """
    from huggingface_hub import DatasetCardData

    recipe, _, clips = open_build.open_build(folder)
    content = read(folder)
    permitted(folder, content.items, recipe.license)
    clip_ids = {item.clip_id for item in content.items}
    totals = replace(summary.load(folder), **summary.row_figures(content.items))
    totals = replace(totals, license=compatibility.of_dataset(content.items, recipe.license))
    known_clips = [clip for clip in clips if clip.id in clip_ids]
    audio_s = round(sum(clip.duration_ms for clip in known_clips) / 1000, 1)
    totals = replace(totals, clips=len(known_clips), audio_s=audio_s)
    if len(known_clips) < len(clip_ids):
        missing = sorted(clip_ids - {c.id for c in known_clips})[0]
        raise PaqaError(
            f"{folder}: clips.parquet lacks {missing!r}, which the shards hold; run: paqa build again"
        )
    header, body = split(card.render(recipe, totals, known_clips, content.items))
    data = DatasetCardData(**{**header, **_header(content)}, ignore_metadata_errors=False)
    _features(content).to_dataset_card_data(data)
    sections = [*_recipe(folder), *_quality(folder), *_limits(content), "## Citation", "", CITATION, ""]
    text = f"---\n{data.to_yaml(line_break=chr(10))}\n---\n\n{body.strip()}\n\n" + "\n".join(sections)
    return {CARD: text, LICENSES: card.licenses(recipe, totals, known_clips, content.items)}


def permitted(folder: Path, items: Sequence[Item], license: str | None) -> None:
    """PaqaError where material does not permit a dataset under `license`, or a row names a local path."""
    refused: dict[str, str] = {}
    for item in items if license else ():
        for text in compatibility.texts(item):
            if why := compatibility.refusal(text, str(license)):
                refused[item.id] = why
    if refused:
        name, why = next(iter(refused.items()))
        raise PaqaError(
            f"{folder}: {len(refused)} of {len(items)} rows may not be published under {license}, which the "
            f"recipe names, e.g. {name} ({why}); see all with: paqa check {folder}; then build again, "
            "which leaves them out"
        )
    for item in items:
        named = (item.id, item.clip_id, item.source, *item.groups, *(o.uri for o in item.origins))
        if path := next(filter(redact.is_local_path, named), None):
            raise PaqaError(
                f"{folder}: {item.id} names a path of this machine, {path}; expected one relative to its "
                "source; build again (a list's absolute paths are cut below its folder since), or correct "
                "the list"
            )


def split(text: str) -> tuple[dict[str, Any], str]:
    """The YAML header of a card as a dict ({} where it has none), and what follows."""
    import yaml

    _, *parts = text.split("---\n", 2) if text.startswith("---\n") else ["", text]
    if len(parts) != 2:
        return {}, text
    header = yaml.safe_load(parts[0])
    return (header if isinstance(header, dict) else {}), parts[1]


def _header(content: Shards) -> dict[str, Any]:
    """What replaces or adds to the header of the build's card."""
    listed = [{"split": s, "path": [f"data/{p.name}" for p in paths]} for s, paths in content.files.items()]
    more: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": listed}]}
    return more | ({"language": list(content.languages)} if content.languages else {})


def _features(content: Shards) -> Any:
    """The features, rows and bytes of the splits, as `datasets` writes them into a header."""
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict

    first = next(iter(content.files.values()))[0]
    splits = SplitDict({s: SplitInfo(s, content.unpacked[s], content.rows[s]) for s in content.files})
    size = sum(path.stat().st_size for paths in content.files.values() for path in paths)
    info = DatasetInfo(
        features=Features.from_arrow_schema(pq.read_schema(first)),
        splits=splits,
        download_size=size,
        dataset_size=sum(content.unpacked.values()),
    )
    return DatasetInfosDict({"default": info})


def _recipe(folder: Path) -> list[str]:
    """The recipe that made it, without this machine's paths."""
    recipe = json.loads((folder / RECIPE).read_bytes())
    recipe.pop("folder", None)
    recipe.get("verifier", {}).pop("endpoint", None)  # an address of somebody's network
    shown = json.dumps(redact.shorten_paths(recipe), indent=1, ensure_ascii=False)
    return [
        "## Recipe",
        "",
        "<details><summary>recipe.json</summary>",
        "",
        "```json",
        shown,
        "```",
        "",
        "</details>",
        "",
    ]


def _quality(folder: Path) -> Iterator[str]:
    """The audit, where there is one, and how far the text alone gets."""
    yield from ("## Audit", "")
    path = folder / AUDIT
    if path.exists():
        from paqa.evaluation import audit_report, tables

        report = msgspec.convert(json.loads(path.read_bytes()), audit_report.AuditReport)
        yield from ("What the engines heard against the truth, where there is truth:", "", "```")
        yield from (tables.table(report).rstrip(), "```", "")
    else:
        yield from ("Perception was not audited against truth for this release.", "")
    if (folder / SHORTCUTS).exists():
        report_ = shortcuts.load(folder)
        yield from (f"What the text alone answers, of {report_.rows} questions with choices:", "")
        yield from ("| guesser | right | chance |", "|---|---|---|")
        yield from (f"| {name} | {g.accuracy:.1%} | {g.chance:.1%} |" for name, g in report_.guessers.items())
        yield ""


def _limits(content: Shards) -> Iterator[str]:
    items = content.items
    from_engines = sum(item.answers_from == "heard" for item in items)
    typed = sum((item.reflection or "").startswith("typed:") for item in items)
    unknown = sum(item.audio_dependence is None for item in items)
    yield from (
        "## Known limits",
        "",
        "- Questions, answers and rationales are written by templates, not by people.",
    )
    if from_engines:
        rest = "rest on what the engines heard and are as good as these engines."
        yield f"- {from_engines} of {len(items)} answers {rest}"
    if typed:
        how = "are made up after known types of mishearing, not misheard by an engine."
        yield f"- {typed} wrong first responses {how}"
    if unknown:
        yield f"- {unknown} of {len(items)} rows have no `audio_dependence`."
    languages = ", ".join(content.languages) or "no known language"
    yield f"- Speech is in {languages}, as stated or recognised."
    yield ""
