"""A build that text alone can answer is found out, with the template to blame; a fair one passes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paqa.config.recipe import GatesConfig, Recipe
from paqa.curation import shortcut_classifiers, shortcuts
from paqa.curation.shortcut_classifiers import Text
from paqa.errors import PaqaError
from paqa.pipeline import row_stages
from paqa.pipeline.stages import BuildState
from paqa.storage import build_folder
from paqa.storage.store import Store
from paqa.types import Item, Scene

SOUNDS = [
    "Dog",
    "Siren",
    "A bell",
    "Rain",
    "Footsteps",
    "A cat",
    "Thunder",
    "Applause",
    "A car horn",
    "Knocking",
]
SPEAKERS = ["Speaker 1", "Speaker 2", "Speaker 3", "Speaker 4"]


def row(i: int, template: str, question: str, answer: str, wrong: list[str], at: int) -> Text:
    return Text(
        f"c{i // 4:05d}:{template}:{i:06d}",
        f"c{i // 4}",
        (f"g{i // 4}",),
        template,
        question,
        _put(answer, wrong, at),
        at,
    )


def _put(answer: str, wrong: list[str], at: int) -> tuple[str, ...]:
    return (*wrong[:at], answer, *wrong[at:])


def fair(n: int, seed: int = 0) -> list[Text]:
    """Rows whose answer nothing in the text gives away."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        pool = SOUNDS if i % 2 else SPEAKERS
        answer, *wrong = rng.sample(pool, 4)
        question = f"{rng.choice(['What is heard', 'Which one sounds'])} after {rng.randint(1, 9)} s?"
        rows.append(row(i, "sound" if i % 2 else "who", question, answer, wrong, rng.randrange(4)))
    return rows


def leaking(n: int, how: str) -> list[Text]:
    """Fair rows, and as many of a template `leak` that gives its answers away."""
    rng = random.Random(1)
    rows = fair(n)
    for i in range(n, 2 * n):
        answer, *wrong = rng.sample(SOUNDS, 4)
        at, question = rng.randrange(4), "What is heard?"
        if how == "position":
            at = 2 if rng.random() < 0.6 else at
        elif how == "longest":
            answer = max([answer, *wrong], key=len)
            wrong = [s for s in SOUNDS if len(s) < len(answer)][:3]
        elif how == "frequency":
            answer, wrong = rng.choice(SOUNDS[:3]), rng.sample(SOUNDS[3:], 3)
        elif how == "median":
            value = rng.randint(3, 9)
            answer, wrong = (
                f"{value} times",
                [f"{value - 1} times", f"{value + 1} times", f"{value + 2} times"],
            )
        elif how == "question":
            question = f"The one that is heard is not a dog but like {answer.lower()}; what is heard?"
        rows.append(row(i, "leak", question, answer, wrong, at))
    return rows


def test_fair_rows_pass() -> None:
    scored = shortcuts.measure(fair(1200), 3.0)
    assert scored.report.failing == []
    assert shortcuts.verdict(scored.report, Path("out")) is None
    assert scored.report.guessers["both"].chance == 0.25
    assert sum(scored.report.positions) == 1200
    assert sum(scored.dependence.values()) / 1200 > 0.85


@pytest.mark.parametrize(
    ("how", "guesser"),
    [
        ("position", "position"), ("longest", "longest"), ("frequency", "frequency"),
        ("frequency", "choices"), ("median", "choices"), ("median", "both"), ("question", "both"),
    ],
)  # fmt: skip
def test_a_template_that_gives_itself_away_is_blamed(how: str, guesser: str) -> None:
    report = shortcuts.measure(leaking(300, how), 3.0).report
    assert guesser in report.failing
    assert report.templates[0].name == "leak"
    with pytest.raises(
        PaqaError, match=r"most to blame: leak .*paqa shortcuts /x; .*gates.shortcuts = \"warn\""
    ):
        raise PaqaError(shortcuts.verdict(report, Path("/x")) or "")


def test_what_the_text_gives_away_depends_less_on_the_audio() -> None:
    rows = leaking(300, "frequency")
    dependence = shortcuts.measure(rows, 3.0).dependence
    mean = {
        name: sum(dependence[r.id] for r in rows if r.template == name)
        / sum(r.template == name for r in rows)
        for name in ("leak", "who")
    }
    assert all(0 <= d <= 1 for d in dependence.values())
    assert mean["leak"] < 0.5 < mean["who"]


def test_nothing_depends_on_the_order_of_rows() -> None:
    rows = leaking(60, "longest")
    mixed = random.Random(5).sample(rows, len(rows))
    assert shortcuts.measure(rows, 3.0) == shortcuts.measure(mixed, 3.0)


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    rows = fair(200)
    folds = shortcut_classifiers._folds(rows)
    assert len(set(folds.tolist())) == shortcut_classifiers.FOLDS
    by_group: dict[tuple[str, ...], set[int]] = {}
    for row, fold in zip(rows, folds.tolist(), strict=True):
        by_group.setdefault(row.groups, set()).add(fold)
    assert all(len(group_folds) == 1 for group_folds in by_group.values())
    one_speaker = [replace(row, groups=("same",)) for row in rows]
    assert (
        len(set(shortcut_classifiers._folds(one_speaker).tolist())) == shortcut_classifiers.FOLDS
    )  # then clips are kept together


def scenes(rows: list[shortcut_classifiers.Text], pool: int) -> list[shortcut_classifiers.Text]:
    """The rows as if of scenes: each clip shares a voice with the clip before it, within pools of so many
    clips.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(row.clip_id for row in rows))}
    at = [(number[row.clip_id] // pool, number[row.clip_id]) for row in rows]
    groups = [(f"sound {n}", f"voice {p}+{n // 2}", f"voice {p}+{(n + 1) // 2}") for p, n in at]
    return [replace(row, groups=own) for row, own in zip(rows, groups, strict=True)]


def test_scenes_that_share_material_are_in_one_fold() -> None:
    rows = scenes(fair(400), 5)
    folds = shortcut_classifiers._folds(rows)
    assert len(set(folds.tolist())) == shortcut_classifiers.FOLDS
    sides: dict[str, set[int]] = {}
    for row, fold in zip(rows, folds.tolist(), strict=True):
        for group in row.groups:
            sides.setdefault(group, set()).add(fold)
    assert all(len(pool_folds) == 1 for pool_folds in sides.values())
    assert shortcuts.measure(rows, 3.0).report.related == 0


def test_where_all_scenes_hang_together_clips_are_told_apart_and_the_report_says_so() -> None:
    rows = scenes(fair(400), 1000)
    folds = shortcut_classifiers._folds(rows)
    assert len(set(folds.tolist())) == shortcut_classifiers.FOLDS
    assert len({(row.clip_id, fold) for row, fold in zip(rows, folds.tolist(), strict=True)}) == 100
    report = shortcuts.measure(rows, 3.0).report
    assert report.related == 400
    assert "400 of them share recordings or speakers with rows that it saw" in shortcuts.text(report)


def test_a_memorised_clip_does_not_help() -> None:
    """Each clip asks the same question four times with the same answer: seen elsewhere, it would be known."""
    rng = random.Random(3)
    rows = []
    for clip in range(150):
        answer, *wrong = (f"{word} {clip}" for word in rng.sample(SOUNDS, 4))
        rows += [
            row(4 * clip + k, "sound", f"What is heard in {clip}?", answer, wrong, rng.randrange(4))
            for k in range(4)
        ]
    assert shortcuts.measure(rows, 3.0).report.failing == []


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=8), st.lists(st.text(max_size=6), min_size=2, max_size=5), st.integers(0, 9)
        ),
        max_size=9,
    )
)
def test_any_text_can_be_tried(drawn: list[tuple[str, list[str], int]]) -> None:
    rows = [
        Text(f"r{i}", f"c{i}", (f"g{i % 3}",), "t", question, tuple(choices), at % len(choices))
        for i, (question, choices, at) in enumerate(drawn)
    ]
    scored = shortcuts.measure(rows, 3.0)
    assert set(scored.dependence) == {r.id for r in rows}
    assert shortcuts.verdict(scored.report, Path("out")) is None  # so few rows prove nothing
    assert shortcuts.text(scored.report)


def test_more_rows_than_the_pool_are_all_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcut_classifiers, "POOL", 250)
    monkeypatch.setattr(shortcut_classifiers, "CHUNK", 40)
    rows = leaking(300, "median")
    scored = shortcuts.measure(rows, 3.0)
    assert "both" in scored.report.failing
    assert len(scored.dependence) == 600


def item(name: str, choices: tuple[str, ...] = ("a", "b"), **more: object) -> Item:
    defaults = {f: getattr(Item, f, None) for f in Item.__dataclass_fields__}
    fields = {
        "id": name, "clip_id": "c", "question": "?", "choices": choices, "answer": "a", "answer_index": 0,
        "task": "t", "template": "t", "rationale": "r", "scene": Scene("c", 1000), "evidence": (),
        "reflected": False, "audio_dependence": None, "source": "s", "license": "l", "groups": ("g",),
        "split": "train", "answers_from": "truth", "heard_by": (), "key": "0" * 64,
    }  # fmt: skip
    return Item(**(defaults | fields | more))


def test_rows_are_marked_and_sure_guesses_fall_out() -> None:
    items = [item("sure"), item("fair"), item("open", (), answer_index=None)]
    scored = shortcuts.Scored(shortcuts.measure([], 3.0).report, {"fair": 0.9})
    kept, lost = shortcuts.mark(items, shortcuts.Thinned(scored, {}, {"sure": 0.1}))
    assert [(i.id, i.audio_dependence) for i in kept] == [("fair", 0.9), ("open", None)]
    assert [(q.id, q.reason, q.stage) for q in lost] == [("sure", "answerable_without_audio", "gates")]
    assert kept[0].key != items[1].key  # the key names the row as written
    assert kept[1].key == items[2].key
    kept, lost = shortcuts.mark(items, shortcuts.Thinned(scored, {"sure": 0.8}, {}))
    assert [(q.id, q.reason) for q in lost] == [("sure", "guessable")]
    assert "guessed from the text with 80%, chance is 50%" in lost[0].detail
    assert [t.id for t in shortcuts.texts(items)] == ["fair", "sure"]


@pytest.mark.parametrize("how", ["position", "frequency", "median", "question"])
def test_thinning_ends_what_a_template_gives_away(how: str) -> None:
    rows = leaking(600, how)
    thinned = shortcuts.thin(rows, GatesConfig(thin=0.5))
    assert thinned.scored.report.failing == []
    gone = [row for row in rows if row.id in thinned.left_out]
    assert {row.template for row in gone} == {"leak"}
    assert thinned.scored.report.rows + len(gone) == len(rows)
    assert all(0.25 < sure <= 1 for sure in thinned.left_out.values())


def test_fair_rows_are_all_kept_and_thinning_has_a_limit() -> None:
    assert shortcuts.thin(fair(1200), GatesConfig()).left_out == {}
    assert shortcuts.thin(leaking(90, "position"), GatesConfig()).left_out == {}  # so few prove nothing
    rows = leaking(300, "longest")
    for config in (GatesConfig(thin=0.0), GatesConfig(thin=0.02)):
        thinned = shortcuts.thin(rows, config)
        assert not thinned.left_out
        assert "longest" in thinned.scored.report.failing


def test_rows_that_depend_too_little_on_the_audio_are_not_measured() -> None:
    thinned = shortcuts.thin(leaking(300, "frequency"), GatesConfig(thin=0.0, min_audio_dependence=0.5))
    assert thinned.below
    assert all(dependence < 0.5 for dependence in thinned.below.values())
    assert not set(thinned.below) & set(thinned.scored.dependence)


def test_fail_warn_and_load(tmp_path: Path) -> None:
    bad = shortcuts.measure(leaking(300, "longest"), 3.0).report
    with pytest.raises(
        PaqaError, match=r"most to blame: leak [^,]*; look with: paqa shortcuts \S+/failed; then"
    ):
        shortcuts.enforce(bad, GatesConfig(), tmp_path)
    assert shortcuts.load(build_folder.pending(tmp_path)) == bad  # written before the build fails
    warning = shortcuts.enforce(bad, GatesConfig(shortcuts="warn"), tmp_path)
    assert warning
    assert "leak" in warning
    lenient = shortcuts.measure(leaking(300, "longest"), 60.0).report
    assert shortcuts.enforce(lenient, GatesConfig(), tmp_path) is None
    assert shortcuts.load(build_folder.pending(tmp_path)) == lenient
    shown = shortcuts.text(bad, "leak")
    assert "the text is" in shown
    assert "  * " in shown
    with pytest.raises(
        PaqaError, match="no row of this build is of template 'other'; known: leak, sound, who"
    ):
        shortcuts.text(bad, "other")
    with pytest.raises(PaqaError, match=r"has no shortcuts\.json"):
        shortcuts.load(tmp_path / "nowhere")


def test_settled_rows_stay_whatever_new_ones_give_away() -> None:
    rows = leaking(300, "position")
    leaks = [row.id for row in rows if row.template == "leak"]
    settled = dict.fromkeys((row.id for row in rows if row.id not in leaks[200:]), 0.5)
    thinned = shortcuts.thin(rows, GatesConfig(thin=0.5, min_audio_dependence=0.9), settled)
    out = thinned.left_out.keys() | thinned.below.keys()
    assert out
    assert out <= set(leaks[200:])
    assert {name: thinned.scored.dependence[name] for name in settled} == settled


class RunHere(BuildState):
    """Runs calls in this process, and keeps the names of the stages that ran."""

    def run(self, stage: str, calls: Any, sizes: Any, unit: str, limits_s: Any = ()) -> list[Any]:
        self.warnings.append(stage)
        return [call() for call in calls]


def test_rows_that_were_measured_before_are_not_measured_again(tmp_path: Path) -> None:
    def ran(items: list[Item], **gates: Any) -> tuple[list[Item], list[str]]:
        recipe = Recipe("r", (), gates=GatesConfig(shortcuts="warn", **gates))
        anything: Any = None
        state = RunHere(recipe, tmp_path / "out", Store(str(tmp_path / "store")), anything, anything, print)
        kept = row_stages.without_shortcuts(state, items)
        return kept, [line for line in state.warnings if line == "shortcuts"]

    (tmp_path / "out").mkdir()
    build_folder.begin(tmp_path / "out")
    items = [
        item(
            t.id,
            t.choices,
            question=t.question,
            answer_index=t.answer_index,
            template=t.template,
            clip_id=t.clip_id,
        )
        for t in leaking(150, "position")
    ]
    first, ran_first = ran(items)
    again, ran_again = ran(items)
    assert (ran_first, ran_again) == (["shortcuts"], [])
    assert again == first
    assert ran(items[1:])[1] == ["shortcuts"]
    assert ran(items, thin=0.0)[1] == ["shortcuts"]
