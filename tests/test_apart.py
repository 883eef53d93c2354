"""No sound is on two sides, however many clips have it. Fingerprints are made up: what is tested is who is
compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import SHARES, clip, group_on

from paqa.audio import fingerprint
from paqa.audio.fingerprint import ENOUGH, RUN, SAME_BITS, SHARE
from paqa.dataset.check import Checked, _copies
from paqa.splits.leakage import PROTECTED, find_leaks, scene_leaks
from paqa.types import Clip, Split


def sound(frames: int, number: int) -> np.ndarray:
    """The fingerprint of a sound: as in real ones, a few bits change from one frame to the next."""
    rng = np.random.default_rng(number)
    changes = rng.random((frames, 32)) < 0.1
    changes[0] = rng.random(32) < 0.5
    return np.packbits(np.logical_xor.accumulate(changes), axis=1).view(">u4")[:, 0].astype(np.uint32)


def around(part: np.ndarray, before: int, number: int) -> np.ndarray:
    """A clip that holds a part, after `before` frames of its own and before others."""
    return np.concatenate([sound(before, 2 * number + 1000), part, sound(180, 2 * number + 1001)])


def on(split: Split, number: int) -> Clip:
    return clip(f"{split}{number}", group_on(split, besides=f"{number} "))


def left(clips: Sequence[Clip], prints: Sequence[np.ndarray]) -> Counter[str]:
    """How many clips of each side are kept."""
    lost, _ = find_leaks(clips, prints, SHARES)
    return Counter(clip.split for i, clip in enumerate(clips) if i not in lost)


@pytest.mark.parametrize("shift", [0, 1], ids=["at the start", "anywhere"])
def test_an_intro_of_all_clips_stays_in_one_split(shift: int) -> None:
    intro = sound(156, 0)
    clips = [on("train", i) for i in range(60)] + [on("test", 0)] + [on("train", i) for i in range(60, 99)]
    prints = [around(intro, 20 + shift * i, i) for i in range(100)]
    assert left(clips, prints) == {"test": 1}
    assert left(clips[:60], prints[:60]) == {"train": 60}
    short = [around(intro[: ENOUGH - 30], 20 + shift * i, i) for i in range(100)]
    assert left(clips, short) == {"test": 1, "train": 99}  # two seconds in common are no leak


def test_a_clip_whose_partner_falls_out_meets_the_next_one() -> None:
    """Train matches the first validation clip, which goes itself, since a test clip has its other half."""
    first, second = sound(120, 0), sound(120, 1)
    clips = [on("validation", 0), *(on("validation", i) for i in range(1, 21)), on("test", 0)]
    clips += [*(on("train", i) for i in range(20)), on("validation", 21)]
    prints = [around(np.concatenate([first, second]), 10, 0), *(around(first, 10, i) for i in range(1, 22))]
    prints += [around(second, 10, i) for i in range(22, 43)]
    assert left(clips, prints) == {"test": 1, "validation": 1}


def test_a_frame_of_all_clips_hides_no_part() -> None:
    """One steady frame in 400 clips. Two of them share more, but of that no other frame is the same to the
    last bit.
    """
    hum, part = sound(1, 0), sound(120, 1)
    noisy = part ^ np.uint32(1)
    part[60] = noisy[60] = hum[0]
    clips = [on("test" if i % 4 == 0 else "train", i) for i in range(400)]
    prints = [around({200: part, 399: noisy}.get(i, hum), 10 + i % 7, i) for i in range(400)]
    assert left(clips, prints) == {"test": 100, "train": 299}


def test_what_a_growing_build_has_stays_and_what_is_new_goes() -> None:
    """The intro came into a train clip of the earlier build, and now into 20 new clips of each split."""
    intro = sound(156, 0)
    clips = [on(split, i) for i in range(20) for split in PROTECTED] + [on("train", 20)]
    prints = [around(intro, 20, i) for i in range(61)]
    kept = {clip.id for clip in clips if clip.split == "train"}
    for lost in (find_leaks(clips, prints, SHARES, (), {60})[0], scene_leaks(clips, prints, {60})):
        assert {clip.id for i, clip in enumerate(clips) if i not in lost} == kept
    earlier = range(61)  # a leak of an earlier build: nothing of it goes, and the build comes to an end
    assert not find_leaks(clips, prints, SHARES, (), earlier)[0]
    assert not scene_leaks(clips, prints, earlier)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two clips match at any offset at which they have a frame in common, frame by frame as in the
    paper.
    """
    sizes = sorted((np.count_nonzero(a), np.count_nonzero(b)))
    for offset in {i - k for i in range(len(a)) for k in np.flatnonzero(b == a[i])}:
        first, second = a[max(0, offset) :], b[max(0, -offset) :]
        pairs = list(zip(first.tolist(), second.tolist(), strict=False))
        alike = np.array([1 - (x ^ y).bit_count() / 32 for x, y in pairs])
        if len(alike) >= RUN:
            means = np.convolve(alike, np.full(RUN, 1 / RUN), "valid")
            if (np.convolve(means >= SAME_BITS, np.ones(RUN)) > 0).sum() >= min(SHARE * sizes[0], ENOUGH):
                return True
    return False


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Clip], list[np.ndarray]]:
    """Clips put together of few sounds, some longer and some shorter than what makes a leak."""
    pieces = [sound(n, i) for i, n in enumerate((20, 40, 90, 100, 130))]
    count = draw(st.integers(2, 12))
    clips = [on(draw(st.sampled_from(PROTECTED)), i) for i in range(count)]
    chosen = [draw(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True)) for _ in range(count)]
    return clips, [
        np.concatenate([*(pieces[k] for k in own), sound(30, 100 + i)]) for i, own in enumerate(chosen)
    ]


@settings(max_examples=25, deadline=None)
@given(collections())
def test_no_two_clips_that_are_kept_match_across_sides(drawn: tuple[list[Clip], list[np.ndarray]]) -> None:
    clips, prints = drawn
    for lost in (find_leaks(clips, prints, SHARES)[0], scene_leaks(clips, prints)):
        kept = [i for i in range(len(clips)) if i not in lost]
        pairs = [(i, k) for i in kept for k in kept if i < k and clips[i].split != clips[k].split]
        assert not [pair for pair in pairs if same(prints[pair[0]], prints[pair[1]])]
        assert all(clips[i].split != "test" for i in lost)
    for i in scene_leaks(clips, prints):  # and nothing falls out for nothing
        others = [
            k for k, c in enumerate(clips) if PROTECTED.index(c.split) < PROTECTED.index(clips[i].split)
        ]
        assert any(same(prints[i], prints[k]) for k in others)


def test_check_names_every_clip_that_leaks() -> None:
    intro = sound(156, 0)
    checked = Checked(fingerprints={f"{i:016x}": around(intro, 20, i) for i in range(30)})
    for i in range(30):
        checked.splits_of[f"audio {i:016x}"].add("test" if i == 11 else "train")
    assert len(list(_copies(checked))) == 29


def test_what_is_compared_grows_with_the_clips_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a jingle in all clips each clip is compared once, whatever the number of the others."""
    compared = []
    whole = fingerprint._FrameIndex.compare
    monkeypatch.setattr(
        fingerprint._FrameIndex, "compare", lambda self, p: compared.append(len(p)) or whole(self, p)
    )
    for count in (100, 400):
        prints = [around(sound(156, 0), 20, i) for i in range(count)]
        fingerprint.matches_between_splits(prints, [i % 10 > 0 for i in range(count)])
    assert sum(compared) < 1.2 * (90 + 360)
