"""A comparison of two builds as one HTML page that a browser opens from disk; it has no scripts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from paqa.report.diff import Absent, Difference, causes, fields, reasons
from paqa.report.diff_text import number, shown
from paqa.storage.store import write_atomically

MOST = 2000  # rows of a kind on the page; --json has all
STYLE = """
:root { color-scheme: light dark; --line: light-dark(#e1e4ea, #2a303c); --muted: light-dark(#626b7a, #959eaf);
  --card: light-dark(#fff, #181c24); --page: light-dark(#f6f7f9, #101319);
  --ink: light-dark(#191d24, #e9ecf2);
  --accent: light-dark(#2855d0, #88a9ff); --more: light-dark(#14734a, #63d09b);
  --less: light-dark(#b03a1e, #ff9478); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 64px; max-width: 1280px; background: var(--page); color: var(--ink);
  font: 15px/1.5 Inter, system-ui, "Liberation Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 24px; margin: 0 0 12px; } h2 { font-size: 16px; margin: 0 0 10px; }
h3 { font-size: 13px; margin: 14px 0 4px; color: var(--muted); font-weight: 600; }
p { margin: 0 0 8px; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  margin-top: 16px; overflow-x: auto; }
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.counts b { display: block; font-size: 24px; } .counts span, .muted { color: var(--muted); font-size: 13px; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 0 40px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--muted); font-weight: 600; }
td, th { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; }
.rows td:first-child { min-width: 260px; } .rows td:nth-child(2) { min-width: 160px; }
td.n, th.n { text-align: right; white-space: nowrap; }
.more { color: var(--more); } .less { color: var(--less); }
summary { cursor: pointer; margin-top: 10px; color: var(--accent); }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write(difference: Difference, path: Path) -> None:
    """Write the page; ids lead to the reports of the builds where these are in their folders."""
    write_atomically(path, page(difference, path.resolve().parent).encode())


def page(difference: Difference, folder: Path) -> str:
    """The HTML of a page that lies in `folder`."""
    d = difference
    parts = [
        f"<h1>{_name(d.a)} and {_name(d.b)}</h1>",
        f'<p class="muted">A: {escape(d.a)}<br>B: {escape(d.b)}</p>',
        *(f"<p>{escape(note)}</p>" for note in d.notes),
        _counts(d),
        *_builds(d),
        *_absent("Added in B: why A lacks them", d.added, _link(d.b, folder)),
        *_absent("Only in A: why B lacks them", d.removed, _link(d.a, folder)),
        *_changed(d, _link(d.b, folder)),
        _figures(d),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>paqa diff: {_name(d.a)} and {_name(d.b)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _name(folder: str) -> str:
    return escape(Path(folder).resolve().name)


def _link(build: str, folder: Path) -> str | None:
    """What the address of a row in the report of a build begins with, None where there is no report."""
    report = Path(build).resolve() / "report" / "index.html"
    return quote(os.path.relpath(report, folder)) if report.exists() else None


def _counts(d: Difference) -> str:
    counts = (
        (d.same, "rows are the same"),
        (len(d.changed), "changed"),
        (len(d.added), "added in B"),
        (len(d.removed), "only in A"),
    )
    cells = "".join(f"<div><b>{n:,}</b><span>{label}</span></div>" for n, label in counts)
    return f'<section class="counts">{cells}</section>'


def _builds(d: Difference) -> Iterator[str]:
    rows = []
    if d.versions[0] != d.versions[1]:
        rows.append(("paqa", *(", ".join(version) for version in d.versions)))
    rows += [(f"recipe: {name}", shown(a), shown(b)) for name, a, b in d.recipe]
    rows += [(f"engine of {stage}", a, b) for stage, a, b in d.engines]
    if rows:
        yield _section("What differs between the builds", _table(("", "A", "B"), rows))


def _absent(title: str, rows: Sequence[Absent], link: str | None) -> Iterator[str]:
    if rows:
        counted = _table(("rows", "reason"), [(f"{n:,}", name) for name, n in reasons(tuple(rows))])
        listed = [(row.id, row.reason, row.detail) for row in rows]
        yield _section(
            f"{title} ({len(rows):,})", counted + _listed(("id", "reason", "detail"), listed, link)
        )


def _changed(d: Difference, link: str | None) -> Iterator[str]:
    if d.changed:
        tables = [
            _table(("rows", "column"), [(f"{n:,}", name) for name, n in fields(d.changed)]),
            _table(("rows", "may be due to"), [(f"{n:,}", name) for name, n in causes(d.changed)]),
        ]
        sides = "".join(f"<div>{table}</div>" for table in tables)
        listed = [(row.id, ", ".join(row.fields), "; ".join(row.causes)) for row in d.changed]
        body = f'<div class="side">{sides}</div>' + _listed(("id", "columns", "may be due to"), listed, link)
        yield _section(f"Changed ({len(d.changed):,})", body)


def _listed(heads: Sequence[str], rows: Sequence[tuple[str, ...]], link: str | None) -> str:
    """Rows that are opened by hand; the first column is an id."""
    more = f'<p class="muted">{len(rows) - MOST:,} more: --json FILE has all.</p>' if len(rows) > MOST else ""
    table = _table(heads, rows[:MOST], link)
    return f'<details class="rows"><summary>Rows</summary>{table}{more}</details>'


def _figures(d: Difference) -> str:
    parts = []
    for heading, rows in d.figures.items():
        lines = []
        for label, a, b in rows:
            change = None if a is None or b is None else round(b - a, 4)
            kind = "n" if not change else "n more" if change > 0 else "n less"
            cells = (f'<td class="n">{number(a)}</td>', f'<td class="n">{number(b)}</td>')
            shown_change = "" if change is None else number(change, "+")
            lines.append(
                f'<tr><td>{escape(label)}</td>{"".join(cells)}<td class="{kind}">{shown_change}</td></tr>'
            )
        if lines:
            head = '<tr><th></th><th class="n">A</th><th class="n">B</th><th class="n">B - A</th></tr>'
            parts.append(f"<div><h3>{heading}</h3><table>{head}{''.join(lines)}</table></div>")
    return _section("Figures", f'<div class="side">{"".join(parts)}</div>')


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]], link: str | None = None) -> str:
    lines = ["".join(f"<th>{escape(head)}</th>" for head in heads)]
    for first, *rest in rows:
        text = escape(first)
        if link:
            text = f'<a href="{escape(link)}#/item/{quote(first, safe="")}">{text}</a>'
        lines.append("".join(f"<td>{cell}</td>" for cell in (text, *map(escape, rest))))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
