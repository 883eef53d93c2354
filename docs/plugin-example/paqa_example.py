"""A paqa plug-in of each kind in one module. Its export writes a table of questions and answers."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from paqa import audioset
from paqa.config.recipe import SourceConfig
from paqa.dataset import shards
from paqa.engines.base import EngineOutput
from paqa.errors import PaqaError, Rejected
from paqa.publish.export.job import Job
from paqa.questions.context import SAFE_MS, Context
from paqa.questions.english import seconds, the_sound, upper
from paqa.questions.template import Draft, QuestionTemplate
from paqa.sources.registry import quarantined
from paqa.spans import from_frames, merge
from paqa.types import Audio, Event, Quarantined, Recording, Scene, Turn

AUDIO, SPLITS = "flac", shards.SPLITS  # of the export
HALVES = ("In the first half", "In the second half")


@dataclass(frozen=True)
class EnergyVadParams:
    """When 10 ms count as speech, and which pauses do not end a turn."""

    below_peak_db: Annotated[float, Meta(ge=0, le=120)] = 30.0  # of the loudest 10 ms of the clip
    max_gap_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500


class EnergyVad:
    """Diarization of one speaker: everything that is loud enough is speech of speaker 1."""

    name: ClassVar[str] = "energy_vad"
    stage: ClassVar[str] = "diarize"
    package: ClassVar[str] = "numpy"
    Params: ClassVar[type] = EnergyVadParams
    weights: ClassVar[tuple[Any, ...]] = ()
    gpu_precision: ClassVar[str | None] = None

    @classmethod
    def remotes(cls, params: EnergyVadParams) -> tuple[Any, ...]:
        return ()

    @classmethod
    def identify(cls, params: EnergyVadParams = EnergyVadParams()) -> str:
        return "1"  # raise it when the same parameters would give other turns

    def __init__(self, params: EnergyVadParams = EnergyVadParams(), device: str = "cpu", threads: int = 1):
        self.params = params

    def __call__(self, batch: Sequence[Audio]) -> list[EngineOutput]:
        return [EngineOutput(turns=self._turns(audio)) for audio in batch]

    def _turns(self, audio: Audio) -> tuple[Turn, ...]:
        step = audio.rate // 100
        signal = audio.samples.mean(axis=0)[: audio.samples.shape[1] // step * step]
        power = np.square(signal).reshape(-1, step).mean(axis=1)
        loud = (power > power.max(initial=0.0) * 10 ** (-self.params.below_peak_db / 10)).tolist()
        return tuple(Turn(a, b, 1) for a, b in merge(from_frames(loud, 10), self.params.max_gap_ms))


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """Every .flac with a label track of Audacity beside it: start, end in s and AudioSet class a line."""
    files = sorted(folder.rglob("*.flac"))
    if not files:
        raise PaqaError(f"source {config.name!r}: {folder} holds no .flac; correct `path` in the recipe")
    for path in files:
        uri = path.relative_to(folder).as_posix()
        try:
            lines = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
            events = tuple(_event(*line.split("\t")) for line in lines if line.strip())
        except (OSError, ValueError, TypeError, PaqaError) as error:
            yield quarantined(uri, Rejected("bad_truth", f"{uri}: label track: {error}"), uri)
            continue
        truth = Scene(uri, 0, events=tuple(sorted(events, key=lambda e: e.start_ms)))
        yield Recording(
            uri, uri, config.name, config.license, (uri,), config.answers, truth, truth_covers=("events",)
        )


def skipped(config: SourceConfig, folder: Path) -> str:
    """What the folder holds besides; a warning of the build, so that nothing is left aside silently."""
    others = sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and not (path.suffix == ".flac" or path.with_suffix(".flac").exists())
    )
    return f"source {config.name!r}: skipped {', '.join(others)}; expected .flac files" if others else ""


def _event(start_s: str, end_s: str, label: str) -> Event:
    mid = audioset.mid(label)
    return Event(round(float(start_s) * 100) * 10, round(float(end_s) * 100) * 10, audioset.label(mid), mid)


def onset_half(ctx: Context) -> Iterator[Draft]:
    """In which half of the clip does a sound start?"""
    middle = ctx.scene.duration_ms / 2
    for sound in ctx.shuffled(ctx.safe_backgrounds):
        if abs(sound.start_ms - middle) < SAFE_MS or not ctx.clear_until(sound.start_ms):
            continue
        half, name, evidence = (
            int(sound.start_ms > middle),
            the_sound(sound.label),
            ctx.sound_evidence(sound, 0),
        )
        yield Draft(
            texts=(
                f"In which half of the clip does {name} start?",
                f"Does {name} set in before or after the middle of the recording?",
                f"With the recording cut in two, in which half is {name} first heard?",
                f"Is the onset of {name} in the first or the second half?",
            ),
            answer=HALVES[half],
            decoys=(HALVES[1 - half],),
            evidence=evidence,
            plan=f"catch the onset of {name} and compare it with the middle of the clip",
            reasoning=f"{upper(name)} first sets in at {seconds(sound.start_ms)}, and the middle of the clip"
            f" is at {seconds(round(middle))}.",
            why_wrong=lambda _: "The onset can lie in only one of the two halves.",
            margin=ctx.margin(evidence),
            fewest=2,
        )


TEMPLATES = (
    QuestionTemplate(
        "onset_half",
        "halves",
        "environment",
        onset_half,
        closed=True,
        rests_on=frozenset({"sound", "sound_time"}),
    ),
)


def export(job: Job) -> None:
    """Write `questions.csv` and the audio."""
    with (job.part / "questions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("audio", "question", "answer"))
        for row in job.rows():
            table.writerow((job.save(row), row.item.question, row.item.answer))
            job.written[row.item.split] += 1
