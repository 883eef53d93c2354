"""Rewards of a completion against the row it answers: plain functions for any trainer.

The completion is only ever compared with the row (its choices and its scene), never with itself, so that a consistent
hallucination earns nothing. What cannot be parsed is wrong; a letter is never guessed from prose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from paqa import rationale
from paqa.questions.prose import normal
from paqa.types import Response, Scene, Trace

_BLOCK = re.compile(r"<(RESPONSE|FINAL_ANSWER)>(.*?)</\1>", re.DOTALL)
_ANSWER_TAG = re.compile(r"</?(?:RESPONSE|FINAL_ANSWER)>")


@dataclass(frozen=True)
class RewardWeights:
    """The share of each term; an honest rationale with the right answer earns their sum."""

    accuracy: float = 1.0
    format: float = 0.2
    perception: float = 0.3


def reward(
    completion: str,
    choices: Sequence[str],
    answer_index: int | None,
    scene: Scene,
    weights: RewardWeights = RewardWeights(),
    answer: str = "",
) -> float:
    """The weighted sum of accuracy, format and perception; 0 for anything that goes on after its last answer.

    An open-ended row has no choices and no `answer_index`; its `answer` counts.
    """
    if _goes_on(completion):
        return 0.0
    return (
        weights.accuracy * accuracy(completion, choices, answer_index, answer)
        + weights.format * format_score(completion, open_ended=answer_index is None)
        + weights.perception * perception(completion, scene, open_ended=answer_index is None)
    )


def accuracy(completion: str, choices: Sequence[str], answer_index: int | None, answer: str = "") -> float:
    """1.0 if the completion gives exactly the right choice, letter and text, as its one answer; else 0.0.

    An open-ended answer (`answer_index` None) must be `answer` but for case, punctuation and spacing. FINAL_ANSWER
    counts where there is one. The rest of the completion may be malformed: `format_score` sees to that.
    """
    given = answer_of(completion, open_ended=answer_index is None)
    if given is None or given.index != answer_index:
        return 0.0
    if answer_index is None:
        return float(normal(answer) != "" and normal(given.text) == normal(answer))
    if not 0 <= answer_index < len(choices):
        return 0.0
    return float(given.text == choices[answer_index])


def answer_of(completion: str, open_ended: bool = False) -> Response | None:
    """The one answer of a completion: a single RESPONSE, or the single FINAL_ANSWER after it; None where unclear."""
    tags = _ANSWER_TAG.findall(completion)
    if len(tags) not in (2, 4):  # also keeps the search below, for each opening tag to the end, from going on and on
        return None
    blocks = _BLOCK.findall(completion)
    names = [name for name, _ in blocks]
    if names not in (["RESPONSE"], ["RESPONSE", "FINAL_ANSWER"]) or len(tags) != 2 * len(names):
        return None
    try:
        return rationale.parse_response(blocks[-1][1], open_ended)
    except rationale.GrammarError:
        return None


def format_score(completion: str, open_ended: bool = False) -> float:
    """1.0 for a rationale that parses; else up to 0.5, by the share of the tags that stand once and in order.

    Answers have a letter exactly where the question has choices.
    """
    if _trace(completion, open_ended):
        return 1.0
    places = [completion.find(tag) if completion.count(tag) == 1 else -1 for tag in rationale.SKELETON]
    kept, last = 0, -1
    for place in places:
        if place > last:
            kept, last = kept + 1, place
    return 0.5 * kept / len(places) if _has_content(completion) else 0.0


def perception(completion: str, scene: Scene, open_ended: bool = False) -> float:
    """How much of the scene the completion perceived: the mean of sounds, voices and words; 0.0 if it does not parse.

    Sounds: F1 of the sets of labels. Voices: 1.0 if the number of speakers is right. Words: 1 - min(1, WER).
    """
    trace = _trace(completion, open_ended)
    if trace is None:
        return 0.0
    sounds = f1({normal(s.label) for s in trace.env}, {normal(e.label) for e in scene.events})
    voices = float(len({q.speaker for q in trace.speakers}) == scene.speakers)
    words = 1.0 - min(1.0, word_error_rate(scene.transcript, trace.asr))
    return (sounds + voices + words) / 3


def f1(found: set[str], expected: set[str]) -> float:
    """The harmonic mean of precision and recall; 1.0 where both are empty."""
    return 2 * len(found & expected) / (len(found) + len(expected)) if found or expected else 1.0


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word edits per word of the reference, without case and punctuation; an empty reference counts as one word."""
    expected, found = normal(reference).split(), normal(hypothesis).split()
    return Levenshtein.distance(expected, found) / max(1, len(expected))


def _trace(completion: str, open_ended: bool) -> Trace | None:
    try:
        return rationale.parse(completion, open_ended)
    except rationale.GrammarError:
        return None


def _goes_on(completion: str) -> bool:
    """Whether anything follows the answer: text after FINAL_ANSWER, or after RESPONSE where no reflection follows."""
    end = max(completion.rfind("</RESPONSE>") + 11, completion.rfind("</FINAL_ANSWER>") + 15)
    closed = "</RESPONSE>" in completion or "</FINAL_ANSWER>" in completion
    return closed and bool(completion[end:].strip())


def _has_content(completion: str) -> bool:
    """Whether there is more than bare tags: an empty skeleton earns no format."""
    return bool(normal(re.sub(r"</?[A-Z_]+>", " ", completion)))
