"""`paqa diff`: which rows differ between two builds and why, and their figures side by side."""

import json
from dataclasses import replace

import pytest
from builds import make

from paqa.cli.main import main
from paqa.dataset import open_build, shards
from paqa.dataset.keys import item_key
from paqa.report import diff, diff_page, diff_text
from paqa.storage import build_folder
from paqa.types import HeardBy, Item, Quarantined

HOSTILE = "<script>alert(1)</script>"


def rewrite(folder, change, clips=None, lost=(), recipe=None):
    """The build with other rows: `change` gives each row's successor, None for none; returns the folder."""
    opened, _, all_clips = open_build.open_build(folder)
    clips = all_clips if clips is None else clips
    by_id = {clip.id: clip for clip in clips}
    columns = [name for name in shards.item_schema(16_000).names if name != "audio"]
    rows = [change(shards.item(row)) for row in shards.rows(folder, columns)]
    rows = [row for row in rows if row and row.clip_id in by_id]
    rows = [replace(row, key=item_key(row, by_id[row.clip_id].sha256)) for row in rows]
    sounds = {row["clip_id"]: row["audio"]["bytes"] for row in shards.rows(folder, ["clip_id", "audio"])}
    by_sha256 = {by_id[name].sha256: flac for name, flac in sounds.items() if name in by_id}
    for path in shards.files(folder):
        path.unlink()
    for plan in shards.plan(rows, clips, opened.shard):
        shards.write(plan, folder / "data", opened.shard, by_sha256.__getitem__, 16_000)
    shards.write_table(folder / build_folder.CLIPS, open_build.Clip, clips)
    shards.write_table(folder / build_folder.QUARANTINE, Quarantined, list(lost))
    if recipe:
        data = json.loads((folder / build_folder.RECIPE).read_text())
        (folder / build_folder.RECIPE).write_text(json.dumps(recipe(data)))
    return folder


@pytest.fixture
def two(tmp_path):
    """Two equal builds of 4 clips in folders of their own."""
    return make(tmp_path / "a", clips=4), make(tmp_path / "b", clips=4)


def items(folder):
    columns = [name for name in shards.item_schema(16_000).names if name != "audio"]
    return [shards.item(row) for row in shards.rows(folder, columns)]


def test_equal_builds_differ_in_nothing(two):
    compared = diff.compare(*two)
    assert compared.equal
    assert compared.same == len(items(two[0]))
    assert [*compared.recipe, *compared.engines, *compared.notes] == []
    assert "the rows of both are the same" in diff_text.text(compared)
    assert all(a == b for rows in compared.figures.values() for _, a, b in rows)


def test_a_changed_row_names_its_columns_and_what_differs(two):
    first = items(two[0])[0]

    def change(row: Item):
        if row.id != first.id:
            return row
        turn = replace(row.scene.turns[0], text="Other words.")
        scene = replace(row.scene, turns=(turn, *row.scene.turns[1:]))
        engines = (HeardBy("diarize", "silero_dvector", "2"), *row.heard_by[1:])
        return replace(row, question="Another one?", scene=scene, heard_by=engines)

    rewrite(two[1], change)
    compared = diff.compare(*two)
    (row,) = compared.changed
    assert (row.id, row.fields) == (first.id, ("heard_by", "question", "scene.turns"))
    assert row.causes == ("engine of diarize",)
    assert not compared.added
    assert not compared.removed
    assert [stage for stage, *_ in compared.engines] == ["diarize"]
    assert compared.engines[0][2] == "silero_dvector 1, silero_dvector 2"


def test_other_sound_is_a_change_of_the_audio(two):
    _, _, clips = open_build.open_build(two[1])
    rewrite(two[1], lambda row: row, [replace(clips[0], sha256="f" * 64), *clips[1:]])
    compared = diff.compare(*two)
    of_clip = [row.id for row in items(two[0]) if row.clip_id == clips[0].id]
    assert [row.id for row in compared.changed] == of_clip
    assert {(row.fields, row.causes) for row in compared.changed} == {(("audio",), ("audio of the clip",))}


def test_another_version_or_seed_alone_is_no_change(two):
    rewrite(two[1], lambda row: replace(row, seed=5, paqa_version="9.9"))
    compared = diff.compare(*two)
    assert compared.equal
    assert compared.versions[1] == ("9.9",)


def test_a_row_that_fell_out_has_the_reason_of_the_other_builds_quarantine(two):
    rows = items(two[0])
    by_row, by_clip, skipped, silent = (
        next(row for row in rows if row.clip_id == name) for name in sorted({row.clip_id for row in rows})
    )
    _, _, clips = open_build.open_build(two[1])
    kept = [clip for clip in clips if clip.id not in (by_clip.clip_id, silent.clip_id)]
    lost = [
        Quarantined(by_row.id, "gates", "low_margin", "margin 0.1, expected 0.3", "0" * 64),
        Quarantined(by_clip.clip_id, "quality", "low_quality", "DNSMOS 1, expected 2", "0" * 64),
        Quarantined(skipped.clip_id, "quality", "not_measured", "dnsmos failed; the clip is kept", "0" * 64),
    ]
    gone = {by_row.id, skipped.id}

    def recipe(data):
        return data | {"questions": {**data["questions"], "skip": [skipped.template]}}

    left = rewrite(two[1], lambda row: None if row.id in gone else row, kept, lost, recipe)
    compared = diff.compare(two[0], left)
    reasons = {row.id: (row.reason, row.detail) for row in compared.removed}
    assert reasons[by_row.id] == ("quarantined: low_margin", "margin 0.1, expected 0.3")
    assert reasons[by_clip.id] == ("clip quarantined: low_quality", "DNSMOS 1, expected 2")
    assert reasons[skipped.id] == ("left out by questions.skip", "")
    assert reasons[silent.id] == ("clip is not in the build", "")
    assert [name for name, _, _ in compared.recipe] == ["questions.skip"]
    back = diff.compare(left, two[0])  # the other way round the same rows came in, for the same reasons
    assert back.added == compared.removed
    assert {n: (a, b) for n, a, b in compared.figures["quarantined"]}["low_margin"] == (0, 1)


def test_a_clip_is_sought_in_quarantine_by_its_sound_and_its_recording(two):
    _, _, clips = open_build.open_build(two[1])
    lost = [
        Quarantined("renamed.wav", "ingest", "duplicate_audio", "a copy", clips[0].sha256),
        Quarantined(clips[1].origins[0].recording, "ingest", "truncated", "cut", "0" * 64),
    ]
    compared = diff.compare(two[0], rewrite(two[1], lambda row: row, clips[2:], lost))
    reasons = {row.clip_id: row.reason for row in compared.removed}
    assert reasons[clips[0].id] == "clip quarantined: duplicate_audio"
    assert reasons[clips[1].id] == "clip quarantined: truncated"


def test_a_row_that_is_not_asked_any_more_says_what_differs(two):
    gone = items(two[1])[0].id
    compared = diff.compare(two[0], rewrite(two[1], lambda row: None if row.id == gone else row))
    assert [(row.id, row.reason) for row in compared.removed] == [(gone, "not asked")]
    assert diff.UNRECORDED in compared.removed[0].detail


def test_keys_that_a_recipe_leaves_out_have_their_defaults(two):
    rewrite(two[1], lambda row: row, recipe=lambda data: data | {"gates": {}, "folder": "/elsewhere"})
    assert diff.compare(*two).recipe == ()
    rewrite(two[1], lambda row: row, recipe=lambda data: data | {"gates": {"thin": 0.5}, "mix": []})
    assert diff.compare(*two).recipe == (("gates.thin", 0.2, 0.5),)


def test_shards_alone_can_be_compared_with_a_note(two):
    for path in two[1].iterdir():
        if path.is_file():
            path.unlink()
    compared = diff.compare(*two)
    assert compared.equal
    assert [note for note in compared.notes if "has no clips.parquet" in note]


def test_the_command_prints_and_writes_it_all(two, tmp_path, capsys):
    gone = items(two[1])[0]
    lost = [Quarantined(gone.id, "gates", "low_margin", HOSTILE, "0" * 64)]
    rewrite(two[1], lambda row: None if row.id == gone.id else row, lost=lost)
    page, figures = tmp_path / "d.html", tmp_path / "d.json"
    assert main(["diff", *map(str, two), "--json", str(figures), "--html", str(page), "--rows", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"{gone.id}: quarantined: low_margin" in printed
    assert json.loads(figures.read_text())["removed"][0]["id"] == gone.id
    text = page.read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_ids_lead_to_the_reports_beside_the_page(two, tmp_path):
    gone = items(two[1])[0].id
    rewrite(two[1], lambda row: None if row.id == gone else row)
    compared = diff.compare(*two)
    assert "href" not in diff_page.page(compared, tmp_path)
    (two[0] / "report").mkdir()
    (two[0] / "report" / "index.html").touch()
    assert f'href="a/report/index.html#/item/{gone.split(":")[0].replace(" ", "%20")}' in diff_page.page(
        compared, tmp_path
    )


@pytest.mark.parametrize(
    ("rows", "text"), [(None, "no shards"), (["--rows", "-1"], "--rows -1: expected 0 or more")]
)
def test_what_cannot_be_compared_is_one_line(two, tmp_path, capsys, rows, text):
    other = two[1] if rows else tmp_path
    assert main(["diff", str(two[0]), str(other), *(rows or [])]) == 2
    assert text in capsys.readouterr().err
