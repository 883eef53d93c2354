"""RTTM (who speaks when), STM (who says what) and CTM (single words): a file of each a split, and the audio.

Layouts: NIST's RT-09 evaluation plan, appendix A (RTTM), and its sctk documents infmts.htm (STM, CTM). Times
are seconds with three decimals, the channel is 1, a speaker is FILE-speakerN. `paqa build` reads them back
(type `references`). `job.scenes` says whose annotations these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from paqa.dataset.shards import SPLITS
from paqa.publish.export.job import Job
from paqa.types import Scene

__all__ = ["AUDIO", "SPLITS", "export"]

AUDIO = "flac"
KINDS = ("rttm", "stm", "ctm")


def export(job: Job) -> None:
    """Write `test.rttm`, `test.stm`, `test.ctm`, ... and `audio/`; clips without speech have no line."""
    files: dict[str, TextIO] = {}
    try:
        for row, scene in job.clips():
            job.save(row)
            for kind, lines in zip(
                KINDS, (rttm(scene, row.name), stm(scene, row.name), ctm(scene, row.name)), strict=True
            ):
                name = f"{row.item.split}.{kind}"
                if name not in files:
                    files[name] = (job.part / name).open("w", encoding="utf-8")
                files[name].writelines(f"{line}\n" for line in lines)
    finally:
        for file in files.values():
            file.close()


def rttm(scene: Scene, name: str) -> Iterator[str]:
    """One line a turn."""
    for turn in scene.turns:
        span = f"{_s(turn.start_ms)} {_s(turn.end_ms - turn.start_ms)}"
        yield f"SPEAKER {name} 1 {span} <NA> <NA> {name}-speaker{turn.speaker} <NA> <NA>"


def stm(scene: Scene, name: str) -> Iterator[str]:
    """One line a turn whose words are known."""
    for turn in scene.turns:
        if text := " ".join(turn.text.split()):
            yield f"{name} 1 {name}-speaker{turn.speaker} {_s(turn.start_ms)} {_s(turn.end_ms)} {text}"


def ctm(scene: Scene, name: str) -> Iterator[str]:
    """One line a word, with its confidence; a word with a space in it is several."""
    for word in scene.words:
        parts = word.text.split()
        length = (word.end_ms - word.start_ms) / max(1, len(parts))
        for n, part in enumerate(parts):
            start = word.start_ms + n * length
            yield f"{name} 1 {_s(start)} {_s(length)} {part} {word.score:.2f}"


def _s(ms: float) -> str:
    return f"{ms / 1000:.3f}"
