"""A build's clips with truth and prediction: the input of `paqa audit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from paqa.audio import read_flac
from paqa.config.recipe import Recipe
from paqa.dataset.open_build import open_build
from paqa.errors import PaqaError
from paqa.evaluation.audit import Pair
from paqa.evaluation.metrics import si_sdr
from paqa.perception import engine_runs, scenes
from paqa.storage.store import Store
from paqa.types import Clip


def pairs(folder: Path) -> Iterator[Pair]:
    """One pair per clip that has truth and that engines listened to.

    Raises PaqaError where the folder is no build, or its store is gone.
    """
    recipe, store, clips = open_build(folder)
    with_truth = [c for c in clips if c.truth is not None and c.listen]
    if not with_truth:
        raise PaqaError(
            f"{folder}: no clip that engines listen to has truth; give turns, events, rttm or stm in a jsonl "
            "source, or mix scenes"
        )
    for clip in with_truth:
        yield _pair(clip, recipe, store)


def _pair(clip: Clip, recipe: Recipe, store: Store) -> Pair:
    assert clip.truth is not None
    separation, tagging = engine_runs.engine_run(recipe, "separate"), engine_runs.engine_run(recipe, "tag")
    mixed, cleaned = _separation(clip, separation, store)
    return Pair(
        clip_id=clip.id,
        split=clip.split,
        truth=clip.truth,
        heard=scenes.with_prosody(clip, scenes.predicted_scene(clip, recipe, store), recipe, store),
        tags=engine_runs.stored_output(clip, tagging, separation, store).tags,
        group=clip.corpus,
        turns_known="turns" in clip.truth_covers or bool(clip.truth.turns),
        events_known="events" in clip.truth_covers or bool(clip.truth.events),
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
