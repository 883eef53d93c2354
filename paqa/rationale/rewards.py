"""Rewards of a completion against the row it answers: plain functions for any trainer.

The completion is only ever compared with the row (its choices and its scene), never with itself, so that a
consistent hallucination earns nothing. An answer that is not clear is wrong.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from rapidfuzz.distance import Levenshtein

from paqa.questions.english import spoken
from paqa.questions.sound_names import UNASKED
from paqa.rationale import answers, grammar
from paqa.rationale.time_overlap import sound_score, speaker_overlap
from paqa.rationale.trace import Quote, Trace
from paqa.text import normal
from paqa.types import Evidence, Item, Scene, Turn

_QUOTED = re.compile(r'"[^"]*"')
_LETTER = re.compile(r"\(([A-Z])\)")
FULL_LENGTH = 1024  # tokens, where no build says how long rationales are


@dataclass(frozen=True)
class RewardWeights:
    """The share of each term; an honest rationale with the right answer earns their sum.

    Length counts in sampled tokens: a right answer earns its share up to `full_length`, then less in a
    straight line. Where no build is trained on, a `full_length` of 0 is 1,024.
    """

    accuracy: Annotated[float, "share of the right answer"] = 1.0
    format: Annotated[float, "share of the tags, all there and in order"] = 0.2
    perception: Annotated[float, "share of what was perceived, against the row's scene"] = 0.3
    alignment: Annotated[float, "share of a right answer that its own argument leads to"] = 0.1
    length: Annotated[float, "share of a right answer that is not overlong"] = 0.1
    full_length: Annotated[
        int, "tokens up to which a right answer is not overlong; 0: the longest rationale to train on"
    ] = 0
    no_length: Annotated[int, "tokens from which it earns nothing for its length; 0: twice as many"] = 0


WEIGHTS = RewardWeights()


@dataclass(frozen=True)
class Reference:
    """What a completion is compared with: a row of the dataset, without its rationale.

    An open-ended row has no choices and no `answer_index`; its `answer` counts. `evidence` is what the row's
    question rests on. Words that `question` quotes were read, not perceived, and earn nothing. `brief` says
    whether the rationale has to be brief; None allows either. Without `letters` choices are named by their
    words alone.
    """

    choices: Sequence[str]
    answer_index: int | None
    scene: Scene
    answer: str = ""
    evidence: Sequence[Evidence] = ()
    question: str = ""
    brief: bool | None = None
    letters: bool = True

    @classmethod
    def of(cls, item: Item) -> Reference:
        """The reference that a row of the dataset is."""
        brief = grammar.is_brief(item.rationale)
        return cls(
            item.choices,
            item.answer_index,
            item.scene,
            item.answer,
            item.evidence,
            item.question,
            brief,
            letters=grammar.by_letter(item.choices, item.rationale),
        )


def reward(
    completion: str, reference: Reference, weights: RewardWeights = WEIGHTS, tokens: int | None = None
) -> float:
    """The weighted sum of all `terms`; 0 for anything that goes on after its last answer."""
    return terms(completion, reference, weights, tokens)["reward"]


def terms(
    completion: str, reference: Reference, weights: RewardWeights = WEIGHTS, tokens: int | None = None
) -> dict[str, float]:
    """Every term in [0, 1] by name, and their weighted sum as `reward`.

    `tokens` is the completion's length; None leaves the length out.
    """
    row = reference
    letters = row.letters and row.answer_index is not None
    right = accuracy(completion, row.choices, row.answer_index, row.answer)
    scores = {
        "accuracy": right,
        "format": format_score(completion, letters, row.brief),
        "perception": perception(completion, row.scene, letters, row.evidence, row.question, row.brief),
        "alignment": right and alignment(completion, row.choices, letters, row.brief),
        "length": 0.0 if tokens is None else right * length(tokens, weights),
    }
    total = sum(getattr(weights, name) * score for name, score in scores.items())
    return scores | {"reward": 0.0 if _goes_on(completion) else total}


def accuracy(completion: str, choices: Sequence[str], answer_index: int | None, answer: str = "") -> float:
    """1.0 if the one answer of a completion names the right choice alone, by letter or words; else 0.0.

    `paqa.rationale.answers` says what names a choice. FINAL_ANSWER counts where there is one. The rest of the
    completion may be malformed: `format_score` sees to that.
    """
    return answers.accuracies(completion, choices, answer_index, answer)["accuracy"]


def format_score(completion: str, letters: bool = True, brief: bool | None = None) -> float:
    """1.0 for a rationale that parses; else up to 0.5, by the share of the tags that stand once and in order.

    `letters` says whether answers begin with the letter of a choice. `brief` says which tags are expected,
    those of a brief rationale or of a full one; None allows either.
    """
    if _trace(completion, letters, brief):
        return 1.0
    skeleton = grammar.BRIEF_SKELETON if brief else grammar.SKELETON
    places = [completion.find(tag) if completion.count(tag) == 1 else -1 for tag in skeleton]
    kept, last = 0, -1
    for place in places:
        if place > last:
            kept, last = kept + 1, place
    return 0.5 * kept / len(places) if _has_content(completion) else 0.0


def perception(
    completion: str,
    scene: Scene,
    letters: bool = True,
    evidence: Sequence[Evidence] = (),
    question: str = "",
    brief: bool | None = None,
) -> float:
    """How much of the scene the completion perceived: the mean of sounds, voices and words.

    0.0 for a completion that does not parse. Sounds: `sound_score`, by label and time. Voices: half for the
    number of speakers, a quarter each for who said what (`attribution`) and who spoke when
    (`speaker_overlap`). Words: 1 - min(1, WER). What neither the scene nor the completion has is left out of
    the mean, and what `question` quotes out of the words: nothing is earned by saying nothing, or by an echo.
    The score is 0.0 where a question that rests on speech alone is argued from the background.
    """
    trace = _trace(completion, letters, brief)
    if trace is None or not robust(trace, scene, evidence):
        return 0.0
    read = [normal(quote) for quote in _QUOTED.findall(question)]
    count = float(len({q.speaker for q in trace.speakers}) == scene.speakers)
    lines = attribution(trace.speakers, scene.turns, read) + speaker_overlap(trace.speakers, scene.turns)
    voices = count / 2 + lines / 4
    reference_words, perceived = _without_quotes(scene.transcript, read), _without_quotes(trace.asr, read)
    words = 1.0 - min(1.0, word_error_rate(reference_words, perceived))
    shares = []
    if scene.events or trace.env:
        shares.append(sound_score(trace.env, scene.events))
    if scene.turns or trace.speakers:
        shares.append(voices)
    if reference_words or perceived:
        shares.append(words)
    return sum(shares) / len(shares) if shares else 1.0


def attribution(quotes: Sequence[Quote], turns: Sequence[Turn], read: Sequence[str] = ()) -> float:
    """1 - min(1, WER) of the words given to each speaker, pooled over the speakers by number.

    1.0 where nobody speaks. The numbers are part of the claim (order of first appearance), so voices are
    never matched afterwards. Phrases that were `read` do not count.
    """
    reference_words, perceived = _words_by_speaker(turns, read), _words_by_speaker(quotes, read)
    edits = sum(
        Levenshtein.distance(reference_words[k], perceived[k])
        for k in reference_words.keys() | perceived.keys()
    )
    return 1.0 - min(1.0, edits / max(1, sum(map(len, reference_words.values()))))


def robust(trace: Trace, scene: Scene, evidence: Sequence[Evidence]) -> bool:
    """False where the question rests on speech alone and yet the argument names a background sound.

    Sounds named in quotations do not count. Without evidence nothing is known of the question, and every
    argument is allowed.
    """
    if not evidence or any(e.kind == "event" for e in evidence):
        return True
    argument = f" {normal(_QUOTED.sub(' ', f'{trace.reasoning} {trace.summary}'))} "
    sounds = {e.label for e in scene.events} - UNASKED  # "speech" and the like are words of any argument
    return not any(f" {normal(spoken(label))} " in argument for label in sounds)


def alignment(
    completion: str, choices: Sequence[str] = (), letters: bool = True, brief: bool | None = None
) -> float:
    """1.0 if the argument before the last answer leads to it.

    With `letters` its letter is the last one named, else its words are the last of the choices between
    quotation marks; the words of an open-ended answer occur. The argument is REASONING, or REFLECT before a
    FINAL_ANSWER. Worth something for a right answer only (see `terms`): a completion is never paid for
    agreeing with itself.
    """
    trace = _trace(completion, letters, brief)
    if trace is None:
        return 0.0
    final = trace.final if trace.reflect else None
    response, argument = trace.response, trace.reasoning
    if final:
        response, argument = final, grammar.without_corrections(trace.reflect or "")
    if not (letters or choices):
        return float(f" {normal(response.text)} " in f" {normal(f'{argument} {trace.summary}')} ")
    if letters:
        named = [f"({name})" for name in _LETTER.findall(_QUOTED.sub(" ", argument))]
        stated, first = (grammar.letter(x.index or 0) for x in (response, trace.response))
    else:
        words = {normal(choice) for choice in choices}
        named = [text for quoted in _QUOTED.findall(argument) if (text := normal(quoted)) in words]
        stated, first = normal(response.text), normal(trace.response.text)
    if final and named[-1:] == [first]:  # "hence (D), and not (A)": it is named to be taken back
        named = named[:-1]
    return float(named[-1:] == [stated])


def length(tokens: int, weights: RewardWeights = WEIGHTS) -> float:
    """1.0 up to `full_length` tokens, 0.0 from `no_length`, a straight line in between."""
    full_length = weights.full_length or FULL_LENGTH
    over = (tokens - full_length) / max(1, (weights.no_length or 2 * full_length) - full_length)
    return min(1.0, max(0.0, 1.0 - over))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word edits per word of the reference, without case and punctuation; an empty one counts as one word."""
    reference_words, predicted_words = normal(reference).split(), normal(hypothesis).split()
    return Levenshtein.distance(reference_words, predicted_words) / max(1, len(reference_words))


def _words_by_speaker(lines: Sequence[Quote] | Sequence[Turn], read: Sequence[str]) -> dict[int, list[str]]:
    words: dict[int, list[str]] = defaultdict(list)
    for line in lines:
        words[line.speaker] += _without_quotes(line.text, read).split()
    return words


def _without_quotes(text: str, read: Sequence[str]) -> str:
    """A text's words without the phrases that a question quotes."""
    words = f" {normal(text)} "
    for phrase in read:
        words = words.replace(f" {phrase} ", " ")
    return words.strip()


def _trace(completion: str, letters: bool, brief: bool | None) -> Trace | None:
    """The completion read; None where it breaks the grammar, or is not as `brief` as it has to be."""
    if brief not in (None, grammar.is_brief(completion)):
        return None
    try:
        return grammar.parse(completion, letters)
    except grammar.GrammarError:
        return None


def _goes_on(completion: str) -> bool:
    """Whether anything follows the last answer, be it FINAL_ANSWER or RESPONSE."""
    end = max(completion.rfind("</RESPONSE>") + 11, completion.rfind("</FINAL_ANSWER>") + 15)
    closed = "</RESPONSE>" in completion or "</FINAL_ANSWER>" in completion
    return closed and bool(completion[end:].strip())


def _has_content(completion: str) -> bool:
    """Whether there is more than bare tags: an empty skeleton earns no format."""
    return bool(normal(re.sub(r"</?[A-Z_]+>", " ", completion)))
