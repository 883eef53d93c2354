"""Any dataset of Hugging Face `datasets` with an Audio column: on the Hub, or in local files or folders.

Nothing is decoded, so neither torchcodec nor FFmpeg is needed. The bytes of each row are written once, under
the name of their content, into `audio/` of the source's `path`; a file that already lies below `path` is used
as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources.answer_choices import parse_question
from paqa.sources.folder import EXTENSIONS, safe_id
from paqa.sources.groups import groups_of
from paqa.sources.registry import parameters, quarantined
from paqa.sources.truth import WHOLE_FILE
from paqa.storage import redact
from paqa.types import GivenQuestion, Quarantined, Recording, Scene, Turn

MAGIC = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"))


@dataclass(frozen=True)
class HubParams:
    """What to load, and which columns hold what.

    `dataset` is a name on the Hub ("owner/name"), or a folder, Parquet file or `save_to_disk` folder relative
    to the source's `path`. `rows` are read at most, from the start. `language` and `translated_to` are
    columns, or else codes for all rows ("en"). `choices` may be left out where the question holds them.
    """

    dataset: str = "."
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    streaming: bool = False
    rows: int | None = None
    audio: str | None = None  # the first column of type Audio
    id: str | None = None  # the row's number
    text: str | None = None
    speaker: str | None = None
    emotion: str | None = None
    translation: str | None = None
    language: str | None = None
    translated_to: str | None = None
    question: str | None = None
    choices: str | None = None
    answer: str | None = None
    task: str = "given"
    group: str | None = None  # one name or a list of them; the speaker, else the recording
    license: str | None = None


PARAMS = HubParams  # what the registry checks `params` with


COLUMNS = (
    "audio",
    "id",
    "text",
    "speaker",
    "emotion",
    "translation",
    "question",
    "choices",
    "answer",
    "group",
    "license",
)


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording a row, in the dataset's order; rows without audio or a clear question are quarantined.

    Rows with questions about the same audio become one recording, and come last.
    Raises PaqaError where the dataset cannot be loaded or lacks a column that params name.
    """
    params = parameters(config, HubParams)
    if config.use == "material" and params.text and not params.speaker:
        raise PaqaError(f"source {config.name!r}: params.speaker is missing; mixing has to know who speaks")
    rows, audio, names = _load(config, folder, params)
    by_uri: dict[str, Recording] = {}
    for number, row in enumerate(islice(rows, params.rows)):
        where = f"{params.split}-{number:07d}"
        try:
            recording = _recording(config, folder, params, row | _named(row, names), audio, where)
            if not recording.questions:
                yield recording
            elif recording.uri in by_uri:
                questions = (*by_uri[recording.uri].questions, *recording.questions)
                by_uri[recording.uri] = replace(by_uri[recording.uri], questions=questions)
            else:
                by_uri[recording.uri] = recording
        except Rejected as error:
            located = Rejected(error.reason, f"{params.dataset}, {where}: {error.detail}")
            yield quarantined(where, located, f"{params.dataset} {where}")
    yield from by_uri.values()


def _load(config: SourceConfig, folder: Path, params: HubParams) -> tuple[Any, str, dict[str, Any]]:
    """The rows with undecoded audio, the name of their audio column, and the columns of class numbers."""
    try:
        import datasets
    except ImportError:
        raise PaqaError(
            f"source {config.name!r}: needs `datasets`; run: uv pip install 'paqa[hub]'"
        ) from None
    try:
        rows = _open(datasets, folder, params)
    except (OSError, ValueError, PaqaError, datasets.exceptions.DatasetsError) as error:
        reason = redact.mask_secrets(" ".join(str(error).split()))[:200]
        advice = "check params.dataset, config and split, and that the Hub can be reached"
        raise PaqaError(
            f"source {config.name!r}: {params.dataset} cannot be loaded ({reason}); {advice}"
        ) from None
    if rows.features is None:
        raise PaqaError(
            f"source {config.name!r}: {params.dataset} names no columns; set params.streaming = false"
        )
    of_audio = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Audio)]
    audio = params.audio or next(iter(of_audio), None)
    named = {column: getattr(params, column) for column in COLUMNS}
    for column, name in (named | {"audio": audio}).items():
        if (name or column == "audio") and name not in rows.features:
            columns = ", ".join(rows.features)
            raise PaqaError(
                f"source {config.name!r}: params.{column} is {name!r}; {params.dataset} has {columns}"
            )
    classes = {name: kind for name, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)}
    return rows.cast_column(audio, datasets.Audio(decode=False)), str(audio), classes


def _open(datasets: Any, folder: Path, params: HubParams) -> Any:
    """The dataset; local Parquet files by themselves, since a folder may hold written audio beside them."""
    local = Path(os.path.normpath(folder / params.dataset))  # the folder itself need not exist
    if not local.exists():
        # "pandas" would be a reader of pickles, not a dataset
        if params.dataset.count("/") != 1 or "://" in params.dataset:
            raise PaqaError(
                f"{params.dataset!r} is neither a name on the Hub (owner/name) nor a path below {folder}"
            )
        return datasets.load_dataset(
            params.dataset,
            params.config,
            split=params.split,
            revision=params.revision,
            streaming=params.streaming,
        )
    if (local / "state.json").is_file() or (local / "dataset_dict.json").is_file():
        stored = datasets.load_from_disk(str(local))
        return stored[params.split] if isinstance(stored, datasets.DatasetDict) else stored
    files = [local] if local.is_file() else sorted(local.rglob("*.parquet"))
    if not files:
        return datasets.load_dataset(
            str(local), params.config, split=params.split, streaming=params.streaming
        )
    of_split = [
        path for path in files if re.search(rf"(^|[^a-z]){re.escape(params.split)}([^a-z]|$)", path.stem)
    ]
    names = [str(path) for path in of_split or files]
    return datasets.load_dataset("parquet", data_files=names, split="train", streaming=params.streaming)


def _named(row: Mapping[str, Any], classes: Mapping[str, Any]) -> dict[str, str]:
    return {name: kind.int2str(row[name]) for name, kind in classes.items() if isinstance(row[name], int)}


def _recording(
    config: SourceConfig, folder: Path, params: HubParams, row: Mapping[str, Any], audio: str, where: str
) -> Recording:
    def value(column: str) -> str | None:
        content = row.get(getattr(params, column) or "")
        return None if content is None or content == "" else str(content)

    uri = _written(row[audio], folder, params)
    name = safe_id(value("id") or where)
    speaker = value("speaker")
    labelled = any((params.text, params.speaker, params.emotion, params.translation))
    turn = Turn(0, WHOLE_FILE, 1, value("text") or "", value("emotion"), value("translation"))
    codes = {key: value(key) or _code(row, getattr(params, key)) for key in ("language", "translated_to")}
    return Recording(
        id=name,
        uri=uri,
        source=config.name,
        license=value("license") or config.license,
        groups=groups_of(row.get(params.group or "")) or (speaker or name,),
        truth=Scene(name, 0, (turn,), **codes) if labelled else None,  # type: ignore[arg-type]
        voice=speaker,
        questions=_questions(params, row, name) if params.question else (),
    )


def _code(row: Mapping[str, Any], given_code: str | None) -> str | None:
    return None if given_code in row else given_code


def _questions(params: HubParams, row: Mapping[str, Any], name: str) -> tuple[GivenQuestion, ...]:
    choices = row[params.choices] if params.choices else None
    return (
        parse_question(
            f"{name}:given", params.task, row[params.question or ""], choices, row.get(params.answer or "")
        ),
    )


def _roots(folder: Path, params: HubParams) -> list[Path]:
    """Where rows may name files: below the source, the local dataset, or the downloads of this one."""
    import datasets
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    local = Path(os.path.normpath(folder / params.dataset))
    local = local if local.is_dir() else local.parent
    if (folder / params.dataset).exists():
        return [folder.resolve(), local.resolve()]
    fetched = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=params.dataset, repo_type="dataset"))
    unpacked = (datasets.config.EXTRACTED_DATASETS_PATH, datasets.config.DOWNLOADED_DATASETS_PATH)
    return [folder.resolve(), fetched.resolve(), *(Path(p).resolve() for p in unpacked)]


def _written(audio: Mapping[str, Any] | None, folder: Path, params: HubParams) -> str:
    """The uri of a row's audio: a file below the folder, or its bytes, written under their hash.

    Rejected with `outside_corpus` where a row names a file elsewhere on this machine.
    """
    content, path = (audio or {}).get("bytes"), (audio or {}).get("path")
    if not content and path and "\0" not in path and Path(path).is_file():
        file = Path(path).resolve()
        if file.is_relative_to(folder.resolve()):
            return file.relative_to(folder.resolve()).as_posix()
        if not any(file.is_relative_to(allowed) for allowed in _roots(folder, params)):
            detail = f"names {path!r}, outside of source and dataset; put its audio into the row"
            raise Rejected("outside_corpus", detail)
        content = file.read_bytes()
    if not content:
        raise Rejected(
            "missing_audio", f"has no audio ({path or 'no path'}); remove the row or complete the dataset"
        )
    suffix = Path(path or "").suffix.lower()
    if suffix not in EXTENSIONS:
        suffix = next((ending for start, ending in MAGIC if content.startswith(start)), "")
    digest = hashlib.sha256(content).hexdigest()
    target = folder / "audio" / digest[:2] / f"{digest}{suffix}"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{digest}.{os.getpid()}")
        temporary.write_bytes(content)
        temporary.replace(target)
    return target.relative_to(folder).as_posix()
