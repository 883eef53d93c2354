"""The gates: each question and its rationale is kept, or quarantined with a reason."""

from __future__ import annotations

import difflib
import re
from collections import ChainMap, Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations

from paqa import audioset
from paqa.config.recipe import GatesConfig
from paqa.curation import text_filters
from paqa.errors import Rejected
from paqa.questions import text_matching
from paqa.questions.context import alike
from paqa.questions.english import spoken, upper
from paqa.questions.sound_names import UNASKED
from paqa.rationale import grammar, reflection
from paqa.rationale.trace import Response, Trace
from paqa.text import UNCLEAR_WORD, normal
from paqa.types import Event, Question, Scene, Turn

CANDIDATES = 3  # snippets compared in full, after a pre-selection by shared words
_QUOTED = re.compile(r'"([^"]+)"')
SLACK = (0.85, 1.0, 1.15)  # windows are this many times as long as the quote


def judge(
    question: Question,
    text: str,
    scene: Scene,
    snippets: Sequence[str],
    config: GatesConfig,
    earlier: Sequence[Question] = (),
    first_scene: Scene | None = None,
) -> Rejected | None:
    """The first reason, in a fixed order, why a question with the rationale `text` cannot be kept, or None.

    `snippets` are the texts of the predicted turns: what the rationale quotes must be found in them.
    `earlier` are the questions kept for the same clip. `first_scene` is what the caption of a reflected row
    has to state, None where it states the scene.
    """
    trace = _parsed(text, grammar.by_letter(question.choices, text))
    scenes = [scene, first_scene] if first_scene else [scene]
    details: dict[str, Callable[[], str | None]] = {
        "empty": lambda: _empty(question, text),
        "low_score": lambda: _low_score(question, scene, config),
        "quiet_evidence": lambda: _quiet(question, scene, config),
        "low_margin": lambda: _low_margin(question, config),
        "duplicate_question": lambda: _duplicate(question, earlier, config),
        "duplicate_choices": lambda: _duplicate_choices(question) if config.duplicate_choices else None,
        "ambiguous_choices": lambda: (
            _ambiguous_choices(question, scene) if config.ambiguous_choices else None
        ),
        "answer_not_unique": lambda: _not_unique(question, scene) if config.unique_answer else None,
        "profanity": lambda: _profane(question, scenes) if config.profanity else None,
        "personal_data": lambda: _personal(question, scenes) if config.personal_data else None,
        "rationale_round_trip": lambda: _round_trip(trace, scene, first_scene),
        "answer_mismatch": lambda: _answer_mismatch(trace, question),
        "reflection": lambda: _reflection(trace, question, scene) if config.reflection else None,
        "quote_presence": lambda: _quote_presence(trace, snippets, config),
    }
    for reason, check in details.items():
        detail = check()
        if detail:
            return Rejected(reason, f"{question.id}: {detail}")
    return None


def uncertain(question: Question, confidence: float | None, config: GatesConfig) -> Rejected | None:
    """Why a row that is right with this probability is not kept, or None; also where nobody knows it."""
    if confidence is None or confidence >= config.min_confidence:
        return None
    limit = f"below gates.min_confidence {config.min_confidence:g}"
    return Rejected("uncertain", f"{question.id}: the row is right with probability {confidence:g}, {limit}")


def quote_presence(quotes: Sequence[str], snippets: Sequence[str]) -> float:
    """The Quote-Presence Test of the PAQA paper: the mean best match of each quote among snippets.

    A match is difflib's SequenceMatcher ratio of the texts without case, punctuation and extra space.
    Snippets are the turns as given and, so that another segmentation does no harm, windows of the whole
    transcript about as long as the quote; of each only the three that share most words with it are compared
    in full. 1.0 where nothing is quoted. What stands around `[unclear]` counts as quotes of their own.
    """
    return _presence(tuple(part for quote in quotes for part in quote.split(UNCLEAR_WORD)), tuple(snippets))


@lru_cache(maxsize=64)  # all questions about a clip quote the same
def _presence(quotes: tuple[str, ...], snippets: tuple[str, ...]) -> float:
    quoted = [words for q in quotes if (words := normal(q).split())]
    turns = [words for s in snippets if (words := normal(s).split())]
    transcript = [w for words in turns for w in words]
    return sum(_best_match(q, turns, transcript) for q in quoted) / len(quoted) if quoted else 1.0


def _best_match(quote: list[str], turns: Sequence[list[str]], transcript: list[str]) -> float:
    if f" {' '.join(quote)} " in f" {' '.join(transcript)} ":
        return 1.0
    sizes = {max(1, round(len(quote) * slack)) for slack in SLACK}
    windows = [transcript[i : i + size] for size in sizes for i in range(max(1, len(transcript) - size + 1))]
    near = [*_nearest(quote, turns), *_nearest(quote, windows)]
    target = " ".join(quote)
    return max(
        (difflib.SequenceMatcher(None, " ".join(n), target, autojunk=False).ratio() for n in near),
        default=0.0,
    )


def _nearest(quote: list[str], snippets: Sequence[list[str]]) -> list[list[str]]:
    """The snippets that share most words with a quote, relative to their lengths."""
    counts = Counter(quote)
    shared = [2 * sum((counts & Counter(s)).values()) / (len(quote) + len(s)) for s in snippets]
    return [snippets[i] for i in sorted(range(len(snippets)), key=lambda i: -shared[i])[:CANDIDATES]]


def _empty(question: Question, text: str) -> str | None:
    blank = [name for name, value in (("question", question.text), ("rationale", text)) if not value.strip()]
    blank += [f"choice {grammar.letter(i)}" for i, c in enumerate(question.choices) if not normal(c)]
    if question.answer_index is None:
        blank += [] if normal(question.answer) else ["answer"]
        blank += ["set of choices without an answer_index"] if question.choices else []
    elif len(question.choices) < 2 or not 0 <= question.answer_index < len(question.choices):
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
    """A choice that contains the answer or is part of it, or two sounds that may be mistaken."""
    sounds = _sounds(scene)
    for wrong in (c for i, c in enumerate(question.choices) if i != question.answer_index):
        if question.answer.startswith('"') and _contains(question.answer, wrong):
            return f"{wrong} and {question.answer} contain one another"
    for a, b in combinations((c for c in question.choices if c in sounds), 2):
        if alike(*sounds[a], *sounds[b]):
            return f"{a!r} may be taken for {b!r}"
    return None


def _not_unique(question: Question, scene: Scene) -> str | None:
    """What a question refers to is there twice, or a wrong choice holds as well."""
    if question.template == "background_sound":
        sounds = _sounds(scene)
        for wrong in (c for c in question.choices if c in sounds and c != question.answer):
            if any(alike(*sounds[wrong], event.mid, event.label) for event in scene.events):
                return f"{wrong!r} may be heard as well"
    if question.template == "given":
        return None
    for quote in filter(None, map(normal, _QUOTED.findall(question.text))):
        turns = [t for t in scene.turns if f" {quote} " in f" {normal(t.text)} "]
        if len(turns) > 1:
            return f"the question quotes {quote!r}, which {len(turns)} turns contain"
    asked = _QUOTED.sub("", question.text)
    for event in (scene.events[r.index] for r in question.evidence if r.kind == "event"):
        if re.search(rf"\b{re.escape(spoken(event.label))}\b", asked):
            for rival in scene.events:
                if (
                    rival.mid != event.mid
                    and rival.label not in UNASKED
                    and alike(event.mid, event.label, rival.mid, rival.label)
                ):
                    names = f"{spoken(event.label)}, for which {spoken(rival.label)}"
                    return f"the question names {names} may be taken"
    return None


def _low_score(question: Question, scene: Scene, config: GatesConfig) -> str | None:
    scores = [
        (scene.events[e.index].score, scene.events[e.index].label)
        for e in question.evidence
        if e.kind == "event"
    ]
    score, label = min(scores, default=(1.0, ""))
    if score < config.min_score:
        return f"{label} is evidence with the score {score:.2f}, below gates.min_score {config.min_score:.2f}"
    return None


def _quiet(question: Question, scene: Scene, config: GatesConfig) -> str | None:
    """Evidence far quieter than the loudest voice or sound of the scene; unmeasured levels pass."""
    rows: dict[str, Sequence[Turn | Event]] = {"turn": scene.turns, "event": scene.events}
    everything: list[Turn | Event] = [*scene.turns, *scene.events]
    levels = [sound.level_db for sound in everything if sound.level_db is not None]
    for reference in question.evidence if config.max_below_db else ():
        level = rows[reference.kind][reference.index].level_db if reference.kind in rows else None
        if level is not None and level < max(levels) - config.max_below_db:
            below = f"{max(levels) - level:.0f} dB below the loudest voice or sound"
            limit = f"gates.max_below_db is {config.max_below_db:g}"
            return f"{reference.kind} {reference.index} is {below}, {limit}"
    return None


def _duplicate(question: Question, earlier: Sequence[Question], config: GatesConfig) -> str | None:
    """An earlier question of the clip with the same text, or with nearly its words and the same answer."""
    asked_words = _asked_words(question.text)
    for kept in earlier if config.near_duplicate else ():
        if normal(kept.text) == normal(question.text):
            return f"asks the same as {kept.id}"
        if normal(kept.answer) == normal(question.answer):
            kept_words = _asked_words(kept.text)
            shared = len(asked_words & kept_words) / max(1, len(asked_words | kept_words))
            if shared >= config.near_duplicate:
                return f"has {shared:.0%} of its words in common with {kept.id}, and the same answer"
    return None


@lru_cache(maxsize=4096)
def _asked_words(text: str) -> frozenset[str]:
    """The stems of a question's words that carry meaning; how speakers are numbered is left out."""
    return text_matching.words(re.sub(r"\([^)]*\)", "", text))


def _profane(question: Question, scenes: Sequence[Scene]) -> str | None:
    word = next(filter(None, map(text_filters.profanity, _texts(question, scenes))), None)
    return f"{word!r} is in paqa/data/profanity.txt; gates.profanity is on" if word else None


def _personal(question: Question, scenes: Sequence[Scene]) -> str | None:
    text = next(filter(None, map(text_filters.personal_data, _texts(question, scenes))), None)
    return f"found the {text}; gates.personal_data is on" if text else None


def _texts(question: Question, scenes: Sequence[Scene]) -> Iterator[str]:
    """The texts that the word filters read: question, choices, answer, transcripts and translations."""
    yield from (question.text, *question.choices, question.answer)
    for scene in scenes:
        yield from (text for t in scene.turns for text in (t.text, t.translation) if text)


def _contains(a: str, b: str) -> bool:
    a, b = f" {normal(a)} ", f" {normal(b)} "
    return a in b or b in a


def _sounds(scene: Scene) -> Mapping[str, tuple[str, str]]:
    """Sounds by the way a choice writes them: those of the scene and AudioSet's."""
    return ChainMap({upper(spoken(e.label)): (e.mid, e.label) for e in scene.events}, _classes())


@cache
def _classes() -> dict[str, tuple[str, str]]:
    return {upper(spoken(audioset.label(mid))): (mid, audioset.label(mid)) for mid in audioset.classes()}


def _parsed(text: str, letters: bool) -> Trace | str:
    """The trace, or what is wrong with it."""
    try:
        return grammar.parse(text, letters)
    except grammar.GrammarError as error:
        return str(error)


def _round_trip(trace: Trace | str, scene: Scene, first_scene: Scene | None) -> str | None:
    """A corrected reading that is not the scene, or a caption that is not what was perceived at first."""
    if isinstance(trace, str):
        return f"the rationale cannot be read: {trace}"
    right = grammar.perceive(scene)
    pairs = zip(("ENV", "ENV (unclear)", "SPEAKER", "ASR"), grammar.perceived(trace), right, strict=True)
    if differing := [name for name, stated, expected in pairs if stated != expected]:
        return f"the rationale does not say what the scene holds: {', '.join(differing)}"
    if trace.first != grammar.reading_of(first_scene or scene):
        return "the caption does not say what was perceived at first"
    if first_scene and trace.first == grammar.reading_of(scene):
        return "the caption states the scene, expected the mistake that REFLECT corrects"
    return None


def _answer_mismatch(trace: Trace | str, question: Question) -> str | None:
    if isinstance(trace, str):
        return trace
    answer = trace.final or trace.response
    right = Response(None if answer.index is None else question.answer_index, question.answer)
    if answer == right:
        return None
    stated, expected = (grammar.response(x.index, x.text) for x in (answer, right))
    return f"the rationale answers {stated!r}, expected {expected!r}"


def _reflection(trace: Trace | str, question: Question, scene: Scene) -> str | None:
    """A first response that is no choice or not wrong, or a REFLECT that cites nothing of the scene."""
    if isinstance(trace, str) or trace.reflect is None:
        return None
    first = trace.response
    response = grammar.response(first.index, first.text)
    if first.text not in question.choices or first.index not in (None, question.choices.index(first.text)):
        return f"the first response {response!r} is none of the choices"
    if first.text == question.answer:
        return f"the first response {response!r} is right already, expected a wrong one before REFLECT"
    if not reflection.cites(trace.reflect, scene):
        return "REFLECT cites no span of a turn, word or sound of the scene"
    return None


def _quote_presence(trace: Trace | str, snippets: Sequence[str], config: GatesConfig) -> str | None:
    presence = quote_presence([] if isinstance(trace, str) else [q.text for q in trace.speakers], snippets)
    if presence < config.quote_presence:
        return f"quote presence {presence:.2f} is below gates.quote_presence {config.quote_presence:.2f}"
    return None
