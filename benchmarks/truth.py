"""How often rows from recordings are right: `python benchmarks/truth.py`, or `make truth`.

Five sets are built with answers from what the engines predict, and every row is judged by the truth of its
clip: the demo, sounds alone, read sentences, meetings, and scenes mixed from these voices and sounds. The
store is kept beside the builds, so that a second run only does what has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

import paqa
from paqa import audioset
from paqa.config.recipe import GatesConfig, Recipe
from paqa.errors import PaqaError
from paqa.evaluation import row_audit, row_tables
from paqa.evaluation.grids import grid
from paqa.evaluation.row_audit import JudgedRow, RowAudit
from paqa.pipeline import recipe_files

ROOT = Path(__file__).parents[1]
REAL = ROOT / "manifests" / "real"
FITTED = (
    "The confidences of the embedded engines were fitted on what paqa ships: without sounds, speech and "
    "meetings of your own these figures are not held out. Held-out ones come from\n"
    "    paqa calibrate manifests/calibration.toml"
)
SETS = ("demo", "sounds", "sentences", "meetings", "mixed")
ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
# Names of classes in ESC-10's files that are not AudioSet's.
CLASSES = {
    "baby_cry": "Baby cry, infant cry", "clock_tick": "Clock", "dog_bark": "Dog", "fire_crackling": "Fire",
    "person_sneeze": "Sneeze", "rooster": "Chicken, rooster", "sea_waves": "Ocean",
}  # fmt: skip
ACTIVE_DB = 34.0  # as the demo's sounds: an event lasts while it is at most this far below its loudest moment
BRIDGE_MS = 300  # and pauses shorter than this do not end it
FRAME_MS = 10


def recipes(options: argparse.Namespace) -> Iterator[tuple[str, Recipe]]:
    """The recipe of each set that is asked for, all with answers from predictions."""
    for name in options.sets:
        yield name, _RECIPES[name](options)


def _demo(options: argparse.Namespace) -> Recipe:
    demo = recipe_files.load(ROOT / "manifests" / "demo.toml")
    sources = tuple(replace(source, answers="heard") for source in demo.sources)
    mixes = tuple(replace(mix, answers="heard") for mix in demo.mix)
    return replace(demo, sources=sources, mix=mixes, gates=_open_gates(demo))


def _sounds(options: argparse.Namespace) -> Recipe:
    """The sounds as recordings of their own: those given, else those of manifests/real."""
    sentences = recipe_files.load(REAL / "sentences.toml")
    path = str(REAL / "sounds.jsonl")
    if options.sounds:
        path = str(sound_list(options.sounds, options.out / "sounds-whole.jsonl", whole=True))
    source = replace(sentences.sources[0], name="sounds", path=path, answers="heard")
    return replace(sentences, name="real-sounds", description="Sounds alone.", sources=(source,))


def _sentences(options: argparse.Namespace) -> Recipe:
    recipe = recipe_files.load(REAL / "sentences.toml")
    if not options.speech:
        return recipe
    path = speech_list(options.speech, options.out / "speech.jsonl")
    return replace(recipe, sources=(replace(recipe.sources[0], path=str(path)),))


def _meetings(options: argparse.Namespace) -> Recipe:
    recipe = recipe_files.load(REAL / "meetings.toml")
    if not options.meetings:
        return recipe
    return replace(recipe, sources=(replace(recipe.sources[0], path=str(options.meetings.resolve())),))


def _mixed(options: argparse.Namespace) -> Recipe:
    """Scenes of the voices with the demo's sounds and the given ones, else those of manifests/real."""
    recipe = recipe_files.load(REAL / "mixed.toml")
    voices, backgrounds, real_sounds = recipe.sources
    if options.speech:
        voices = replace(voices, path=str(speech_list(options.speech, options.out / "speech.jsonl")))
    sources = [voices, backgrounds, real_sounds]
    if options.sounds:
        path = sound_list(options.sounds, options.out / "sounds-active.jsonl", whole=False)
        sources[2] = replace(backgrounds, name="given", path=str(path))
    names = tuple(source.name for source in sources[1:])
    mixes = tuple(replace(mix, background=names) for mix in recipe.mix)
    return replace(recipe, sources=tuple(sources), mix=mixes)


_RECIPES = {"demo": _demo, "sounds": _sounds, "sentences": _sentences, "meetings": _meetings, "mixed": _mixed}


def _open_gates(recipe: Recipe) -> GatesConfig:
    return replace(recipe.gates, shortcuts="off", max_quarantined=1.0)


def speech_list(given: Path, path: Path) -> Path:
    """A list of sentences (JSONL with text and speaker) in which nothing but speech is claimed to sound."""
    lines = []
    for line in given.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        row |= {"path": _copied(given.parent / row["path"], path.parent), "events": []}
        lines.append(json.dumps(row, ensure_ascii=False))
    return _written(path, lines)


def sound_list(given: Path, path: Path, whole: bool) -> Path:
    """A list of the sounds in a folder, whose names begin with their class, or a list as it is.

    `whole` gives each the length of its file, which says of what class it is and not when it sounds;
    otherwise events are found by level.
    """
    if given.is_file():
        return given.resolve()
    files = sorted(file for file in given.iterdir() if file.suffix.lower() in ENDINGS)
    if not files:
        raise PaqaError(f"{given}: found no {', '.join(ENDINGS)}; name a folder of sounds, or a JSONL list")
    lines = []
    for file in files:
        label = _label(file)
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        length_ms = len(samples) * 1000 // rate
        spans = [(0, length_ms)] if whole else active_spans(samples.mean(axis=1), rate)
        events = [
            {"label": label, "mid": audioset.mid(label), "start_ms": start, "end_ms": end}
            for start, end in spans
        ]
        row = {"id": file.stem, "path": _copied(file, path.parent), "events": events, "source": given.name}
        lines.append(json.dumps(row | {"turns": []} if whole else row))
    return _written(path, lines)


def _label(file: Path) -> str:
    """The AudioSet class that a file's name begins with: `dog_bark-1-30226-A.ogg`."""
    name = file.stem.partition("-")[0]
    label = CLASSES.get(name, name.replace("_", " "))
    return audioset.label(audioset.mid(label))


def active_spans(samples: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """Where a sound is active, in ms: frames near its loudest one, short pauses bridged."""
    frame = rate * FRAME_MS // 1000
    count = len(samples) // frame
    power = np.square(samples[: count * frame]).reshape(count, frame).mean(axis=1)
    active = np.flatnonzero(power > power.max() * 10 ** (-ACTIVE_DB / 10))
    spans: list[tuple[int, int]] = []
    for at in (int(n) * FRAME_MS for n in active):
        if spans and at - spans[-1][1] <= BRIDGE_MS:
            spans[-1] = (spans[-1][0], at + FRAME_MS)
        else:
            spans.append((at, at + FRAME_MS))
    return [span for span in spans if span[1] - span[0] >= 2 * FRAME_MS] or spans[:1]


def _copied(file: Path, folder: Path) -> str:
    """The path of a copy below the folder of the list that names it, relative to that folder."""
    copy = folder / "material" / file.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return str(copy.relative_to(folder))


def _written(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.resolve()


def build(name: str, recipe: Recipe, options: argparse.Namespace) -> Path:
    """The build of a set, with what the store already has."""
    out: Path = options.out / name
    if not options.judge_only:
        quiet = not options.verbose
        paqa.build(recipe, out, workers=options.workers, store=options.out / "store", quiet=quiet)
    return out


def table(audits: Mapping[str, RowAudit]) -> str:
    """One line a set, rows, right rows a clip, and shares with intervals."""
    heads = (
        "", "clips", "rows", "rows a clip", "right rows a clip", "right %", "95 %",
        "right, nothing false %", "95 %", "unjudged",
    )  # fmt: skip
    lines = []
    for name, audit in audits.items():
        whole = audit.overall
        lines.append(
            [
                name,
                str(audit.clips),
                str(whole.rows),
                f"{whole.rows / audit.clips:.2f}",
                f"{whole.right / audit.clips:.2f}",
                row_tables.percent(whole.right_share),
                row_tables.span(whole.right_interval),
                row_tables.percent(whole.nothing_false_share),
                row_tables.span(whole.nothing_false_interval),
                str(whole.unjudged),
            ]
        )
    title = "Rows answered from predictions; shares of judged rows, intervals over clips"
    return grid(title, heads, lines)


def written_rows(name: str, rows: Sequence[JudgedRow]) -> list[str]:
    """One JSON object a row: its verdict, and what its rationale states falsely."""
    return [
        json.dumps(
            {
                "set": name,
                "id": row.id,
                "clip_id": row.clip_id,
                "template": row.template,
                "outcome": row.verdict.outcome,
                "cause": row.verdict.cause,
                "note": row.verdict.note,
                "false": [[s.kind, s.text] for s in row.verdict.false],
                "unknown": row.verdict.unknown,
                "confidence": row.confidence,
                "reflection": row.reflection,
            }
        )
        for row in rows
    ]


def _given(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None


def parsed() -> argparse.Namespace:
    """The command line; what it leaves out comes from the environment."""
    parser = argparse.ArgumentParser(description="how often rows from recordings are right")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "truth", help="of builds and store")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--workers", type=int, default=None, help="processes (default: all cores)")
    parser.add_argument("--sounds", type=Path, default=_given("TRUTH_SOUNDS"), help="a folder, or a JSONL")
    parser.add_argument("--speech", type=Path, default=_given("TRUTH_SPEECH"), help="JSONL: text and speaker")
    parser.add_argument("--meetings", type=Path, default=_given("TRUTH_MEETINGS"), help="JSONL with rttm")
    parser.add_argument("--judge-only", action="store_true", help="judge the builds that are there")
    parser.add_argument("--verbose", action="store_true", help="print the stages of each build")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="write each row's verdict, a JSON a line")
    return parser.parse_args()


def main() -> None:
    """Build the sets, judge their rows and print the table."""
    options = parsed()
    audits: dict[str, RowAudit] = {}
    every: list[JudgedRow] = []
    lines: list[str] = []
    for name, recipe in recipes(options):
        out = build(name, recipe, options)
        rows = list(row_audit.judged_rows(out))
        audits[name] = row_audit.summarize(rows, row_audit.clips_with_truth(out))
        every += rows
        lines += written_rows(name, rows)
        print(table({name: audits[name]}), flush=True)
    print(f"\n{table(audits)}\n")
    print(f"{FITTED}\n")
    print(row_tables.text(row_audit.summarize(every, sum(audit.clips for audit in audits.values()))))
    if options.rows:
        options.rows.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
