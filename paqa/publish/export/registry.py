"""`paqa export FORMAT DIR OUT`: a build in the form that other trainers, scorers and toolkits read.

A format is one module with `export(job)`, a default `AUDIO` encoding and default `SPLITS`. Shards are read
row group by row group, and what is written appears in OUT whole or not at all. A format of another package is
an entry point of the group `paqa.exports` (`paqa.plugins`).
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

from paqa import plugins
from paqa.dataset import shards
from paqa.dataset.shards import SPLITS
from paqa.errors import PaqaError
from paqa.publish.export.job import AUDIO, SCENES, Job
from paqa.types import Split

FORMATS = {
    "swift": "ms-swift: SFT JSONL, with the solution for GRPO",
    "llamafactory": "LLaMA-Factory: sharegpt JSONL and dataset_info.json",
    "trl": "TRL: conversational prompts with what a reward needs",
    "verl": "verl: prompts and references for GRPO, with the reward in paqa.publish.export.verl",
    "nemo_rl": "NeMo RL: general conversations for SFT",
    "mmau": "the MMAU benchmark's layout, for its scorer",
    "mmar": "the MMAR benchmark's layout, for its scorer",
    "lmms_eval": "lmms-eval: tasks that ask its audio models, with audio, silence and another clip",
    "inspect_ai": "Inspect AI: the same tasks for its models",
    "references": "RTTM, STM and CTM",
    "lhotse": "lhotse recordings, supervisions and cuts",
    "webdataset": "WebDataset tars, one sample a clip",
}

__all__ = ["AUDIO", "FORMATS", "SCENES", "Job", "export"]


def format_module(name: str) -> Any:
    """The module of a format, here or of a plug-in; PaqaError where there is none."""
    plugins.refuse_clash("paqa.exports", name, FORMATS)
    if name in FORMATS:
        return importlib.import_module(f"paqa.publish.export.{name}")
    plugin = plugins.find("paqa.exports", name)
    if plugin is None:
        formats = ", ".join((*FORMATS, *plugins.named("paqa.exports")))
        raise PaqaError(
            f"{name!r}: no such format; known: {formats}; one of a plug-in wants its package "
            "(paqa doctor lists what is installed)"
        )
    module = plugin.load()
    if missing := [part for part in ("AUDIO", "SPLITS", "export") if not hasattr(module, part)]:
        raise PaqaError(
            f"format {name!r} of {plugin.origin} has no {', '.join(missing)}; expected a module as "
            "docs/plugins.md describes: tell its author"
        )
    return module


def export(
    name: str,
    folder: Path,
    out: Path,
    splits: tuple[Split, ...] | None = None,
    audio: str | None = None,
    scenes: str = "rows",
) -> Job:
    """Write a build as format `name` into the new folder `out`; returns the job with its counts of rows.

    `splits` and `audio` (flac or wav) are the format's own by default; `scenes` says whose turns, words and
    events annotations hold: the rows', the truth's or the predicted ones. PaqaError where any of these is
    wrong.
    """
    module = format_module(name)
    if audio not in (None, *AUDIO) or scenes not in SCENES:
        raise PaqaError(f"found audio {audio!r} and scenes {scenes!r}, expected {AUDIO} and {SCENES}")
    if unknown := sorted(set(splits or ()) - set(SPLITS)):
        raise PaqaError(f"--split {unknown[0]}: expected one of {', '.join(SPLITS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PaqaError(f"{out}: is not empty; name a new folder")
    shards.with_scenes(folder)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of an export that was stopped
    part.mkdir(parents=True)
    job = Job(folder, out.resolve(), part, splits or module.SPLITS, audio or module.AUDIO, scenes)
    module.export(job)
    if not job.written:
        why = (
            ", ".join(f"{reason} {n}" for reason, n in job.skipped.items())
            or f"none in {', '.join(job.splits)}"
        )
        shutil.rmtree(part)
        raise PaqaError(
            f"{folder}: no row can be exported as {name} ({why}); choose other splits with --split"
        )
    if out.exists():
        out.rmdir()
    part.replace(out)
    return job
