"""Annotations as tools and people write them: blanks in names, lines of no time, times beyond the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from sounds import tone

from paqa.config.recipe import Recipe, SourceConfig
from paqa.errors import Rejected
from paqa.pipeline.ingest import decode_recordings as ingest
from paqa.sources.registry import recordings
from paqa.sources.truth import close_truth
from paqa.storage.store import Store
from paqa.types import Event, Quarantined, Recording, Scene, Turn, Word


def annotated(folder: Path, **texts: str) -> tuple[Recording, list[Quarantined]]:
    """A folder with one recording, `my rec.wav`, and annotations by their endings."""
    (folder / "my rec.wav").write_bytes(b"x")
    for ending, text in texts.items():
        (folder / f"my rec.{ending}").write_text(text, encoding="utf-8")
    rows = list(recordings(SourceConfig("here", "references", "."), folder))
    (recording,) = [row for row in rows if isinstance(row, Recording)]
    return recording, [row for row in rows if isinstance(row, Quarantined)]


def turns(folder: Path, **texts: str) -> tuple[Turn, ...]:
    recording, lost = annotated(folder, **texts)
    assert not lost
    assert recording.truth is not None
    return recording.truth.turns


@pytest.mark.parametrize("line", [
    "SPEAKER my rec 1 1.5 2.0 <NA> <NA> anna <NA> <NA>",
    "SPEAKER my rec 1 1.5 2.0 <NA> <NA> anna <NA>",
    "SPEAKER my rec 1 1.5 2.0 <NA> <NA> anna 0.9 <NA>",
    "SPEAKER my rec 1 1.5 2.0 <NA> <NA> anna",
    "SPEAKER\tmy rec\t1\t1.5\t2.0\t<NA>\t<NA>\tAnna de Vries\t<NA>\t<NA>",
    "SPEAKER rec 1 1.5 2.0 <NA> <NA> Anna Vries <NA>",
    "SPEAKER rec 1 1.5 2.0 <NA> <NA> Speaker 2 <NA> <NA>",
    "SPEAKER rec 1 1.5 2.0 <NA> <NA> Speaker 2 <NA>",
    "SPEAKER my rec 2 1 1.5 2.0 <NA> <NA> Speaker 2 <NA> <NA>",
    "SPEAKER rec 1 1.5 2.0 <NA> <NA> anna -3.5 <NA>",
])  # fmt: skip
def test_blanks_in_names_move_no_times(tmp_path: Path, line: str) -> None:
    assert turns(tmp_path, rttm=line) == (Turn(1500, 3500, 1),)


def test_speakers_whose_names_begin_alike_stay_apart(tmp_path: Path) -> None:
    lines = [f"SPEAKER my rec 1 {n} 0.5 <NA> <NA> Speaker {n} <NA>" for n in (1, 2, 3, 2)]
    assert [t.speaker for t in turns(tmp_path, rttm="\n".join(lines))] == [1, 2, 2, 3]


@pytest.mark.parametrize(("ending", "line"), [
    ("rttm", "SPEAKER my rec 1 1.5 2.0 x y Anna Vries <NA> <NA>"),
    ("rttm", "SPEAKER a 1 1.5 2.0 <NA> <NA> x <NA> <NA> SPEAKER a 1 4.5 2.0 <NA> <NA> y <NA> <NA>"),
    ("rttm", "SPEAKER my rec 1 1.5 <NA> <NA> Anna Vries <NA> <NA>"),
    ("stm", "rec 1 Speaker 1 2.5 4.0 hello there"),
    ("stm", "my rec 1 anna 2.5 4.0 hello there"),
    ("ctm", "my rec 1 0.5 0.2 hello 0.9"),
    ("ctm", "my rec 1 0.5 0.2 hello"),
])  # fmt: skip
def test_unclear_lines_are_refused_by_name(tmp_path: Path, ending: str, line: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / f"x.{ending}").write_text(f"{line}\n")
    first, *_ = recordings(SourceConfig("here", "references", "."), tmp_path)
    assert isinstance(first, Quarantined)
    assert first.reason == "bad_truth"
    assert f"x.{ending}, line 1: {line[:40]!r}"[:-1] in first.detail
    assert "another format" in first.detail


def test_texts_may_begin_with_numbers(tmp_path: Path) -> None:
    found = turns(tmp_path, stm="rec 1 a 1 2 4 of them\nrec 1 a 3.0 4.5 2.5 litres\n")
    assert [t.text for t in found] == ["4 of them", "2.5 litres"]


def test_old_mac_line_ends(tmp_path: Path) -> None:
    (tmp_path / "my rec.rttm").write_bytes(b"")
    lines = "SPEAKER a 1 0 1 <NA> <NA> x <NA> <NA>\rSPEAKER a 1 1 1 <NA> <NA> y <NA> <NA>\r"
    assert len(turns(tmp_path, rttm=lines)) == 2


@pytest.mark.parametrize("ending", ["rttm", "stm"])
def test_a_line_of_no_time_costs_that_line_only(tmp_path: Path, ending: str) -> None:
    lines = {
        "rttm": [
            "SPEAKER r 1 {} {} <NA> <NA> x <NA> <NA>".format(*t) for t in ((1, 1), (3, 0), (4, 1), (-3, 2))
        ],
        "stm": ["r 1 x {} {} words".format(*t) for t in ((1, 2), (3, 3), (4, 5), (-3, -1))],
    }
    recording, lost = annotated(tmp_path, **{ending: "\n".join(lines[ending])})
    assert recording.truth is not None
    assert [(t.start_ms, t.end_ms) for t in recording.truth.turns] == [(1000, 2000), (4000, 5000)]
    assert [(row.id, row.reason) for row in lost] == [(f"my rec.{ending}:{n}", "bad_line") for n in (2, 4)]
    assert "found 3 to 3 s about 'r', which is no time: left out" in lost[0].detail
    assert "found -3 to -1 s about 'r', before the recording starts: left out" in lost[1].detail


def test_a_list_of_recordings_reports_such_lines_once(tmp_path: Path) -> None:
    lines = [
        "SPEAKER {} 1 {} {} <NA> <NA> x <NA> <NA>".format(*t) for t in (("a", 0, 1), ("b", 0, 1), ("a", 2, 0))
    ]
    (tmp_path / "all.rttm").write_text("\n".join(lines))
    rows = [f'{{"id": "{name}", "path": "{name}.wav", "rttm": "all.rttm"}}' for name in "ab"]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    found = list(recordings(SourceConfig("list", "jsonl", "list.jsonl"), tmp_path))
    assert sorted(row.id for row in found) == ["a", "all.rttm:3", "b"]


def test_before_the_start_is_cut(tmp_path: Path) -> None:
    lines = ["SPEAKER r 1 -0.2 1 <NA> <NA> x <NA> <NA>", "SPEAKER r 1 -2 5 <NA> <NA> y <NA> <NA>"]
    recording, (lost,) = annotated(tmp_path, rttm="\n".join(lines))
    assert recording.truth is not None
    assert [(t.start_ms, t.end_ms) for t in recording.truth.turns] == [(0, 800), (0, 3000)]
    assert lost.id == "my rec.rttm:2"
    assert "found -2 to 3 s about 'r', before the recording starts: cut there" in lost.detail


LATE = {
    "turn": Scene("c", 0, turns=(Turn(0, 1000, 1), Turn(0, 10_700, 2))),
    "word": Scene("c", 0, words=(Word(10_600, 10_700, "a"),)),
    "event": Scene("c", 0, events=(Event(0, 10_700, "Bark", "/m/05tny_"), Event(0, 0, "Bell", "/m/0395lw"))),
}


@pytest.mark.parametrize("kind", LATE)
def test_what_reaches_beyond_the_file_is_refused_with_both_numbers(kind: str) -> None:
    with pytest.raises(
        Rejected, match=r"a\.wav lasts 10 s, but its annotation reaches to 10\.7 s \(.*another file"
    ) as e:
        close_truth(LATE[kind], 10_000, "a.wav")
    assert e.value.reason == "bad_truth"
    closed = close_truth(LATE[kind], 10_200)  # half a second is cut
    assert all(s.end_ms <= 10_200 for s in (*closed.turns, *closed.words, *closed.events))
    close_truth(LATE[kind], 10_600)


def test_a_hundredth_of_a_long_file_is_cut() -> None:
    scene = Scene("c", 0, turns=(Turn(0, 605_000, 1),))
    assert close_truth(scene, 600_000).turns[0].end_ms == 600_000
    with pytest.raises(Rejected):
        close_truth(scene, 598_000)


def test_milliseconds_given_as_seconds_lose_the_recording_by_name(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 1000)
    tone(tmp_path / "b.wav", 1000, seed=1)
    for name, scale in (("a", 1000), ("b", 1)):
        lines = [f"SPEAKER {name} 1 {t * scale} {0.2 * scale} <NA> <NA> x <NA> <NA>" for t in (0.1, 0.5)]
        (tmp_path / f"{name}.rttm").write_text("\n".join(lines))
    source = SourceConfig("here", "references", ".")
    recipe = Recipe("r", sources=(source,), folder=str(tmp_path))
    rows = [row for row in recordings(source, tmp_path) if isinstance(row, Recording)]
    ingested = ingest(rows, source, recipe, Store(tmp_path / "store"))
    (lost,) = ingested.quarantined
    assert (lost.id, lost.stage, lost.reason) == ("a.wav", "ingest", "bad_truth")
    assert (
        "a.wav lasts 1 s, but its annotation reaches to 700 s (milliseconds given as seconds?)" in lost.detail
    )
    assert [clip.id for clip in ingested.clips] == ["b.wav"]
