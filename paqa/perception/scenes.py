"""The scenes of a clip: what the engines heard, what they made of the raw mix, and what questions are asked
about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from paqa.audio import read_flac, rms
from paqa.config.recipe import Recipe
from paqa.perception import engine_runs, prosody, source_labels
from paqa.perception.engine_runs import EngineRun, StoredOutput
from paqa.perception.fusion import compose as compose_scene
from paqa.spans import Interval, interval, merge
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Scene, Word

SNR = 1  # raise when the same stems give another ratio


def heard(clip: Clip, recipe: Recipe, store: Store) -> Scene:
    """What the engines heard in a clip, as one scene; MissingObject where something has not been heard."""
    words = _heard_words(clip, recipe, store)
    voices, sounds = (
        _heard(clip, engine_runs.engine_run(recipe, stage), recipe, store) for stage in ("diarize", "tag")
    )
    scene = _one_scene(clip, voices, sounds, words[0], words[1].words if len(words) > 1 else None)
    separation = engine_runs.engine_run(recipe, "separate")
    return replace(
        scene, snr_db=_snr(clip, scene, separation, store), heard_by=engine_runs.engines_used(recipe)
    )


def misheard(clip: Clip, recipe: Recipe, store: Store) -> list[Scene]:
    """What the same engines made of the raw mix, without decoupling: one scene for each hearing of the words.

    [] where the recipe does not have the mix listened to (`questions.mishear`), or an engine failed on this
    one.
    """
    separation = engine_runs.engine_run(recipe, "separate")
    if not engine_runs.runs_on_raw_mix(recipe) or any(
        engine_runs.without_output([clip], n, separation, store) for n in engine_runs.optional_runs(recipe)
    ):
        return []
    voices, sounds = (
        _heard(clip, engine_runs.engine_run(recipe, stage, "mix"), recipe, store)
        for stage in engine_runs.RAW_MIX_STAGES
    )
    texts = {tuple(w.text for w in p.words): p for p in reversed(_heard_words(clip, recipe, store))}
    return [_one_scene(clip, voices, sounds, words) for words in reversed(texts.values())]


def _heard(clip: Clip, node: EngineRun, recipe: Recipe, store: Store) -> StoredOutput:
    return engine_runs.stored_output(clip, node, engine_runs.engine_run(recipe, "separate"), store)


def _heard_words(clip: Clip, recipe: Recipe, store: Store) -> list[StoredOutput]:
    """The hearings of the words, the one that they are taken from first."""
    config = recipe.stage_config("transcribe")
    stems = dict.fromkeys(on for on in (config.stem, config.align) if on)
    return [_heard(clip, engine_runs.engine_run(recipe, "transcribe", on), recipe, store) for on in stems]


def _one_scene(
    clip: Clip,
    voices: StoredOutput,
    sounds: StoredOutput,
    words: StoredOutput,
    aligned: Sequence[Word] | None = None,
) -> Scene:
    """Hearings of a clip as one scene; `aligned` are the words heard a second time."""
    return compose_scene(
        clip.id,
        clip.duration_ms,
        voices.turns,
        words.words,
        aligned,
        sounds.events,
        words.language if words.words else None,
        exclusive=voices.exclusive,
        doubts=words.doubts,
    )


def _snr(clip: Clip, scene: Scene, separation: EngineRun, store: Store) -> float | None:
    """Speech stem over background stem within the turns, in dB, one decimal; None where one of them is
    absent.

    The store keeps it: decoding the stems costs more than all questions about them.
    """
    if not scene.turns or not scene.events:
        return None
    spoken = merge(interval(t) for t in scene.turns)
    where = key("snr", SNR, clip.sha256, engine_runs.output_key(clip, separation, separation), spoken)
    if not store.has(where, ".json"):
        whole, speech = (engine_runs.stem(clip, name, separation, store) for name in ("mix", "speech"))
        background = Audio(whole.samples - speech.samples, whole.rate)
        store.put_json(where, _level_difference(speech, background, spoken))
    found: float | None = store.get_json(where, float | None)
    return found


def _level_difference(speech: Audio, background: Audio, spoken: Sequence[Interval]) -> float | None:
    levels = []
    for audio in (speech, background):
        cuts = [audio.samples[:, a * audio.rate // 1000 : b * audio.rate // 1000] for a, b in spoken]
        levels.append(rms(np.concatenate(cuts, axis=1)))
    return round(20 * float(np.log10(levels[0] / levels[1])), 1) if min(levels) > 0 else None


def measured(clip: Clip, scene: Scene, recipe: Recipe, store: Store, clean: str | None = None) -> Scene:
    """The scene with levels and pitches, measured on the speech stem or on other stored samples of the speech
    alone.
    """
    separation = engine_runs.engine_run(recipe, "separate")
    speech = clean or engine_runs.output_key(clip, separation, separation)

    def stems() -> tuple[Audio, Audio]:
        voices, whole = (
            read_flac(store.get(speech, ".flac")),
            engine_runs.stem(clip, "mix", separation, store),
        )
        return voices, Audio(whole.samples - voices.samples, whole.rate)

    return prosody.measured(scene, f"{clip.sha256}:{speech}", stems, store)


def asked(clip: Clip, heard: Scene, recipe: Recipe, store: Store) -> Scene:
    """The scene that questions are asked about: the truth where the recipe trusts it, else what was heard.

    Levels and pitches are measured: on the clean speech of a composed clip's truth, else on the speech stem.
    """
    if clip.answers == "truth" and clip.truth:
        return measured(clip, clip.truth, recipe, store, clip.reference_sha256)
    return measured(clip, source_labels.carry(heard, clip.truth), recipe, store)
