"""How good a clip sounds: DNSMOS, SNR, SRMR, bandwidth and clipping, of the whole and of each speaker.

All is measured on the mix, as it is heard. A speaker is measured where nobody else talks. The store keeps
what was measured under the samples, the turns and the revision of the measures, where no measure failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np

from paqa.audio import full_scale_samples, read_flac, rms
from paqa.config.recipe import QualityConfig, Recipe
from paqa.engines import dnsmos
from paqa.engines.dnsmos import Ratings
from paqa.errors import OutOfMemory, PaqaError
from paqa.perception import engine_runs, scenes
from paqa.perception.engine_errors import short_of_memory, text_of
from paqa.perception.prosody import alone, cut
from paqa.perception.reverberation import srmr
from paqa.spans import Interval, interval, merge
from paqa.storage.store import Store, key
from paqa.types import Audio, Clip, Ms, Quarantined, Scene, SpeakerNumber, Unit

R = TypeVar("R")
NOT_MEASURED = "not_measured"  # the reason in quarantine where a clip lacks a measure and is kept
VERSION = 1  # part of the store key: raise it when the same sound gives other figures
SHORTEST_MS = 1000  # of a speaker's speech, below which it is not rated
FRAME_S = 0.064
LOWEST_HZ = 50.0  # below this a spectrum's peak is hum or offset, not sound
RANGE_DB = 60.0  # a band this far below the loudest one carries no sound
SMOOTHED_BINS = 5


@dataclass(frozen=True)
class Measures:
    """Figures of one sound.

    `dnsmos`, `dnsmos_speech` and `dnsmos_background` are mean opinion scores (1 to 5) by DNSMOS P.835, None
    without speech. `snr_db` is speech over background within the turns, from the stems, None without stems.
    `srmr` falls with reverberation, and with noise; None without speech.
    `bandwidth_hz` is the highest frequency within 60 dB of the loudest one. `clipped` is the share of samples
    that stay flat at full scale.
    """

    dnsmos: float | None
    dnsmos_speech: float | None
    dnsmos_background: float | None
    snr_db: float | None
    srmr: float | None
    bandwidth_hz: float | None
    clipped: Unit


@dataclass(frozen=True)
class SpeakerQuality(Measures):
    """The same of one speaker, over `measured_ms` of turns in which nobody else talks."""

    speaker: SpeakerNumber
    measured_ms: Ms


@dataclass(frozen=True)
class Quality(Measures):
    """The same of a clip, and of each speaker who talks alone for a second or longer."""

    speakers: tuple[SpeakerQuality, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A measure (a field of `Measures`) that failed on a clip, or on one of its speakers, and its error."""

    measure: str
    speaker: SpeakerNumber | None
    error: str

    @property
    def threshold(self) -> str | None:
        """The threshold of the recipe that needs the measure, a field of `QualityConfig`, if there is one."""
        if self.speaker is None:
            return f"min_{self.measure}"
        return "min_speaker_dnsmos" if self.measure == "dnsmos" else None


@dataclass(frozen=True)
class Measurement:
    """The quality of a clip, None in what failed."""

    quality: Quality
    failures: tuple[Failure, ...] = ()


def measure(clip: Clip, recipe: Recipe, store: Store, threads: int = 1) -> Measurement:
    """The quality of a clip, from the store or else from its audio.

    The turns are those that its questions are about: the truth's where the recipe trusts it, else the
    engines'. Raises MissingObject where an engine's output is not stored, Rejected where audio is damaged,
    OutOfMemory.
    """
    scene = clip.truth if clip.truth and (clip.answers == "truth" or not clip.listen) else None
    scene = scene or scenes.scored_scene(clip, recipe, store)[0]
    turns = [(t.start_ms, t.end_ms, t.speaker) for t in scene.turns]
    speech_key = _speech_key(clip, recipe)
    where = key("quality", VERSION, dnsmos.revision(), clip.sha256, speech_key, turns)
    if not store.has(where, ".json"):
        mix = read_flac(store.get(clip.sha256, ".flac"))
        speech = read_flac(store.get(speech_key, ".flac")) if speech_key and turns else None
        measurement = measured(mix, speech, scene, threads)
        if measurement.failures:  # the next build tries again
            return measurement
        store.put_json(where, measurement.quality)
    return Measurement(store.get_json(where, Quality))


def _speech_key(clip: Clip, recipe: Recipe) -> str | None:
    """Where the store has the clean speech of a composed clip, else its speech stem, if there is one."""
    if clip.answers == "truth" and clip.reference_sha256:
        return clip.reference_sha256
    separation = engine_runs.engine_run(recipe, "separate")
    return engine_runs.output_key(clip, separation, separation) if clip.listen else None


def measured(mix: Audio, speech: Audio | None, scene: Scene, threads: int = 1) -> Measurement:
    """The quality of a mix `(channels, n)` and of the speakers of its scene; `speech` is its clean speech."""
    meter = _Meter(threads)
    spoken = merge(interval(turn) for turn in scene.turns)
    speakers = []
    for speaker in sorted({turn.speaker for turn in scene.turns}):
        spans = [span for turn in scene.turns if turn.speaker == speaker for span in alone(turn, scene.turns)]
        spans = merge(spans)
        if (length_ms := sum(end - start for start, end in spans)) >= SHORTEST_MS:
            snr_db = meter.take("snr_db", speaker, _snr_db, mix, speech, spans)
            voice = meter.measures(cut(mix, spans), True, snr_db, speaker)
            speakers.append(SpeakerQuality(**vars(voice), speaker=speaker, measured_ms=length_ms))
    snr_db = meter.take("snr_db", None, _snr_db, mix, speech, spoken)
    whole = meter.measures(mix, bool(spoken), snr_db)
    return Measurement(Quality(**vars(whole), speakers=tuple(speakers)), tuple(meter.failures))


@dataclass
class _Meter:
    """Takes the measures of one clip; `failures` are those that raised, or came to no finite number."""

    threads: int
    failures: list[Failure] = field(default_factory=list)

    def measures(
        self, audio: Audio, has_speech: bool, snr_db: float | None, speaker: SpeakerNumber | None = None
    ) -> Measures:
        """All measures of a sound, that of a speaker or of the whole clip."""
        ratings = self.take("dnsmos", speaker, dnsmos.rate, audio, self.threads) if has_speech else None
        return Measures(
            ratings.overall if ratings else None,
            ratings.speech if ratings else None,
            ratings.background if ratings else None,
            snr_db,
            self.take("srmr", speaker, srmr, audio) if has_speech else None,
            self.take("bandwidth_hz", speaker, bandwidth_hz, audio),
            clipped(audio),
        )

    def take(
        self, measure: str, speaker: SpeakerNumber | None, call: Callable[..., R], *arguments: object
    ) -> R | None:
        """What the call returns, None where it fails; raises what no clip is to blame for."""
        try:
            value = call(*arguments)
            if _finite(value):
                return value
            error = f"{value} is not finite"
        except (PaqaError, OSError):
            raise
        except Exception as raised:  # noqa: BLE001 - the clip is not lost for a measure
            if short_of_memory(raised):
                raise OutOfMemory(text_of(raised)) from None
            error = text_of(raised)
        self.failures.append(Failure(measure, speaker, error))
        return None


def _finite(value: object) -> bool:
    """Whether all numbers of a measure are finite; so where there is none."""
    numbers = tuple(vars(value).values()) if isinstance(value, Ratings) else (value,)
    return all(number is None or np.isfinite(number) for number in numbers)


def _snr_db(mix: Audio, speech: Audio | None, spans: Sequence[Interval]) -> float | None:
    if speech is None or not spans:
        return None
    return scenes.level_difference(speech, Audio(mix.samples - speech.samples, mix.rate), spans)


def clipped(audio: Audio) -> float:
    """The share of samples `(channels, n)` in runs of at least three that stay flat at full scale."""
    size = audio.samples.size
    return round(full_scale_samples(audio.samples.T) / size, 6) if size else 0.0


def bandwidth_hz(audio: Audio) -> float | None:
    """The highest frequency whose mean power is within 60 dB of the strongest one's; None for silence.

    Of samples `(channels, n)`, channels averaged; to about 100 Hz, at most half of the rate.
    """
    mono = audio.samples.mean(axis=0)
    size = int(FRAME_S * audio.rate)
    if len(mono) < size or not rms(mono):
        return None
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[:: size // 2]
    power = np.zeros(size // 2 + 1)
    for block in np.array_split(frames, -(-len(frames) // 256)):  # 30 s take a few MB
        power += np.square(np.abs(np.fft.rfft(block * np.hanning(size), axis=1))).sum(axis=0)
    hz = np.arange(len(power)) * audio.rate / size
    smooth = np.convolve(power, np.full(SMOOTHED_BINS, 1 / SMOOTHED_BINS), "same")
    peak = smooth[hz >= LOWEST_HZ].max()
    if not peak:
        return None
    return round(float(hz[np.flatnonzero(smooth >= peak * 10 ** (-RANGE_DB / 10))[-1]]))


def low_quality(clip: Clip, quality: Quality, config: QualityConfig) -> Quarantined | None:
    """The quarantine row of a clip that is below a threshold of the recipe; None where it is not."""
    if not (shortfalls := list(_shortfalls(quality, config))):
        return None
    detail = f"{clip.uri}: {'; '.join(shortfalls)}; change [quality] of the recipe to keep it"
    return Quarantined(clip.id, "quality", "low_quality", detail, clip.sha256)


def set_thresholds(config: QualityConfig) -> set[str]:
    """The fields of the thresholds that a recipe sets."""
    without = QualityConfig(config.measure)
    names = (field.name for field in fields(config))
    return {name for name in names if getattr(config, name) != getattr(without, name)}


def not_measured(clip: Clip, failures: Sequence[Failure], config: QualityConfig) -> Quarantined | None:
    """The quarantine row of a clip on which measures failed: `quality_failed` where a threshold needs one.

    Else `not_measured`, and the clip is kept. None where none failed.
    """
    if not failures:
        return None
    whose = (f" of speaker {f.speaker}" if f.speaker is not None else "" for f in failures)
    problems = "; ".join(f"{f.measure}{of} failed: {f.error}" for f, of in zip(failures, whose, strict=True))
    needed = sorted({f.threshold for f in failures if f.threshold} & set_thresholds(config))
    return unmeasured_row(clip, f"{clip.uri}: {problems}", needed, "quality_failed")


def unmeasured_row(clip: Clip, problem: str, needed: Sequence[str], reason: str) -> Quarantined:
    """The quarantine row of a clip that lacks measures, of which the thresholds `needed` need some.

    `reason` is that of a clip which is left out; without such thresholds it is kept, with `not_measured`.
    """
    if needed:
        then = f"quality.{needed[0]} needs it: remove the recording, or that key from the recipe"
    else:
        reason = NOT_MEASURED
        then = "the clip is kept, only its column quality lacks it; the next build measures it again"
    return Quarantined(clip.id, "quality", reason, f"{problem}; {then}", clip.sha256)


def _shortfalls(quality: Quality, config: QualityConfig) -> Iterator[str]:
    """What was measured and what was expected, a text for each threshold that a clip fails.

    What a clip does not have fails none.
    """
    lowest = min((s.dnsmos for s in quality.speakers if s.dnsmos is not None), default=None)
    at_least = (
        ("DNSMOS", quality.dnsmos, "min_dnsmos", config.min_dnsmos, ""),
        (
            "DNSMOS of a speaker",
            lowest,
            "min_speaker_dnsmos",
            config.min_speaker_dnsmos,
            "",
        ),
        ("SNR", quality.snr_db, "min_snr_db", config.min_snr_db, " dB"),
        ("SRMR", quality.srmr, "min_srmr", config.min_srmr, ""),
        ("bandwidth", quality.bandwidth_hz, "min_bandwidth_hz", config.min_bandwidth_hz, " Hz"),
    )
    for name, value, threshold, limit, unit in at_least:
        if value is not None and limit is not None and value < limit:
            yield f"{name} {value:g}{unit}, expected at least {threshold} = {limit:g}{unit}"
    if quality.clipped > config.max_clipping:
        yield (
            f"clipped {quality.clipped:.2%} of its samples, expected at most max_clipping = "
            f"{config.max_clipping:.2%}"
        )
