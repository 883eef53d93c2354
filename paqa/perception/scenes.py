"""The scenes of a clip: as predicted, as predicted on the raw mix, and the one that is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from paqa.audio import read_flac, rms
from paqa.config.recipe import Recipe
from paqa.perception import calibration as calibrations
from paqa.perception import confidence, engine_runs, prosody, source_labels
from paqa.perception.calibration import Calibration
from paqa.perception.confidence import Extras
from paqa.perception.engine_runs import EngineRun, StoredOutput
from paqa.perception.event_features import Tagging, without_remains_of_speech
from paqa.perception.fusion import Predictions, fuse
from paqa.perception.sure_part import LIMITS, sure_part
from paqa.spans import Interval, interval, merge
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Scene

SNR = 1  # part of the key of stored ratios; raise it when the same stems give another ratio


def predicted_scene(
    clip: Clip, recipe: Recipe, store: Store, calibration: Calibration | None = None
) -> Scene:
    """What the engines predicted for a clip, as one scene, with confidences where its engines have any.

    `calibration` takes the place of the one for the recipe's engines. Raises MissingObject where an output is
    not stored.
    """
    scene, extras = scored_scene(clip, recipe, store)
    models = calibration or calibrations.for_recipe(recipe, store)
    return confidence.with_confidences(scene, extras, models) if models else scene


def scored_scene(clip: Clip, recipe: Recipe, store: Store) -> tuple[Scene, Extras]:
    """The predicted scene with the engines' own scores alone, and what else they say of the clip."""
    transcripts = _transcripts(clip, recipe, store)
    diarized = _output(clip, engine_runs.engine_run(recipe, "diarize"), recipe, store)
    tagged, on_mix = _tagged(clip, recipe, store)
    kept_events = without_remains_of_speech(tagged.events, on_mix.tags)
    scene = _fused(clip, diarized, replace(tagged, events=kept_events), transcripts)
    separation = engine_runs.engine_run(recipe, "separate")
    snr_db = _snr(clip, scene, separation, store)
    extras = Extras(diarized.count_stability, diarized.second_speaker, _tagging(tagged, on_mix))
    return replace(scene, snr_db=snr_db, heard_by=engine_runs.engines_used(recipe)), extras


def _tagged(clip: Clip, recipe: Recipe, store: Store) -> tuple[StoredOutput, StoredOutput]:
    """The outputs of the tagger on the stem of the recipe, and on the mix."""
    runs = engine_runs.engine_run(recipe, "tag"), engine_runs.engine_run(recipe, "tag", "mix")
    return _output(clip, runs[0], recipe, store), _output(clip, runs[1], recipe, store)


def _tagging(tagged: StoredOutput, on_mix: StoredOutput) -> Tagging:
    return Tagging(tagged.event_scores, tagged.tags, on_mix.tags)


def raw_mix_scenes(clip: Clip, recipe: Recipe, store: Store) -> list[Scene]:
    """What the same engines predicted on the raw mix: one scene for each transcript with other words.

    [] where the recipe has no engine run on the mix of this clip (`questions.mishear`), or one failed on it.
    """
    if not engine_runs.runs_on_raw_mix(recipe) or not engine_runs.raw_mix_chosen(clip, recipe):
        return []
    separation = engine_runs.engine_run(recipe, "separate")
    for run in engine_runs.optional_runs(recipe):
        if engine_runs.without_output([clip], run, separation, store):
            return []
    diarized, tagged = (
        _output(clip, engine_runs.engine_run(recipe, stage, "mix"), recipe, store)
        for stage in engine_runs.RAW_MIX_STAGES
    )
    by_words = {tuple(w.text for w in t.words): t for t in reversed(_transcripts(clip, recipe, store))}
    return [_fused(clip, diarized, tagged, [transcript]) for transcript in reversed(by_words.values())]


def _output(clip: Clip, run: EngineRun, recipe: Recipe, store: Store) -> StoredOutput:
    return engine_runs.stored_output(clip, run, engine_runs.engine_run(recipe, "separate"), store)


def _transcripts(clip: Clip, recipe: Recipe, store: Store) -> list[StoredOutput]:
    """The outputs of the transcriber: on the stem that words are taken from, then on that of their times."""
    config = recipe.stage_config("transcribe")
    stems = dict.fromkeys(stem for stem in (config.stem, config.align) if stem)
    runs = [engine_runs.engine_run(recipe, "transcribe", stem) for stem in stems]
    return [_output(clip, run, recipe, store) for run in runs]


def _fused(
    clip: Clip, diarized: StoredOutput, tagged: StoredOutput, transcripts: Sequence[StoredOutput]
) -> Scene:
    """Engine outputs of a clip as one scene; a second transcript gives the first one's words their times."""
    first = transcripts[0]
    predictions = Predictions(
        turns=diarized.turns,
        words=first.words,
        events=tagged.events,
        language=first.language if first.words else None,
        second_words=transcripts[1].words if len(transcripts) > 1 else None,
        exclusive=diarized.exclusive,
        doubts=first.doubts,
    )
    return fuse(clip.id, clip.duration_ms, predictions)


def _snr(clip: Clip, scene: Scene, separation: EngineRun, store: Store) -> float | None:
    """The ratio of speech to background within the turns in dB, one decimal; None where one is absent.

    The store keeps it: decoding the stems costs more than all questions about them.
    """
    if not scene.turns or not scene.events:
        return None
    spoken = merge(interval(t) for t in scene.turns)
    stem_key = engine_runs.output_key(clip, separation, separation)
    ratio_key = key("snr", SNR, clip.sha256, stem_key, spoken)
    if not store.has(ratio_key, ".json"):
        mix, speech = (engine_runs.stem(clip, name, separation, store) for name in ("mix", "speech"))
        background = Audio(mix.samples - speech.samples, mix.rate)
        store.put_json(ratio_key, level_difference(speech, background, spoken))
    ratio_db: float | None = store.get_json(ratio_key, float | None)
    return ratio_db


def level_difference(speech: Audio, background: Audio, spoken: Sequence[Interval]) -> float | None:
    """The ratio of the two RMS within some spans in dB, one decimal; None where one is silent there."""
    levels = []
    for audio in (speech, background):
        cuts = [
            audio.samples[:, start * audio.rate // 1000 : end * audio.rate // 1000] for start, end in spoken
        ]
        levels.append(rms(np.concatenate(cuts, axis=1)))
    return round(20 * float(np.log10(levels[0] / levels[1])), 1) if min(levels) > 0 else None


def with_prosody(
    clip: Clip, scene: Scene, recipe: Recipe, store: Store, clean_speech: str | None = None
) -> Scene:
    """The scene with levels in dBFS and pitches in Hz, measured on the clip's speech stem.

    `clean_speech` is the SHA-256 of stored samples of the speech alone, to measure on instead.
    """
    separation = engine_runs.engine_run(recipe, "separate")
    speech_key = clean_speech or engine_runs.output_key(clip, separation, separation)

    def stems() -> tuple[Audio, Audio]:
        speech = read_flac(store.get(speech_key, ".flac"))
        mix = engine_runs.stem(clip, "mix", separation, store)
        return speech, Audio(mix.samples - speech.samples, mix.rate)

    return prosody.with_prosody(scene, f"{clip.sha256}:{speech_key}", stems, store)


def scene_for_questions(
    clip: Clip, predicted: Scene, recipe: Recipe, store: Store, calibration: Calibration | None = None
) -> Scene:
    """The scene that questions are asked about: the truth where the recipe trusts it, else the predicted one.

    Of a predicted scene with confidences it is the part that is sure, a sound of an unsure class under the
    name of a broader one. `calibration` takes the place of the one for the recipe's engines. Levels and
    pitches are measured: on the clean speech of a composed clip's truth, else on the speech stem.
    """
    if clip.answers == "truth" and clip.truth:
        return with_prosody(clip, clip.truth, recipe, store, clip.reference_sha256)
    models = calibration or calibrations.for_recipe(recipe, store)
    if models:
        tagging = _tagging(*_tagged(clip, recipe, store))
        predicted = confidence.with_broader_events(predicted, tagging, models, LIMITS.event)
    sure = sure_part(predicted, LIMITS)
    return with_prosody(clip, source_labels.carry_labels(sure, clip.truth), recipe, store)
