"""Does a reflected row hang together? Its first argument from its first caption, its second from the
corrected one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from paqa import audioset
from paqa.config.recipe import QuestionsConfig
from paqa.questions.english import spoken
from paqa.rationale import grammar
from paqa.rationale.answerer import answer_from_scene
from paqa.rationale.phrases import GUESSES
from paqa.rationale.trace import Reading, Trace
from paqa.spans import interval
from paqa.text import normal
from paqa.types import Event, Item, Question, Scene, Turn

REASONING_ALONE = ("option_mismatch", "misread_question", "left_out")  # mistakes after a right caption
UNSTATED = ("misjudged_tone", "misunderstood")  # mistakes about what no line of a caption states
GUESS = re.compile("|".join(re.escape(frame).replace(r"\{\}", ".*") for frame in GUESSES))
SPAN = re.compile(r"(\d+\.\d)-(\d+\.\d) s")
TIME = re.compile(r"\d+\.\d")
QUOTED = re.compile(r'"([^"]*)"')


def contradictions(item: Item, config: QuestionsConfig) -> list[str]:
    """What of a reflected row does not follow from what it perceived."""
    return list(_contradictions(item, grammar.parse(item.rationale), config))


def _contradictions(item: Item, trace: Trace, config: QuestionsConfig) -> Iterator[str]:
    last = Reading(trace.env, trace.speakers, trace.asr)
    if last != grammar.reading_of(item.scene):
        yield "the corrected reading is not the scene"
    cause = item.reflection.partition(":")[2]
    if (trace.first == last) != (cause in REASONING_ALONE + UNSTATED):
        yield f"the caption is {'right' if trace.first == last else 'wrong'} after {cause}"
    first_scene = scene_of(trace.first, item.scene)
    yield from _first_argument(item, trace, first_scene, cause, config)
    yield from _named_but_missing(trace, item, first_scene)
    yield from _unsupported(trace.reasoning, item, first_scene, "REASONING")
    yield from _unsupported(trace.summary, item, first_scene, "SUMMARY")
    yield from _unsupported(trace.description, item, first_scene, "DESCRIPTION")
    argument = trace.reflect.split("\n")[-1]
    if trace.first != last:
        yield from _unsupported(argument, item, item.scene, "REFLECT")
    answer = answer_from_scene(item.scene, _question(item), config, item.seed)
    if answer and answer.index != trace.final.index:
        yield "FINAL_ANSWER does not follow from the corrected caption"


def _named_but_missing(trace: Trace, item: Item, scene: Scene) -> Iterator[str]:
    """A sound that the caption lists, and that the argument has not perceived."""
    missing = re.search(r"did not stand out|cannot place|nothing of the kind", trace.reasoning)
    for event in scene.events if missing else ():
        if f" {normal(spoken(event.label))} " in f" {normal(item.question)} ":
            yield f"REASONING says {missing[0]!r} of {event.label}, which its caption lists"


def _first_argument(
    item: Item, trace: Trace, first_scene: Scene, cause: str, config: QuestionsConfig
) -> Iterator[str]:
    if cause in REASONING_ALONE + UNSTATED:
        return
    answer = answer_from_scene(first_scene, _question(item), config, item.seed)
    guessed = GUESS.search(trace.reasoning)
    if answer is None and not guessed:
        yield "RESPONSE is argued for, and nothing in the caption answers the question"
    elif answer and (guessed or answer.index != trace.response.index):
        yield f"RESPONSE is {trace.response.text!r}, by the caption {item.choices[answer.index]!r}"
    elif answer and not set(TIME.findall(answer.reasoning)) <= set(TIME.findall(trace.reasoning)):
        yield f"REASONING is not the argument from the caption, {answer.reasoning!r}"


def scene_of(reading: Reading, scene: Scene) -> Scene:
    """The scene that a reading states; what no line states is as in the right scene."""
    labels = {e.label: e.mid for e in scene.events}
    events, turns = [], []
    for sound in reading.env:
        mid = labels.get(sound.label) or audioset.mid(sound.label)
        same = (e for e in scene.events if (*interval(e), e.label) == (*interval(sound), sound.label))
        events.append(next(same, Event(*interval(sound), sound.label, mid)))
    for quote in reading.speakers:
        same = [t for t in scene.turns if interval(t) == interval(quote)]
        same += [t for t in scene.turns if t.text == quote.text]
        turn = same[0] if same else Turn(*interval(quote), quote.speaker)
        span = {"start_ms": quote.start_ms, "end_ms": quote.end_ms}
        turns.append(replace(turn, speaker=quote.speaker, text=quote.text, **span))
    return replace(scene, events=tuple(events), turns=tuple(turns))


def _question(item: Item) -> Question:
    return Question(
        item.id, item.clip_id, item.task, item.template, item.question, item.choices, item.answer_index,
        item.evidence, "", "",
    )  # fmt: skip


def _unsupported(prose: str, item: Item, scene: Scene, tag: str) -> Iterator[str]:
    """Spans and quotations that a scene does not have."""
    rows = (*scene.turns, *scene.events, *(d for d in scene.disagreements))
    bounds = {f"{ms / 1000:.1f}" for row in rows for ms in interval(row)}
    for start, end in SPAN.findall(prose):
        if not {start, end} <= bounds:
            yield f"{tag} names {start}-{end} s, which is no span of its caption"
    texts = f" {normal(' '.join([scene.transcript, item.question, *item.choices]))} "
    for quote in QUOTED.findall(prose):
        if quote.endswith("?") and tag == "REASONING" and "As I read the question" in prose:
            continue  # the question that is answered by mistake
        if normal(quote) and f" {normal(quote.removesuffix('...'))} " not in texts:
            yield f"{tag} quotes {quote!r}, which is not in its caption"
