"""Rewording a row by a language model, kept only where nothing but the wording changes.

A model gets the question and the prose of the rationale: plan, description, argument and summary. What was
perceived, the answers and REFLECT are not its to write. Its wording is put in the place of ours and tested:

- `parse` reads the rationale and finds the same sounds, quotes, transcript, answers and corrections. So the
  quote presence of the row is what it was.
- Each text names the same things in the same order: quotations, choices, sounds, speakers, letters, numbers
  and times; and no word is added that is a sound's name.
- Each text has the same words that decide a meaning, as often: before, after, first, last, more, not.

That is no proof that two texts mean the same. Words outside of these lists are the model's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from paqa import audioset
from paqa.config.recipe import GatesConfig
from paqa.curation import text_filters
from paqa.questions import text_matching
from paqa.questions.english import NUMBERS, ORDINALS, spoken
from paqa.rationale import grammar
from paqa.text import normal
from paqa.types import Item

KEPT = "kept"  # what is recorded of a row that was reworded; else the reason why not
PROSE = ("PLANNING", "DESCRIPTION", "REASONING", "SUMMARY")
LONGER = 2.0  # a new text may be so many times as long as ours,
MARGIN = 80  # and so many characters longer
DECIDING = (
    *("before", "after", "until", "during", "while", "first", "last", "next", "earlier", "later", "earliest"),
    *("latest", "longest", "shortest", "longer", "shorter", "louder", "loudest", "quieter", "quietest"),
    *("faster", "fastest", "slower", "slowest", "higher", "highest", "lower", "lowest", "more", "most"),
    *("fewer", "less", "least", "same", "different", "other", "only", "both", "all", "every", "each", "no"),
    *("not", "never", "none", "nothing", "nobody", "neither", "nor", "without", "cannot", "alone"),
)
_DECIDING = re.compile(rf"\b(?:{'|'.join(DECIDING)})\b|n't\b", re.IGNORECASE)
_COUNTS = "|".join((*(n for n in NUMBERS if n != "one"), *ORDINALS[2:]))  # "one" stands for much else
_QUOTE = r'"[^"]*"'
_NUMBER = rf"\([A-Z]\)|speakers? \d+(?: and \d+)?|one (?:person|voice)|\d+(?:\.\d+)?|\b(?:{_COUNTS})\b"
INSTRUCTION = """Reword the texts below, which are about an audio recording, in natural English.
Keep everything that they state, in the same order. Copy exactly: all that stands between double quotes, names
of sounds, numbers, times, "speaker 1", letters like (B), and words of order and negation such as before,
after, first, last, not. Add nothing. Reply with the same tags, each with its new text, and nothing else."""


def prompt(item: Item) -> str:
    """What the model is asked about a whole row."""
    texts = {"QUESTION": item.question, **_prose(item.rationale)}
    choices = "".join(f"\n{grammar.letter(i)} {choice}" for i, choice in enumerate(item.choices))
    offered = f"The choices of the question, which stay as they are:{choices}\n\n" if choices else ""
    tagged = "\n".join(f"<{tag}>{text}</{tag}>" for tag, text in texts.items())
    return f"{INSTRUCTION}\n\n{offered}{tagged}"


def reworded(item: Item, reply: str, others: Sequence[str], config: GatesConfig) -> Item | str:
    """The row in the words of a reply, or the reason why it keeps ours.

    `others` are the questions of the clip's other rows. Evidence, choices, answer and scene are those of
    `item`; its key is not made anew.
    """
    texts = {"QUESTION": item.question, **_prose(item.rationale)}
    new = {tag: " ".join(content.split()) for tag in texts if (content := _content(tag, reply))}
    if new.keys() != texts.keys():
        return "missing_text"
    if any("<" in text or ">" in text for text in new.values()):
        return "stray_tag"
    if all(new[tag] == texts[tag] for tag in texts):
        return "unchanged"
    if any(len(new[tag]) > LONGER * len(texts[tag]) + MARGIN for tag in texts):
        return "too_long"
    changed = replace(item, question=new["QUESTION"], rationale=_put(item.rationale, new))
    if reason := _differs(item, changed):
        return reason
    named = _names(item)
    for tag, text in texts.items():
        if _facts(new[tag], named) != _facts(text, named) or _adds_sound(new[tag], text):
            return "other_facts"
        if _deciding(new[tag]) != _deciding(text):
            return "other_relations"
    if normal(changed.question) in map(normal, others):
        return "duplicate_question"
    return _filtered(list(new.values()), config) or changed


def _prose(rationale: str) -> Mapping[str, str]:
    """The prose of a rationale by its tag, in order."""
    contents = {tag: _content(tag, rationale) for tag in PROSE}
    return {tag: content for tag, content in contents.items() if content}


def _content(tag: str, text: str) -> str:
    """What the one pair of tags holds; "" where there is none, or more than one."""
    matches = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return str(matches[0]).strip() if len(matches) == 1 else ""


def _put(rationale: str, new: Mapping[str, str]) -> str:
    for tag in PROSE:
        for start, end in grammar.content_spans(rationale, (tag,)):
            rationale = rationale[:start] + new[tag] + rationale[end:]
    return rationale


def _differs(item: Item, changed: Item) -> str | None:
    """Why `parse` does not find in the changed rationale what it finds in the row's, or None."""
    before = grammar.trace_of(item)
    try:
        after = grammar.trace_of(changed)
    except grammar.GrammarError:
        return "not_parsed"
    prose = {tag.lower(): getattr(before, tag.lower()) for tag in PROSE}
    return None if replace(after, **prose) == before else "other_evidence"


def _names(item: Item) -> list[str]:
    """What a text may name besides numbers and speakers: choices, answer and sounds, longest first."""
    labels = [spoken(event.label) for event in item.scene.events]
    bare = (re.sub(r"^(?:an?|the) ", "", name.casefold()) for name in (*item.choices, item.answer, *labels))
    return sorted({name for name in bare if len(name) > 1}, key=lambda name: (-len(name), name))


def _facts(text: str, names: Sequence[str]) -> list[str]:
    """What a text quotes, names and counts, in order; what stands in a quotation is no name or number."""
    listed = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in names]
    pattern = "|".join((_QUOTE, *listed, _NUMBER))
    return [match[0].casefold() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _adds_sound(new: str, old: str) -> bool:
    """Whether a text has a word that alone is a sound's name, and that the old text does not have."""
    added = text_matching.words(new) - text_matching.words(old) - text_matching.SPEECH_WORDS
    return not added.isdisjoint(_sound_words())


@cache
def _sound_words() -> frozenset[str]:
    """The stems of all words that alone name a sound of AudioSet."""
    labels = map(audioset.label, audioset.classes())
    return frozenset(
        word for label in labels for name in text_matching.names(label) if len(name) == 1 for word in name
    )


def _deciding(text: str) -> Counter[str]:
    """How often each word that decides a meaning stands outside of quotations."""
    bare = re.sub(_QUOTE, " ", text)
    return Counter(word.casefold() for word in _DECIDING.findall(bare))


def _filtered(texts: Sequence[str], config: GatesConfig) -> str | None:
    """The gate that a new text would not pass, or None."""
    if config.profanity and any(map(text_filters.profanity, texts)):
        return "profanity"
    if config.personal_data and any(map(text_filters.personal_data, texts)):
        return "personal_data"
    return None
