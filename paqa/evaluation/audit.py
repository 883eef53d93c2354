"""The audit: predictions against truth over a set of clips. Figures over all of them and over slices.

Everything is pooled: errors of all clips over the size of all truths. Every figure comes with what it rests
on, and is None where there is nothing to measure. The metrics themselves are in `paqa.evaluation.metrics`.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from paqa.errors import PaqaError
from paqa.evaluation import bootstrap, metrics
from paqa.evaluation.audit_report import (
    AuditReport,
    Detection,
    DiarizationErrors,
    Ranking,
    Separation,
    Slice,
    SliceBy,
    SpeakerCount,
    Speakers,
    Transcription,
    WordsWithoutSpeech,
)
from paqa.evaluation.metrics import Diarized, Hits, Jaccard, Related, WordErrors, f1, pooled, ratio
from paqa.types import Scene, Split, Tag

# a reference with text for this share of its turns' time is complete but for short backchannels
TRANSCRIBED = 0.9
BANDS_DB = (0.0, 5.0, 10.0, 20.0)
BACKGROUNDS = (
    "SNR below 0 dB", "SNR 0-5 dB", "SNR 5-10 dB", "SNR 10-20 dB", "SNR above 20 dB",
    "no background", "no speech", "background unknown",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One clip: its truth, and what the engines predict (`heard`).

    `group` names its kind, e.g. "dialogue". `turns_known`: truth says who speaks when in the whole clip (no
    turns = no speech). `events_known`: likewise for sounds. `tags`: clip-level class probabilities.
    `si_sdr_mix` and `si_sdr_speech`: of the mix and of the speech stem against the clean speech, dB
    (`metrics.si_sdr`).
    """

    clip_id: str
    split: Split
    truth: Scene
    heard: Scene
    tags: tuple[Tag, ...] = ()
    group: str = ""
    turns_known: bool = True
    events_known: bool = True
    si_sdr_mix: float | None = None
    si_sdr_speech: float | None = None


@dataclass(frozen=True)
class _Counted:
    """A pair and its counts, None where truth does not say; pooled for every slice that it is in."""

    pair: Pair
    collar: Diarized | None
    no_collar: Diarized | None
    jaccard: Jaccard | None
    words: WordErrors | None
    letters: WordErrors | None
    words_by_speaker: WordErrors | None
    segments: Hits | None
    events: Hits | None
    classes: Hits | None
    classes_related: Hits | None


def measure(pairs: Iterable[Pair], related: Related | None = None) -> AuditReport:
    """All figures over `pairs` and over their slices.

    `related(mid, mid)` says whether two AudioSet classes are the same or one an ancestor of the other; by
    default `paqa.audioset.related`. Raises PaqaError where the audit extra is not installed.
    """
    _require("jiwer", "pyannote.metrics", "scipy", "sklearn", "whisper_normalizer")
    if related is None:
        related = importlib.import_module("paqa.audioset").related
    counted = [_count(pair, related) for pair in pairs]
    return AuditReport(tuple(_slice(by, name, members) for by, name, members in _slices(counted)))


def _require(*modules: str) -> None:
    """Raises PaqaError that says what to install."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise PaqaError(f"the audit needs {error.name}; run: uv pip install 'paqa[audit]'") from None


def _count(pair: Pair, related: Related) -> _Counted:
    """The counts of one clip."""
    truth, predicted = pair.truth, pair.heard
    turns, sounds = pair.turns_known, pair.events_known
    text = _transcribed(truth)
    return _Counted(
        pair,
        metrics.diarized(truth, predicted) if turns else None,
        metrics.diarized(truth, predicted, collar_ms=0) if turns else None,
        metrics.jaccard(truth, predicted) if turns else None,
        metrics.word_errors(truth, predicted) if text else None,
        metrics.letter_errors(truth, predicted) if text else None,
        metrics.word_errors_by_speaker(truth, predicted) if text and turns else None,
        metrics.segment_hits(truth, predicted) if sounds else None,
        metrics.event_hits(truth, predicted) if sounds else None,
        metrics.class_hits(truth, predicted) if sounds else None,
        metrics.related_hits(truth, predicted, related) if sounds else None,
    )


def _transcribed(truth: Scene) -> bool:
    """Whether the true words are known, except for a few backchannels without text."""
    spoken = sum(turn.end_ms - turn.start_ms for turn in truth.turns)
    written = sum(turn.end_ms - turn.start_ms for turn in truth.turns if turn.text.strip())
    return spoken > 0 and written >= TRANSCRIBED * spoken


def _slices(counted: Sequence[_Counted]) -> Iterator[tuple[SliceBy, str, list[_Counted]]]:
    """All clips, then by group, background band and number of speakers, without empty slices."""
    yield "all", "all", list(counted)
    for name in sorted({c.pair.group for c in counted} - {""}):
        yield "group", name, [c for c in counted if c.pair.group == name]
    for name in BACKGROUNDS:
        if members := [c for c in counted if background(c.pair) == name]:
            yield "background", name, members
    with_turns = [c for c in counted if c.pair.turns_known]
    for n in sorted({c.pair.truth.speakers for c in with_turns}):
        members = [c for c in with_turns if c.pair.truth.speakers == n]
        yield "speakers", f"{n} speaker{'s' * (n != 1)}", members


def background(pair: Pair) -> str:
    """Which of `BACKGROUNDS` a clip belongs to; bands are half open but for 20 dB, SNR rounded to 0.1 dB."""
    truth = pair.truth
    if truth.snr_db is not None:
        snr = round(truth.snr_db, 1)
        return BACKGROUNDS[sum(snr >= edge for edge in BANDS_DB[:-1]) + (snr > BANDS_DB[-1])]
    if truth.turns and pair.events_known and not truth.events:
        return "no background"
    return "no speech" if pair.turns_known and not truth.turns else "background unknown"


def _slice(by: SliceBy, name: str, counted: Sequence[_Counted]) -> Slice:
    """The figures of a slice from the counts of its clips."""
    pairs = [c.pair for c in counted]
    return Slice(
        by,
        name,
        len(pairs),
        _diarization([c.collar for c in counted], [c.jaccard for c in counted]),
        _diarization([c.no_collar for c in counted], [c.jaccard for c in counted]),
        _speakers(pairs),
        _transcription(counted),
        _words_without_speech(pairs),
        _detection([c.segments for c in counted]),
        _detection([c.events for c in counted]),
        _detection([c.classes for c in counted]),
        _detection([c.classes_related for c in counted]),
        _ranking(pairs),
        _separation(pairs),
        _intervals(counted),
    )


def _diarization(counts: Sequence[Diarized | None], jaccards: Sequence[Jaccard | None]) -> DiarizationErrors:
    clips = [count for count in counts if count is not None]
    total = pooled(Diarized, clips)
    jaccard = pooled(Jaccard, [count for count in jaccards if count is not None])
    return DiarizationErrors(
        clips=len(clips),
        speech_s=total.speech,
        der=ratio(total.errors, total.speech),
        missed=ratio(total.missed, total.speech),
        false_alarm=ratio(total.false_alarm, total.speech),
        confusion=ratio(total.confusion, total.speech),
        jer=ratio(jaccard.error, jaccard.speakers),
    )


def _speakers(pairs: Sequence[Pair]) -> Speakers:
    cells = Counter((p.truth.speakers, p.heard.speakers) for p in pairs if p.turns_known)
    right = sum(n for (truth, predicted), n in cells.items() if truth == predicted)
    table = tuple(SpeakerCount(truth, predicted, n) for (truth, predicted), n in sorted(cells.items()))
    return Speakers(cells.total(), ratio(right, cells.total()), table)


def _transcription(counted: Sequence[_Counted]) -> Transcription:
    clips = [c.words for c in counted if c.words is not None]
    cp_clips = [c.words_by_speaker for c in counted if c.words_by_speaker is not None]
    total, by_speaker = pooled(WordErrors, clips), pooled(WordErrors, cp_clips)
    letters = pooled(WordErrors, [c.letters for c in counted if c.letters is not None])
    return Transcription(
        clips=len(clips),
        words=total.words,
        cp_clips=len(cp_clips),
        wer=ratio(total.errors, total.words),
        cp_wer=ratio(by_speaker.errors, by_speaker.words),
        substitutions=ratio(total.substitutions, total.words),
        deletions=ratio(total.deletions, total.words),
        insertions=ratio(total.insertions, total.words),
        cer=ratio(letters.errors, letters.words),
    )


def _words_without_speech(pairs: Sequence[Pair]) -> WordsWithoutSpeech:
    quiet = [p for p in pairs if p.turns_known and not p.truth.turns]
    minutes = sum(p.truth.duration_ms for p in quiet) / 60_000
    return WordsWithoutSpeech(len(quiet), minutes, ratio(sum(len(p.heard.words) for p in quiet), minutes))


def _detection(counts: Sequence[Hits | None]) -> Detection:
    clips = [hits for hits in counts if hits is not None]
    total = pooled(Hits, clips)
    precision, recall = ratio(total.right, total.heard), ratio(total.found, total.truth)
    return Detection(len(clips), total.truth, total.heard, precision, recall, f1(total))


def _ranking(pairs: Sequence[Pair]) -> Ranking:
    with_events = [pair for pair in pairs if pair.events_known]
    mean_ap, classes = metrics.mean_average_precision(
        [pair.truth for pair in with_events], [pair.tags for pair in with_events]
    )
    return Ranking(len(with_events), classes, mean_ap)


def _separation(pairs: Sequence[Pair]) -> Separation:
    db = _levels(pairs)
    if not db:
        return Separation(0, None, None, None, None)
    gains = [speech - mix for mix, speech in db]
    mix_db, speech_db = fmean(mix for mix, _ in db), fmean(speech for _, speech in db)
    return Separation(len(db), mix_db, speech_db, fmean(gains), median(gains))


def _levels(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """SI-SDR of mix and speech stem in dB, of clips with speech and background."""
    return [
        (p.si_sdr_mix, p.si_sdr_speech)
        for p in pairs
        if p.truth.snr_db is not None and p.si_sdr_mix is not None and p.si_sdr_speech is not None
    ]


def _intervals(counted: Sequence[_Counted]) -> dict[str, tuple[float, float]]:
    """The intervals of every figure that is one sum over clips divided by another, and of mAP."""
    terms: dict[str, list[tuple[float, float]]] = {
        "DER": [(c.collar.errors, c.collar.speech) for c in counted if c.collar],
        "JER": [(c.jaccard.error, c.jaccard.speakers) for c in counted if c.jaccard],
        "count": [(c.pair.truth.speakers == c.pair.heard.speakers, 1) for c in counted if c.pair.turns_known],
        "WER": [(c.words.errors, c.words.words) for c in counted if c.words],
        "CER": [(c.letters.errors, c.letters.words) for c in counted if c.letters],
        "cpWER": [
            (c.words_by_speaker.errors, c.words_by_speaker.words) for c in counted if c.words_by_speaker
        ],
        "segment F1": [
            (2 * c.segments.found, c.segments.truth + c.segments.heard) for c in counted if c.segments
        ],
        "event F1": [(2 * c.events.found, c.events.truth + c.events.heard) for c in counted if c.events],
        "gain": [(after - before, 1) for before, after in _levels([c.pair for c in counted])],
    }
    intervals = {name: bootstrap.of_ratio(parts) for name, parts in terms.items()}
    pairs = [c.pair for c in counted if c.pair.events_known]
    intervals["mAP"] = bootstrap.of_mean_ap(
        *metrics.ranked([p.truth for p in pairs], [p.tags for p in pairs])
    )
    return {name: interval for name, interval in intervals.items() if interval}
