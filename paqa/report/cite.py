"""The rationale as parts that a page can show: running text, and the spans of time that it cites.

The grammar is `paqa.rationale.grammar`'s; here only times inside prose are found, as `paqa.questions.english`
writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from paqa.rationale.grammar import LEAVES, UNCLEAR_SOUND, GrammarError, trace_of
from paqa.rationale.trace import Trace
from paqa.spans import Interval, interval
from paqa.types import Evidence, Item, Scene, Spanned

NEAR_MS = 60  # prose is rounded to a tenth of a second: a boundary of the scene this near is what it means
MOMENT_MS = 1500  # what is played where prose names a moment at which nothing begins or ends
_CITED = re.compile(
    r"(?P<a>\d+\.\d+)-(?P<b>\d+\.\d+) s"
    r"|[Ff]rom (?P<c>\d+\.\d+) s to (?P<d>\d+\.\d+) s"
    r"|[Bb]etween (?P<e>\d+\.\d+)(?: s)? and (?P<f>\d+\.\d+) s"
    r"|(?:[Aa]t|[Uu]ntil) (?P<g>\d+\.\d+) s"
)
Part = str | tuple[str, int, int]  # text, or text that cites a span in ms


def prose(text: str, scene: Scene) -> list[Part]:
    """Text cut at every time it cites, e.g. `["heard at ", ("1.2-3.4 s", 1210, 3390), "."]`."""
    parts: list[Part] = []
    end = 0
    for match in _CITED.finditer(text):
        span = _meant([round(float(t) * 1000) for t in match.groups() if t], match[0], scene)
        if span[0] >= min(span[1], scene.duration_ms):
            continue  # no time of this clip
        parts += [text[end : match.start()], (match[0], *span)]
        end = match.end()
    return [part for part in [*parts, text[end:]] if part]


def _meant(times: Sequence[int], text: str, scene: Scene) -> Interval:
    """The span behind rounded times: that of a turn, event or word where one fits, else the times."""
    marks: tuple[Spanned, ...] = (*scene.turns, *scene.events, *scene.words)
    intervals = [interval(mark) for mark in marks]
    if len(times) == 2:
        starts, ends = [span[0] for span in intervals], [span[1] for span in intervals]
        return _nearest(times[0], starts), _nearest(times[1], ends)
    edge = 1 if text[:1] in "Uu" else 0
    fits = [span for span in intervals if abs(span[edge] - times[0]) <= NEAR_MS]
    if fits:
        return fits[0]  # turns before events before words
    return (max(0, times[0] - MOMENT_MS), times[0]) if edge else (times[0], times[0] + MOMENT_MS)


def _nearest(time: int, edges: Sequence[int]) -> int:
    near = [edge for edge in edges if abs(edge - time) <= NEAR_MS]
    return min(near, key=lambda edge: abs(edge - time), default=time)


def sections(item: Item) -> list[dict[str, Any]]:
    """The rationale's tags in order: `{"tag", "parts"}` for prose, `{"tag", "lines"}` for sounds and turns.

    The caption is as it stands, before REFLECT corrects it; sections in `Item.mistaken` have a flag of that
    name. A rationale without our grammar (not made by paqa) is one section "RATIONALE" of prose.
    """
    try:
        trace = trace_of(item)
    except GrammarError:
        return [{"tag": "RATIONALE", "parts": prose(item.rationale, item.scene)}]
    return [
        {**section, "mistaken": True} if section["tag"] in item.mistaken else section
        for section in _sections(trace, item.scene)
    ]


def _sections(trace: Trace, scene: Scene) -> Iterator[dict[str, Any]]:
    texts = {
        "PLANNING": trace.planning,
        "DESCRIPTION": trace.description,
        "REASONING": trace.reasoning,
        "SUMMARY": trace.summary,
        "REFLECT": trace.reflect,
    }
    listed = {
        "ENV": [
            *({"label": s.label, "span": [s.start_ms, s.end_ms]} for s in trace.first.env),
            *({"label": UNCLEAR_SOUND, "span": [s.start_ms, s.end_ms]} for s in trace.unclear),
        ],
        "SPEAKER": [
            {"speaker": q.speaker, "text": q.text, "span": [q.start_ms, q.end_ms]}
            for q in trace.first.speakers
        ],
    }
    for tag in LEAVES:
        if text := texts.get(tag):
            yield {"tag": tag, "parts": prose(text, scene)}
        elif tag in listed:
            yield {"tag": tag, "lines": listed[tag]}
        elif tag == "ASR":
            yield {"tag": tag, "parts": [trace.first.asr] if trace.first.asr else []}
        elif answer := {"RESPONSE": trace.response, "FINAL_ANSWER": trace.final}.get(tag):
            yield {"tag": tag, "index": answer.index, "text": answer.text}


def evidence(item: Item) -> list[list[Any]]:
    """The evidence of the question as `[kind, index, start_ms, end_ms]`, without references into nowhere."""
    rows = {"turn": item.scene.turns, "word": item.scene.words, "event": item.scene.events}
    return [_cited(e, rows[e.kind][e.index]) for e in item.evidence if e.index < len(rows[e.kind])]


def _cited(reference: Evidence, span: Any) -> list[Any]:
    return [reference.kind, reference.index, span.start_ms, span.end_ms]
