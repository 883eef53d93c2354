"""`split.classes`: recordings of one class of sounds are on all sides."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_unheard_scenes import RECIPE, load

import paqa
from paqa.config.recipe import SplitConfig
from paqa.dataset.open_build import open_build
from paqa.errors import PaqaError
from paqa.splits.assign import split_of
from paqa.splits.by_class import spread_classes, spread_sources
from paqa.types import Clip, Event, Scene, Turn

SHARES = SplitConfig(validation=0.1, test=0.2, classes=True)
CLASSES = ("Bark", "Meow", "Rain", "Bell")


def sound(name: str, *labels: str, groups: tuple[str, ...] = (), turns: tuple[Turn, ...] = ()) -> Clip:
    events = tuple(Event(0, 900, label, f"/m/{label}") for label in labels)
    groups = groups or (f"group of {name}",)
    side = split_of(groups[0], SHARES, 0)
    truth = Scene(name, 1000, turns, (), events)
    return Clip(name, f"{name}.wav", f"sha of {name}", 1000, 16000, "s", "", "", groups, side, truth=truth)


@st.composite
def collections(draw: st.DrawFn) -> list[Clip]:
    labels = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2, unique=True)
    group = st.none() | st.sampled_from(("anna", "ben", "park"))
    drawn = draw(st.lists(st.tuples(labels, group), min_size=1, max_size=30))
    return [sound(f"c{i}", *names, groups=(g,) if g else ()) for i, (names, g) in enumerate(drawn)]


@settings(max_examples=200, deadline=None)
@given(collections(), st.integers(0, 9))
def test_what_is_tested_is_also_trained_on(clips: list[Clip], seed: int) -> None:
    spread = spread_classes(clips, SHARES, seed)
    sides: dict[str, set[str]] = defaultdict(set)
    by_group: dict[str, set[str]] = defaultdict(set)
    for clip in spread:
        by_group[clip.groups[0]].add(clip.split)
        assert clip.truth is not None
        for event in clip.truth.events:
            sides[event.label].add(clip.split)
    assert all(len(group_sides) == 1 for group_sides in by_group.values())
    assert all("train" in class_sides for class_sides in sides.values())
    assert [replace(c, split="train") for c in spread] == [replace(c, split="train") for c in clips]
    shuffled = spread_classes(clips[::-1], SHARES, seed)
    assert {c.id: c.split for c in shuffled} == {c.id: c.split for c in spread}


def test_a_class_is_on_as_many_sides_as_it_has_recordings() -> None:
    for count, expected in (
        (1, "train"),
        (2, "test train"),
        (3, "test train validation"),
        (20, "test train validation"),
    ):
        spread = spread_classes([sound(f"c{i}", "Bark") for i in range(count)], SHARES, 0)
        assert sorted({c.split for c in spread}) == expected.split()
    assert [sum(c.split == side for c in spread) for side in ("test", "validation")] == [4, 2]
    without = spread_classes([sound(f"c{i}", "Bark") for i in range(20)], SplitConfig(0, 0), 0)
    assert {c.split for c in without} == {"train"}


def test_speech_and_what_hangs_together_with_it_stay() -> None:
    speech = [sound(f"s{i}", "Bark", turns=(Turn(0, 900, 1, "Hi."),)) for i in range(30)]
    recorded = [sound(f"r{i}", "Bark", groups=(f"group of s{i}", f"r{i}")) for i in range(30)]
    unlabelled = [replace(sound(f"u{i}", "Bark"), truth=None) for i in range(30)]
    clips = [*speech, *recorded, *unlabelled]
    assert spread_classes(clips, SHARES, 0) == clips
    kept, material = spread_sources(speech, {"a": recorded, "b": [sound("c", "Bark")]}, SHARES, 0)
    assert (kept, list(material)) == (speech, ["a", "b"])
    assert (material["a"], len(material["b"])) == (recorded, 1)


def test_a_build_tests_only_what_it_trains_on(tmp_path: Path) -> None:
    text = RECIPE.replace("scenes = 12", "scenes = 60") + "\n[split]\ntest = 0.3\nclasses = true\n"
    recipe = load(tmp_path, text)
    paqa.build(recipe, tmp_path / "out", store=str(tmp_path / "store"), workers=1)
    classes: dict[str, set[str]] = defaultdict(set)
    for clip in open_build(tmp_path / "out")[2]:
        classes[clip.split] |= {event.mid for event in clip.truth.events} if clip.truth else set()
    assert len(classes["test"]) > 5
    # scenes are drawn, so that a class may have been drawn for one side alone
    assert len(classes["test"] - classes["train"]) <= 1
    with pytest.raises(PaqaError, match=r"split\.classes cannot grow"):
        paqa.build(recipe, tmp_path / "out", store=str(tmp_path / "store"), workers=1, grow=True)
