"""What the thresholds of the embedded engines are worth: `python benchmarks/tune.py`.

Scenes are composed from the demo corpus with several seeds, always from the material of one side: the train
side's voices and sounds are for development, the test side's are held out. The networks hear every scene once
and the store keeps what they say; what is decided after them is tried again and again. One parameter after
the other takes the value that is best on the development side, until none moves. Then both sides are
measured, before and after. The real telephone call of the corpus is measured on its own and never tuned on.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paqa.config.recipe import Recipe
from paqa.engines import silero_dvector, yamnet
from paqa.engines._events import ClassThresholds, events
from paqa.engines._signal import mono
from paqa.engines.base import engine_class
from paqa.errors import PaqaError
from paqa.evaluation import bootstrap, metrics
from paqa.perception import engine_runs, inference
from paqa.perception.engine_runs import engine_params
from paqa.pipeline import ingest, recipe_files, worker_steps
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Scene, Stage, Turn

ROOT = Path(__file__).parents[1]
ROUNDS = 3  # through all parameters
SAID = 1  # raise when what is kept of a network changes

Arrays = dict[str, np.ndarray]
Terms = dict[
    str, tuple[float, float]
]  # of one clip, by figure: the figure is the sum of the first over the second
Figures = dict[str, tuple[float, tuple[float, float] | None]]


@dataclass(frozen=True)
class Glue:
    """What an engine decides after its networks: how to hear them, to decide, to judge, and which values to
    try.
    """

    stage: Stage
    network: Callable[[Any, Audio], Arrays]
    decide: Callable[[Any, Arrays, Any, int], Scene]
    judge: Callable[[Scene, Scene], Terms]
    aim: str  # the figure to improve
    better: int  # 1: a larger one is better, -1: a smaller one
    grid: dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Said:
    """What is true of a clip, and what the networks said about it."""

    truth: Scene
    arrays: Arrays


# ---------------------------------------------------------------- what is tuned


def voices(engine: Any, audio: Audio) -> Arrays:
    """Stretches of speech `(n, 2)`, d-vectors `(m, 256)` and their times."""
    signal = mono(audio, silero_dvector.RATE)
    speech = engine.speech(signal, audio.duration_ms)
    vectors, where = engine.embed(signal, speech) if speech else (np.zeros((0, 256)), np.zeros(0, int))
    return {"speech": np.array(speech, int).reshape(-1, 2), "vectors": vectors, "where": where}


def speakers(_: Any, said: Arrays, params: Any, duration_ms: int) -> Scene:
    """Who speaks when."""
    speech = [(int(a), int(b)) for a, b in said["speech"]]
    turns = (
        silero_dvector.turns_from_vectors(said["vectors"], said["where"], speech, params) if speech else ()
    )
    return Scene("", duration_ms, turns=turns)


def who(truth: Scene, heard: Scene) -> Terms:
    """Diarization errors with and without collar, and whether the speakers are as many."""
    collar, bare = metrics.diarized(truth, heard), metrics.diarized(truth, heard, collar_ms=0)
    jaccard = metrics.jaccard(truth, heard)
    return {
        "DER": (collar.errors, collar.speech),
        "confusion": (collar.confusion, collar.speech),
        "DER, no collar": (bare.errors, bare.speech),
        "JER": (jaccard.error, jaccard.speakers),
        "count right": (truth.speakers == heard.speakers, 1),
        f"count right of {truth.speakers}": (truth.speakers == heard.speakers, 1),
    }


def speech_probability(engine: Any, audio: Audio) -> Arrays:
    """The probability of speech every 32 ms."""
    signal = mono(audio, silero_dvector.RATE)
    return {"probability": engine.speech_probability(signal) if np.any(signal) else np.zeros(1)}


def anybody(_: Any, said: Arrays, params: Any, duration_ms: int) -> Scene:
    """When anybody speaks, as turns of one speaker."""
    speech = silero_dvector.speech_spans(said["probability"], duration_ms, params)
    return Scene("", duration_ms, turns=tuple(Turn(a, b, 1) for a, b in speech))


def whether(truth: Scene, heard: Scene) -> Terms:
    """Missed and invented speech, no collar; who it is does not matter."""
    truth = replace(truth, turns=tuple(replace(t, speaker=1) for t in truth.turns))
    found = metrics.diarized(truth, heard, collar_ms=0)
    return {
        "missed + false": (found.missed + found.false_alarm, found.speech),
        "missed": (found.missed, found.speech),
        "false": (found.false_alarm, found.speech),
    }


def classes(engine: Any, audio: Audio) -> Arrays:
    """Class probabilities every 80 ms and the level every 10 ms."""
    signal = mono(audio, yamnet.RATE)
    if not np.any(signal):
        return {
            "probability": np.zeros((1, len(engine.classes.mids)), np.float32),
            "level": np.full(1, -100.0),
        }
    probability, level = engine.infer(signal, audio.duration_ms)
    return {"probability": probability, "level": level}


def sounds(engine: Any, said: Arrays, params: Any, duration_ms: int) -> Scene:
    """What sounds when."""
    ids = ClassThresholds.from_rules(engine.classes.mids, params, params.excluded)
    found = events(said["probability"], said["level"], duration_ms, ids, engine.hops, params)
    return Scene("", duration_ms, events=found)


def what(truth: Scene, heard: Scene) -> Terms:
    """F1 in segments of 1 s, of events, and of the clip's classes with relatives."""
    from paqa.audioset import related

    found = {
        "segment F1": metrics.segment_hits(truth, heard),
        "event F1": metrics.event_hits(truth, heard),
        "clip F1": metrics.class_hits(truth, heard),
        "related clip F1": metrics.related_hits(truth, heard, related),
    }
    return {name: (hits.found + hits.right, hits.truth + hits.heard) for name, hits in found.items()}


GLUES = {
    "speech": Glue(
        "diarize", speech_probability, anybody, whether, "missed + false", -1,
        {"vad_on": (0.3, 0.5, 0.7), "vad_off": (0.25, 0.35, 0.45), "min_silence_ms": (100, 200, 300),
         "pad_ms": (0, 20, 40), "min_speech_ms": (60, 100, 200)},
    ),
    "speakers": Glue(
        "diarize", voices, speakers, who, "DER, no collar", -1,
        {"apart": (0.3, 0.32, 0.34, 0.36, 0.38), "cluster_context_ms": (600, 800, 900, 1000, 1200),
         "min_speaker_ms": (800, 1200, 1600), "context_ms": (300, 400, 500), "switch_cost": (0.1, 0.2, 0.3)},
    ),
    "sounds": Glue(
        "tag", classes, sounds, what, "segment F1", 1,
        {"on_threshold": (0.5, 0.7, 0.8, 0.9, 0.95), "off_threshold": (0.03, 0.09, 0.2, 0.3),
         "specific_margin": (0.05, 0.15, 0.3), "rival_margin": (0.0, 0.01, 0.05),
         "max_gap_ms": (300, 500, 800), "snap_ms": (0, 500, 900)},
    ),
}  # fmt: skip


# ---------------------------------------------------------------- scenes


def composed(config: Recipe, seeds: Sequence[int], scenes: int, store: Store) -> Iterator[Clip]:
    """Scenes of every seed; which side a voice or sound is on is the recipe's own seed's to say."""
    found, lost = ingest.gather(config)
    material = {
        s.name: list(ingest.decode_recordings(found[s.name], s, config, store).clips) for s in config.sources
    }
    by_id = {clip.id: clip for clips in material.values() for clip in clips}
    mixes = tuple(replace(m, scenes=min(m.scenes, scenes)) for m in config.mix)
    for seed in seeds:
        planned = worker_steps.mixtures(replace(config, seed=seed, mix=mixes), material, lost)
        yield from worker_steps.render_mixtures(planned, by_id, config, store).clips


def recorded(config: Recipe, name: str, store: Store) -> list[Clip]:
    """The clips of one source of a recipe."""
    source = next(s for s in config.sources if s.name == name)
    found, _ = ingest.gather(config)
    return list(ingest.decode_recordings(found[name], source, config, store).clips)


def names(clips: Sequence[Clip], role: str) -> set[str]:
    """The recordings that play a role in scenes."""
    return {origin.recording for clip in clips for origin in clip.origins if origin.role == role}


def voices_of(clips: Sequence[Clip]) -> set[str]:
    """The voices of scenes: a recording of the demo is called after its voice and a number."""
    return {name.rpartition("-")[0] for name in names(clips, "voice")}


# ---------------------------------------------------------------- hearing and deciding


def said(clip: Clip, engine: Any, glue: Glue, config: Recipe, store: Store) -> Said:
    """What the networks say about the stem of a clip with truth, heard at most once."""
    assert clip.truth is not None
    separation, node = engine_runs.engine_run(config, "separate"), engine_runs.engine_run(config, glue.stage)
    if engine_runs.without_output([clip], separation, separation, store):
        _, lost = inference.run_engine([clip], separation, separation, store)
        if lost:
            raise PaqaError(lost[0].detail)
    stem = engine_runs.output_key(clip, separation, separation)
    fixed = {name: value for name, value in vars(engine.params).items() if name not in glue.grid}
    where = key(
        "tune",
        SAID,
        glue.network.__name__,
        engine_runs.weights(node.engine, node.params),
        node.stem,
        stem,
        fixed,
    )
    if not store.has(where, ".npz"):
        buffer = io.BytesIO()
        arrays = glue.network(engine, engine_runs.stem(clip, node.stem, separation, store))
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        store.put(where, ".npz", buffer.getvalue())
    with np.load(io.BytesIO(store.get(where, ".npz"))) as arrays:
        return Said(clip.truth, dict(arrays))


def figures(glue: Glue, engine: Any, params: Any, heard: Sequence[Said], *, sure: bool = False) -> Figures:
    """All figures over clips, with bootstrap intervals if `sure`."""
    terms: dict[str, list[tuple[float, float]]] = {}
    for one in heard:
        decided = glue.decide(engine, one.arrays, params, one.truth.duration_ms)
        for name, pair in glue.judge(one.truth, decided).items():
            terms.setdefault(name, []).append(pair)
    return {
        name: (
            sum(a for a, _ in parts) / max(1e-9, sum(b for _, b in parts)),
            bootstrap.of_ratio(parts) if sure else None,
        )
        for name, parts in sorted(terms.items())
    }


def climb(glue: Glue, score: Callable[[Any], float], params: Any) -> Any:
    """The parameters that are best after changing one at a time, until none moves."""
    best = score(params)
    for _ in range(ROUNDS):
        before = params
        for name, values in glue.grid.items():
            for value in (v for v in values if v != getattr(params, name)):
                tried = replace(params, **{name: value})
                found = score(tried)
                print(
                    f"  {name} {value}: {found:.2%}{' *' if (found - best) * glue.better > 0 else ''}",
                    flush=True,
                )
                if (found - best) * glue.better > 0:
                    best, params = found, tried
        if params == before:
            break
    return params


def show(side: str, before: Figures, after: Figures) -> None:
    """One line a figure: before and after, each with the middle 95 % of the bootstrap."""
    print(side)
    for name in before:
        cells = []
        for value, interval in (before[name], after[name]):
            cells.append(f"{value:6.1%}" + (f" ({interval[0]:.1%} - {interval[1]:.1%})" if interval else ""))
        print(f"  {name:20s} {cells[0]:26s} {cells[1]}", flush=True)


def tune(name: str, sides: dict[str, list[Clip]], config: Recipe, store: Store, sweep: bool) -> None:
    """Sweep one glue on the development side and print all sides before and after."""
    glue = GLUES[name]
    start = engine_params(config, glue.stage)
    engine = engine_class(config.stage_config(glue.stage).engine)(start, threads=1)
    known = {
        side: [said(clip, engine, glue, config, store) for clip in clips] for side, clips in sides.items()
    }
    print(f"\n{name}: {glue.aim}", flush=True)
    score = lambda params: figures(glue, engine, params, known["development"])[glue.aim][0]  # noqa: E731
    best = climb(glue, score, start) if sweep else start
    changed = {
        k: (getattr(start, k), getattr(best, k)) for k in glue.grid if getattr(start, k) != getattr(best, k)
    }
    print(
        "best on development: "
        + (", ".join(f"{k} {a} -> {b}" for k, (a, b) in changed.items()) or "as it is")
    )
    for side, heard in known.items():
        measured = partial(figures, glue, engine, heard=heard, sure=True)
        show(f"{side}, {len(heard)} clips: before, after", measured(start), measured(best))


def main() -> None:
    """Compose, hear, sweep, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--store", type=Path, default=Path(".paqa/store"), help="what has been heard is kept here"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the scenes")
    parser.add_argument("--scenes", type=int, default=60, help="of each mix and seed, at most")
    parser.add_argument("--only", choices=GLUES, nargs="+", default=list(GLUES))
    parser.add_argument("--no-sweep", dest="sweep", action="store_false", help="measure only")
    args = parser.parse_args()
    config, store = recipe_files.load(ROOT / "manifests" / "demo-large.toml"), Store(args.store)
    clips = list(composed(config, args.seeds, args.scenes, store))
    call = recorded(recipe_files.load(ROOT / "manifests" / "demo.toml"), "call", store)
    development, held_out = ([c for c in clips if c.split == split] for split in ("train", "test"))
    for side, own in (("development", development), ("held out", held_out)):
        sounding = len(names(own, "sound"))
        print(f"{side}: {len(own)} scenes of {len(voices_of(own))} voices and {sounding} sounds", flush=True)
    if shared := (voices_of(development) & voices_of(held_out)) | (
        names(development, "sound") & names(held_out, "sound")
    ):
        raise PaqaError(f"{min(shared)!r} is on both sides; expected sides that share no voice and no sound")
    spoken = {"development": development, "held out": held_out, "call": call}
    spoken = {side: [c for c in own if c.truth and c.truth.turns] for side, own in spoken.items()}
    for name in args.only:
        sides = {"development": development, "held out": held_out} if GLUES[name].stage == "tag" else spoken
        tune(name, sides, config, store, args.sweep)


if __name__ == "__main__":
    main()
