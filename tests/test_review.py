"""Verdicts of people: the sample, the files, the estimate, and what a build leaves out because of them."""

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from builds import make
from conftest import BACKGROUNDS, CORPUS, VOICES
from scipy.stats import binomtest

import paqa
from paqa.cli import main
from paqa.curation.shortcuts import dependent_key
from paqa.dataset import shards, summary
from paqa.dataset.check import check
from paqa.errors import PaqaError
from paqa.pipeline import recipe_files
from paqa.report.collect import open_build as open_report
from paqa.report.drawn import to_review
from paqa.review import estimate, measure, sample, verdicts
from paqa.review.text import text
from paqa.review.verdicts import RowKeys, Verdict
from paqa.storage.build_folder import QUARANTINE
from paqa.types import Quarantined

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
KEY, OTHER = "a" * 64, "b" * 64
RECIPE = f"""
name = "reviewed"
seed = 5

{VOICES}
{BACKGROUNDS}
[[mix]]
name = "scene"
scenes = 6
speech = "voices"
background = "backgrounds"
listen = false

[gates]
shortcuts = "off"
"""


@dataclass(frozen=True)
class Row:
    """As much of an item as a sample looks at."""

    id: str
    clip_id: str
    template: str
    confidence: float | None


def population(clips=60, per_clip=8, bad_clips=0.0, wrong=0.03):
    """Rows of frequent and rare templates, and which are right; half of a bad clip's rows are wrong."""
    rng = random.Random(f"{clips} {bad_clips} {wrong}")
    rows, right = [], {}
    for c in range(clips):
        bad = rng.random() < bad_clips
        for n in range(per_clip):
            template = f"t{min(19, int(rng.expovariate(0.2)))}"
            row = Row(f"c{c:04d}:{n}", f"c{c:04d}", template, round(rng.uniform(0.9, 1), 3))
            rows.append(row)
            right[row.id] = rng.random() > (0.5 if bad else wrong)
    return rows, right


def a_verdict(name="c:t:0", verdict="right", reviewer="anna", **more):
    values = {"id": name, "key": KEY, "clip_id": name.split(":")[0], "template": "t", "time": NOW}
    return Verdict(**values | {"verdict": verdict, "reviewer": reviewer} | more)


def of_drawn(drawn, right, templates):
    """The verdicts of a reviewer who is never mistaken."""
    return [
        a_verdict(
            row.id, "right" if right[row.id] else "wrong", sample="s", clip_id=row.clip_id,
            template=templates[row.id], stratum=row.stratum, stratum_rows=row.stratum_rows, weight=row.weight,
        )
        for row in drawn
    ]  # fmt: skip


def share_of(rows, right, size, seed):
    templates = {row.id: row.template for row in rows}
    drawn = sample.draw(rows, size, seed)
    return estimate.right_share("all", estimate.judged_rows(of_drawn(drawn, right, templates)))


# The sample


@pytest.mark.parametrize("size", [1, 2, 7, 39, 40, 100, 480, 1000])
def test_a_sample_stands_for_all_rows(size):
    rows, _ = population()
    drawn = sample.draw(rows, size)
    assert len({row.id for row in drawn}) == len(drawn) == min(size, len(rows))
    assert sum(row.weight for row in drawn) == len(rows)
    strata = Counter()
    for row in drawn:
        strata[row.stratum, row.stratum_rows] += row.weight
    assert all(rows_of == weights for (_, rows_of), weights in strata.items())
    templates = {row.id: row.template for row in rows}
    for row in drawn:
        assert row.stratum in (templates[row.id], sample.REST)


def test_every_template_has_two_rows_where_the_sample_is_large_enough():
    rows, _ = population()
    sizes, drawn = Counter(row.template for row in rows), Counter(r.stratum for r in sample.draw(rows, 60))
    assert drawn.keys() == sizes.keys()
    assert all(drawn[name] >= min(2, sizes[name]) for name in sizes)
    assert max(drawn, key=drawn.get) == max(sizes, key=sizes.get)


def test_a_sample_is_seeded_and_stable():
    rows, _ = population()
    mixed = random.Random(1).sample(rows, len(rows))
    assert sample.draw(mixed, 50) == sample.draw(rows, 50)
    ids = [{row.id for row in sample.draw(rows, 50, seed)} for seed in (0, 1)]
    assert ids[0] != ids[1]
    order = [row.clip_id for row in sample.draw(rows, 200)]
    assert len([a for a, b in pairwise(order) if a != b]) == len(set(order)) - 1
    assert order != sorted(order)


def test_rows_of_every_confidence_are_drawn():
    rows = [Row(f"c{i}:0", f"c{i}", "t", i / 100) for i in range(100)]
    drawn = sorted(row.confidence for row in rows if row.id in {d.id for d in sample.draw(rows, 10)})
    assert all(n / 10 <= confidence < (n + 1) / 10 for n, confidence in enumerate(drawn))


def test_the_estimate_is_unbiased_and_its_interval_holds():
    """Over many draws: the mean of the estimates is the share itself, and 95 % of the intervals hold it."""
    for bad_clips, wrong in ((0.0, 0.01), (0.1, 0.02), (0.2, 0.1)):
        rows, right = population(100, 8, bad_clips, wrong)
        share = sum(right.values()) / len(right)
        drawn = [share_of(rows, right, 100, seed) for seed in range(60)]
        assert abs(sum(d.share for d in drawn) / len(drawn) - share) < 0.01
        held = sum(d.interval[0] <= share <= d.interval[1] for d in drawn)
        assert held >= 54, (bad_clips, wrong, held)


def test_a_mean_of_drawn_rows_without_weights_would_be_biased():
    """The rare template is drawn more often than its share: weights set that right."""
    rows = [Row(f"c{i}:0", f"c{i}", "rare" if i < 10 else "often", 0.95) for i in range(1000)]
    right = {row.id: row.template == "often" for row in rows}
    done = share_of(rows, right, 20, 0)
    assert done.right / done.rows == 0.9
    assert done.share == pytest.approx(0.99)


@pytest.mark.parametrize("size", [0, -3])
def test_a_sample_without_rows_is_refused(size):
    with pytest.raises(PaqaError, match=f"found {size}, expected the number of rows"):
        sample.draw(population()[0], size)


# The estimate


def equal(outcomes, clips=None):
    """One stratum in which all rows count alike."""
    return estimate.judged_rows(
        a_verdict(
            f"r{i:03d}", "right" if ok else "wrong", sample="s", stratum="t", stratum_rows=len(outcomes),
            weight=1, clip_id=clips[i] if clips else f"c{i}",
        )
        for i, ok in enumerate(outcomes)
    )  # fmt: skip


def test_rows_of_different_clips_have_wilsons_interval():
    for right, size in ((97, 100), (50, 50), (0, 30)):
        done = estimate.right_share("all", equal([True] * right + [False] * (size - right)))
        known = binomtest(right, size).proportion_ci(method="wilson")
        assert done.share == pytest.approx(right / size)
        assert done.interval == pytest.approx((known.low, known.high), abs=0.003)


def test_rows_of_one_clip_are_no_independent_draws():
    outcomes = [i % 20 != 0 for i in range(100)]
    apart = estimate.right_share("all", equal(outcomes))
    wrong_together = sorted(outcomes)
    together = estimate.right_share("all", equal(wrong_together, [f"c{i // 5}" for i in range(100)]))
    assert together.share == apart.share
    assert together.interval[0] < apart.interval[0] - 0.03
    alone = estimate.right_share("all", equal(outcomes[:3], ["c"] * 3))
    assert alone.interval is None


def test_all_right_is_not_certain():
    assert estimate.right_share("all", equal([True] * 100)).interval[0] == pytest.approx(0.963, abs=0.001)
    assert estimate.right_share("all", equal([True] * 10, ["a", "b"] * 5)).interval[0] < 0.5


def test_two_samples_count_by_their_rows():
    first = [a_verdict(f"a{i}", sample="1", stratum="t", stratum_rows=9, weight=3) for i in range(3)]
    second = [a_verdict("b", "wrong", sample="2", stratum="t", stratum_rows=9, weight=9)]
    rows = estimate.judged_rows([*first, *second, a_verdict("by hand", "wrong")])
    assert [row.share for row in rows] == pytest.approx([0.25] * 4)
    assert estimate.right_share("all", rows).share == pytest.approx(0.75)
    assert estimate.covered([*first, *second]) == 9


def test_kappa_is_cohens():
    """The example of Cohen's kappa with 50 rows: 20 and 15 in common, 5 and 10 not, kappa 0.4."""
    pairs = [("right", "right")] * 20 + [("right", "wrong")] * 5 + [("wrong", "right")] * 10
    pairs += [("wrong", "wrong")] * 15
    lines = [
        a_verdict(f"r{i}", decision, name)
        for i, pair in enumerate(pairs)
        for name, decision in zip(("anna", "bert"), pair, strict=True)
    ]
    (found,) = estimate.agreements([*lines, a_verdict("alone", "wrong", "carl")])
    assert (found.reviewers, found.rows, found.agreed) == (("anna", "bert"), 50, 35)
    assert found.kappa == pytest.approx(0.4)
    (same,) = estimate.agreements([a_verdict("r", "right", name) for name in ("anna", "bert")])
    assert same.kappa is None


def test_the_majority_decides_and_a_tie_rejects():
    def said(*decisions):
        return verdicts.outcome([a_verdict(verdict=d, reviewer=str(i)) for i, d in enumerate(decisions)])

    assert said("right", "right", "wrong") == "right"
    assert said("right", "wrong") == "wrong"
    assert said("right", "unsure") == "right"
    assert said("unsure", "wrong") == "wrong"
    assert said("unsure") == "unsure"


# The files


def write(path, *lines):
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_of_two_verdicts_of_one_reviewer_the_later_counts(tmp_path):
    late = a_verdict(verdict="wrong", time=NOW + timedelta(minutes=1))
    other = a_verdict(reviewer="bert")
    first = write(tmp_path / "a.jsonl", late, other)
    second = write(tmp_path / "b.jsonl", a_verdict())
    assert verdicts.load([first, second]) == verdicts.load([second, first]) == [late, other]
    assert verdicts.load([first, first]) == [late, other]


def test_a_file_may_have_a_mark_and_lines_of_windows(tmp_path):
    path = write(tmp_path / "a.jsonl", a_verdict(), a_verdict("d:t:0"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert [v.id for v in verdicts.read(path)] == ["c:t:0", "d:t:0"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Input data was truncated"),
        ("[1]", "Expected `object`, got `array`"),
        ('{"id": "x"}', "missing required field `key`"),
        ({"verdict": "good"}, "Invalid enum value 'good'.*verdict"),
        ({"parts": ["voice"]}, "Invalid enum value 'voice'.*parts"),
        ({"key": "12"}, "matching regex"),
        ({"reviewer": ""}, "length >= 1"),
        ({"time": "yesterday"}, "Invalid RFC3339.*time"),
        ({"time": "2026-11-30T12:00:00"}, "timezone"),
        ({"weight": -1}, "Expected `float` >= 0"),
        ("[" * 100_000, "Expected `object`, got `array`"),
    ],
)
def test_a_line_that_is_no_verdict_is_named(tmp_path, line, why):
    if isinstance(line, dict):
        line = json.dumps(msgspec.to_builtins(a_verdict()) | line)
    path = write(tmp_path / "a.jsonl", a_verdict())
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(PaqaError, match=rf"(?s)a\.jsonl: line 3: .*({why}).*; found .*, expected lines as"):
        verdicts.read(path)


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(PaqaError, match=r"none\.jsonl cannot be read \(No such file"):
        verdicts.read(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(PaqaError, match=r"empty\.jsonl: found no line, expected lines as"):
        verdicts.read(tmp_path / "empty.jsonl")


def test_a_verdict_holds_for_the_row_that_was_seen():
    rows = {"same": RowKeys(KEY, None), "moved": RowKeys(KEY, OTHER), "plain": RowKeys(KEY, OTHER)}
    rows["changed"] = RowKeys(OTHER, "c" * 64)
    moved = a_verdict("moved", key=dependent_key(OTHER, 0.25), audio_dependence=0.25)
    lines = [a_verdict("same"), moved, a_verdict("plain", key=OTHER), a_verdict("changed"), a_verdict("gone")]
    done = verdicts.match(lines, rows)
    assert [v.id for v in done.current] == ["same", "moved", "plain"]
    assert [v.id for v in done.stale] == ["changed"]
    assert [v.id for v in done.missing] == ["gone"]
    assert verdicts.match([replace(moved, audio_dependence=0.5)], rows).stale


def test_quarantine_says_what_is_wrong_and_names_nobody():
    lines = [a_verdict(verdict="wrong", parts=("answer",), note="a cat"), a_verdict(reviewer="bert")]
    (row,) = verdicts.rejections(
        verdicts.match(lines, {"c:t:0": RowKeys(KEY, OTHER)}), {"c:t:0": RowKeys(KEY, OTHER)}
    )
    assert row == Quarantined(
        "c:t:0", "review", "rejected_by_review", "c:t:0: wrong by 1 of 2 reviewers: answer (a cat)", OTHER
    )


# A build


def load(folder, *files, scenes=6):
    """The recipe, which names these files of verdicts."""
    if not (folder / "demo").exists():
        (folder / "demo").symlink_to(CORPUS)
    names = json.dumps([path.name for path in files])
    text = RECIPE.replace("scenes = 6", f"scenes = {scenes}")
    (folder / "reviewed.toml").write_text(f"{text}\n[review]\nverdicts = {names}\n")
    return recipe_files.load(folder / "reviewed.toml")


def run(recipe, out, store, **options):
    return paqa.build(recipe, out, store=str(store), workers=1, quiet=True, **options)


def drawn_lines(out, size=1000, wrong=(), reviewer="anna"):
    """What a report of `size` drawn rows saves of a reviewer who calls these rows wrong."""
    build = open_report(out)
    review = to_review(build, size, 0)
    rows = [row for clip_rows in review.build.items.values() for row in clip_rows]
    columns = review.columns
    return [
        a_verdict(
            row.id, "wrong" if row.id in wrong else "right", reviewer, key=row.key, clip_id=row.clip_id,
            template=row.template, audio_dependence=row.audio_dependence, sample=columns["sample"],
            stratum=columns["stratum"][i], stratum_rows=columns["stratum_rows"][i],
            weight=columns["weight"][i],
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip


def keys(out):
    return {row["id"]: row["key"] for row in shards.rows(out, ["id", "key"])}


@pytest.mark.build
def test_a_build_leaves_out_what_is_rejected(tmp_path):
    """One that grows, too; no other row changes, and verdicts on rows that have changed are not applied."""
    out, store = tmp_path / "out", tmp_path / "store"
    run(load(tmp_path), out, store)
    before = keys(out)
    wrong = sorted(before)[::10]
    lines = drawn_lines(out, wrong=wrong)
    changed, gone = (next(v for v in reversed(lines) if v.verdict == name) for name in ("right", "wrong"))
    lines = [v for v in lines if v not in (changed, gone)]
    wrong.remove(gone.id)
    stale = [replace(changed, verdict="wrong", key=OTHER), replace(gone, id="nobody:t:0")]
    file = write(tmp_path / "anna.jsonl", *lines, *stale)

    done = run(load(tmp_path, file, scenes=7), out, store, grow=True)
    after = keys(out)
    assert before.items() - after.items() == {(name, before[name]) for name in wrong}
    assert len(after) > len(before)  # the new scene
    assert check(out).problems == []
    lost = shards.table_rows(out / QUARANTINE, Quarantined)
    assert sorted(q.id for q in lost if q.reason == "rejected_by_review") == wrong
    by = done.reviewed
    assert (by.rows, by.rejected, by.reviewers, by.stale) == (len(lines), len(wrong), 1, 2)
    assert by.right == len(lines) - len(wrong)
    assert by.interval[0] < by.share < by.interval[1]
    assert list(by.files) == ["anna.jsonl"]
    sentence = f"{by.share:.0%} of all rows are right"
    assert sentence in summary.text(done)
    assert f"| reviewed | {sentence}" in (out / "README.md").read_text()
    (warning,) = [w for w in done.warnings if w.startswith("verdicts that were not applied")]
    assert f"1 about rows that have changed since, e.g. {changed.id}" in warning
    assert "1 about rows that the build does not have any more, e.g. nobody:t:0" in warning

    again = measure.measure(out, measure.files_of(out, []))
    assert list(again.left_out) == wrong
    assert (again.rejected, again.stale, again.missing) == ((), (changed.id,), ("nobody:t:0",))
    assert again.overall.share == pytest.approx(by.share, abs=1e-4)


def test_a_damaged_file_stops_a_build_at_its_start(tmp_path):
    (tmp_path / "anna.jsonl").write_text("{}\n")
    recipe = load(tmp_path, tmp_path / "anna.jsonl")
    with pytest.raises(PaqaError, match=r"anna\.jsonl: line 1: .*missing required field"):
        run(recipe, tmp_path / "out", tmp_path / "store")
    assert not (tmp_path / "out").exists()


def test_without_files_there_is_nothing_to_measure(tmp_path):
    with pytest.raises(PaqaError, match=r"found no file of verdicts, .*\(paqa report .* --review 100"):
        measure.files_of(tmp_path, [])


def test_what_the_text_answers_may_move(tmp_path):
    """A verdict on a row that had a dependence on the audio then, or another one, is about the same row."""
    make(tmp_path / "build", clips=3)
    line = drawn_lines(tmp_path / "build")[0]
    assert line.audio_dependence is None
    then = replace(line, key=dependent_key(line.key, 0.125), audio_dependence=0.125)
    file = write(tmp_path / "anna.jsonl", then)
    assert measure.measure(tmp_path / "build", [file]).overall.rows == 1
    write(file, replace(then, audio_dependence=0.5))
    assert measure.measure(tmp_path / "build", [file]).stale == (line.id,)


def test_a_build_without_verdicts_imports_nothing_of_them():
    code = "import sys, paqa.pipeline.driver; print([m for m in sys.modules if 'paqa.review' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# The command


def test_the_command_prints_and_writes_the_figures(tmp_path, capsys):
    out = tmp_path / "build"
    make(out, clips=9)
    names = sorted(keys(out))
    anna = write(tmp_path / "anna.jsonl", *drawn_lines(out, wrong=names[:2]))
    bert = write(tmp_path / "bert.jsonl", *drawn_lines(out, wrong=names[:1], reviewer="bert"))
    by_hand = write(tmp_path / "carl.jsonl", a_verdict(names[5], "unsure", "carl", key=keys(out)[names[5]]))
    files = [anna, bert, by_hand]
    assert main.main(["verdicts", str(out), *map(str, files), "--json", str(tmp_path / "f.json")]) == 0
    shown = capsys.readouterr().out
    assert f"anna {len(names)}, bert {len(names)}, carl 1; {len(names)} of {len(names)} rows" in shown
    assert f"{len(names) - 2} of {len(names)} drawn rows" in shown
    assert "anna and bert" in shown
    assert f"  {names[1]}\n    anna: wrong\n    bert: right" in shown
    assert f"Rejected: 2 of {len(names)} judged rows" in shown
    assert "verdicts = [" in shown
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["overall"]["right"] == len(names) - 2
    assert figures["rejected"] == names[:2]
    assert {row["id"] for row in figures["disagreements"]} == {names[1], names[5]}
    assert "Wilson" in figures["method"]
    assert text(measure.measure(out, files)) + "\n" == shown


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--review", "0"], "found 0, expected"),
        (["--review", "9", "--clips", "3"], "found both, expected one"),
    ],
)
def test_a_report_refuses_what_it_cannot_draw(tmp_path, capsys, flags, why):
    make(tmp_path / "build", clips=3)
    assert main.main(["report", str(tmp_path / "build"), *flags]) == 2
    assert why in capsys.readouterr().err
