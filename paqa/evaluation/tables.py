"""The audit's report for a terminal: one table a subject, one line a slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paqa.evaluation import answer_accuracy, row_tables
from paqa.evaluation.answer_accuracy import TemplateAccuracy
from paqa.evaluation.audit_report import AuditReport, Slice, Speakers
from paqa.evaluation.grids import grid, piped
from paqa.evaluation.row_audit import RowAudit

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
            ("JER %", lambda s: s.diarization.jer, PERCENT),
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
            ("CER %", lambda s: s.transcription.cer, PERCENT),
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


def table(report: AuditReport) -> str:
    """The report for a terminal: one table a subject, one line a slice, '-' where nothing was measured."""
    parts = []
    for title, columns in SECTIONS:
        heads = ["", *(head for head, _, _ in columns)]
        parts.append(grid(title, heads, [_line(part, columns) for part in report.slices]))
    return "\n\n".join([*parts, _intervals(report), _confusion(report.overall.speakers)]) + "\n"


def markdown(
    report: AuditReport, accuracies: Sequence[TemplateAccuracy], rows: RowAudit | None = None
) -> str:
    """The same as Markdown tables, without intervals and confusions."""
    parts = ["# What was heard against the truth"]
    if rows:
        parts.append(row_tables.markdown(rows))
    for title, columns in SECTIONS:
        lines = [["", *(head for head, _, _ in columns)], *(_line(s, columns) for s in report.slices)]
        parts.append(f"## {title.partition('. ')[0]}\n\n{title.partition('. ')[2]}\n\n{piped(lines)}")
    if any(accuracy.rows for accuracy in accuracies):
        heads = ["", "rows", "asked %", "right %", "95 %"]
        table_of_answers = piped([heads, *answer_accuracy.table(accuracies)])
        parts.append(f"## Answers, had they come from what was heard\n\n{table_of_answers}")
    return "\n\n".join(parts) + "\n"


def answers(accuracies: Sequence[TemplateAccuracy]) -> str:
    """How often answers would be right if they came from predictions."""
    title = "Answers from truth, tried on what was heard: the same question comes up, and has the same answer"
    return grid(title, ["", "rows", "asked %", "right %", "95 %"], answer_accuracy.table(accuracies)) + "\n"


def _intervals(report: AuditReport) -> str:
    """The 95 % intervals of the main figures, `-` where a slice has fewer than two clips to draw from."""
    names = {name: None for slice_ in report.slices for name in slice_.intervals}
    rows = [[s.name, *(_span(s.intervals.get(name), name) for name in names)] for s in report.slices]
    title = "From - to, the middle 95 % of 1000 draws of as many clips (bootstrap)"
    return grid(title, ["", *(f"{name} {'dB' if name == 'gain' else '%'}" for name in names)], rows)


def _span(span: tuple[float, float] | None, name: str) -> str:
    if span is None:
        return "-"
    scale = 1 if name == "gain" else 100
    return f"{scale * span[0]:.1f} - {scale * span[1]:.1f}"


def _line(slice_: Slice, columns: Sequence[Column]) -> list[str]:
    """The cells of one slice; the heading has the unit, so a percentage is printed without its sign."""
    values = [(value(slice_), form) for _, value, form in columns]
    return [slice_.name, *("-" if v is None else form.format(v).rstrip("%") for v, form in values)]


def _confusion(speakers: Speakers) -> str:
    """Clips by true (rows) and predicted (columns) number of speakers."""
    cells = {(c.truth, c.heard): c.clips for c in speakers.table}
    columns = sorted({predicted for _, predicted in cells})
    rows = []
    for true in sorted({true for true, _ in cells}):
        counts = [str(cells.get((true, predicted), 0)) for predicted in columns]
        rows.append([f"{true} true", *counts])
    return grid("Number of speakers, clips", ["", *(f"{predicted} heard" for predicted in columns)], rows)
