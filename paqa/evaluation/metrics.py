"""Single metrics, one function each: truth and what was heard in, counts out.

Counts of clips add up (`pooled`), so a figure over many clips is one division at the end and long clips weigh
more. Nothing here divides by a clip. `paqa.evaluation.audit` divides, per slice of the data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from paqa import spans
from paqa.errors import PaqaError
from paqa.text import apart, without_gaps
from paqa.types import Event, Scene, Tag, Turn

if TYPE_CHECKING:
    import numpy as np

COLLAR_MS = 250  # DER: not scored on either side of every boundary of the truth, as md-eval -c 0.25
SEGMENT_MS = 1000  # segment-based event F1
ONSET_MS = 200  # event-based F1: an onset may be this far off, in either direction
OFFSET_SHARE = 0.2  # and an offset that far, or this share of the true event's length if that is more
SI_SDR_LIMIT_DB = (
    100.0  # a perfect estimate is finite, so that means and JSON work; 16-bit rounding is about 96 dB
)

Related = Callable[[str, str], bool]
Counts = TypeVar("Counts")


@dataclass(frozen=True)
class Diarized:
    """Seconds of speaker time: where two speak at once, each second counts twice."""

    speech: float = 0.0
    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0

    @property
    def errors(self) -> float:
        return self.missed + self.false_alarm + self.confusion


@dataclass(frozen=True)
class Jaccard:
    """The Jaccard errors of true speakers, summed, and how many there are."""

    error: float = 0.0
    speakers: int = 0


@dataclass(frozen=True)
class Misheard:
    """Words (or letters) of the truth, and edits that turn them into what was heard."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Hits:
    """`found` of `truth` things were heard, `right` of `heard` things are true; one to one, `found` equals
    `right`.
    """

    found: int = 0
    truth: int = 0
    right: int = 0
    heard: int = 0


def pooled(kind: type[Counts], counts: Iterable[Counts]) -> Counts:
    """The sum of counts, field by field."""
    items = list(counts)
    sums = {f.name: sum((getattr(c, f.name) for c in items), start=f.default) for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**sums)


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, None where there is nothing to divide by."""
    return part / whole if whole else None


def f1(hits: Hits) -> float | None:
    """Harmonic mean of precision and recall, in [0, 1]; None where nothing is true and nothing was heard."""
    if not hits.truth and not hits.heard:
        return None
    if not hits.found or not hits.right:
        return 0.0
    precision, recall = hits.right / hits.heard, hits.found / hits.truth
    return 2 * precision * recall / (precision + recall)


def diarized(truth: Scene, heard: Scene, collar_ms: int = COLLAR_MS) -> Diarized:
    """The parts of the diarization error rate (NIST RT; Fiscus et al. 2006), overlap included, over the whole
    clip.

    `collar_ms` is left out on *each* side of a boundary of the truth. pyannote.metrics centres a window of
    `collar` seconds on the boundary, so md-eval's `-c 0.25` (+-0.25 s) is its `collar=0.5`. Speakers are
    matched one to one so that they agree for longest. Turns of one speaker that touch or overlap are one
    turn: nobody speaks twice at once.
    """
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    whole = Timeline([Segment(0, truth.duration_ms / 1000)])
    metric = DiarizationErrorRate(collar=2 * collar_ms / 1000)
    parts = metric.compute_components(_annotation(truth.turns), _annotation(heard.turns), uem=whole)
    return Diarized(parts["total"], parts["missed detection"], parts["false alarm"], parts["confusion"])


def jaccard(truth: Scene, heard: Scene) -> Jaccard:
    """The parts of the Jaccard error rate (DIHARD II; Ryant et al. 2019), overlap included, over the whole
    clip.

    Of each true speaker, 1 - intersection / union with the heard speaker that it is matched to; no collar.
    """
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import JaccardErrorRate

    whole = Timeline([Segment(0, truth.duration_ms / 1000)])
    metric: Any = JaccardErrorRate()  # type: ignore[no-untyped-call]
    parts = metric.compute_components(_annotation(truth.turns), _annotation(heard.turns), uem=whole)
    return Jaccard(float(parts["speaker error"]), int(parts["speaker count"]))


def _annotation(turns: Iterable[Turn]) -> Any:
    """Turns as a pyannote Annotation; every turn is a track of its own, so equal spans of two speakers both
    stay.
    """
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    by_speaker: dict[int, list[spans.Interval]] = defaultdict(list)
    for turn in turns:
        by_speaker[turn.speaker].append(spans.interval(turn))
    for speaker, intervals in by_speaker.items():
        for start, end in spans.merge(intervals):
            annotation[Segment(start / 1000, end / 1000), f"{speaker}"] = f"{speaker}"
    return annotation


@cache
def _normalizer(language: str | None) -> Callable[[str], str]:
    """Whisper's text normalisation (Radford et al. 2022, appendix C): the English one, or the one for the
    rest.

    As there, characters count as words where a script has no spaces between words.
    """
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    english = language is None or language.split("-")[0] == "en"
    normalizer: Callable[[str], str] = EnglishTextNormalizer() if english else BasicTextNormalizer()
    return lambda text: " ".join(apart(normalizer(text)).split())


def _edits(truth: str, heard: str) -> Misheard:
    """The fewest word edits between two normalised texts."""
    import jiwer

    out = jiwer.process_words([truth], [heard])
    return Misheard(
        out.hits + out.substitutions + out.deletions, out.substitutions, out.deletions, out.insertions
    )


def misheard(truth: Scene, heard: Scene) -> Misheard:
    """The parts of the word error rate: texts of the true turns against the heard words, both in order of
    start.

    Where speakers overlap, the order of the words is a matter of taste and this counts it: see
    `misheard_by_speaker`.
    """
    return _edits(*_texts(truth, heard))


def _texts(truth: Scene, heard: Scene) -> tuple[str, str]:
    """What was said and what was heard, normalised, in order of start."""
    normal = _normalizer(truth.language)
    said = " ".join(turn.text for turn in sorted(truth.turns, key=lambda turn: turn.start_ms))
    words = " ".join(word.text for word in sorted(heard.words, key=lambda word: word.start_ms))
    return normal(said), normal(words)


def misheard_letters(truth: Scene, heard: Scene) -> Misheard:
    """The parts of the character error rate: as `misheard`, letter by letter, with the spaces between words.

    Scripts without spaces between words have none here either.
    """
    import jiwer

    said, words = map(without_gaps, _texts(truth, heard))
    out = jiwer.process_characters([said], [words])
    return Misheard(
        out.hits + out.substitutions + out.deletions, out.substitutions, out.deletions, out.insertions
    )


def misheard_by_speaker(truth: Scene, heard: Scene) -> Misheard:
    """The parts of cpWER (Watanabe et al. 2020): each speaker's words in one row, speakers matched for fewest
    errors.

    Words that no speaker has are a row of their own, and rows without a partner are all deletions or
    insertions.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    normal = _normalizer(truth.language)
    said = _rows(normal, ((turn.start_ms, turn.speaker, turn.text) for turn in truth.turns))
    words = _rows(normal, ((word.start_ms, word.speaker, word.text) for word in heard.words))
    size = max(len(said), len(words))
    said, words = said + [""] * (size - len(said)), words + [""] * (size - len(words))
    edits = [[_edits(a, b) for b in words] for a in said]
    cost = np.array([[e.errors for e in row] for row in edits]).reshape(size, size)
    rows, columns = linear_sum_assignment(cost)
    matched: list[Misheard] = [edits[i][j] for i, j in zip(rows, columns, strict=True)]
    return pooled(Misheard, matched)


def _rows(normal: Callable[[str], str], parts: Iterable[tuple[int, int | None, str]]) -> list[str]:
    """One normalised text per speaker from `(start_ms, speaker, text)`."""
    rows: dict[int | None, list[str]] = defaultdict(list)
    for _, speaker, text in sorted(parts, key=lambda part: part[0]):
        rows[speaker].append(text)
    return [normal(" ".join(texts)) for texts in rows.values()]


def segment_hits(truth: Scene, heard: Scene) -> Hits:
    """Segment-based (Mesaros et al. 2016, as sed_eval): pairs of class and 1 s segment in which it sounds at
    all.
    """
    sounds, reported = _segments(truth.events, truth.duration_ms), _segments(heard.events, truth.duration_ms)
    return _exact(sounds, reported)


def _segments(events: Iterable[Event], duration_ms: int) -> set[tuple[str, int]]:
    """`(mid, segment)` for every segment that an event touches inside the clip."""
    active: set[tuple[str, int]] = set()
    for event in events:
        inside = spans.clip(spans.interval(event), (0, duration_ms))
        if inside is not None:
            active |= {(event.mid, i) for i in range(inside[0] // SEGMENT_MS, -(-inside[1] // SEGMENT_MS))}
    return active


def event_hits(truth: Scene, heard: Scene) -> Hits:
    """Event-based (Mesaros et al. 2016): one to one, same class, onset within 200 ms, offset within 200 ms or
    20 %.
    """
    found = sum(
        _matched([e for e in truth.events if e.mid == mid], [e for e in heard.events if e.mid == mid])
        for mid in {event.mid for event in truth.events}
    )
    return Hits(found, len(truth.events), found, len(heard.events))


def _matched(truth: Sequence[Event], heard: Sequence[Event]) -> int:
    """The largest number of one-to-one matches of events of one class (sed_eval's 'optimal' matching)."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    close = np.array([[_close(t, h) for h in heard] for t in truth], dtype=int).reshape(
        len(truth), len(heard)
    )
    rows, columns = linear_sum_assignment(close, maximize=True)
    return int(close[rows, columns].sum())


def _close(truth: Event, heard: Event) -> bool:
    """Onset and offset within the collars."""
    allowed = max(ONSET_MS, OFFSET_SHARE * (truth.end_ms - truth.start_ms))
    return abs(truth.start_ms - heard.start_ms) <= ONSET_MS and abs(truth.end_ms - heard.end_ms) <= allowed


def class_hits(truth: Scene, heard: Scene) -> Hits:
    """Clip-level: the set of classes that sound against the set that was heard, whenever that was."""
    return _exact({event.mid for event in truth.events}, {event.mid for event in heard.events})


def related_hits(truth: Scene, heard: Scene, related: Related) -> Hits:
    """Clip-level, and 'Dog' or 'Animal' for 'Bark' is right too: a class counts if any class of the other is
    related.

    Many to one on purpose: a tagger that reports a class together with its parents said one thing, not three.
    """
    sounds, reported = {event.mid for event in truth.events}, {event.mid for event in heard.events}
    found = sum(any(related(mid, other) for other in reported) for mid in sounds)
    right = sum(any(related(other, mid) for other in sounds) for mid in reported)
    return Hits(found, len(sounds), right, len(reported))


def _exact(truth: set[Any], heard: set[Any]) -> Hits:
    """Hits of two sets."""
    both = len(truth & heard)
    return Hits(both, len(truth), both, len(heard))


def ranked(truths: Sequence[Scene], tags: Sequence[Sequence[Tag]]) -> tuple[np.ndarray, np.ndarray]:
    """Which class sounds in which clip, and its tag's score, both `(clips, classes)`.

    Classes are those of the true events that are absent from at least one clip: what sounds everywhere ranks
    nothing and would score 1 for free. A class without a tag has score 0.
    """
    import numpy as np

    present = [{event.mid for event in truth.events} for truth in truths]
    scores: list[Mapping[str, float]] = [{tag.mid: tag.score for tag in clip} for clip in tags]
    classes = sorted(mid for mid in set().union(*present) if not all(mid in mids for mids in present))
    sounding = np.array([[mid in mids for mid in classes] for mids in present], bool)
    scored = np.array([[score.get(mid, 0.0) for mid in classes] for score in scores], float)
    return sounding.reshape(len(truths), len(classes)), scored.reshape(len(truths), len(classes))


def mean_average_precision(
    truths: Sequence[Scene], tags: Sequence[Sequence[Tag]]
) -> tuple[float | None, int]:
    """Macro mean over classes of average precision of the clips ranked by tag score, and the number of
    classes.
    """
    from sklearn.metrics import average_precision_score

    sounding, scored = ranked(truths, tags)
    if not sounding.shape[1]:
        return None, 0
    return float(average_precision_score(sounding, scored, average="macro")), sounding.shape[1]


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means removed, computed in
    float64.

    Samples are `(n,)` or `(channels, n)`, channels averaged. Clipped to +-100 dB. Raises PaqaError where the
    lengths differ or the reference is silent (constant); a silent estimate is -100 dB.
    """
    import numpy as np

    r, e = _centred(reference), _centred(estimate)
    if r.size != e.size:
        raise PaqaError(f"SI-SDR of {e.size} samples against {r.size}; align them first")
    if not r.any():
        raise PaqaError("SI-SDR against a silent reference is undefined; measure clips with speech only")
    target = (e @ r) / (r @ r) * r
    signal, distortion = target @ target, (e - target) @ (e - target)
    floor = 10 ** (-SI_SDR_LIMIT_DB / 10)
    if signal <= floor * distortion:
        return -SI_SDR_LIMIT_DB
    if distortion <= floor * signal:
        return SI_SDR_LIMIT_DB
    return float(10 * np.log10(signal / distortion))


def _centred(samples: np.ndarray) -> np.ndarray:
    """One channel in float64 without its mean; exactly 0 where it is constant but for rounding."""
    import numpy as np

    mono = np.atleast_2d(np.asarray(samples, np.float64)).mean(axis=0)
    centred = mono - mono.mean()
    return centred if centred @ centred > 1e-24 * (mono @ mono) else np.zeros_like(mono)
