"""`paqa doctor`: what is installed and what is missing, the models' weights and their licences."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paqa import plugins
from paqa.config.recipe import PROFILES, converted
from paqa.engines.base import (
    ENGINES,
    Weights,
    engine_class,
    engine_revision,
    extra_of,
    install_command,
    missing_packages,
    package_file,
    package_revision,
)
from paqa.engines.weights import (
    CHOICES_FILE,
    RemoteWeights,
    fetch_missing,
    locate,
    model_choices,
    models_folder,
)
from paqa.errors import PaqaError
from paqa.perception.engine_runs import engine_params
from paqa.pipeline import recipe_files
from paqa.publish.export.registry import FORMATS, format_module
from paqa.questions.families import templates_of
from paqa.questions.generate import TEMPLATES
from paqa.sources.registry import SOURCES

# names that no plug-in may use, by group
BUILT_IN: dict[plugins.Group, Collection[str]] = {
    "paqa.engines": ENGINES,
    "paqa.sources": SOURCES,
    "paqa.questions": {template.task for template in TEMPLATES.values()},
    "paqa.exports": FORMATS,
}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True


@dataclass(frozen=True)
class EngineCheck:
    """An engine with its parameters; `needed` where a recipe or profile was named that uses it."""

    engine: str
    params: Any
    needed: bool
    problem: str = ""  # with what models.toml says about it; then it has no params


def engines_to_check(path: Path | None = None, profile: str | None = None) -> list[EngineCheck]:
    """The engines of a recipe or profile; without either all, of which the embedded profile's are needed."""
    if path is not None:
        recipe = recipe_files.load(path)
        recipe = recipe_files.change(recipe, [f"profile={profile}"]) if profile else recipe
        stages = PROFILES[recipe.profile]
        return [
            EngineCheck(recipe.stage_config(stage).engine, engine_params(recipe, stage), True)
            for stage in stages
        ]
    if profile not in (None, *PROFILES):
        raise PaqaError(f"--profile {profile}: expected one of {', '.join(PROFILES)}")
    needed = {stage.engine for stage in PROFILES[profile or "embedded"].values()}
    names = [name for name in ENGINES if profile is None or name in needed]
    if profile is None:
        names += [name for name in plugins.named("paqa.engines") if not _problem("paqa.engines", name)]
    return [_default(name, name in needed) for name in names]


def _default(name: str, needed: bool) -> EngineCheck:
    """An engine with its parameters where no recipe changes them."""
    kind = engine_class(name).Params
    try:
        return EngineCheck(
            name,
            converted(kind, model_choices(name), f"{models_folder() / CHOICES_FILE}: engine {name}"),
            needed,
        )
    except PaqaError as error:
        return EngineCheck(name, None, needed, str(error))


def examine(engines: Sequence[EngineCheck], download: bool = False) -> list[Finding]:
    """What is installed and what is missing; loads no model. `download` fetches missing weights."""
    remote = any(extra_of(engine_class(w.engine)) in ("paper", "transformers") for w in engines)
    findings = [finding for w in engines for finding in _engine(w, download)]
    return [*_python(), *findings, *_plugins(), *(_torch() if remote else ()), *_packages(), *_decoding()]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("Python", ok, version, "" if ok else "use Python 3.11, 3.12 or 3.13")


def _engine(check: EngineCheck, download: bool) -> Iterator[Finding]:
    """The engine's package, then each of its models: where its weights are, or how to get them."""
    kind, name = engine_class(check.engine), f"engine {check.engine}"
    if missing := missing_packages(kind):
        what = f"{kind.stage}; not installed: {', '.join(missing)}"
        yield Finding(name, False, what, install_command(dict.fromkeys(missing, kind)), check.needed)
        return
    try:
        remotes = () if check.problem else kind.remotes(check.params)
    except PaqaError as error:
        check = replace(check, problem=str(error))
    if check.problem:
        yield Finding(name, False, f"{kind.stage}; its parameters are wrong", check.problem, check.needed)
        return
    models = [*_packaged(kind.weights), *(_remote(r, check, download) for r in remotes)]
    description = f"{kind.stage}; {kind.package} {_version(kind.package)}"
    ok = all(model.ok for model in models)
    try:
        if ok:
            description += f"; revision {engine_revision(check.engine, check.params)}"
    except PaqaError as error:
        models.append(Finding("  weights", False, "refused", str(error), check.needed))
    yield Finding(name, ok, description, needed=check.needed)
    yield from models


def _plugins() -> Iterator[Finding]:
    """Every plug-in, with the distribution that it is from; one that cannot be used is no error by itself."""
    for plugin in plugins.installed():
        name = f"plug-in {plugin.name} ({plugin.group.removeprefix('paqa.')})"
        what = f"{plugin.origin}: {plugin.entry_point.value}"
        problem = _problem(plugin.group, plugin.name)
        yield Finding(name, not problem, what, problem, needed=False)


def _problem(group: plugins.Group, name: str) -> str:
    """Why a plug-in cannot be used; empty where it can."""
    try:
        plugins.refuse_clash(group, name, BUILT_IN[group])
        if group == "paqa.engines":
            engine_class(name)
        elif group == "paqa.sources" and (plugin := plugins.find(group, name)):
            plugin.load()
        elif group == "paqa.questions":
            templates_of(name)
        elif group == "paqa.exports":
            format_module(name)
    except PaqaError as error:
        return str(error)
    return ""


def _packaged(weights: Sequence[Weights]) -> Iterator[Finding]:
    for w in weights:
        try:
            package_revision(0, w)
        except PaqaError as error:
            yield Finding(f"  {w.model}", False, f"{w.package}: {w.file}", str(error))
            continue
        size = Path(package_file(w)).stat().st_size / 1e6
        description = f"{w.package}: {w.file} ({size:.1f} MB); {w.origin}; licence: {w.license}"
        yield Finding(f"  {w.model}", True, description)


def _remote(remote: RemoteWeights, check: EngineCheck, download: bool) -> Finding:
    try:
        path = fetch_missing(remote) if download else locate(remote, download=False)
    except (PaqaError, OSError) as error:
        missing = f"{remote.origin}; licence: {remote.license}"
        return Finding(f"  {remote.model}", False, missing, f"{error}{_token(remote)}", check.needed)
    files = [path, *(f for pattern in remote.patterns for f in path.glob(pattern))]
    size = sum(f.stat().st_size for f in files if f.is_file()) / 1e6
    return Finding(
        f"  {remote.model}", True, f"{path} ({size:.1f} MB); {remote.origin}; licence: {remote.license}"
    )


def _token(remote: RemoteWeights) -> str:
    """What is missing besides, where a model wants a token and there is none."""
    if not remote.gated:
        return ""
    try:
        from huggingface_hub import get_token
    except ModuleNotFoundError:
        return " (fetching it wants the Hub's client: uv pip install 'paqa[paper]')"

    return "" if get_token() else " (no token found: `hf auth login`, or set HF_TOKEN)"


def _torch() -> Iterator[Finding]:
    """The devices of torch, and whether torch and torchaudio fit together: some pairs do not even import."""
    versions = f"torch {_version('torch')}, torchaudio {_version('torchaudio')}"
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        yield Finding("torch", False, f"{versions}: {why}", "uv pip install torch==2.13.0 torchaudio==2.11.0")
        return
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    where = (
        f"{', '.join(devices)}: build with --device cuda" if devices else "no CUDA device: runs on the CPU"
    )
    yield Finding("torch", True, f"{versions}; {where}")


def _packages() -> Iterator[Finding]:
    for package, why, extra in (
        ("prefect", "paqa build and paqa ui", "embedded"),
        ("datasets", "loading shards, paqa push", "hub"),
        ("jiwer", "paqa audit", "audit"),
    ):
        version = _version(package)
        remedy = "" if version else f"uv pip install 'paqa[{extra}]'"
        yield Finding(package, version is not None, version or f"missing ({why})", remedy)
    version = _version("speechmos")
    remedy = "" if version else "uv pip install 'paqa[quality]'"
    about = version or "missing (quality.measure in a recipe)"
    yield Finding("speechmos", version is not None, about, remedy, needed=False)
    fastapi = _version("fastapi")
    if fastapi and tuple(map(int, fastapi.split(".")[:2])) >= (0, 155):
        yield Finding(
            "fastapi", False, fastapi, "Prefect 3.8 does not start with it: uv pip install 'fastapi<0.155'"
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
        installed = importlib.util.find_spec(module) is not None
        yield Finding(module, installed, reads, "" if installed else "uv pip install 'paqa[audio]'")
    if _version("torchcodec") is None:
        yield Finding(
            "torchcodec",
            False,
            "missing: datasets gives audio undecoded",
            "uv pip install 'paqa[hub]'",
            False,
        )
        return
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError):
        remedy = (
            "apt-get install ffmpeg (or: brew install ffmpeg); or read with paqa.dataset.shards.rows, "
            "which needs neither"
        )
        yield Finding(
            "torchcodec", False, "FFmpeg's libraries are missing: datasets cannot decode audio", remedy, False
        )
    else:
        yield Finding("torchcodec", True, "datasets decodes audio")


def text(findings: list[Finding]) -> str:
    """The report."""
    lines = []
    for f in findings:
        mark = "MISSING" if f.needed else "note"
        mark = "ok " if f.ok else mark
        lines.append(f"{f.name:<28} {mark:<8} {f.detail}" + (f"\n{'':<37} -> {f.remedy}" if f.remedy else ""))
    return "\n".join(lines)
