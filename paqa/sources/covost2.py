"""CoVoST 2 (Wang et al., 2020): Common Voice recordings with their sentence and its translation.

`path` is a folder with the published `covost_v2.SRC_TGT.tsv` (path, translation, split) and Common Voice's
`validated.tsv` (client_id, path, sentence), which it is joined with; or with `covost_v2.SRC_TGT.train.tsv`
and the like, which CoVoST's own get_covost_splits.py writes (path, sentence, translation, client_id). The
recordings lie in `clips` below it. The group and the voice are the `client_id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources import tables
from paqa.sources.folder import safe_id
from paqa.sources.paths import locate
from paqa.sources.registry import parameters, quarantined
from paqa.sources.truth import WHOLE_FILE
from paqa.types import Quarantined, Recording, Scene, Turn

PARTS = ("train", "dev", "test")
LICENSE = "CC0-1.0"  # of Common Voice and of CoVoST 2
PUBLISHED = ("path", "translation", "split")
JOINED = ("path", "sentence", "translation", "client_id")
SPOKEN = ("client_id", "path", "sentence")


@dataclass(frozen=True)
class CoVoST2Params:
    """`languages` is "SRC_TGT", e.g. "de_en"; it may be left out where the folder holds one pair only."""

    languages: str | None = None
    splits: tuple[str, ...] = PARTS
    clips: str = "clips"


PARAMS = CoVoST2Params  # what the registry checks `params` with


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording a row, in order of the tables: one whole-file turn with text and translation.

    Raises PaqaError where a table is missing, or the pair of languages is not clear.
    """
    params = parameters(config, CoVoST2Params)
    pair = params.languages or _only_pair(config, folder)
    spoken, translated = _codes(config, pair)
    scene = Scene("-", 0, language=spoken, translated_to=translated)
    for row in _rows(config, folder, pair, params.splits):
        try:
            yield _recording(config, row, folder, params, scene)
        except Rejected as error:
            yield quarantined(row.where, error, row.content)


def _only_pair(config: SourceConfig, folder: Path) -> str:
    pairs = sorted({path.name.split(".")[1] for path in folder.glob("covost_v2.*.tsv")})
    if len(pairs) != 1:
        expected = "expected one covost_v2.SRC_TGT.tsv; name the pair in params.languages"
        raise PaqaError(
            f"source {config.name!r}: {folder} holds {', '.join(pairs) or 'no covost_v2.*.tsv'}; {expected}"
        )
    return pairs[0]


def _codes(config: SourceConfig, pair: str) -> tuple[str, str]:
    """Both languages without their regions: "en_zh-CN" is ("en", "zh")."""
    match = re.fullmatch(r"([a-z]{2,3})(?:-\w+)?_([a-z]{2,3})(?:-\w+)?", pair)
    if not match:
        raise PaqaError(
            f"source {config.name!r}: params.languages is {pair!r}; expected a pair such as 'de_en'"
        )
    return match[1], match[2]


def _rows(
    config: SourceConfig, folder: Path, pair: str, splits: tuple[str, ...]
) -> Iterator[tables.TableRow]:
    whole = folder / f"covost_v2.{pair}.tsv"
    if not whole.is_file():
        for split in splits:
            yield from tables.rows(folder / f"covost_v2.{pair}.{split}.tsv", config.name, JOINED, tabs=True)
        return
    rows = tables.rows(whole, config.name, PUBLISHED, tabs=True)
    chosen = [row for row in rows if row.problem or row.fields["split"].removesuffix("_covost") in splits]
    readable = [row for row in chosen if not row.problem]
    if all(column in row.fields for row in readable for column in JOINED):
        yield from chosen
        return
    spoken_paths = {row.fields["path"] for row in readable}
    spoken_rows = tables.rows(folder / "validated.tsv", config.name, SPOKEN, tabs=True)
    fields_by_path = {
        row.fields["path"]: row.fields
        for row in spoken_rows
        if not row.problem and row.fields["path"] in spoken_paths
    }
    yield from (
        replace(row, fields={**fields_by_path.get(row.fields.get("path", ""), {}), **row.fields})
        for row in chosen
    )


def _recording(
    config: SourceConfig, row: tables.TableRow, folder: Path, params: CoVoST2Params, scene: Scene
) -> Recording:
    uri = f"{params.clips}/{row['path']}"
    if "client_id" not in row.fields:
        raise Rejected(
            "bad_row", f"{row.where}: {row['path']!r} is not in validated.tsv; take that of the same release"
        )
    if not locate(uri, folder).is_file():
        raise Rejected(
            "missing_file", f"{row.where}: {uri} does not exist; unpack the Common Voice clips there"
        )
    name, speaker = safe_id(row["path"]), row["client_id"]
    turn = Turn(0, WHOLE_FILE, 1, row["sentence"], translation=row["translation"])
    return Recording(
        id=name,
        uri=uri,
        source=config.name,
        license=LICENSE if config.license == "unknown" else config.license,
        groups=(speaker,),
        truth=replace(scene, clip_id=name, turns=(turn,)),
        voice=speaker,
    )
