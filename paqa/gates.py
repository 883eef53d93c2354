"""Keep or quarantine: what keeps a question and its rationale out of the dataset, always with a reason."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence

from paqa import ontology, rationale
from paqa.errors import Rejected
from paqa.questions.context import alike
from paqa.questions.prose import normal, spoken, upper
from paqa.recipe import GatesConfig
from paqa.types import Question, Scene, Trace

CANDIDATES = 3  # snippets compared in full, after a pre-selection by shared words
SLACK = (0.85, 1.0, 1.15)  # windows are this many times as long as the quote


def judge(question: Question, text: str, scene: Scene, snippets: Sequence[str], config: GatesConfig) -> Rejected | None:
    """The first reason, in a fixed order, why a question with the rationale `text` cannot be kept; None if it can.

    `snippets` are the texts of the turns as they were heard: what the rationale quotes must be found in them.
    """
    trace = _parsed(text)
    details: dict[str, Callable[[], str | None]] = {
        "empty": lambda: _empty(question, text),
        "low_margin": lambda: _low_margin(question, config),
        "duplicate_choices": lambda: _duplicate_choices(question),
        "ambiguous_choices": lambda: _ambiguous_choices(question, scene),
        "rationale_round_trip": lambda: _round_trip(trace, scene),
        "answer_mismatch": lambda: _answer_mismatch(trace, question),
        "quote_presence": lambda: _quote_presence(trace, snippets, config),
    }
    for reason, check in details.items():
        detail = check()
        if detail:
            return Rejected(reason, f"{question.id}: {detail}")
    return None


def quote_presence(quotes: Sequence[str], snippets: Sequence[str]) -> float:
    """The Quote-Presence Test of the PAQA paper: the mean over quotes of the best match among transcript snippets.

    A match is difflib's SequenceMatcher ratio of the texts without case, punctuation and extra space. Snippets are the
    turns as given and, so that another segmentation does no harm, windows of the whole transcript about as long as
    the quote; of each only the three that share most words with it are compared in full. 1.0 where nothing is quoted.
    """
    said = [words for q in quotes if (words := normal(q).split())]
    turns = [words for s in snippets if (words := normal(s).split())]
    transcript = [w for words in turns for w in words]
    return sum(_best_match(q, turns, transcript) for q in said) / len(said) if said else 1.0


def _best_match(quote: list[str], turns: Sequence[list[str]], transcript: list[str]) -> float:
    if f" {' '.join(quote)} " in f" {' '.join(transcript)} ":
        return 1.0
    sizes = {max(1, round(len(quote) * slack)) for slack in SLACK}
    windows = [transcript[i : i + size] for size in sizes for i in range(max(1, len(transcript) - size + 1))]
    near = [*_nearest(quote, turns), *_nearest(quote, windows)]
    target = " ".join(quote)
    return max((difflib.SequenceMatcher(None, " ".join(n), target, autojunk=False).ratio() for n in near), default=0.0)


def _nearest(quote: list[str], snippets: Sequence[list[str]]) -> list[list[str]]:
    """The snippets that share most words with a quote, relative to their lengths."""
    wanted = Counter(quote)
    shared = [2 * sum((wanted & Counter(s)).values()) / (len(quote) + len(s)) for s in snippets]
    return [snippets[i] for i in sorted(range(len(snippets)), key=lambda i: -shared[i])[:CANDIDATES]]


def _empty(question: Question, text: str) -> str | None:
    blank = [name for name, value in (("question", question.text), ("rationale", text)) if not value.strip()]
    blank += [f"choice {rationale.letter(i)}" for i, c in enumerate(question.choices) if not normal(c)]
    if len(question.choices) < 2 or not 0 <= question.answer_index < len(question.choices):
        blank.append("set of choices with its answer")
    return f"empty {', '.join(blank)}" if blank else None


def _low_margin(question: Question, config: GatesConfig) -> str | None:
    if question.margin < config.min_margin:
        return f"margin {question.margin:.2f} is below gates.min_margin {config.min_margin:.2f}"
    return None


def _duplicate_choices(question: Question) -> str | None:
    repeated = [c for c, n in Counter(map(normal, question.choices)).items() if n > 1]
    return f"choices that differ in nothing but form: {', '.join(repeated)}" if repeated else None


def _ambiguous_choices(question: Question, scene: Scene) -> str | None:
    """A wrong choice that contains the answer or is contained in it, or that names a sound too like the answer's."""
    known = _sounds(scene)
    answer = known.get(question.answer)
    for wrong in (c for i, c in enumerate(question.choices) if i != question.answer_index):
        if question.answer.startswith('"') and _contains(question.answer, wrong):
            return f"{wrong} and {question.answer} contain one another"
        other = known.get(wrong)
        if answer and other and alike(*answer, *other):
            return f"{wrong!r} may be taken for {question.answer!r}"
        if (
            question.template == "background_sound"
            and other
            and any(alike(*other, e.mid, e.label) for e in scene.events)
        ):
            return f"{wrong!r} may be heard as well"
    return None


def _contains(a: str, b: str) -> bool:
    a, b = f" {normal(a)} ", f" {normal(b)} "
    return a in b or b in a


def _sounds(scene: Scene) -> dict[str, tuple[str, str]]:
    """Sounds by the way a choice writes them: those of the scene and AudioSet's."""
    labels = [(mid, ontology.label(mid)) for mid in ontology.classes()]
    return {upper(spoken(label)): (mid, label) for mid, label in [*labels, *((e.mid, e.label) for e in scene.events)]}


def _parsed(text: str) -> Trace | str:
    """The trace, or what is wrong with it."""
    try:
        return rationale.parse(text)
    except rationale.GrammarError as error:
        return str(error)


def _round_trip(trace: Trace | str, scene: Scene) -> str | None:
    if isinstance(trace, str):
        return f"the rationale cannot be read: {trace}"
    pairs = zip(
        ("ENV", "SPEAKER", "ASR"), (trace.env, trace.speakers, trace.asr), rationale.perceive(scene), strict=True
    )
    differing = [name for name, found, expected in pairs if found != expected]
    return f"the rationale does not say what the scene holds: {', '.join(differing)}" if differing else None


def _answer_mismatch(trace: Trace | str, question: Question) -> str | None:
    if isinstance(trace, str):
        return trace
    given = trace.final or trace.response
    if (given.index, given.text) == (question.answer_index, question.answer):
        return None
    expected = f"{rationale.letter(question.answer_index)} {question.answer}"
    return f"the rationale answers {rationale.letter(given.index)} {given.text!r}, expected {expected!r}"


def _quote_presence(trace: Trace | str, snippets: Sequence[str], config: GatesConfig) -> str | None:
    found = quote_presence([] if isinstance(trace, str) else [q.text for q in trace.speakers], snippets)
    if found < config.quote_presence:
        return f"quote presence {found:.2f} is below gates.quote_presence {config.quote_presence:.2f}"
    return None
