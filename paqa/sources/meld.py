"""MELD (Poria et al., ACL 2019): utterances of the series Friends, each with speaker, words and emotion.

`path` is the folder of `train_sent_emo.csv`, `dev_sent_emo.csv`, `test_sent_emo.csv` (or some of them) and of
the clips `diaN_uttM.mp4` (or .wav, .flac) in any folders whose names tell the part: `train_splits`,
`dev_splits_complete`, `output_repeated_splits_test`. Numbers of dialogues begin anew in each part.

The group is the dialogue. The six leads speak in nearly all of them, so their voices are on every side of the
split whatever the group is: what does not leak is a dialogue's content and its guests. A clip's own
background (laughter, music) is not annotated, so truth is about the speech only.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources import tables
from paqa.sources.registry import quarantined
from paqa.sources.truth import WHOLE_FILE
from paqa.types import Quarantined, Recording, Scene, Turn

COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
CLIP = re.compile(r"dia(\d+)_utt(\d+)\.(wav|flac|mp4)")
PART = re.compile(r"train|dev|test")
FORMS = ("wav", "flac", "mp4")  # the first of these is taken where a clip comes in several
LEADS = {"Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross"}
SEVERAL = re.compile(r"\b(all|both|everyone|everybody|and|crowd|guys|girls)\b|[&/,]", re.IGNORECASE)

Key = tuple[str, int, int]  # part, dialogue, utterance


def recordings(config: SourceConfig, folder: Path) -> Iterator[Recording | Quarantined]:
    """One recording an utterance, in order of the tables: one whole-file turn with text and emotion.

    Utterances of several people at once ("All", "Ross and Joey") are quarantined: they are nobody's turn.
    Raises PaqaError where the folder holds no table.
    """
    parts = sorted(folder.rglob("*_sent_emo.csv")) or sorted(folder.glob("*.csv"))
    if not parts:
        raise PaqaError(
            f"source {config.name!r}: {folder} holds no table; expected train_sent_emo.csv and the like"
        )
    clips = _clips(folder)
    for path in parts:
        part = _part(path.name)
        for row in tables.rows(path, config.name, COLUMNS):
            try:
                yield _recording(config, part, row, clips)
            except Rejected as error:
                yield quarantined(row.where, error, row.content)


def _clips(folder: Path) -> dict[Key, str]:
    """Paths relative to the folder, by part, dialogue and utterance.

    The part is that of the outermost folder that names one, "" where none does.
    """
    by_form: dict[Key, dict[str, str]] = defaultdict(dict)
    for top, folders, files in os.walk(folder):
        folders.sort()
        inside = Path(top).relative_to(folder)
        part = next((p for name in inside.parts if (p := _part(name))), "")
        for name in sorted(files):
            if match := CLIP.fullmatch(name):
                key = (part, int(match[1]), int(match[2]))
                by_form[key].setdefault(match[3], (inside / name).as_posix())
    return {key: next(forms[form] for form in FORMS if form in forms) for key, forms in by_form.items()}


def _part(name: str) -> str:
    match = PART.search(name.lower())
    return match[0] if match else ""


def _recording(config: SourceConfig, part: str, row: tables.TableRow, clips: dict[Key, str]) -> Recording:
    dialogue, utterance = _number(row, "Dialogue_ID"), _number(row, "Utterance_ID")
    speaker = repaired_text(row["Speaker"])
    if SEVERAL.search(speaker):
        raise Rejected(
            "several_speakers", f"{row.where}: said by {speaker!r}; only turns of one person can be used"
        )
    name = f"dia{dialogue}_utt{utterance}"
    uri = clips.get((part, dialogue, utterance)) or clips.get(("", dialogue, utterance))
    if uri is None:
        expected = f"expected {name}.mp4"
        if part:
            expected = f"expected {name}.mp4 or .wav in a folder of the part {part!r}"
        raise Rejected("missing_file", f"{row.where}: there is no clip of this utterance; {expected}")
    group = f"{config.name}-{part}-dia{dialogue}" if part else f"{config.name}-dia{dialogue}"
    turn = Turn(0, WHOLE_FILE, 1, repaired_text(row["Utterance"]), emotion=row["Emotion"].lower())
    return Recording(
        id=f"{part}/{name}" if part else name,
        uri=uri,
        source=config.name,
        license=config.license,
        groups=(group,),
        truth=Scene(name, 0, turns=(turn,), language="en"),
        voice=speaker if speaker in LEADS else f"{speaker} of {group}",
    )


def _number(row: tables.TableRow, column: str) -> int:
    value = row[column]
    if not value.isdecimal():
        raise Rejected("bad_row", f"{row.where}: column {column!r} holds {value!r}, expected a number")
    return int(value)


def repaired_text(text: str) -> str:
    r"""Text with Windows-1252 characters restored that were read as Latin-1 ("I\x92m") or UTF-8 ("Iâ€™m")."""
    if re.search(r"[ÃâÂ][\u0080-\uffff]", text):
        with contextlib.suppress(UnicodeError):  # it only looked like it
            text = text.encode("cp1252").decode("utf-8")
    fixed = (bytes([ord(c)]).decode("cp1252", "ignore") if "\x80" <= c <= "\x9f" else c for c in text)
    return " ".join("".join(fixed).split())
