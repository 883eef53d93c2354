"""Folders and lists of real files -> recordings, quarantine rows and truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError, Rejected
from paqa.sources.folder import safe_id
from paqa.sources.paths import locate, root
from paqa.sources.registry import check, recordings, skipped
from paqa.sources.truth import close_truth, window_truth
from paqa.types import Event, Quarantined, Recording, Scene, Turn, Word

SAMPLE = "package:pyannote.audio/sample/sample."


def folder_of(path: Path, *names: str) -> list[Recording | Quarantined]:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    return list(recordings(SourceConfig("here", "folder", ".", license="CC0-1.0"), path))


def rows(path: Path, *lines: dict[str, Any] | str) -> list[Recording | Quarantined]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (path / "list.jsonl").write_text(text, "utf-8")
    return list(recordings(SourceConfig("list", "jsonl", "list.jsonl"), path))


def row(folder: Path, **keys: Any) -> Recording:
    (found,) = rows(folder, {"id": "r", "path": "a.wav", **keys})
    assert isinstance(found, Recording), found
    return found


def lost(found: Recording | Quarantined) -> tuple[str, str]:
    assert isinstance(found, Quarantined)
    assert "\n" not in found.detail
    return found.reason, found.detail


def test_folder_is_recursive_and_sorted(tmp_path: Path) -> None:
    found = folder_of(
        tmp_path, "b.wav", "a.mp3", "a.wav", "deep/er/c.FLAC", "notes.txt", ".hidden.wav", ".git/d.wav"
    )
    assert [r.id for r in found] == ["a.mp3", "a.wav", "b.wav", "deep/er/c.FLAC"]
    first = found[0]
    assert isinstance(first, Recording)
    assert (first.uri, first.groups, first.source, first.license) == ("a.mp3", ("a.mp3",), "here", "CC0-1.0")
    assert locate("deep/er/c.FLAC", tmp_path).is_file()


def test_what_a_folder_holds_besides_audio_is_counted(tmp_path: Path) -> None:
    config = SourceConfig("here", "folder", ".")
    folder_of(tmp_path, "a.wav", ".hidden.pdf", "._a.wav", ".git/x.pdf")
    assert skipped(config, tmp_path) == ""
    folder_of(tmp_path, "1.pdf", "deep/2.PDF", "README", "b.rttm", "b.TextGrid")
    line = "source 'here': skipped 2 .pdf, 1 without an ending, 1 .rttm, 1 .textgrid, which are no audio"
    assert skipped(config, tmp_path) == (
        f"{line}; .rttm: a source of type references reads them; "
        ".textgrid: a list of type jsonl takes their words as turns or text"
    )
    assert "1 .textgrid" in skipped(SourceConfig("here", "references", "."), tmp_path)
    assert "rttm" not in skipped(SourceConfig("here", "references", "."), tmp_path)
    assert skipped(SourceConfig("list", "jsonl", "list.jsonl"), tmp_path) == ""


def test_a_folder_may_be_a_group(tmp_path: Path) -> None:
    """One folder a reader: all that is below it, chapters included, is one group."""
    for name in ("anna/1/a.wav", "anna/2/b.wav", "ben/a.wav", "a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    config = SourceConfig("here", "folder", ".", group="folder")
    found = [row for row in recordings(config, tmp_path) if isinstance(row, Recording)]
    assert [r.groups for r in found] == [("a.wav",), ("anna",), ("anna",), ("ben",)]
    with pytest.raises(
        PaqaError, match=r'source \'s\': group = "folder" is for type "folder", found "jsonl"'
    ):
        check(SourceConfig("s", "jsonl", "l.jsonl", group="folder"))


def test_ids_do_not_depend_on_other_files(tmp_path: Path) -> None:
    before = {r.id for r in folder_of(tmp_path, "x y.wav", "übung.wav")}
    after = {r.id for r in folder_of(tmp_path, "x_y.wav", "x?y.wav", "a" * 200 + ".wav")}
    assert before < after
    assert len(after) == 5
    assert all(len(name) <= 200 and " " not in name for name in after)


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_paths_have_different_ids(a: str, b: str) -> None:
    assert (safe_id(a) == safe_id(b)) == (a == b)


@pytest.mark.parametrize("names", [(), ("notes.txt", ".hidden.wav")])
def test_empty_folder(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(PaqaError, match=r"holds no audio file.*\.flac") as caught:
        folder_of(tmp_path, *names)
    assert str(tmp_path) in str(caught.value)


def test_missing_folder_list_and_type(tmp_path: Path) -> None:
    with pytest.raises(PaqaError, match="is no folder"):
        list(recordings(SourceConfig("s", "folder", "no"), tmp_path))
    with pytest.raises(PaqaError, match=r"no\.jsonl cannot be read"):
        list(recordings(SourceConfig("s", "jsonl", "no.jsonl"), tmp_path))
    with pytest.raises(PaqaError, match="expected one of folder, jsonl"):
        list(recordings(SourceConfig("s", "folders", "."), tmp_path))


def test_links_that_leave_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "a.wav").write_bytes(b"x")
    (inside / "file.wav").symlink_to(outside / "a.wav")
    (inside / "folder").symlink_to(outside)
    (inside / "loop.wav").symlink_to(inside / "loop.wav")
    found = folder_of(inside, "b.wav")
    (inside / "near.wav").symlink_to(inside / "b.wav")
    assert [lost(r)[0] if isinstance(r, Quarantined) else r.id for r in found] == [
        "b.wav", "outside_corpus", "outside_corpus", "missing_file",
    ]  # fmt: skip
    assert "near.wav" in [r.id for r in folder_of(inside)]


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.wav").write_bytes(b"x")
    (found,) = folder_of(tmp_path)
    assert lost(found)[0] == "bad_name"
    found.id.encode()


@pytest.mark.parametrize("uri", ["../a.wav", "x/../../a.wav", "/etc/passwd", "link/a.wav", "~/../../a"])
def test_locate_stays_below(tmp_path: Path, uri: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "link").symlink_to(tmp_path)
    with pytest.raises(Rejected) as caught:
        locate(uri, below)
    assert caught.value.reason == "outside_corpus"


def test_locate_below(tmp_path: Path) -> None:
    assert locate("x/../a.wav", tmp_path) == tmp_path / "a.wav"
    assert locate(str(tmp_path / "a.wav"), tmp_path) == tmp_path / "a.wav"
    with pytest.raises(Rejected):
        locate("a\0b", tmp_path)


@pytest.mark.parametrize(("uri", "end"), [
    ("package:soundfile/_soundfile_data/__init__.py", "_soundfile_data/__init__.py"),
    ("package:hypothesis/__init__.py", "hypothesis/__init__.py"),
    ("package:hypothesis.strategies/__init__.py", "hypothesis/strategies/__init__.py"),
])  # fmt: skip
def test_locate_in_package(tmp_path: Path, uri: str, end: str) -> None:
    assert locate(uri, tmp_path).as_posix().endswith(end)


@pytest.mark.parametrize(("uri", "reason"), [
    ("package:no.such.thing/a.wav", "missing_package"),
    ("package:", "missing_package"),
    ("package:hypothesis/no.wav", "missing_file"),
    ("package:hypothesis/../soxr/__init__.py", "outside_corpus"),
])  # fmt: skip
def test_locate_in_package_refuses(tmp_path: Path, uri: str, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        locate(uri, tmp_path)
    assert caught.value.reason == reason
    if uri.startswith("package:no."):
        assert "uv pip install no.such.thing" in caught.value.detail


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "import paqa.sources.paths, paqa.sources.jsonl, paqa.sources.folder\n"
        "try: paqa.sources.paths.locate('package:pyannote.audio/sample/sample.wav', Path('.'))\n"
        "except paqa.sources.paths.Rejected: pass\n"
        "heavy = 'numpy', 'soundfile', 'av', 'soxr', 'torch', 'pyannote', 'prefect'\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_root(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    assert root(SourceConfig("s", "folder", "deep"), tmp_path) == tmp_path / "deep"
    assert root(SourceConfig("s", "jsonl", "deep/list.jsonl"), tmp_path) == tmp_path / "deep"


def test_groups_are_one_name_or_a_list(tmp_path: Path) -> None:
    given = [
        ("t+01:00", ("t+01:00",)),
        (["g", "h", "g"], ("g", "h")),
        ([], ("r",)),
        ("", ("r",)),
        (None, ("r",)),
    ]
    assert [row(tmp_path, group=one).groups for one, _ in given] == [groups for _, groups in given]


def test_whole_file_turn(tmp_path: Path) -> None:
    found = row(
        tmp_path, text="Good morning.", speaker="anna", language="en", topic="t", synthetic=True, source="S"
    )
    assert (found.groups, found.voice, found.source, found.license) == (
        ("anna",),
        "anna",
        "S (synthetic)",
        "unknown",
    )
    assert found.truth is not None
    closed = close_truth(found.truth, 2340)
    assert closed.turns == (Turn(0, 2340, 1, "Good morning."),)
    assert (closed.duration_ms, closed.language, closed.clip_id) == (2340, "en", "r")


def test_turns_and_events(tmp_path: Path) -> None:
    turns = [{"start_ms": 900, "end_ms": 1500, "speaker": "b", "text": "two"},
             {"start_ms": 100, "end_ms": 700, "speaker": "z", "text": "one"}]  # fmt: skip
    events = [{"label": "Bark", "mid": "/m/05tny_", "start_ms": 0, "end_ms": 1900}]
    found = row(tmp_path, turns=turns, events=events, group="g", license="MIT")
    assert (found.groups, found.license) == (("g",), "MIT")
    assert found.truth is not None
    closed = close_truth(found.truth, 1400)  # of half a second too much nothing is said
    assert closed.turns == (Turn(100, 700, 1, "one"), Turn(900, 1400, 2, "two"))
    assert closed.events == (Event(0, 1400, "Bark", "/m/05tny_"),)


def test_no_truth_and_no_sounds_differ(tmp_path: Path) -> None:
    assert row(tmp_path).truth is None
    assert row(tmp_path, events=[]).truth == Scene("r", 0)


@pytest.mark.parametrize(("line", "reason", "detail"), [
    ('{"id": "a", "path":', "broken_json", "line 2"),
    ("[1]", "bad_row", "array"),
    ('{"id": "a"}', "bad_row", "`path`"),
    ({"id": "a", "path": "a.wav", "lisence": "x"}, "bad_row", "did you mean 'license'?"),
    ({"id": "a", "path": "a.wav", "zzzz": 1}, "bad_row", "known keys: id, path"),
    ({"id": "a", "path": "a.wav", "events": [{"lable": 1}]}, "bad_row", "did you mean 'label'?"),
    ({"id": "a", "path": "a.wav", "topic": 3}, "bad_row", "$.topic"),
    ({"id": "", "path": "a.wav"}, "bad_row", "$.id"),
    ({"id": "a", "path": "a.wav", "text": "x"}, "bad_row", "come together"),
    ({"id": "a", "path": "a.wav", "turns": [], "stm": "x"}, "bad_row", "turns and stm"),
    (
        {"id": "a", "path": "a.wav", "turns": [{"start_ms": 5, "end_ms": 5, "speaker": "a"}]},
        "bad_row", "5 to 5 ms",
    ),
    ({"id": "a", "path": "../a.wav"}, "outside_corpus", "../a.wav"),
    ({"id": "a", "path": "package:nope/a.wav"}, "missing_package", "uv pip install nope"),
    ({"id": "a", "path": "a.wav", "rttm": "no.rttm"}, "bad_truth", "no.rttm"),
    ({"id": "ok", "path": "a.wav"}, "duplicate_id", "line 1"),
])  # fmt: skip
def test_bad_lines_do_not_stop_the_rest(tmp_path: Path, line: Any, reason: str, detail: str) -> None:
    first, bad, last = rows(
        tmp_path, {"id": "ok", "path": "a.wav"}, line, "", {"id": "after", "path": "b.wav"}
    )
    assert (first.id, last.id) == ("ok", "after")
    found, text = lost(bad)
    assert found == reason
    assert detail in text
    assert f"{tmp_path}/list.jsonl, line 2" in text
    assert bad.id == "list.jsonl:2"


def test_line_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_bytes(b'{"id": "\xff", "path": "a.wav"}\n')
    (found,) = recordings(SourceConfig("list", "jsonl", "list.jsonl"), tmp_path)
    assert lost(found)[0] in ("broken_json", "bad_row")


def test_pyannote_sample(tmp_path: Path) -> None:
    pytest.importorskip("importlib.metadata").distribution("pyannote.audio")
    found = row(tmp_path, path=SAMPLE + "wav", rttm=SAMPLE + "rttm", stm=SAMPLE + "stm")
    assert found.truth is not None
    turns = close_truth(found.truth, 30_000).turns
    assert [turn.speaker for turn in turns] == [1, 2, 1, 2, 1, 2, 1, 2, 2, 1]
    assert [i for i, turn in enumerate(turns) if not turn.text] == [7]
    said = [line.split(maxsplit=5)[5] for line in locate(SAMPLE + "stm", tmp_path).read_text().splitlines()]
    assert len(said) == 13
    assert " ".join(turn.text for turn in turns if turn.text) == " ".join(said)
    assert turns[2].text == "Oh, hello. I didn't know you were there."


def annotated(path: Path, rttm: str | None, stm: str | None) -> tuple[Turn, ...]:
    files = {"rttm": rttm, "stm": stm}
    for name, text in files.items():
        if text is not None:
            (path / f"x.{name}").write_text(text)
    found = row(path, **{name: f"x.{name}" for name, text in files.items() if text is not None})
    assert found.truth is not None
    return found.truth.turns


def test_stm_alone(tmp_path: Path) -> None:
    stm = ";; comment\na 1 bob 1.5 2.25 <o,f0,male> Hi there.\na 1 al 0 1 Hello\n"
    stm += "a 1 x 3 4 ignore_time_segment_in_scoring\na 1 inter_segment_gap 4 5\n"
    assert annotated(tmp_path, None, stm) == (Turn(0, 1000, 1, "Hello"), Turn(1500, 2250, 2, "Hi there."))


def test_rttm_of_a_corpus_and_texts_without_turn(tmp_path: Path) -> None:
    rttm = (
        "SPKR-INFO a 1 <NA>\nSPEAKER b 1 0 9 <NA> <NA> q <NA> <NA>\nSPEAKER a 1 0 1 <NA> <NA> s1 <NA> <NA>\n"
    )
    stm = "a 1 ann 0.1 0.9 one\na 1 ann 5 6 two\na 1 new 7 8 three\n"
    assert annotated(tmp_path, rttm, stm) == (
        Turn(0, 1000, 1, "one"), Turn(5000, 6000, 1, "two"), Turn(7000, 8000, 2, "three"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "rttm", ["SPEAKER a 1 zero 1 <NA> <NA> s <NA>", "SPEAKER a 1 2", "", "SPEAKER a 1 1 -1 x x s"]
)
def test_bad_rttm(tmp_path: Path, rttm: str) -> None:
    (tmp_path / "x.rttm").write_text(rttm)
    (found,) = rows(tmp_path, {"id": "r", "path": "a.wav", "rttm": "x.rttm"})
    assert lost(found)[0] == "bad_truth"


SCENE = Scene(
    "whole", 10_000,
    turns=(Turn(0, 2000, 1, "first"), Turn(2500, 5000, 2, "second"), Turn(4800, 8000, 3, "third")),
    words=(Word(2600, 3000, "a", 2), Word(4880, 5080, "b", 3), Word(7000, 7100, "c")),
    events=(Event(1000, 4000, "Bark", "/m/05tny_"), Event(4950, 9000, "Bell", "/m/0395lw")),
    language="en",
)  # fmt: skip


def test_absolute_paths_are_cut_below_the_source(tmp_path: Path) -> None:
    assert row(tmp_path, path=str(tmp_path / "clips" / "a.wav")).uri == "clips/a.wav"


def test_window_renumbers_shifts_and_drops_cut_texts() -> None:
    part = window_truth(SCENE, "part", 2900, 5000)
    assert part.turns == (Turn(0, 2100, 1, "second"), Turn(1900, 2100, 2, ""))
    assert part.words == (Word(1980, 2100, "b", 2),)
    assert part.events == (Event(0, 1100, "Bark", "/m/05tny_"),)  # 50 ms of the bell are too little
    assert (part.clip_id, part.duration_ms, part.language) == ("part", 2100, "en")


def test_whole_window_is_the_scene() -> None:
    assert window_truth(SCENE, "whole", 0, 10_000) == SCENE


@given(st.integers(0, 9000), st.integers(1, 6000))
def test_windows_hold_valid_scenes(start: int, length: int) -> None:
    part = window_truth(SCENE, "part", start, start + length)
    firsts = list(dict.fromkeys(turn.speaker for turn in part.turns))
    assert firsts == list(range(1, len(firsts) + 1))
    assert {word.speaker for word in part.words if word.speaker} <= set(firsts)
    for span in (*part.turns, *part.words, *part.events):
        assert 0 <= span.start_ms < span.end_ms <= length
