"""What the model is asked: the same words in training and evaluation, and nothing of the answer."""

from __future__ import annotations

from dataclasses import dataclass

from paqa import rationale

OUTLINE = (
    "<THINK><PLANNING></PLANNING><CAPTION><ENV></ENV><SPEAKER></SPEAKER><ASR></ASR><DESCRIPTION></DESCRIPTION></CAPTION>"
    "<REASONING></REASONING><SUMMARY></SUMMARY></THINK><RESPONSE></RESPONSE>"
)


@dataclass(frozen=True)
class Asked:
    """A question as the model meets it; open-ended where there are no choices."""

    id: str
    question: str
    choices: tuple[str, ...] = ()


def question(asked: Asked) -> str:
    """The text beside the sound. Choices look as RESPONSE must repeat them; no text can forge a token of the model."""
    lines = [rationale.escape(asked.question)]
    lines += [rationale.response(i, choice) for i, choice in enumerate(asked.choices)]
    how = "with the letter and words of one choice" if asked.choices else "with a few words"
    lines += [f"Listen, fill in these tags, and answer in RESPONSE {how}: {OUTLINE}"]
    return "\n".join(lines)
