"""Ask a model one question about one audio file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paqa import audio
from paqa.config.recipe import AudioConfig
from paqa.rationale import answers
from paqa.rationale.prompt import PromptQuestion
from paqa.train.config import PauseConfig
from paqa.train.model import RATE, Policy
from paqa.train.pause_tokens import UNBOUND, Bounds
from paqa.train.rollout import Sampling, rollout


@dataclass(frozen=True)
class FileAnswer:
    """What a model answers: its text, the index of the choice that it names or None, and runs of PAUSE."""

    text: str
    choice: int | None
    pauses: int
    cut: bool  # it was still going on at the limit of tokens


def ask(
    policy: Policy, path: Path, question: str, choices: Sequence[str], max_new: int, pause: PauseConfig
) -> FileAnswer:
    """The likeliest answer, of at most `max_new` tokens, about an audio file in any format that paqa decodes.

    Raises PaqaError where the file cannot be decoded, or is longer than the encoder hears.
    """
    samples = audio.decode(path, AudioConfig(rate=RATE, min_clip_ms=0)).samples.mean(0)
    asked = policy.as_trained(PromptQuestion(str(path), question, tuple(choices)))
    prompt = policy.prompt(asked, policy.encode(samples, str(path)))
    bounds = Bounds.first(pause, policy.bounds or UNBOUND)
    sampling = Sampling(max_new, temperature=0.0, pause=pause, bounds=bounds)
    completion = rollout(policy, [prompt], 1, [0], sampling)
    (text,) = completion.texts(policy)
    choice = answers.chosen(answers.answer_text(text) or "", choices)
    return FileAnswer(text, choice, int(completion.pauses[0]), bool(completion.cut[0]))
