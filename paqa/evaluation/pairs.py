"""A build's clips with truth and prediction: the input of `paqa audit`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paqa.audio import read_flac
from paqa.config.recipe import Recipe
from paqa.dataset.open_build import open_build
from paqa.errors import PaqaError
from paqa.evaluation.audit import Pair
from paqa.evaluation.metrics import si_sdr
from paqa.perception import engine_runs, scenes
from paqa.spans import interval
from paqa.storage.store import Store
from paqa.types import Clip, Scene


def pairs(folder: Path) -> Iterator[Pair]:
    """One pair per clip that has truth; PaqaError where the folder is no build or its store is gone."""
    recipe, store, clips = open_build(folder)
    with_truth = [c for c in clips if c.truth is not None]
    if not with_truth:
        raise PaqaError(
            f"{folder}: no clip has truth; give turns, events, rttm or stm in a jsonl source, or mix scenes"
        )
    for clip in with_truth:
        yield _pair(clip, recipe, store)


@dataclass(frozen=True)
class KnownTruth:
    """A clip's truth, and what of it is known: a source may say who speaks and not what sounds.

    `spans_known`: it says when each sound is to be heard, and not only that the clip has it.
    """

    scene: Scene
    turns_known: bool
    events_known: bool
    spans_known: bool


def known_truth(clip: Clip) -> KnownTruth:
    """What is known of a clip that has truth; ValueError for one without."""
    if clip.truth is None:
        raise ValueError(f"{clip.id} has no truth")
    composed = clip.uri.startswith("mix:")
    turns_known = composed or bool(clip.truth.turns)
    whole_clip = (0, clip.truth.duration_ms)
    return KnownTruth(
        clip.truth,
        turns_known=turns_known,
        events_known=bool(clip.truth.events) or (composed and clip.answers == "truth"),
        spans_known=composed or any(interval(event) != whole_clip for event in clip.truth.events),
    )


def _pair(clip: Clip, recipe: Recipe, store: Store) -> Pair:
    truth = known_truth(clip)
    separation, tagging = engine_runs.engine_run(recipe, "separate"), engine_runs.engine_run(recipe, "tag")
    mixed, cleaned = _separation(clip, separation, store)
    return Pair(
        clip_id=clip.id,
        split=clip.split,
        truth=truth.scene,
        heard=scenes.with_prosody(clip, scenes.predicted_scene(clip, recipe, store), recipe, store),
        tags=engine_runs.stored_output(clip, tagging, separation, store).tags,
        group=clip.corpus,
        turns_known=truth.turns_known,
        events_known=truth.events_known,
        si_sdr_mix=mixed,
        si_sdr_speech=cleaned,
    )


def _separation(
    clip: Clip, separation: engine_runs.EngineRun, store: Store
) -> tuple[float | None, float | None]:
    """SI-SDR in dB of the mix and of the speech stem against the clean speech of a composed scene."""
    if clip.reference_sha256 is None or clip.truth is None or clip.truth.snr_db is None:
        return None, None
    reference = read_flac(store.get(clip.reference_sha256, ".flac")).samples
    speech = engine_runs.stem(clip, "speech", separation, store).samples
    mix = engine_runs.stem(clip, "mix", separation, store).samples
    return si_sdr(reference, mix), si_sdr(reference, speech)
