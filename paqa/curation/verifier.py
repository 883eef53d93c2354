"""What a model at an endpoint answers on rows: without audio, with it, and asked to reword them.

Without audio, a row that is answered right more often than by chance is answerable from its text
(`audio_dependence`). With audio, the share of replies that name the row's answer is its agreement. The
choices come in another order each time, so that a preference for a place gains nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from paqa.config.recipe import GatesConfig, VerifierConfig
from paqa.curation import paraphrase
from paqa.curation.chat_client import ChatClient, Prompt
from paqa.questions import text_matching
from paqa.rationale import grammar
from paqa.rationale.answers import choice_in_free_text, without_thought
from paqa.text import rng_for
from paqa.types import Identifier, Item, Quarantined, Unit

DISAGREES = "verifier_disagrees"  # the reason of rows below verifier.min_agreement
NO_REPLY = "no_reply"  # why a row keeps our words: the model was not asked, or did not reply
UNREAD = -1  # a reply that names no choice
WITHOUT_AUDIO = (
    "Below is a multiple-choice question about an audio recording, which you cannot hear. "
    "Choose the answer that is most probably right. Reply with its letter alone."
)
WITH_AUDIO = (
    "Listen to the recording, and answer the multiple-choice question about it. "
    "Reply with the letter of one choice alone."
)
SOUNDS = (
    "Listen to the recording. Which sounds other than speech can be heard in it? "
    'Reply with their names, separated by commas, or with "none", and nothing else.'
)


@dataclass(frozen=True)
class VerifiedRow:
    """What a model answered on one row (`verifier.parquet`); numbers are 0, and the rest None, where it was
    not asked or did not reply.

    `text_right` of `text_replies` without audio, and `audio_right` of those `audio_replies` with audio that
    name a choice, are the row's answer; `agreement` is the share of the latter. `sounds` are what it hears in
    the clip, `sounds_confirmed` is the share of the scene's sounds among them. `paraphrase` is "kept", or why
    the row keeps our words; the originals are there where it does not.
    """

    id: Identifier
    text_replies: int = 0
    text_right: int = 0
    audio_replies: int = 0
    audio_right: int = 0
    agreement: Unit | None = None
    sounds: tuple[str, ...] | None = None
    sounds_confirmed: Unit | None = None
    paraphrase: str | None = None
    original_question: str | None = None
    original_rationale: str | None = None


@dataclass(frozen=True)
class Asked:
    """One clip's rows, the digest of its samples, and whether replies may come from the store alone."""

    items: Sequence[Item]
    sha256: str
    stored: frozenset[str] = frozenset()  # ids of rows for which nothing is sent


def verify(
    asked: Asked, config: VerifierConfig, gates: GatesConfig, client: ChatClient, wav: Callable[[], bytes]
) -> tuple[list[Item], list[VerifiedRow]]:
    """The rows of one clip, some of them reworded (without a new key), and what it answered on each."""
    items: list[Item] = []
    rows: list[VerifiedRow] = []
    sender = _Sender(client, asked.sha256, wav, asked.stored.issuperset(item.id for item in asked.items))
    sounds = _sounds(sender) if config.ask_sounds else None
    for item in asked.items:
        sender = replace(sender, stored=item.id in asked.stored)
        row = VerifiedRow(item.id, sounds=sounds, sounds_confirmed=_confirmed(item, sounds))
        if config.paraphrase:
            new = _reworded(item, asked, gates, sender, items)
            row = replace(row, paraphrase=new if isinstance(new, str) else paraphrase.KEPT)
            if isinstance(new, Item):
                row = replace(row, original_question=item.question, original_rationale=item.rationale)
                item = new
        if item.answer_index is not None and len(item.choices) > 1:
            row = _answered(item, row, config, sender)
        items.append(item)
        rows.append(row)
    return items, rows


def disagreeing(item: Item, row: VerifiedRow, config: VerifierConfig) -> Quarantined | None:
    """The row of quarantine of an item with which the model agrees too seldom, or None."""
    if row.agreement is None or row.agreement >= config.min_agreement:
        return None
    counted = f"{row.audio_right} of {row.audio_replies} replies of {config.model} with the audio"
    detail = f"{item.id}: {counted} give its answer, verifier.min_agreement is {config.min_agreement:g}"
    return Quarantined(item.id, "gates", DISAGREES, detail, item.key)


def orders(item: Item, times: int) -> list[list[int]]:
    """Orders of a row's choices, by index: the answer stands at each place about as often."""
    n = len(item.choices)
    rounds = []
    for i in range(-(-times // n)):
        first = list(range(n))
        rng_for("verifier", item.id, i).shuffle(first)
        rounds += [first[k:] + first[:k] for k in range(n)]
    return rounds[:times]


@dataclass(frozen=True)
class _Sender:
    """Sends texts to the model, alone or with one clip's audio; `stored` has it answer from the store."""

    client: ChatClient
    sha256: str
    wav: Callable[[], bytes]
    stored: bool

    def ask(self, text: str, audio: bool = False) -> str | None:
        """The reply, None without one."""
        prompt = Prompt(text, self.sha256 if audio else None)
        return self.client.ask(prompt, self.wav if audio else None, self.stored)


def _reworded(
    item: Item, asked: Asked, gates: GatesConfig, sender: _Sender, done: Sequence[Item]
) -> Item | str:
    """The row in the model's words, or why it keeps ours."""
    reply = sender.ask(paraphrase.prompt(item))
    if reply is None:
        return NO_REPLY
    others = [other.question for other in (*asked.items, *done) if other.id != item.id]
    return paraphrase.reworded(item, without_thought(reply), others, gates)


def _answered(item: Item, row: VerifiedRow, config: VerifierConfig, sender: _Sender) -> VerifiedRow:
    """The row with the replies to its question, without audio and with it."""
    text = [_answer(item, order, False, sender) for order in orders(item, config.ask_text)]
    with_audio = [_answer(item, order, True, sender) for order in orders(item, config.ask_audio)]
    replies = [index for index in text if index is not None]
    named = [index for index in with_audio if index is not None and index != UNREAD]
    right = named.count(item.answer_index or 0)
    return replace(
        row,
        text_replies=len(replies),
        text_right=replies.count(item.answer_index or 0),
        audio_replies=len(named),
        audio_right=right,
        agreement=round(right / len(named), 4) if named else None,
    )


def _answer(item: Item, order: Sequence[int], audio: bool, sender: _Sender) -> int | None:
    """The choice that a reply names, of choices in this order; UNREAD for none, None without a reply."""
    offered = [item.choices[i] for i in order]
    lines = [f"{grammar.letter(i)} {text}" for i, text in enumerate(offered)]
    reply = sender.ask("\n".join([WITH_AUDIO if audio else WITHOUT_AUDIO, "", item.question, *lines]), audio)
    if reply is None:
        return None
    named = choice_in_free_text(reply, offered)
    return UNREAD if named is None else order[named]


def _sounds(sender: _Sender) -> tuple[str, ...] | None:
    """The sounds that the model hears in a clip; None without a reply."""
    reply = sender.ask(SOUNDS, audio=True)
    if reply is None:
        return None
    parts = [part.strip(" .\"'*-") for part in re.split(r"[,;\n]", without_thought(reply))]
    return tuple(part for part in parts if part and part.casefold() not in ("none", "nothing"))


def _confirmed(item: Item, sounds: Sequence[str] | None) -> float | None:
    """The share of the scene's different sounds that are named; None where there are none."""
    labels = {(event.mid, event.label) for event in item.scene.events}
    if sounds is None or not labels:
        return None
    named = [text_matching.words(sound) for sound in sounds]
    matches = [
        any(text_matching.name_match(w, *label) >= text_matching.NAMED for w in named) for label in labels
    ]
    return round(sum(matches) / len(labels), 4)
