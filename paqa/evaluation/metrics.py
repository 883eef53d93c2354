"""Single metrics, one function each: truth and prediction in, counts out.

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
# a perfect estimate is finite, so that means and JSON work; 16-bit rounding is about 96 dB
SI_SDR_LIMIT_DB = 100.0

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
class WordErrors:
    """Words (or letters) of the truth, and edits that turn them into the prediction."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Hits:
    """`found` of `truth` true units are predicted, `right` of `heard` predicted ones are true.

    Where units are matched one to one, `found` equals `right`.
    """

    found: int = 0
    truth: int = 0
    right: int = 0
    heard: int = 0


def pooled(kind: type[Counts], counts: Iterable[Counts]) -> Counts:
    """The sum of counts, field by field."""
    items = list(counts)
    sums: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        empty: Any = field.default
        sums[field.name] = sum((getattr(item, field.name) for item in items), start=empty)
    return kind(**sums)


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, None where there is nothing to divide by."""
    return part / whole if whole else None


def f1(hits: Hits) -> float | None:
    """Harmonic mean of precision and recall, in [0, 1]; None where both truth and prediction are empty."""
    if not hits.truth and not hits.heard:
        return None
    if not hits.found or not hits.right:
        return 0.0
    precision, recall = hits.right / hits.heard, hits.found / hits.truth
    return 2 * precision * recall / (precision + recall)


def diarized(truth: Scene, predicted: Scene, collar_ms: int = COLLAR_MS) -> Diarized:
    """The parts of the diarization error rate (NIST RT; Fiscus et al. 2006), overlap included.

    `collar_ms` is left out on *each* side of a boundary of the truth. pyannote.metrics centres a window of
    `collar` seconds on the boundary, so md-eval's `-c 0.25` (+-0.25 s) is its `collar=0.5`. Speakers are
    matched one to one so that they agree for longest. Turns of one speaker that touch or overlap are one
    turn.
    """
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    whole = Timeline([Segment(0, truth.duration_ms / 1000)])
    metric = DiarizationErrorRate(collar=2 * collar_ms / 1000)
    parts = metric.compute_components(_annotation(truth.turns), _annotation(predicted.turns), uem=whole)
    return Diarized(parts["total"], parts["missed detection"], parts["false alarm"], parts["confusion"])


def jaccard(truth: Scene, predicted: Scene) -> Jaccard:
    """The parts of the Jaccard error rate (DIHARD II; Ryant et al. 2019), overlap included.

    Of each true speaker, 1 - intersection / union with the predicted speaker matched to it; no collar.
    """
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import JaccardErrorRate

    whole = Timeline([Segment(0, truth.duration_ms / 1000)])
    metric: Any = JaccardErrorRate()  # type: ignore[no-untyped-call]
    parts = metric.compute_components(_annotation(truth.turns), _annotation(predicted.turns), uem=whole)
    return Jaccard(float(parts["speaker error"]), int(parts["speaker count"]))


def _annotation(turns: Iterable[Turn]) -> Any:
    """Turns as a pyannote Annotation; each is a track of its own, so equal spans of two speakers stay."""
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
def normalizer(language: str | None) -> Callable[[str], str]:
    """Whisper's text normalisation (Radford et al. 2022, appendix C), English or for all languages.

    As there, characters count as words where a script has no spaces between words.
    """
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    english = language is None or language.split("-")[0] == "en"
    normalizer: Callable[[str], str] = EnglishTextNormalizer() if english else BasicTextNormalizer()
    return lambda text: " ".join(apart(normalizer(text)).split())


def _edits(truth: str, predicted: str) -> WordErrors:
    """The fewest word edits between two normalised texts."""
    import jiwer

    out = jiwer.process_words([truth], [predicted])
    return WordErrors(
        out.hits + out.substitutions + out.deletions, out.substitutions, out.deletions, out.insertions
    )


def word_errors(truth: Scene, predicted: Scene) -> WordErrors:
    """The parts of the word error rate: true turns against predicted words, both in order of start.

    Where speakers overlap, this counts the order of their words, which is arbitrary there: see
    `word_errors_by_speaker`.
    """
    return _edits(*_texts(truth, predicted))


def _texts(truth: Scene, predicted: Scene) -> tuple[str, str]:
    """The true and the predicted transcript, normalised, in order of start."""
    normal = normalizer(truth.language)
    true_text = " ".join(turn.text for turn in sorted(truth.turns, key=lambda turn: turn.start_ms))
    predicted_text = " ".join(word.text for word in sorted(predicted.words, key=lambda word: word.start_ms))
    return normal(true_text), normal(predicted_text)


def letter_errors(truth: Scene, predicted: Scene) -> WordErrors:
    """The parts of the character error rate: `word_errors` by letter, spaces between words included.

    Scripts without spaces between words have none here either.
    """
    import jiwer

    true_text, predicted_text = map(without_gaps, _texts(truth, predicted))
    out = jiwer.process_characters([true_text], [predicted_text])
    return WordErrors(
        out.hits + out.substitutions + out.deletions, out.substitutions, out.deletions, out.insertions
    )


def word_errors_by_speaker(truth: Scene, predicted: Scene) -> WordErrors:
    """The parts of cpWER (Watanabe et al. 2020): words by speaker, speakers matched for fewest errors.

    Words that no speaker has are a row of their own, and rows without a partner are all deletions or
    insertions.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    normal = normalizer(truth.language)
    true_rows = _rows(normal, ((turn.start_ms, turn.speaker, turn.text) for turn in truth.turns))
    predicted_rows = _rows(normal, ((word.start_ms, word.speaker, word.text) for word in predicted.words))
    size = max(len(true_rows), len(predicted_rows))
    true_rows += [""] * (size - len(true_rows))
    predicted_rows += [""] * (size - len(predicted_rows))
    edits = [[_edits(true_row, row) for row in predicted_rows] for true_row in true_rows]
    cost = np.array([[edit.errors for edit in row] for row in edits]).reshape(size, size)
    rows, columns = linear_sum_assignment(cost)
    matched: list[WordErrors] = [edits[i][j] for i, j in zip(rows, columns, strict=True)]
    return pooled(WordErrors, matched)


def _rows(normal: Callable[[str], str], parts: Iterable[tuple[int, int | None, str]]) -> list[str]:
    """One normalised text per speaker from `(start_ms, speaker, text)`."""
    rows: dict[int | None, list[str]] = defaultdict(list)
    for _, speaker, text in sorted(parts, key=lambda part: part[0]):
        rows[speaker].append(text)
    return [normal(" ".join(texts)) for texts in rows.values()]


def segment_hits(truth: Scene, predicted: Scene) -> Hits:
    """Segment-based (Mesaros et al. 2016, as sed_eval): pairs of a class and a 1 s segment it sounds in."""
    true_segments = _segments(truth.events, truth.duration_ms)
    return _exact(true_segments, _segments(predicted.events, truth.duration_ms))


def _segments(events: Iterable[Event], duration_ms: int) -> set[tuple[str, int]]:
    """`(mid, segment)` for every segment that an event touches inside the clip."""
    active: set[tuple[str, int]] = set()
    for event in events:
        inside = spans.clip(spans.interval(event), (0, duration_ms))
        if inside is not None:
            active |= {(event.mid, i) for i in range(inside[0] // SEGMENT_MS, -(-inside[1] // SEGMENT_MS))}
    return active


def event_hits(truth: Scene, predicted: Scene) -> Hits:
    """Event-based (Mesaros et al. 2016): one to one, same class, onset and offset close.

    An onset may be off by 200 ms, an offset by 200 ms or 20 % of the event.
    """
    true_events, predicted_events = _by_class(truth.events), _by_class(predicted.events)
    matches = sum(_matched(events, predicted_events.get(mid, [])) for mid, events in true_events.items())
    return Hits(matches, len(truth.events), matches, len(predicted.events))


def _by_class(events: Iterable[Event]) -> dict[str, list[Event]]:
    by_class: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_class[event.mid].append(event)
    return by_class


def _matched(truth: Sequence[Event], predicted: Sequence[Event]) -> int:
    """The largest number of one-to-one matches of events of one class (sed_eval's 'optimal' matching)."""
    partners: dict[int, Event] = {}  # of predicted events by number, the true one

    def matches(true_event: Event, tried: set[int]) -> bool:
        """Whether it gets a partner, from another true event that can do with one not tried yet, too."""
        for i, event in enumerate(predicted):
            if i not in tried and _close(true_event, event):
                tried.add(i)
                if i not in partners or matches(partners[i], tried):
                    partners[i] = true_event
                    return True
        return False

    return sum(matches(true_event, set()) for true_event in truth)


def _close(truth: Event, predicted: Event) -> bool:
    """Onset and offset within the collars."""
    allowed = max(ONSET_MS, OFFSET_SHARE * (truth.end_ms - truth.start_ms))
    return (
        abs(truth.start_ms - predicted.start_ms) <= ONSET_MS
        and abs(truth.end_ms - predicted.end_ms) <= allowed
    )


def class_hits(truth: Scene, predicted: Scene) -> Hits:
    """Clip-level: the set of true classes against the set of predicted ones, at any time."""
    return _exact({event.mid for event in truth.events}, {event.mid for event in predicted.events})


def related_hits(truth: Scene, predicted: Scene, related: Related) -> Hits:
    """Clip-level; related classes count too: 'Dog' or 'Animal' for 'Bark' is right.

    Many to one on purpose: a class that is reported together with its parents is one prediction, not three.
    """
    true_mids, mids = {event.mid for event in truth.events}, {event.mid for event in predicted.events}
    recalled = sum(any(related(true_mid, mid) for mid in mids) for true_mid in true_mids)
    right = sum(any(related(true_mid, mid) for true_mid in true_mids) for mid in mids)
    return Hits(recalled, len(true_mids), right, len(mids))


def _exact(truth: set[Any], predicted: set[Any]) -> Hits:
    """Hits of two sets."""
    both = len(truth & predicted)
    return Hits(both, len(truth), both, len(predicted))


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
    """Mean over classes of the average precision of clips ranked by tag score, and the number of classes."""
    from sklearn.metrics import average_precision_score

    sounding, scored = ranked(truths, tags)
    if not sounding.shape[1]:
        return None, 0
    return float(average_precision_score(sounding, scored, average="macro")), sounding.shape[1]


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means removed.

    Samples are `(n,)` or `(channels, n)`, channels averaged, computed in float64. Clipped to +-100 dB; a
    silent estimate is -100 dB. Raises PaqaError where the lengths differ or the reference is silent
    (constant).
    """
    import numpy as np

    clean, estimated = _centred(reference), _centred(estimate)
    if clean.size != estimated.size:
        raise PaqaError(f"SI-SDR of {estimated.size} samples against {clean.size}; align them first")
    if not clean.any():
        raise PaqaError("SI-SDR against a silent reference is undefined; measure clips with speech only")
    target = (estimated @ clean) / (clean @ clean) * clean
    residual = estimated - target
    signal, distortion = target @ target, residual @ residual
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
