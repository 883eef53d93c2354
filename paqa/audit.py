"""Perception against truth: how well was a set of clips heard? Figures over all of them and over slices.

Everything is pooled: errors of all clips over the size of all truths. Every figure comes with what it rests on, and is
None where there is nothing to measure. The metrics themselves are in `paqa.metrics`.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

from paqa import metrics
from paqa.errors import PaqaError
from paqa.metrics import Diarized, Hits, Misheard, Related, f1, pooled, ratio
from paqa.types import Scene, Split, Tag

SliceBy = Literal["all", "group", "background", "speakers"]
TRANSCRIBED = 0.9  # a reference with text for this share of its turns' time is complete but for short backchannels
BANDS_DB = (0.0, 5.0, 10.0, 20.0)
BACKGROUNDS = (
    "SNR below 0 dB", "SNR 0-5 dB", "SNR 5-10 dB", "SNR 10-20 dB", "SNR above 20 dB",
    "no background", "no speech", "background unknown",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One clip: what is true, and what was heard.

    `group` names its kind, e.g. "dialogue". `turns_known`: truth says who speaks when in the whole clip (no turns = no
    speech). `events_known`: likewise for sounds. `tags`: clip-level class probabilities. `si_sdr_mix` and
    `si_sdr_speech`: of the mix and of the speech stem against the clean speech, dB (`metrics.si_sdr`).
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
class Diarization:
    """DER and its parts, as shares of `speech_s` seconds of true speaker time; may exceed 1."""

    clips: int
    speech_s: float
    der: float | None
    missed: float | None
    false_alarm: float | None
    confusion: float | None


@dataclass(frozen=True)
class SpeakerCount:
    """`clips` clips with `truth` speakers in which `heard` were heard."""

    truth: int
    heard: int
    clips: int


@dataclass(frozen=True)
class Speakers:
    """Share of clips with the right number of speakers, and the confusion table (cells that are not empty)."""

    clips: int
    accuracy: float | None
    table: tuple[SpeakerCount, ...]


@dataclass(frozen=True)
class Transcription:
    """WER and its parts as shares of `words` true words; cpWER also wants the right speaker; may exceed 1."""

    clips: int
    words: int
    cp_clips: int
    wer: float | None
    cp_wer: float | None
    substitutions: float | None
    deletions: float | None
    insertions: float | None


@dataclass(frozen=True)
class Invented:
    """Words heard per minute of clips without any speech."""

    clips: int
    minutes: float
    words_per_minute: float | None


@dataclass(frozen=True)
class Detection:
    """Precision, recall and F1, micro over classes, of `heard` against `truth` things (events, segments, classes)."""

    clips: int
    truth: int
    heard: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Ranking:
    """Mean average precision of the clip-level tags over `classes` classes."""

    clips: int
    classes: int
    mean_ap: float | None


@dataclass(frozen=True)
class Separation:
    """SI-SDR in dB, of clips with speech and background: mean of mix and speech stem, and of the improvement."""

    clips: int
    mix_db: float | None
    speech_db: float | None
    improvement_mean_db: float | None
    improvement_median_db: float | None


@dataclass(frozen=True)
class Slice:
    """All figures of one set of clips, e.g. by "speakers": "2 speakers"."""

    by: SliceBy
    name: str
    clips: int
    diarization: Diarization
    diarization_no_collar: Diarization
    speakers: Speakers
    transcription: Transcription
    invented: Invented
    segments: Detection
    events: Detection
    classes: Detection
    classes_related: Detection
    ranking: Ranking
    separation: Separation


@dataclass(frozen=True)
class Report:
    """The slices: first all clips, then by group, by background and by number of speakers."""

    slices: tuple[Slice, ...]

    @property
    def overall(self) -> Slice:
        return self.slices[0]


@dataclass(frozen=True)
class _Counted:
    """A pair and its counts, None where truth does not say; counted once, then pooled for every slice it is in."""

    pair: Pair
    collar: Diarized | None
    no_collar: Diarized | None
    words: Misheard | None
    words_by_speaker: Misheard | None
    segments: Hits | None
    events: Hits | None
    classes: Hits | None
    classes_related: Hits | None


def measure(pairs: Iterable[Pair], related: Related | None = None) -> Report:
    """All figures over `pairs` and over their slices.

    `related(mid, mid)` says whether two AudioSet classes are the same or one an ancestor of the other; by default
    `paqa.ontology.related`. Raises PaqaError where the audit extra is not installed.
    """
    _require("jiwer", "pyannote.metrics", "scipy", "sklearn", "whisper_normalizer")
    if related is None:
        related = importlib.import_module("paqa.ontology").related
    counted = [_count(pair, related) for pair in pairs]
    return Report(tuple(_slice(by, name, members) for by, name, members in _slices(counted)))


def _require(*modules: str) -> None:
    """Raises PaqaError that says what to install."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise PaqaError(f"the audit needs {error.name}; run: uv pip install 'paqa[audit]'") from None


def _count(pair: Pair, related: Related) -> _Counted:
    """Everything that adds up, of one clip."""
    truth, heard = pair.truth, pair.heard
    turns, sounds = pair.turns_known, pair.events_known
    text = _transcribed(truth)
    return _Counted(
        pair,
        metrics.diarized(truth, heard) if turns else None,
        metrics.diarized(truth, heard, collar_ms=0) if turns else None,
        metrics.misheard(truth, heard) if text else None,
        metrics.misheard_by_speaker(truth, heard) if text and turns else None,
        metrics.segment_hits(truth, heard) if sounds else None,
        metrics.event_hits(truth, heard) if sounds else None,
        metrics.class_hits(truth, heard) if sounds else None,
        metrics.related_hits(truth, heard, related) if sounds else None,
    )


def _transcribed(truth: Scene) -> bool:
    """Whether the true words are known, but for the odd backchannel that nobody wrote down."""
    spoken = sum(turn.end_ms - turn.start_ms for turn in truth.turns)
    written = sum(turn.end_ms - turn.start_ms for turn in truth.turns if turn.text.strip())
    return spoken > 0 and written >= TRANSCRIBED * spoken


def _slices(counted: Sequence[_Counted]) -> Iterator[tuple[SliceBy, str, list[_Counted]]]:
    """All clips, then what is in each group, background band and number of speakers; empty slices are left out."""
    yield "all", "all", list(counted)
    for name in sorted({c.pair.group for c in counted} - {""}):
        yield "group", name, [c for c in counted if c.pair.group == name]
    for name in BACKGROUNDS:
        if members := [c for c in counted if background(c.pair) == name]:
            yield "background", name, members
    known = [c for c in counted if c.pair.turns_known]
    for n in sorted({c.pair.truth.speakers for c in known}):
        yield "speakers", f"{n} speaker{'s' * (n != 1)}", [c for c in known if c.pair.truth.speakers == n]


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
    """Counts to figures."""
    pairs = [c.pair for c in counted]
    return Slice(
        by,
        name,
        len(pairs),
        _diarization([c.collar for c in counted]),
        _diarization([c.no_collar for c in counted]),
        _speakers(pairs),
        _transcription(counted),
        _invented(pairs),
        _detection([c.segments for c in counted]),
        _detection([c.events for c in counted]),
        _detection([c.classes for c in counted]),
        _detection([c.classes_related for c in counted]),
        _ranking(pairs),
        _separation(pairs),
    )


def _diarization(counts: Sequence[Diarized | None]) -> Diarization:
    clips = [c for c in counts if c is not None]
    c = pooled(Diarized, clips)
    errors = c.missed + c.false_alarm + c.confusion
    shares = [ratio(part, c.speech) for part in (errors, c.missed, c.false_alarm, c.confusion)]
    return Diarization(len(clips), c.speech, *shares)


def _speakers(pairs: Sequence[Pair]) -> Speakers:
    cells = Counter((p.truth.speakers, p.heard.speakers) for p in pairs if p.turns_known)
    right = sum(n for (truth, heard), n in cells.items() if truth == heard)
    table = tuple(SpeakerCount(truth, heard, n) for (truth, heard), n in sorted(cells.items()))
    return Speakers(cells.total(), ratio(right, cells.total()), table)


def _transcription(counted: Sequence[_Counted]) -> Transcription:
    clips = [c.words for c in counted if c.words is not None]
    cp_clips = [c.words_by_speaker for c in counted if c.words_by_speaker is not None]
    c, cp = pooled(Misheard, clips), pooled(Misheard, cp_clips)
    errors = c.substitutions + c.deletions + c.insertions
    wer, *parts = (ratio(part, c.words) for part in (errors, c.substitutions, c.deletions, c.insertions))
    cp_wer = ratio(cp.substitutions + cp.deletions + cp.insertions, cp.words)
    return Transcription(len(clips), c.words, len(cp_clips), wer, cp_wer, *parts)


def _invented(pairs: Sequence[Pair]) -> Invented:
    quiet = [p for p in pairs if p.turns_known and not p.truth.turns]
    minutes = sum(p.truth.duration_ms for p in quiet) / 60_000
    return Invented(len(quiet), minutes, ratio(sum(len(p.heard.words) for p in quiet), minutes))


def _detection(counts: Sequence[Hits | None]) -> Detection:
    clips = [c for c in counts if c is not None]
    c = pooled(Hits, clips)
    return Detection(len(clips), c.truth, c.heard, ratio(c.right, c.heard), ratio(c.found, c.truth), f1(c))


def _ranking(pairs: Sequence[Pair]) -> Ranking:
    known = [p for p in pairs if p.events_known]
    mean_ap, classes = metrics.mean_average_precision([p.truth for p in known], [p.tags for p in known])
    return Ranking(len(known), classes, mean_ap)


def _separation(pairs: Sequence[Pair]) -> Separation:
    db = [
        (p.si_sdr_mix, p.si_sdr_speech)
        for p in pairs
        if p.truth.snr_db is not None and p.si_sdr_mix is not None and p.si_sdr_speech is not None
    ]
    if not db:
        return Separation(0, None, None, None, None)
    gains = [speech - mix for mix, speech in db]
    return Separation(len(db), fmean(mix for mix, _ in db), fmean(s for _, s in db), fmean(gains), median(gains))


def to_dict(report: Report) -> dict[str, Any]:
    """Plain dicts, lists and numbers, as they come back from JSON."""
    import msgspec

    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report))
    return plain


Column = tuple[str, Callable[[Slice], float | int | None], str]
PERCENT, COUNT, DB = "{:.1%}", "{}", "{:.1f}"
SECTIONS: tuple[tuple[str, tuple[Column, ...]], ...] = (
    (
        "Who spoke when. DER: collar 250 ms on each side, overlap scored, shares of true speaker time",
        (
            ("clips", lambda s: s.diarization.clips, COUNT),
            ("speech s", lambda s: s.diarization.speech_s, DB),
            ("DER %", lambda s: s.diarization.der, PERCENT),
            ("missed %", lambda s: s.diarization.missed, PERCENT),
            ("false alarm %", lambda s: s.diarization.false_alarm, PERCENT),
            ("confusion %", lambda s: s.diarization.confusion, PERCENT),
            ("no collar: DER %", lambda s: s.diarization_no_collar.der, PERCENT),
            ("speaker count right %", lambda s: s.speakers.accuracy, PERCENT),
        ),
    ),
    (
        "What was said. Whisper's normalisation; cpWER: every word with the right speaker",
        (
            ("clips", lambda s: s.transcription.clips, COUNT),
            ("words", lambda s: s.transcription.words, COUNT),
            ("WER %", lambda s: s.transcription.wer, PERCENT),
            ("subst. %", lambda s: s.transcription.substitutions, PERCENT),
            ("del. %", lambda s: s.transcription.deletions, PERCENT),
            ("ins. %", lambda s: s.transcription.insertions, PERCENT),
            ("cp clips", lambda s: s.transcription.cp_clips, COUNT),
            ("cpWER %", lambda s: s.transcription.cp_wer, PERCENT),
            ("no speech: clips", lambda s: s.invented.clips, COUNT),
            ("no speech: words/min", lambda s: s.invented.words_per_minute, DB),
        ),
    ),
    (
        "What sounded. F1, micro over classes: in 1 s segments; of events (200 ms); of the classes of a clip",
        (
            ("clips", lambda s: s.events.clips, COUNT),
            ("events", lambda s: s.events.truth, COUNT),
            ("heard", lambda s: s.events.heard, COUNT),
            ("segment F1 %", lambda s: s.segments.f1, PERCENT),
            ("event F1 %", lambda s: s.events.f1, PERCENT),
            ("clip F1 %", lambda s: s.classes.f1, PERCENT),
            ("related: clip F1 %", lambda s: s.classes_related.f1, PERCENT),
            ("classes", lambda s: s.ranking.classes, COUNT),
            ("mAP %", lambda s: s.ranking.mean_ap, PERCENT),
        ),
    ),
    (
        "Separation. SI-SDR against the clean speech",
        (
            ("clips", lambda s: s.separation.clips, COUNT),
            ("mix dB", lambda s: s.separation.mix_db, DB),
            ("speech stem dB", lambda s: s.separation.speech_db, DB),
            ("mean gain dB", lambda s: s.separation.improvement_mean_db, DB),
            ("median gain dB", lambda s: s.separation.improvement_median_db, DB),
        ),
    ),
)


def table(report: Report) -> str:
    """The report for a terminal: one table a subject, one line a slice, '-' where nothing was measured."""
    parts = [
        _grid(title, ["", *(head for head, _, _ in columns)], [_line(s, columns) for s in report.slices])
        for title, columns in SECTIONS
    ]
    return "\n\n".join([*parts, _confusion(report.overall.speakers)]) + "\n"


def _line(slice_: Slice, columns: Sequence[Column]) -> list[str]:
    """The cells of one slice; the heading has the unit, so a percentage is printed without its sign."""
    values = [(value(slice_), form) for _, value, form in columns]
    return [slice_.name, *("-" if v is None else form.format(v).rstrip("%") for v, form in values)]


def _confusion(speakers: Speakers) -> str:
    """Clips by true (rows) and heard (columns) number of speakers."""
    cells = {(c.truth, c.heard): c.clips for c in speakers.table}
    columns = sorted({heard for _, heard in cells})
    rows = [[f"{t} true", *(str(cells.get((t, h), 0)) for h in columns)] for t in sorted({t for t, _ in cells})]
    return _grid("Number of speakers, clips", ["", *(f"{h} heard" for h in columns)], rows)


def _grid(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned text: first column left, the rest right."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [title]
    for first, *rest in [heads, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)
