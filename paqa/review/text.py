"""What verdicts say of a build, as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from paqa.evaluation.grids import grid
from paqa.review.estimate import METHOD, Agreement, RightShare
from paqa.review.measure import Disagreement, Review
from paqa.review.verdicts import Verdict
from paqa.storage.store import write_atomically

SHOWN = 20  # ids in a list
HEADS = ("template", "judged", "right", "clips", "right %", "95 %")


def save(review: Review, path: Path) -> None:
    """Write all figures as JSON."""
    figures = msgspec.to_builtins(review) | {"method": METHOD}
    write_atomically(path, msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


def text(review: Review) -> str:
    """All figures, and what to do with them."""
    people = ", ".join(f"{name} {n}" for name, n in review.reviewers.items()) or "none that counts"
    parts = [
        "\n".join([f"verdicts     {people}; {review.rows} of {review.build_rows} rows", *_overall(review)]),
        *([_templates(review.by_template)] if review.by_template else []),
        *_agreements(review),
        *_changed(review),
        *_rejected(review),
    ]
    return "\n\n".join(parts)


def _overall(review: Review) -> Iterator[str]:
    if review.overall is None:
        yield "right        no figure: no drawn row is judged; paqa report --review 100 draws some"
    else:
        whole = review.overall
        yield (
            f"right        {whole.share:.1%} of all rows{_spread(whole)}: "
            f"{whole.right} of {whole.rows} drawn rows, of {whole.clips} clips"
        )
        if review.covered < review.build_rows:
            yield f"covers       templates with {review.covered} of {review.build_rows} rows"
        yield f"estimate     {METHOD}"
    if review.picked:
        yield f"by hand      {review.picked} of {review.rows}, not drawn: no part of the estimate"
    if review.unsure:
        yield f"unsure       {review.unsure} of {review.rows}: no part of the estimate"


def _spread(share: RightShare) -> str:
    return f" ({share.interval[0]:.1%} to {share.interval[1]:.1%})" if share.interval else ""


def _templates(shares: Sequence[RightShare]) -> str:
    rows = []
    for s in shares:
        spread = f"{s.interval[0]:.1%} - {s.interval[1]:.1%}" if s.interval else ""
        rows.append([s.name, str(s.rows), str(s.right), str(s.clips), f"{s.share:.1%}", spread])
    return grid("By template, the least right first", HEADS, rows)


def _agreements(review: Review) -> Iterator[str]:
    if review.agreements:
        heads = ("reviewers", "rows", "agreed", "Cohen's kappa")
        yield grid("Agreement of reviewers", heads, [_agreement(pair) for pair in review.agreements])
    if review.disagreements:
        lines = [line for row in review.disagreements[:SHOWN] for line in _disagreement(row)]
        yield "\n".join(["Rows on which they do not agree", *lines, *_more(review.disagreements)])


def _agreement(pair: Agreement) -> list[str]:
    kappa = "-" if pair.kappa is None else f"{pair.kappa:.2f}"
    return [" and ".join(pair.reviewers), str(pair.rows), str(pair.agreed), kappa]


def _disagreement(row: Disagreement) -> Iterator[str]:
    yield f"  {row.id}"
    for verdict in row.verdicts:
        yield f"    {verdict.reviewer}: {_judgement(verdict)}"


def _judgement(verdict: Verdict) -> str:
    parts = f", {', '.join(verdict.parts)}" if verdict.parts else ""
    note = f" ({verdict.note})" if verdict.note else ""
    return f"{verdict.verdict}{parts}{note}"


def _changed(review: Review) -> Iterator[str]:
    if review.stale:
        title = f"Stale, changed since they were judged, and not counted: {len(review.stale)} of all rows"
        yield _listed(title, review.stale)
    if review.missing:
        yield _listed(f"Missing from the build: {len(review.missing)}", review.missing)


def _rejected(review: Review) -> Iterator[str]:
    if review.left_out:
        yield f"left out     {len(review.left_out)} rejected, not in this build any more"
    if review.rejected:
        yield _listed(f"Rejected: {len(review.rejected)} of {review.rows} judged rows", review.rejected)
        files = ", ".join(f'"{name}"' for name in review.files)
        yield (
            "To leave them out, name the files in the recipe, relative to it, and build again:\n"
            f"  [review]\n  verdicts = [{files}]"
        )


def _listed(title: str, names: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {name}" for name in names[:SHOWN]), *_more(names)])


def _more(rows: Sequence[object]) -> list[str]:
    return [f"  and {len(rows) - SHOWN} more: --json FILE lists all"] if len(rows) > SHOWN else []
