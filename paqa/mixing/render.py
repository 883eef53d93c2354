"""Make the audio and the truth of planned scenes: dialogue and background sounds at a given SNR."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from paqa import spans
from paqa.audio import quantize, rms
from paqa.errors import PaqaError
from paqa.mixing.material import GRID_MS, SHORTEST_MS, length_on_grid, voice_of
from paqa.mixing.plan import Mixture, PlacedClip
from paqa.sources.truth import NamedTurn, in_order, numbered
from paqa.spans import Interval
from paqa.types import Audio, Clip, Event, Scene

LEVEL_DB = -23.0  # RMS of a turn or sound before its gain
PEAK = 0.98
FADE_MS = 5
ACTIVE_DB = 40.0  # an utterance begins and ends where it is at most this far below its loudest 10 ms
MERGE_MS = 100  # a sound's own events this close are one

Load = Callable[[str], Audio]


@dataclass
class _Track:
    """One kind of material, mixed: samples `(channels, n)` and where it is active."""

    samples: np.ndarray
    active: list[Interval]

    def level(self, rate: int) -> float:
        """RMS over the active spans."""
        return rms(_over(self.samples, rate, self.active))


def render(mixture: Mixture, load: Load, clips: Mapping[str, Clip]) -> tuple[Audio, Audio, Scene]:
    """The mix, its clean speech (zeros where nobody speaks) and the truth.

    `load` gives the audio of a sha256; all of one rate and number of channels, else PaqaError. Mix and speech
    have the same shape, lie on the 16-bit grid, and differ by exactly the background. `clips` holds every
    placed clip by id. A turn's span is where its utterance is active, an event's that of the sound's own
    truth; the SNR is the RMS of all speech over its turns against that of the background over its events.
    """
    audios = {p.sha256: load(p.sha256) for p in mixture.placements}
    forms = {(audio.rate, len(audio.samples)) for audio in audios.values()}
    if len(forms) != 1:
        found_forms = f"found rates and channels {sorted(forms)}"
        raise PaqaError(f"mixture {mixture.id}: {found_forms}; expected one form, decode its material again")
    rate, channels = forms.pop()
    empty = np.zeros((channels, mixture.length_ms * rate // 1000), np.float32)
    speech, background = _Track(empty, []), _Track(empty.copy(), [])
    turns, events = [], []
    for placement in mixture.placements:
        clip, audio = clips[placement.clip_id], audios[placement.sha256]
        if placement.kind == "speech":
            start, end = _active_span(clip, audio)
            _add(speech, placement, audio, [(start, end)])
            turn = _turn(clip, placement.start_ms + start, placement.start_ms + end)
            turns.append(turn if mixture.words else turn._replace(text=""))
        else:
            window = (placement.from_ms, placement.from_ms + (placement.length_ms or length_on_grid(clip)))
            clip_events = _events_within(clip, window)
            audio = _cut(audio, window)
            active = [spans.interval(event) for event in clip_events]
            _add(background, placement, audio, active or [(0, audio.duration_ms)])
            events += [_shifted(event, placement.start_ms) for event in clip_events]
    _balance(speech, background, mixture.snr_db, rate)
    clean, rest = quantize(speech.samples), quantize(background.samples)
    return Audio(clean + rest, rate), Audio(clean, rate), _scene(mixture, clips, turns, events)


def _scene(mixture: Mixture, clips: Mapping[str, Clip], turns: list[NamedTurn], events: list[Event]) -> Scene:
    """The truth of a scene; translations stay where all utterances are translated into one language."""
    truths = [truth for p in mixture.placements if p.kind == "speech" and (truth := clips[p.clip_id].truth)]
    translated_to = _common(truth.translated_to for truth in truths) if mixture.words else None
    return Scene(
        clip_id=mixture.id,
        duration_ms=mixture.length_ms,
        turns=numbered(turns if translated_to else [turn._replace(translation=None) for turn in turns]),
        events=in_order(events),
        language=_common(truth.language for truth in truths),
        translated_to=translated_to,
        snr_db=mixture.snr_db,
    )


def _add(track: _Track, placement: PlacedClip, audio: Audio, active: list[Interval]) -> None:
    """Put a clip, brought to the common level over its active spans and faded at its ends, on a track."""
    level = rms(_over(audio.samples, audio.rate, active)) or 1.0
    sound = audio.samples * np.float32(placement.gain * 10 ** (LEVEL_DB / 20) / level)
    fade = min(audio.rate * FADE_MS // 1000, sound.shape[1] // 2)
    ramp = (np.arange(fade, dtype=np.float32) + 1) / (fade + 1)
    sound[:, :fade] *= ramp
    sound[:, sound.shape[1] - fade :] *= ramp[::-1]
    first = placement.start_ms * audio.rate // 1000
    part = track.samples[:, first : first + sound.shape[1]]
    part += sound[:, : part.shape[1]]
    track.active += [(start + placement.start_ms, end + placement.start_ms) for start, end in active]


def _over(samples: np.ndarray, rate: int, active: list[Interval]) -> np.ndarray:
    """The samples `(channels, m)` within the union of spans."""
    parts = [samples[:, start * rate // 1000 : end * rate // 1000] for start, end in spans.merge(active)]
    return np.concatenate(parts, axis=1) if parts else samples[:, :0]


def _balance(speech: _Track, background: _Track, snr_db: float | None, rate: int) -> None:
    """Scale the background to the SNR, k = Ps / (Pn 10^(SNR/20)) in RMS, then both alike below the peak."""
    noise = background.level(rate)
    if snr_db is not None and noise:
        background.samples *= np.float32(speech.level(rate) / (noise * 10 ** (snr_db / 20)))
    tracks = (speech.samples, background.samples)
    peak = max(float(np.abs(samples).max()) for samples in (*tracks, speech.samples + background.samples))
    for samples in tracks:
        samples *= np.float32(PEAK / max(peak, PEAK))


def _active_span(clip: Clip, audio: Audio) -> Interval:
    """From the first to the last active 10 ms of an utterance, within its turns where those are narrower."""
    hop = audio.rate * GRID_MS // 1000
    count = audio.samples.shape[1] // hop
    framed = np.square(audio.samples[:, : count * hop]).reshape(len(audio.samples), count, hop)
    energy = framed.sum(axis=(0, 2))
    on = np.flatnonzero(energy >= energy.max() * 10 ** (-ACTIVE_DB / 10))
    scale = hop * 1000 / audio.rate
    start, end = _grid(on[0] * scale), _grid((on[-1] + 1) * scale)
    turns = clip.truth.turns if clip.truth else ()
    first = min((turn.start_ms for turn in turns), default=0)
    last = max((turn.end_ms for turn in turns), default=end)
    if spans.overlap((start, end), (first, last)) >= SHORTEST_MS:
        start, end = max(start, _grid(first)), min(end, _grid(last))
    return start, end


def _grid(ms: float) -> int:
    return round(ms / GRID_MS) * GRID_MS


def _cut(audio: Audio, window: Interval) -> Audio:
    """The audio between two times in ms; the same object where that is all of it."""
    start, end = (ms * audio.rate // 1000 for ms in window)
    if window[0] == 0 and end >= audio.samples.shape[1]:
        return audio
    return Audio(audio.samples[:, start:end], audio.rate)


def _events_within(clip: Clip, window: Interval) -> list[Event]:
    """A sound's truth on the grid, in ms from the window's start; occurrences closer than 100 ms are one."""
    by_kind: dict[tuple[str, str], list[Interval]] = defaultdict(list)
    for event in clip.truth.events if clip.truth else ():
        start = _grid(event.start_ms)
        if inside := spans.clip((start, max(start + GRID_MS, _grid(event.end_ms))), window):
            by_kind[event.label, event.mid].append(inside)
    events = []
    for kind, occurrences in by_kind.items():
        events += [Event(*span, *kind) for span in spans.merge(occurrences, MERGE_MS)]
    return events


def _shifted(event: Event, by: int) -> Event:
    return replace(event, start_ms=event.start_ms + by, end_ms=event.end_ms + by)


def _turn(clip: Clip, start_ms: int, end_ms: int) -> NamedTurn:
    """An utterance as one turn, with the emotion that all its turns share and a translation of them all."""
    turns = [turn for turn in clip.truth.turns if turn.text] if clip.truth else []
    translations = [turn.translation for turn in turns if turn.translation]
    return NamedTurn(
        start_ms,
        end_ms,
        voice_of(clip),
        " ".join(turn.text for turn in turns),
        _common(turn.emotion for turn in turns),
        " ".join(translations) if turns and len(translations) == len(turns) else None,
    )


def _common(values: Iterable[str | None]) -> str | None:
    """The value that all share, e.g. the language of all utterances; None where they differ."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
