"""A build as a folder that a browser opens from disk: `index.html`, assets, and data in script files.

A page opened from disk may not fetch files, but may load scripts: data lies in files that each hand one JSON
value to `paqa.take`. The index of all rows is loaded at once, scenes and rationales some clips at a time,
sound (the FLAC of the mix and of the speech stem) clip by clip; waveforms, spectrograms and the background
are made from it in the browser.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from paqa.dataset import verifier_table
from paqa.dataset.clip_quality import MEASURES
from paqa.errors import PaqaError
from paqa.perception.quality import Quality
from paqa.report import cite
from paqa.report.collect import Build, open_build, sounds
from paqa.report.drawn import build_id, to_review
from paqa.report.overview import overview
from paqa.storage.store import write_atomically
from paqa.types import Item, Scene

CLIPS_A_CHUNK = 16
ASSETS = (
    "report.css",
    *("theme.js", "dom.js", "data.js", "filter.js", "charts.js", "overview.js", "sound.js"),
    *("player.js", "timeline.js", "item.js", "browse.js", "verdicts.js", "review.js", "main.js"),
)


@dataclass(frozen=True)
class Written:
    """The page to open, and counts of what it holds."""

    page: Path
    items: int
    clips: int
    stems: int  # clips with their speech stem
    size: int  # bytes of all files
    notes: tuple[str, ...]


def write(
    folder: Path,
    out: Path | None = None,
    store: str | None = None,
    clips: int | None = None,
    sample: tuple[int, int] | None = None,
) -> Written:
    """Write the report of the build in `folder`, by default into `folder/report`.

    The same build gives the same bytes. With `clips`, only so many, drawn by the digest of their id, have
    pages; the overview is of the whole build. With `sample`, a number of rows and a seed, only the rows that
    `paqa.review.sample` draws have pages, to be judged, by default in `folder/review`.
    """
    build = open_build(folder, store)
    out = out or folder / ("review" if sample else "report")
    _claim(out)
    review = to_review(build, *sample) if sample else None
    shown = review.build if review else build
    names = _drawn(list(shown.items), clips)
    rows, all_rows = (sum(len(one.items[name]) for name in one.items) for one in (shown, build))
    if review and rows < all_rows:
        build.notes.append(
            f"{rows} of {all_rows} questions were drawn and can be judged here; figures are of all."
        )
    elif len(names) < len(build.items):
        build.notes.append(
            f"{len(names)} of {len(build.items)} clips can be looked at here; figures are of all clips."
        )
    media, stems = _sounds(build, set(names), out)
    separated = [name for name in media if (clip := build.clips.get(name)) is None or clip.listen]
    if build.store and stems < len(separated):
        build.notes.append(
            f"The store lacks the stems of {len(separated) - stems} of {len(separated)} clips."
        )
    for number, start in enumerate(range(0, len(names), CLIPS_A_CHUNK)):
        part = [_clip(shown, name) for name in names[start : start + CLIPS_A_CHUNK]]
        _hand(out, f"data/chunk-{number:05d}.js", "chunk", number, part)
    about = {"build": build_id(build), "review": review.columns if review else None}
    _hand(out, "data/index.js", "index", 0, _index(shown, names, media) | about)
    _hand(out, "data/overview.js", "overview", 0, overview(build))
    _sweep(out, set(media.values()), len(names))
    for asset in ASSETS:
        _keep(out / "assets" / asset, _asset(asset))
    _keep(out / "index.html", _asset("index.html"))
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    rows = sum(len(shown.items[name]) for name in names)
    return Written(out / "index.html", rows, len(names), stems, size, tuple(build.notes))


def text(written: Written) -> str:
    """What the command prints."""
    lines = [
        f"report       {written.page}",
        f"holds        {written.items} questions about {written.clips} clips, "
        f"{written.stems} of them with stems; {written.size / 1e6:.1f} MB",
        *(f"note         {note}" for note in written.notes),
        "open it in any browser; it needs no network and no server",
    ]
    return "\n".join(lines)


def _claim(out: Path) -> None:
    """Raises PaqaError where the folder holds files that are not a report of paqa."""
    if out.exists() and (
        not out.is_dir() or (any(out.iterdir()) and not (out / "data" / "index.js").exists())
    ):
        raise PaqaError(
            f"{out}: is not empty and holds no report of paqa; name another --out, or an empty folder"
        )


def _drawn(names: list[str], most: int | None) -> list[str]:
    """At most `most` of the names, in order, drawn by digest: each draw is independent of the others."""
    chosen = set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:most])
    return [name for name in names if name in chosen]


def _sounds(build: Build, names: set[str], out: Path) -> tuple[dict[str, str], int]:
    """Write the sound of clips; returns their files' names by clip, and how many have their speech stem."""
    media: dict[str, str] = {}
    stems = 0
    for name, mix in sounds(build.folder):
        if name in names:
            speech = build.speech(name)
            stems += speech is not None
            media[name] = _media(out, mix, speech)
    return media, stems


def _asset(name: str) -> bytes:
    return (resources.files("paqa.report") / "assets" / name).read_bytes()


def _keep(path: Path, data: bytes) -> None:
    """Write a file unless it holds these bytes already."""
    if not (path.exists() and path.read_bytes() == data):
        write_atomically(path, data)


def script(kind: str, name: str | int, value: Any) -> bytes:
    """A script that hands over a value; with `<` and line separators escaped, it is safe in any page."""
    arguments = b", ".join(msgspec.json.encode(part) for part in (kind, name, value))
    for character in ("<", "\u2028", "\u2029"):  # JSON has them inside of strings only
        arguments = arguments.replace(character.encode(), f"\\u{ord(character):04x}".encode())
    return b"paqa.take(" + arguments + b");\n"


def _hand(out: Path, file: str, kind: str, name: str | int, value: Any) -> None:
    _keep(out / file, script(kind, name, value))


def _media(out: Path, mix: bytes, speech: bytes | None) -> str:
    """Write a clip's sound, named after its content; returns the name."""
    name = hashlib.sha256(mix + b"|" + (speech or b"")).hexdigest()[:20]
    path = out / "media" / f"{name}.js"
    if not path.exists():
        sound = {
            "mix": base64.b64encode(mix).decode(),
            "speech": base64.b64encode(speech).decode() if speech else None,
        }
        write_atomically(path, script("media", name, sound))
    return name


def _sweep(out: Path, media: set[str], clips: int) -> None:
    """Remove what an earlier report in this folder had and this one does not."""
    chunks = {f"chunk-{n:05d}.js" for n in range(-(-clips // CLIPS_A_CHUNK))}
    for path in (out / "media").glob("*.js"):
        if path.stem not in media:
            path.unlink()
    for path in (out / "data").glob("chunk-*.js"):
        if path.name not in chunks:
            path.unlink()


class _Terms:
    """Texts that occur again and again, as numbers."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, term: str) -> int:
        return self.numbers.setdefault(term, len(self.numbers))


def _index(build: Build, names: list[str], media: dict[str, str]) -> dict[str, Any]:
    """All that is listed, searched and filtered, in columns."""
    columns = ("task", "template", "split", "subset", "label", "reflection", "corpus")
    terms = {column: _Terms() for column in columns}
    clips = [_listed_clip(build, name, terms) for name in names]
    items = [_listed_item(row, place, terms) for place, name in enumerate(names) for row in build.items[name]]
    verified = any(row.id in build.verified for name in names for row in build.items[name])
    model = build.recipe.verifier.model if build.recipe else ""
    return {
        "name": build.name,
        "chunk": CLIPS_A_CHUNK,
        "clips": _columns(clips) | {"media": [media[name] for name in names]},
        "items": _columns(items),
        "terms": {name: list(t.numbers) for name, t in terms.items()},
        "measures": [[*measure] for measure in MEASURES] if build.qualities else [],
        **({"verifier": model} if verified else {}),
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _listed_clip(build: Build, name: str, terms: dict[str, _Terms]) -> dict[str, Any]:
    scene = build.items[name][0].scene
    clip, quality = build.clips.get(name), build.qualities.get(name)
    return {
        "id": name,
        "ms": scene.duration_ms,
        "speakers": scene.speakers,
        "snr": scene.snr_db,
        "labels": [terms["label"](label) for label in dict.fromkeys(e.label for e in scene.events)],
        "said": scene.transcript,
        "corpus": terms["corpus"](clip.corpus) if clip else None,
        "quality": [getattr(quality, field) for field, *_ in MEASURES] if quality else None,
    }


def _listed_item(row: Item, clip: int, terms: dict[str, _Terms]) -> dict[str, Any]:
    return {
        "id": row.id,
        "clip": clip,
        "question": row.question,
        "choices": row.choices,
        "answer": row.answer if row.answer_index is None else row.answer_index,
        "task": terms["task"](row.task),
        "template": terms["template"](row.template),
        "split": terms["split"](row.split),
        "subsets": [terms["subset"](name) for name in row.subsets],
        "reflection": terms["reflection"](row.reflection) if row.reflection else None,
        "difficulty": row.difficulty,
        "dependence": row.audio_dependence,
    }


def _clip(build: Build, name: str) -> dict[str, Any]:
    """A clip with its rows, as the page of an item needs them."""
    first = build.items[name][0]
    clip = build.clips.get(name)
    truth, predicted = build.truth(name), build.prediction(name)
    return {
        "answers": "truth" if truth is first.scene else "heard",
        "truth": _scene(truth),
        "heard": _scene(predicted),
        "words": compared(truth.transcript, predicted.transcript) if truth and predicted else None,
        "source": first.source,
        "license": first.license,
        "uri": clip.uri if clip else "",
        "offset_ms": clip.offset_ms if clip else 0,
        "heard_by": [[h.stage, h.engine, h.revision] for h in first.heard_by],
        "voices": _voices(build.qualities.get(name)),
        "items": [_row(row) | _verifier(build, row.id) for row in build.items[name]],
    }


def _voices(quality: Quality | None) -> list[list[Any]]:
    """Each speaker whose sound was measured: the number, and the measures in order."""
    speakers = quality.speakers if quality else ()
    return [[s.speaker, *(getattr(s, field) for field, *_ in MEASURES)] for s in speakers]


def _row(row: Item) -> dict[str, Any]:
    return {
        "id": row.id,
        "sections": cite.sections(row),
        "evidence": cite.evidence(row),
        "answers_from": row.answers_from,
        "key": row.key,
    }


def _verifier(build: Build, name: str) -> dict[str, Any]:
    """What the verifier replied to a row, and the words before it was reworded; {} where it was not asked."""
    row = build.verified.get(name)
    lines = verifier_table.row_lines(row) if row else []
    if row is None or not lines:
        return {}
    before = [row.original_question, row.original_rationale]
    return {"verifier": {"lines": lines, "before": before if row.original_rationale else None}}


def _scene(scene: Scene | None) -> dict[str, Any] | None:
    if scene is None:
        return None
    return {
        "turns": [[t.start_ms, t.end_ms, t.speaker, t.text, t.emotion, t.translation] for t in scene.turns],
        "words": [[w.start_ms, w.end_ms, w.text, w.speaker, round(w.score, 2)] for w in scene.words],
        "events": [[e.start_ms, e.end_ms, e.label, round(e.score, 2)] for e in scene.events],
        "snr": scene.snr_db,
        "language": scene.language,
        "doubts": [[d.stage, d.start_ms, d.end_ms, d.first, d.second] for d in scene.disagreements],
    }


def compared(truth: str, predicted: str) -> list[list[str]]:
    """Two transcripts as runs `[operation, true words, predicted words]`.

    Words of `equal` runs may differ in case and punctuation.
    """
    true_words, predicted_words = truth.replace("-", " ").split(), predicted.replace("-", " ").split()
    bare = [_bare(word) for word in true_words], [_bare(word) for word in predicted_words]
    runs = []
    for operation, i, j, k, m in SequenceMatcher(None, *bare, autojunk=False).get_opcodes():
        runs.append([operation, " ".join(true_words[i:j]), " ".join(predicted_words[k:m])])
    return runs


def _bare(word: str) -> str:
    return "".join(c for c in word.casefold() if c.isalnum())
