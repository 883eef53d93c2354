"""The audit as plots: errors, sounds and separation by slice, and the confusion of speaker counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError
from paqa.evaluation.audit_report import AuditReport, Slice
from paqa.evaluation.reliability import Reliability
from paqa.evaluation.row_audit import RowAudit

FORMS = ("png", "svg")
FIGURES: dict[str, tuple[str, ...]] = {
    "speech": ("DER", "JER", "WER", "CER", "cpWER"),
    "sounds": ("segment F1", "event F1", "mAP"),
    "separation": ("gain",),
}


def save(report: AuditReport, folder: Path, rows: RowAudit | None = None) -> list[Path]:
    """Write each figure as PNG and SVG; returns the files. PaqaError where matplotlib is not installed.

    With judged rows, there is a reliability diagram of their confidences.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise PaqaError("plots need matplotlib; run: uv pip install 'paqa[audit]'") from None
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "paqa", "font.size": 9}):
        figures = {name: _bars(report.slices, figures) for name, figures in FIGURES.items()}
        figures["speakers"] = _confusion(report.overall)
        if rows and rows.reliability:
            figures["reliability"] = reliability_diagram(rows.reliability)
        return [
            _write(figure, folder / f"{name}.{form}") for name, figure in figures.items() for form in FORMS
        ]


def _write(figure: Any, path: Path) -> Path:
    figure.savefig(
        path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120, bbox_inches="tight"
    )
    return path


def _bars(slices: Sequence[Slice], names: Sequence[str]) -> Any:
    """One panel a figure: the 95 % interval of every slice around its value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(names), 0.6 + 0.24 * len(slices)))
    for n, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), n + 1)
        scale = 1 if name == "gain" else 100
        for y, slice_ in enumerate(slices):
            value = figure_of(slice_, name)
            if value is None:
                continue
            low, high = slice_.intervals.get(name, (value, value))
            axes.plot(
                [scale * low, scale * high], [y, y], color="#8aa4c8", linewidth=4, solid_capstyle="butt"
            )
            axes.plot(scale * value, y, "o", color="#1f4e8c", markersize=4)
        axes.set_yticks(range(len(slices)), [f"{s.name} ({s.clips})" for s in slices] if n == 0 else [])
        axes.set_ylim(len(slices) - 0.5, -0.5)
        axes.set_title(f"{name}, {'dB' if name == 'gain' else '%'}")
        axes.grid(axis="x", alpha=0.3)
    return figure


def figure_of(slice_: Slice, name: str) -> float | None:
    """A figure by the name that its interval has."""
    return {
        "DER": slice_.diarization.der,
        "JER": slice_.diarization.jer,
        "count": slice_.speakers.accuracy,
        "WER": slice_.transcription.wer,
        "CER": slice_.transcription.cer,
        "cpWER": slice_.transcription.cp_wer,
        "segment F1": slice_.segments.f1,
        "event F1": slice_.events.f1,
        "mAP": slice_.ranking.mean_ap,
        "gain": slice_.separation.improvement_mean_db,
    }[name]


def reliability_diagram(measured: Reliability) -> Any:
    """How much comes true of what is predicted with each confidence; counts beside the points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.6))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    points = [
        (b.confidence, b.right, b.count)
        for b in measured.bins
        if b.confidence is not None and b.right is not None
    ]
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(xs, ys, "o-", color="#1f4e8c", markersize=4)
    for x, y, count in points:
        axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(4, -10))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.set_title(f"expected calibration error {measured.error:.3f}")
    axes.grid(alpha=0.3)
    return figure


def _confusion(overall: Slice) -> Any:
    """Clips by true (rows) and predicted (columns) number of speakers."""
    from matplotlib.figure import Figure

    cells = {(c.truth, c.heard): c.clips for c in overall.speakers.table}
    most = max((n for pair in cells for n in pair), default=0)
    counts = [[cells.get((t, h), 0) for h in range(most + 1)] for t in range(most + 1)]
    figure = Figure(figsize=(0.8 + 0.5 * (most + 1), 0.8 + 0.5 * (most + 1)))
    axes = figure.add_subplot()
    axes.imshow(counts, cmap="Blues")
    for (t, h), n in cells.items():
        axes.text(
            h,
            t,
            str(n),
            ha="center",
            va="center",
            color="white" if n > 0.6 * max(cells.values()) else "black",
        )
    axes.set_xlabel("speakers heard")
    axes.set_ylabel("speakers in truth")
    axes.set_xticks(range(most + 1))
    axes.set_yticks(range(most + 1))
    return figure
