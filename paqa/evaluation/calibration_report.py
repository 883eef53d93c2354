"""What `paqa calibrate` prints: how well its models hold on held-out voices and recordings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from paqa.evaluation.bootstrap import of_ratio
from paqa.evaluation.reliability import reliability


@dataclass(frozen=True)
class HeldOutRow:
    """A row with its held-out confidence: `right` is its answer, `all_right` all that it states as well."""

    corpus: str
    clip_id: str
    confidence: float
    right: bool
    all_right: bool


def predictions_table(outcomes: Iterable[tuple[str, Sequence[tuple[float, bool]]]]) -> list[str]:
    """A line for each kind of prediction: examples, share right, calibration error, area under the ROC."""
    lines = [f"{'prediction':<16}{'examples':>9}{'right %':>9}{'ECE':>7}{'AUC':>7}"]
    for kind, pairs in outcomes:
        held = reliability([p for p, _ in pairs], [right for _, right in pairs])
        if held:
            numbers = f"{held.count:>9}{100 * held.right:>9.1f}{held.error:>7.3f}"
            lines.append(f"{kind:<16}{numbers}{_cell(area(pairs), 2):>7}")
    return lines


def rows_table(rows: Sequence[HeldOutRow], clips: Mapping[str, int], limit: float) -> list[str]:
    """A line for each corpus: what reaches the limit, how often that is right, and rows a clip."""
    head = f"{'rows of':<16}{'clips':>6}{'rows':>6}{'right %':>20}{'nothing false %':>20}{'right a clip':>13}"
    lines = [head]
    for corpus in [*clips, "all"]:
        members = [row for row in rows if corpus in ("all", row.corpus) and row.confidence >= limit]
        count = sum(clips.values()) if corpus == "all" else clips[corpus]
        right = [(row.clip_id, row.right) for row in members]
        whole = [(row.clip_id, row.all_right) for row in members]
        a_clip = sum(outcome for _, outcome in right) / count if count else 0.0
        cells = f"{count:>6}{len(members):>6}{_share(right):>20}{_share(whole):>20}{a_clip:>13.2f}"
        lines.append(f"{corpus:<16}{cells}")
    held = reliability([row.confidence for row in rows], [row.all_right for row in rows])
    if held:
        lines.append(
            f"rows, calibration error {held.error:.3f} over {held.count} rows of which "
            f"{100 * held.right:.1f} % are right"
        )
    return lines


def _share(outcomes: Iterable[tuple[str, bool]]) -> str:
    """A share in percent, with its interval over clips."""
    by_clip: dict[str, list[bool]] = {}
    for clip_id, outcome in outcomes:
        by_clip.setdefault(clip_id, []).append(outcome)
    parts = [(sum(values), len(values)) for values in by_clip.values()]
    total = sum(size for _, size in parts)
    if not total:
        return "-"
    interval = of_ratio(parts)
    bounds = f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})" if interval else ""
    return f"{100 * sum(right for right, _ in parts) / total:.1f}{bounds}"


def area(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """The area under the ROC curve of probabilities; None where all outcomes are the same."""
    if len({right for _, right in pairs}) < 2:
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score([right for _, right in pairs], [p for p, _ in pairs]))


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
