"""Running engines, batch by batch: audio is read and outputs are stored while a model works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, TypeVar

import msgspec
import numpy as np

from paqa.audio import flac, quantize, read_flac
from paqa.engines.base import EngineOutput, engine_class
from paqa.errors import OutOfMemory, PaqaError, WorkerDied
from paqa.perception.engine_errors import device_lost, short_of_memory, text_of
from paqa.perception.engine_runs import (
    EngineRun,
    StoredOutput,
    context_groups,
    has_context,
    output_key,
    stem,
)
from paqa.storage.batching import batches
from paqa.storage.store import Store
from paqa.types import Audio, Clip, Quarantined

PART_MS = 60_000  # of a batch, which an engine is given at once
TRANSCRIBED_MS = 240_000  # more of it: the faster, the more windows are decoded together
RAW_MIX_FAILED = "not_misheard"  # the reason in quarantine where a run on the raw mix failed

G = TypeVar("G")
U = TypeVar("U")


@dataclass(frozen=True)
class Cost:
    """What a batch cost: seconds inside engines and in all, and the audio that they were about."""

    audio_s: float = 0.0
    model_s: float = 0.0
    total_s: float = 0.0
    clips: int = 0

    @classmethod
    def since(cls, began: float, clips: Sequence[Clip], model_s: float = 0.0) -> Cost:
        """What was done with these clips since `began` (of `time.perf_counter`)."""
        return cls(sum(c.duration_ms for c in clips) / 1000, model_s, time.perf_counter() - began, len(clips))


@dataclass(frozen=True)
class EngineInput:
    """What an engine is given at once: a clip's stem, or some clips' context and which samples are theirs."""

    audio: Audio
    spans: tuple[tuple[Clip, int, int], ...]


def run_engine(
    clips: Sequence[Clip],
    run: EngineRun,
    separation: EngineRun,
    store: Store,
    device: str = "cpu",
    threads: int = 1,
) -> tuple[Cost, list[Quarantined]]:
    """Run an engine on a batch of clips and put what it predicts into the store.

    An engine that fails on a batch is given its inputs one by one; clips on which it still fails are returned
    as quarantined. Raises WorkerDied where another process has to go on, OSError where a disk fails.
    """
    began = time.perf_counter()
    if run.stem != "mix":  # clips on which the separator failed have their quarantine row already
        separated = store.has_each([output_key(c, separation, separation) for c in clips], ".flac")
        clips = [clip for clip, complete in zip(clips, separated, strict=True) if complete]
    if not clips:
        return Cost(), []
    engine = _engine(run.engine, run.params, device, threads)
    part_ms = TRANSCRIBED_MS if run.stage == "transcribe" else PART_MS
    parts = batches(context_groups(clips, run), lambda group: sum(c.duration_ms for c in group), part_ms)
    model_s = 0.0
    failures: list[Quarantined] = []
    with ThreadPoolExecutor(store.width) as reader, ThreadPoolExecutor(store.width) as writer:
        writing = []
        for inputs in _ahead(lambda group: reader.submit(_input, group, run, separation, store), parts):
            at_model = time.perf_counter()
            outputs, failure = [], None
            try:
                outputs = list(engine([engine_input.audio for engine_input in inputs]))
            except Exception as error:  # noqa: BLE001 - `_after_failure` raises what no input is to blame for
                failure = error
            if failure is not None:
                outputs = _after_failure(engine, inputs, failure)
            model_s += time.perf_counter() - at_model
            for engine_input, output in zip(inputs, outputs, strict=True):
                if isinstance(output, str):
                    failures += _quarantined(engine_input, run, output)
                else:
                    writing.append(writer.submit(_put, engine_input, run, separation, output, store))
        for future in writing:
            future.result()
    return Cost.since(began, clips, model_s), failures


def still_runs(
    clips: Sequence[Clip], run: EngineRun, separation: EngineRun, store: Store, device: str, threads: int
) -> bool:
    """Whether an engine still runs on clips of one context on which it has run before; keeps nothing."""
    engine = _engine(run.engine, run.params, device, threads)
    return isinstance(_outputs(engine, [_input(clips, run, separation, store)])[0], EngineOutput)


def raw_mix_failures(failures: Sequence[Quarantined]) -> list[Quarantined]:
    """Quarantine rows of `optional_runs`: they say that the clip itself is not lost."""
    kept = "the clip is asked about all the same, only no wrong first response comes from its raw mix"
    return [replace(q, reason=RAW_MIX_FAILED, detail=f"{q.detail}; {kept}") for q in failures]


@cache
def _engine(name: str, params: str, device: str, threads: int) -> Any:
    """The loaded engine of this process; PaqaError where it cannot be loaded, OSError where a disk fails."""
    kind = engine_class(name)
    try:
        return kind(msgspec.json.decode(params, type=kind.Params), device=device, threads=threads)
    except (PaqaError, OSError):
        raise
    except Exception as error:
        raise PaqaError(
            f"engine {name} cannot be loaded on {device}: {text_of(error)}; run `paqa doctor`, look at "
            "the free "
            "memory, then run the same command again"
        ) from error


def _input(group: Sequence[Clip], run: EngineRun, separation: EngineRun, store: Store) -> EngineInput:
    first = group[0]
    if not has_context(first, run):
        audio = stem(first, run.stem, separation, store)
        return EngineInput(audio, ((first, 0, audio.samples.shape[1]),))
    parts = [read_flac(store.get(sha256, ".flac")) for sha256 in first.context]
    ends = [0, *(int(n) for n in np.cumsum([part.samples.shape[1] for part in parts]))]
    whole = Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)
    return EngineInput(whole, tuple((clip, ends[clip.place], ends[clip.place + 1]) for clip in group))


def _ahead(begin: Callable[[G], Future[U]], parts: Sequence[Sequence[G]]) -> Iterator[list[U]]:
    """What is loaded of each part; that of the next one while the caller is busy with this one."""
    coming = [begin(group) for group in parts[0]]
    for following in (*parts[1:], ()):
        loaded = [future.result() for future in coming]
        coming = [begin(group) for group in following]
        yield loaded


def _outputs(engine: Any, inputs: Sequence[EngineInput]) -> list[EngineOutput | str]:
    """The engine's output for each input, or how it fails there."""
    try:
        return list(engine([engine_input.audio for engine_input in inputs]))
    except Exception as error:  # noqa: BLE001 - `_after_failure` raises what no input is to blame for
        failure = error
    return _after_failure(engine, inputs, failure)


def _after_failure(engine: Any, inputs: Sequence[EngineInput], error: Exception) -> list[EngineOutput | str]:
    """As `_outputs`, of inputs on which the engine has just failed together; alone they may be fine.

    Where memory is short, fewer are tried together. WorkerDied where this process is of no further use: its
    GPU is lost, or one input alone needs too much memory. OSError where the disk fails, for which no input is
    to blame.
    """
    short, message = short_of_memory(error), text_of(error)
    if isinstance(error, OSError) and not short:
        raise error
    if device_lost(error):
        raise WorkerDied(message) from None
    error.__traceback__ = error.__context__ = None  # they hold what the engine had in memory
    if len(inputs) > 1:
        half = len(inputs) // 2
        parts = [inputs[:half], inputs[half:]] if short else [[alone] for alone in inputs]
        return [output for part in parts for output in _outputs(engine, part)]
    if short:
        raise OutOfMemory(message)
    return [message]


def _quarantined(engine_input: EngineInput, run: EngineRun, message: str) -> list[Quarantined]:
    rows = []
    for clip, *_ in engine_input.spans:
        detail = f"{run.engine} failed on {clip.uri}: {message}"
        rows.append(Quarantined(clip.id, run.stage, "engine_failed", detail, clip.sha256))
    return rows


def _put(
    engine_input: EngineInput, run: EngineRun, separation: EngineRun, output: EngineOutput, store: Store
) -> None:
    """Put the output into the store for each clip of an input; of a stem, the clip's own samples."""
    for clip, start, end in engine_input.spans:
        where = output_key(clip, run, separation)
        if run.stage == "separate":
            speech = output.stems["speech"]
            store.put(where, ".flac", flac(Audio(quantize(speech.samples[:, start:end]), speech.rate)))
        else:
            parts = {field.name: getattr(output, field.name) for field in fields(StoredOutput)}
            store.put_json(where, StoredOutput(**parts))
