"""What every engine promises, as checks that the author of a plug-in can run as well.

    from paqa.engines.contract import check
    check(MyEngine())

They show form and determinism, not that an engine predicts well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np

from paqa.engines.base import EngineOutput
from paqa.errors import PaqaError
from paqa.types import Audio

RATES = (8_000, 16_000, 44_100, 48_000)  # Hz
SHORT = (1, 2, 100, 320, 399, 511, 4000, 15_999)  # samples at 16 kHz
PER_STAGE = {
    "separate": {"stems"},
    "diarize": {"turns", "exclusive", "count_stability", "second_speaker"},
    "tag": {"events", "event_scores", "tags"},
    "transcribe": {"words", "language", "doubts"},
}


def check(engine: Any, clips: Sequence[Audio] = ()) -> None:
    """Run an engine on noise, silence, very short and stereo clips of several rates, and on `clips`.

    Raises PaqaError that lists every promise which it does not keep.
    """
    if problems := list(problems_of(engine, clips)):
        lines = "\n".join(f"- {problem}" for problem in problems)
        raise PaqaError(f"engine {type(engine).name} does not keep the contract:\n{lines}")


def problems_of(engine: Any, clips: Sequence[Audio] = ()) -> Iterator[str]:
    """Every promise that an engine does not keep, in words."""
    inputs = [*clips, *test_clips()]
    before = [audio.samples.copy() for audio in inputs]
    alone = [engine([audio])[0] for audio in inputs]
    for audio, output, samples in zip(inputs, alone, before, strict=True):
        for problem in (*output_problems(output, audio), *stage_problems(engine.stage, output, audio)):
            yield f"of {_described(audio)}: {problem}"
        if not np.array_equal(samples, audio.samples):
            yield f"of {_described(audio)}: the input is changed; expected it as it was"
    if any(map(differs, engine(inputs[::-1]), alone[::-1])):
        yield "a batch gives other outputs than its clips one by one; expected the same bits"
    if any(map(differs, [engine([audio])[0] for audio in inputs[:2]], alone[:2])):
        yield "a second call gives another output; expected the same bits"
    if list(engine([])):
        yield "an empty batch gives outputs; expected none"


def test_clips() -> list[Audio]:
    """Noise at every rate, of two channels, and of hardly any length; silence."""
    rng = np.random.default_rng(0)
    shapes = [(rate, 1, rate * 2) for rate in RATES]
    shapes += [(16_000, channels, samples) for channels in (1, 2) for samples in SHORT]
    noise = [Audio(rng.normal(0, 0.1, (channels, n)).astype(np.float32), r) for r, channels, n in shapes]
    return [*noise, *(Audio(np.zeros((1, n), np.float32), 16_000) for n in (1, 320, 48_000))]


def output_problems(output: EngineOutput, audio: Audio) -> list[str]:
    """What is wrong with an engine's output about a clip, whatever the clip holds."""
    problems = [*_stem_problems(output, audio), *_span_problems(output, audio)]
    speakers = list(dict.fromkeys(turn.speaker for turn in output.turns))
    if speakers != list(range(1, len(speakers) + 1)):
        problems.append(f"speakers come in as {speakers}; expected 1, 2, ... in order of first appearance")
    if not {turn.speaker for turn in output.exclusive} <= set(speakers):
        problems.append("exclusive turns have speakers that turns have not")
    if any(word.text != word.text.strip() or not word.text for word in output.words):
        problems.append("a word is empty or has space around it")
    if any(word.speaker is not None for word in output.words):
        problems.append("a word has a speaker; expected None: paqa assigns words to turns")
    scores = [word.score for word in output.words] + [event.score for event in output.events]
    scores += [tag.score for tag in output.tags]
    if outside := [score for score in scores if not 0 <= score <= 1]:
        problems.append(f"found score {outside[0]}, expected 0 to 1")
    of_events = [(e.mid, e.start_ms, e.end_ms) for e in output.events]
    if [(s.mid, s.start_ms, s.end_ms) for s in output.event_scores] != of_events:
        problems.append("event_scores are not of the events in their order")
    return problems


def stage_problems(stage: str, output: EngineOutput, audio: Audio) -> list[str]:
    """Fields of another stage, and anything that is predicted of digital silence."""
    default = EngineOutput()
    filled = {f.name for f in fields(output) if getattr(output, f.name) != getattr(default, f.name)}
    problems = [f"{name} is of another stage than {stage}" for name in sorted(filled - PER_STAGE[stage])]
    if stage == "separate" and set(output.stems) != {"speech", "background"}:
        problems.append(f"found stems {sorted(output.stems)}, expected background and speech")
    if not np.any(audio.samples) and (output.turns or output.events or output.words):
        problems.append("found turns, events or words in digital silence")
    return problems


def differs(one: EngineOutput, other: EngineOutput) -> bool:
    """Whether two outputs differ in any bit."""
    stems = one.stems.keys() == other.stems.keys() and all(
        np.array_equal(stem.samples, other.stems[name].samples) for name, stem in one.stems.items()
    )
    names = (f.name for f in fields(one) if f.name != "stems")
    return not stems or any(getattr(one, name) != getattr(other, name) for name in names)


def _stem_problems(output: EngineOutput, audio: Audio) -> Iterator[str]:
    expected = (audio.rate, audio.samples.shape, np.dtype(np.float32))
    for name, stem in output.stems.items():
        form = (stem.rate, stem.samples.shape, stem.samples.dtype)
        if form != expected:
            yield f"stem {name} has rate, shape and type {form}; expected {expected}"
        elif not np.isfinite(stem.samples).all():
            yield f"stem {name} holds samples that are no numbers"
        elif name == "speech" and "background" in output.stems:
            background = output.stems["background"].samples
            if not np.array_equal(background, audio.samples - stem.samples):
                yield "background is not the mix minus speech"


def _span_problems(output: EngineOutput, audio: Audio) -> Iterator[str]:
    kinds: dict[str, Sequence[Any]] = {
        "turns": output.turns,
        "exclusive": output.exclusive,
        "events": output.events,
        "words": output.words,
    }
    for kind, spans in kinds.items():
        if any(before.start_ms > after.start_ms for before, after in pairwise(spans)):
            yield f"{kind} are not in order of start"
        if kind in ("exclusive", "words") and any(a.end_ms > b.start_ms for a, b in pairwise(spans)):
            yield f"{kind} overlap"
        for span in spans:
            if not 0 <= span.start_ms < span.end_ms <= audio.duration_ms:
                yield f"{kind}: found {span.start_ms} to {span.end_ms} ms in {audio.duration_ms} ms"
            if span.start_ms % 10 or span.end_ms % 10:
                yield f"{kind}: {span.start_ms} to {span.end_ms} ms is not on the 10 ms grid"


def _described(audio: Audio) -> str:
    channels, samples = audio.samples.shape
    content = "sound" if np.any(audio.samples) else "silence"
    return f"{samples} samples of {content}, {audio.rate} Hz, {channels} channel{'s'[: channels - 1]}"
