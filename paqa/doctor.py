"""`paqa doctor`: what is installed, where each model's weights come from and under which licence, what to do next."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paqa.engines.base import ENGINES, engine_class, package_file
from paqa.errors import PaqaError


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True


def examine() -> list[Finding]:
    """Everything worth knowing about this installation; loads no model."""
    return [*_python(), *_engines(), *_packages(), *_decoding()]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("Python", ok, version, "" if ok else "use Python 3.11, 3.12 or 3.13")


def _engines() -> Iterator[Finding]:
    for name in ENGINES:
        kind = engine_class(name)
        try:
            revision = kind.identify()
        except PaqaError as error:
            yield Finding(f"engine {name}", False, f"{kind.stage}", str(error))
            continue
        yield Finding(f"engine {name}", True, f"{kind.stage}; revision {revision}")
        for w in kind.weights:
            size = Path(package_file(w)).stat().st_size / 1e6
            yield Finding(
                f"  {w.model}", True, f"{w.package}: {w.file} ({size:.1f} MB); {w.origin}; licence: {w.license}"
            )


def _packages() -> Iterator[Finding]:
    for package, why in (("prefect", "flows"), ("datasets", "loading shards"), ("jiwer", "paqa audit")):
        found = _version(package)
        yield Finding(
            package, found is not None, found or f"missing ({why})", "" if found else "uv pip install 'paqa[all]'"
        )
    fastapi = _version("fastapi")
    if fastapi and tuple(map(int, fastapi.split(".")[:2])) >= (0, 155):
        yield Finding("fastapi", False, fastapi, "Prefect 3.8 does not start with it: uv pip install 'fastapi<0.155'")
    torch, torchaudio = _version("torch"), _version("torchaudio")
    if torch and torchaudio and torch.startswith("2.15") and torchaudio.startswith("2.11"):
        yield Finding(
            "torch", False, f"{torch} with torchaudio {torchaudio}", "uv pip install torch==2.13.0", needed=False
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _decoding() -> Iterator[Finding]:
    """Reading: soundfile and PyAV, no FFmpeg. Only the `datasets` library decodes through torchcodec."""
    for module, reads in (
        ("soundfile", "wav, flac, ogg, mp3, opus"),
        ("av", "m4a and the rest, with its own libraries"),
    ):
        found = importlib.util.find_spec(module) is not None
        yield Finding(module, found, reads, "" if found else "uv pip install 'paqa[audio]'")
    if _version("torchcodec") is None:
        yield Finding(
            "torchcodec", False, "missing: datasets gives audio undecoded", "uv pip install 'paqa[hub]'", False
        )
        return
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError):
        remedy = "apt-get install ffmpeg (or: brew install ffmpeg); or read with paqa.shard.rows, which needs neither"
        yield Finding(
            "torchcodec", False, "FFmpeg's libraries are missing: datasets cannot decode audio", remedy, False
        )
    else:
        yield Finding("torchcodec", True, "datasets decodes audio")


def text(findings: list[Finding]) -> str:
    """The report."""
    lines = []
    for f in findings:
        mark = "ok " if f.ok else ("MISSING" if f.needed else "note")
        lines.append(f"{f.name:<28} {mark:<8} {f.found}" + (f"\n{'':<37} -> {f.remedy}" if f.remedy else ""))
    return "\n".join(lines)
