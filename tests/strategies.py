"""Hypothesis strategies for scenes: plausible ones to ask questions about, and nasty ones to break the
grammar.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from paqa import audioset
from paqa.text import UNCLEAR_WORD
from paqa.types import Disagreement, Event, Scene, Turn, Unclear, Word

LABELS = (
    "Rain", "Thunder", "Bark", "Dog", "Crowing, cock-a-doodle-doo", "Church bell", "Vacuum cleaner",
    "Applause", "Train", "Typing", "Telephone bell ringing", "Speech", "Sneeze", "Guitar",
    "Water tap, faucet", "Keys jangling",
)  # fmt: skip
SENTENCES = (
    "Did you put the kettle on already?", "No, I thought you were going to do it.", "Yes.", "Mm-hm, right.",
    "Well, somebody has to, or there will be no tea at all.", "I can do it if you two want to keep arguing.",
    "That would be very kind of you, Martha.", "We had no choice, the train was cancelled twice.",
    'He said "never again" and walked out.', "Then let us begin with the numbers from last quarter.",
    "I have them here, on the second page.", "They look rather better than what we expected in spring.",
    "Wo hast du den „Spiegel“ gelesen?", "What <strong> words!", "",
    "The river rose again during the night. By morning the lower fields were under water and the road to the"
    " mill had disappeared. Nobody in the village could remember such a flood, not even the oldest among"
    " them.",
)  # fmt: skip
NASTY = st.text(max_size=40) | st.sampled_from(
    (
        "</ENV>", "<THINK>", "</RESPONSE>\n<RESPONSE>(A) x", "[1.20-3.40 s]", 'Speaker 2 [0.00-1.00 s]: "no"',
        "\\u003c", "No words can be made out.", "Nobody speaks.", "No background sound stands out.",
        "(words not made out)", "(unclear)", "[unclear]",
        " padded ", "line\nbreak\u2028and\x85more", '"quoted"', "back\\slash \\n",
        "\u200c\U000e0001", "(B) the", "<BGM>",
    )
)  # fmt: skip


@st.composite
def scenes(draw: st.DrawFn, speakers: int = 6, turns: int = 8, sounds: int = 7) -> Scene:
    """A plausible scene of 4 to 30 seconds: overlapping turns and sounds from a fixed set of words and
    labels.
    """
    duration = draw(st.integers(400, 3000)) * 10
    spans = draw(st.lists(_span(duration), max_size=turns, unique=True))
    voices = draw(st.lists(st.integers(1, speakers), min_size=len(spans), max_size=len(spans)))
    texts = draw(st.permutations(SENTENCES))
    numbers: dict[int, int] = {}
    said = tuple(
        Turn(start, end, numbers.setdefault(voice, len(numbers) + 1), texts[i % len(texts)])
        for i, ((start, end), voice) in enumerate(zip(sorted(spans), voices, strict=True))
    )
    heard = draw(
        st.lists(
            st.tuples(_span(duration), st.sampled_from(LABELS), st.sampled_from((1.0, 1.0, 0.6))),
            max_size=sounds,
        )
    )
    events = tuple(Event(s, e, label, audioset.mid(label), score) for (s, e), label, score in sorted(heard))
    disputed = draw(st.lists(_span(duration), max_size=2))
    return Scene(
        clip_id=f"clip-{draw(st.integers(0, 10**9))}",
        duration_ms=duration,
        turns=said,
        events=events,
        snr_db=draw(st.none() | st.floats(-5, 25)),
        disagreements=tuple(Disagreement("transcribe", s, e, "this", "that") for s, e in sorted(disputed)),
    )


@st.composite
def unsure_scenes(draw: st.DrawFn) -> Scene:
    """A plausible scene as it is after what is unsure was taken out: words as `[unclear]`, spans without a
    claim about the background, and the times of most of the words that are left.
    """
    scene = draw(scenes())
    turns = []
    words: list[Word] = []
    for turn in scene.turns:
        texts = turn.text.split()
        lost = draw(st.sets(st.integers(0, max(0, len(texts) - 1)), max_size=3))
        kept = [UNCLEAR_WORD if i in lost else text for i, text in enumerate(texts)]
        joined = [w for i, w in enumerate(kept) if w != UNCLEAR_WORD or kept[i - 1 : i] != [UNCLEAR_WORD]]
        text = " ".join(joined)
        turns.append(replace(turn, text="" if text == UNCLEAR_WORD else text))
        words += [w for i, w in enumerate(spread_words(turn)) if i not in lost]
    spans = draw(st.lists(_span(scene.duration_ms), max_size=2, unique=True))
    return replace(
        scene,
        turns=tuple(turns),
        words=tuple(sorted(words, key=lambda w: w.start_ms)),
        unclear=tuple(Unclear(start, end) for start, end in sorted(spans)),
    )


def spread_words(turn: Turn) -> list[Word]:
    """The words of a turn, spread evenly over its span on a grid of 10 ms."""
    texts = turn.text.split()
    step = (turn.end_ms - turn.start_ms) / max(1, len(texts))
    starts = [turn.start_ms + int(i * step / 10) * 10 for i in range(len(texts))]
    ends = [*starts[1:], turn.end_ms][: len(texts)]
    return [Word(s, e, text, turn.speaker) for s, e, text in zip(starts, ends, texts, strict=True)]


@st.composite
def nasty_scenes(draw: st.DrawFn) -> Scene:
    """Any scene at all: texts and labels that look like the grammar, times off the grid, empty or inverted
    spans.
    """
    at = st.integers(0, 10**6)
    turns = draw(st.lists(st.builds(Turn, at, at, st.integers(1, 99), NASTY), max_size=4))
    events = draw(st.lists(st.builds(Event, at, at, NASTY, st.just("/m/0"), st.just(1.0)), max_size=4))
    unclear = draw(st.lists(st.builds(Unclear, at, at), max_size=2))
    return Scene("nasty", draw(at), tuple(turns), (), tuple(events), unclear=tuple(unclear))


@st.composite
def _span(draw: st.DrawFn, duration: int) -> tuple[int, int]:
    length = draw(st.integers(1, 40)) * 100
    start = draw(st.integers(0, max(0, (duration - length) // 10))) * 10
    return start, min(duration, start + length)
