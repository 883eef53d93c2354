"""The side of a group depends on the group alone, and nothing can be brought onto two sides."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paqa.audio import fingerprint
from paqa.audio.fingerprint import Match
from paqa.config.recipe import SplitConfig
from paqa.errors import PaqaError
from paqa.splits import leakage
from paqa.splits.assign import split_at, split_of
from paqa.types import Audio, Clip, Origin, Scene, Turn
from paqa.union_find import connected_components

SHARES = SplitConfig(0.2, 0.3)


def test_shares_are_met() -> None:
    counts = Counter(split_of(f"voice {i}", SplitConfig(validation=0.1, test=0.2), 0) for i in range(5000))
    assert abs(counts["test"] / 5000 - 0.2) < 0.02
    assert abs(counts["validation"] / 5000 - 0.1) < 0.02


def test_known_sides_never_move() -> None:
    known = [split_of(f"g{i}", SplitConfig(0.2, 0.3), 7) for i in range(8)]
    assert known == ["train", "train", "test", "train", "train", "train", "train", "train"]
    assert len({split_of("g0", SplitConfig(0.3, 0.3), seed) for seed in range(30)}) == 3


@given(st.text(), st.integers())
def test_a_larger_test_share_keeps_what_is_in_it(group: str, seed: int) -> None:
    if split_of(group, SplitConfig(0, 0.2), seed) == "test":
        assert split_of(group, SplitConfig(0, 0.4), seed) == "test"


@pytest.mark.parametrize("known", ["train", "validation", "test"])
def test_clips_of_the_build_that_grows_stay_whatever_is_added(known: str) -> None:
    clips = [clip(f"known {known}", group_on(known))]
    clips += [
        clip(f"new {split_of}", group_on(split_of, besides="new"), sha=clips[0].sha256)
        for split_of in leakage.PROTECTED
    ]
    lost = leakage.leaks(clips, [], SHARES, staying={0})
    assert {clips[i].id for i in lost} == {f"new {side}" for side in leakage.PROTECTED if side != known}
    assert all(f"clip {clips[0].id}" in row.detail for row in lost.values())


def test_a_new_clip_that_ties_two_known_ones_together_goes_itself() -> None:
    clips = [clip(f"known {side}", group_on(side)) for side in ("train", "test")]
    clips.append(clip("tie", group_on("test", besides="new")))
    ties = [Match(i, 2, 900, 0.9, 0.9) for i in (0, 1)]
    assert set(leakage.leaks(clips, ties, SHARES)) == {0}
    assert set(leakage.leaks(clips, ties, SHARES, staying={0, 1})) == {2}


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), max_size=9), st.randoms())
def test_what_is_connected_has_one_name(lists: list[list[int]], rng: random.Random) -> None:
    """The smallest name of all that hangs together, whatever the order in which that turns out."""
    sets = [set(names) for names in lists]
    for _ in sets:  # until nothing changes
        for one in sets:
            one |= set().union(*(other for other in sets if other & one))
    order = rng.sample(range(len(lists)), len(lists))
    names = connected_components([rng.sample(lists[i], len(lists[i])) for i in order])
    assert names == [min(sets[i]) for i in order]


def test_extremes() -> None:
    assert {split_of(str(i), SplitConfig(0, 0), 0) for i in range(99)} == {"train"}
    assert {split_of(str(i), SplitConfig(0, 1), 0) for i in range(99)} == {"test"}
    with pytest.raises(PaqaError, match="lower one of them"):
        split_at(0.5, SplitConfig(0.6, 0.6))


# --- leaks


def clip(
    name: str,
    groups: str | tuple[str, ...],
    uri: str = "",
    voice: str | None = None,
    sha: str = "",
    corpus: str = "s",
) -> Clip:
    groups = (groups,) if isinstance(groups, str) else groups
    return Clip(
        name, uri or f"{name}.wav", sha or f"sha of {name}", 1000, 16000, corpus, "", "", groups,
        split_of(groups[0], SHARES, 0), voice=voice,
    )  # fmt: skip


def group_on(wanted: str, *, besides: str = "") -> str:
    return next(g for i in range(99) if split_of(g := f"{besides}g{i}", SHARES, 0) == wanted)


TEST, TRAIN, VALIDATION = group_on("test"), group_on("train"), group_on("validation")


def gone(clips: list[Clip], *matches: Match, config: SplitConfig = SHARES) -> list[str]:
    lost = leakage.leaks(clips, matches, config)
    assert {q.reason for q in lost.values()} <= {"would_leak"}
    return sorted(clips[i].id for i in lost)


def test_a_file_under_two_groups_stays_with_the_test() -> None:
    clips = [
        clip("a", TEST, "x.wav"),
        clip("b", TRAIN, "x.wav"),
        clip("c", TRAIN),
        clip("d", VALIDATION, "x.wav"),
    ]
    assert gone(clips) == ["b", "d"]
    lost = leakage.leaks(clips, [], SHARES)[1]
    assert lost.detail == (
        "x.wav (train) has the file 'x.wav' of x.wav (test, clip a); give both one group, or remove one"
    )
    assert gone([clip("a", TEST, "x.wav"), clip("b", TRAIN, "x.wav", corpus="other")]) == []  # another folder


def test_validation_keeps_what_train_has_too() -> None:
    assert gone([clip("a", TRAIN, "x.wav"), clip("b", VALIDATION, "x.wav"), clip("c", TRAIN)]) == ["a"]


def test_a_speaker_under_two_groups() -> None:
    clips = [clip("a", TEST, voice="anna"), clip("b", TRAIN, voice="anna"), clip("c", TRAIN, voice="ben")]
    assert gone(clips) == ["b"]
    assert gone(clips, config=replace(SHARES, speakers=False)) == []


def test_a_group_of_several() -> None:
    both = (TRAIN, TEST)
    assert clip("c", both).split == "train"
    assert gone([clip("a", TEST), clip("b", TRAIN), clip("c", both)]) == ["c"]
    assert gone([clip("b", TRAIN), clip("c", both)]) == []


def test_a_group_is_never_cut_at_a_plus() -> None:
    """Calls named after their time: all of them are in the zone "+01:00", and have nothing in common."""
    calls = [f"2026-11-29T09:{minute:02d}:00+01:00" for minute in range(28)]
    assert {split_of(call, SHARES, 0) for call in calls} == {"test", "validation", "train"}
    assert gone([clip(call, call) for call in calls]) == []


def test_a_copy_ties_its_whole_recording_and_speaker() -> None:
    """The copy says that both groups are one recording: the rest of the recording must not stay in train."""
    clips = [
        clip("a", TEST),
        clip("b", TRAIN),
        clip("rest of b", TRAIN),
        clip("c", group_on("train", besides="x")),
    ]
    assert gone(clips, Match(0, 1, 900, 0.9, 0.5)) == ["b", "rest of b"]
    same = [replace(clips[0], sha256="x"), replace(clips[1], sha256="x"), *clips[2:]]
    assert gone(same) == ["b", "rest of b"]
    voices = [
        clip("a", TEST, voice="anna"),
        clip("b", TRAIN, voice="ann"),
        clip("c", VALIDATION, voice="ann"),
    ]
    assert gone(voices, Match(0, 1, 900, 0.9, 0.9)) == ["b", "c"]


def test_all_copies_tell_who_speaks() -> None:
    """The first of three copies names no voice; the other two say that anna and ben are one."""
    voices = [clip("a", TRAIN), clip("b", TRAIN, voice="anna"), clip("c", TRAIN, voice="ben")]
    voices = [replace(c, sha256="x") for c in voices]
    others = [clip("d", TEST, voice="ben"), clip("e", TRAIN, voice="anna")]
    assert gone([*voices, *others]) == ["b", "c", "e"]
    assert gone([voices[0], voices[1], *others]) == []


def test_a_shared_part_ties_only_what_holds_it() -> None:
    """A jingle in two programmes: the clip that holds it goes, the rest of the programme stays."""
    clips = [clip("a", TEST), clip("b", TRAIN), clip("rest of b", TRAIN)]
    assert gone(clips, Match(0, 1, 4000, 0.2, 0.2)) == ["b"]


def test_copies_of_copies_are_followed() -> None:
    groups = [TRAIN, group_on("train", besides="x"), TEST]
    clips = [clip(str(i), g) for i, g in enumerate(groups)]
    assert gone(clips, Match(0, 1, 900, 1, 1), Match(1, 2, 900, 1, 1)) == ["0", "1"]
    assert gone(clips, Match(0, 1, 900, 1, 1)) == []
    names = leakage.copies(clips, [Match(0, 1, 900, 1, 1), Match(1, 2, 900, 1, 0.3)])
    assert len(set(names.values())) == 1
    assert set(names) == {"sha of 0", "sha of 1"}


def test_what_is_out_already_holds_no_side() -> None:
    clips = [clip("a", TEST, "x.wav"), clip("b", TRAIN, "x.wav")]
    assert leakage.leaks(clips, [], SHARES, gone={0}) == {}


def test_speakers_are_unknown_where_a_source_names_nobody() -> None:
    def heard(name: str, groups: str = "", **fields: Any) -> Clip:
        own = clip(name, groups or f"{name}.wav", **fields)
        recording = own.groups[0] if not groups else name
        place = (own.corpus, recording, own.uri, 0, 1000, own.sha256, "", "")
        return replace(own, origins=(Origin("recording", *place),))

    unnamed = [heard(f"r{i}") for i in range(9)]
    assert {c.split for c in unnamed} == {"train", "test", "validation"}
    assert leakage.speakers_unknown(unnamed) == {"s": 9}
    assert leakage.speakers_unknown([replace(c, split="train") for c in unnamed]) == {}
    assert leakage.speakers_unknown([heard(f"r{i}", voice="anna") for i in range(9)]) == {}
    assert leakage.speakers_unknown([heard(f"r{i}", f"g{i}") for i in range(9)]) == {}
    assert leakage.speakers_unknown([replace(c, uri="mix:1") for c in unnamed]) == {}
    sounds = [replace(c, truth=Scene(c.id, 1000)) for c in unnamed]
    assert leakage.speakers_unknown(sounds) == {}
    talk = [replace(c, truth=Scene(c.id, 1000, (Turn(0, 900, 1),))) for c in unnamed]
    assert leakage.speakers_unknown([*talk, *(replace(c, corpus="t") for c in sounds)]) == {"s": 9}


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Clip], list[Match]]:
    """Clips of few files, speakers and groups, named as badly as can be, with copies among them."""
    small = st.integers(0, 5)
    clips = [
        clip(
            f"c{i}", tuple(f"g{draw(small)}" for _ in range(draw(st.integers(1, 2)))), f"f{draw(small)}",
            draw(st.sampled_from([None, "anna", "ben", "carl"])), f"s{draw(st.integers(0, 9))}",
            draw(st.sampled_from("xy")),
        )
        for i in range(draw(st.integers(1, 14)))
    ]  # fmt: skip
    pairs = draw(st.lists(st.tuples(*[st.integers(0, len(clips) - 1)] * 2, st.floats(0.1, 1)), max_size=5))
    return clips, [Match(min(a, b), max(a, b), 3000, w, w / 2) for a, b, w in pairs if a != b]


@settings(max_examples=300, deadline=None)
@given(collections())
def test_nothing_that_is_kept_is_on_two_sides(drawn: tuple[list[Clip], list[Match]]) -> None:
    """Checked by brute force: kept clips are tied by any thing in common, however far the copies lead."""
    clips, matches = drawn
    lost = leakage.leaks(clips, matches, SHARES)
    kept = [i for i in range(len(clips)) if i not in lost]
    ties = defaultdict(set)  # what stands for the same thing, by going round until nothing changes
    pairs = [(m.first, m.second) for m in matches if m.within >= leakage.PART]
    pairs += [(i, k) for i in range(len(clips)) for k in range(i) if clips[i].sha256 == clips[k].sha256]
    same = [{n} for n in {n for c in clips for n in leakage.names(c, SHARES)}]
    for i, k in pairs:
        for kind in ("group", "file", "speaker", "sound"):
            one = {n for n in leakage.names(clips[i], SHARES) if n[0] == kind}
            other = {n for n in leakage.names(clips[k], SHARES) if n[0] == kind}
            if one and other:
                touched = [s for s in same if s & (one | other)]
                same = [s for s in same if s not in touched] + [set().union(*touched)]
    for i in kept:
        for n, group in enumerate(same):
            if group & set(leakage.names(clips[i], SHARES)):
                ties[n].add(clips[i].split)
    for m in matches:
        if {m.first, m.second} <= set(kept):
            ties[m].update({clips[m.first].split, clips[m.second].split})
    assert all(len(found) == 1 for found in ties.values())
    protected = [i for i, c in enumerate(clips) if c.split == "test"]
    assert not set(protected) & set(lost)  # a test set never loses anything to train


@settings(max_examples=100, deadline=None)
@given(collections(), st.integers(0, 99), st.integers(0, 14))
def test_growth_and_order_move_nothing(drawn: tuple[list[Clip], list[Match]], seed: int, first: int) -> None:
    clips, matches = drawn
    order = random.Random(seed).sample(range(len(clips)), len(clips))
    at = {old: new for new, old in enumerate(order)}
    mixed = [replace(m, first=at[m.first], second=at[m.second]) for m in matches]
    lost = {clips[i].id for i in leakage.leaks(clips, matches, SHARES)}
    assert {clips[order[i]].id for i in leakage.leaks([clips[i] for i in order], mixed, SHARES)} == lost
    few = [m for m in matches if max(m.first, m.second) < first]
    before = {c.id: c.split for c in clips[:first]}
    kept_before = {
        c.id for i, c in enumerate(clips[:first]) if i not in leakage.leaks(clips[:first], few, SHARES)
    }
    after = {c.id: c.split for c in clips if c.id not in lost}
    assert all(before[name] == after[name] for name in before.keys() & after.keys())
    assert all(
        before[name] != "test" for name in kept_before - after.keys()
    )  # growth takes from train or validation


def test_a_copy_in_disguise_is_kept_off_the_other_side() -> None:
    """Real fingerprints: a quieter, resampled part of a training recording turns up under another name in
    test.
    """
    from paqa.audio import resample

    rng = np.random.default_rng(4)
    noises = [np.convolve(rng.standard_normal(16000 * 9), rng.standard_normal(12), "same") for _ in range(4)]
    audio = [Audio((0.05 * n / n.std()).astype(np.float32)[None], 16000) for n in noises]
    part = resample(resample(Audio(0.3 * audio[1].samples[:, 30_011:100_000], 16000), 11025), 16000)
    clips = [clip("a", TEST), clip("b", TRAIN), clip("b2", TRAIN), clip("c", TRAIN), clip("stolen", TEST)]
    prints = [fingerprint.fingerprint(one) for one in [*audio, part]]
    assert gone(clips, *fingerprint.find_matches(prints)) == ["b", "b2", "c"]


def test_a_point_on_an_edge_falls_on_the_side_that_begins_there() -> None:
    """Shares are half-open, so a share of 0 gets nothing, not even the point 0."""
    assert split_at(0.0, SplitConfig(validation=0, test=0)) == "train"
    assert split_at(0.0, SplitConfig(validation=0.5, test=0)) == "validation"
    assert [split_at(p, SplitConfig(validation=0.25, test=0.5)) for p in (0, 0.5, 0.75)] == [
        "test",
        "validation",
        "train",
    ]


def test_what_quarantine_says_is_the_same_in_every_run() -> None:
    """Of several things in common the first by name is told, however Python's sets are ordered today."""
    others = [group_on("train", besides=f"o{i}") for i in range(8)]
    clips = [clip(f"t{i}", TEST, f"x{i}.wav", f"anna{i}", f"sha{i}") for i in range(8)]
    clips += [clip(f"u{i}", g, f"x{i}.wav", f"anna{i}", f"sha{i}") for i, g in enumerate(others)]
    details = [q.detail for q in leakage.leaks(clips, [], SHARES).values()]
    assert len(details) == 8
    assert all("has the file 'x" in detail for detail in details)
