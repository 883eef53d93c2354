"""Rows in an order that a seed decides, in packs that a budget bounds, with PAUSE where it is hardest."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import train_tiny as tiny
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from paqa.errors import PaqaError  # noqa: E402
from paqa.rationale import prompt  # noqa: E402
from paqa.train.batch_layout import Tree  # noqa: E402
from paqa.train.config import PauseConfig  # noqa: E402
from paqa.train.data import EncodedClips, Rows, Stream, audio_rows, order, pack, pause_places, with_pauses  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    items = [tiny.item(label, "train", n, task=label) for label in tiny.HEARD for n in range(6)]
    return tiny.build(tmp_path_factory.mktemp("data") / "b", [*items, tiny.item("Rain", "test")], groups=5)


def test_rows_are_those_of_the_shards(folder):
    rows = Rows(folder)
    assert len(rows.all) == 25
    assert [r.item.split for r in rows.split("test")] == ["test"]
    for row in rows.all[::-3]:
        label = row.item.scene.events[0].label
        expected = tiny.sound_of(label, int(row.item.clip_id.rsplit("-", 1)[1]))
        assert np.abs(rows.samples(row) - expected).max() < 1e-4
        assert "ENV" not in row.asked.question + "".join(row.asked.choices)


def test_only_rows_that_reflect_are_asked_to(folder):
    """Without the request, the same prompt would ask for two kinds of answers."""
    row = Rows(folder).all[0]
    texts = {
        r: prompt.question(replace(row, item=replace(row.item, reflected=r)).asked) for r in (True, False)
    }
    assert "REFLECT" not in texts[False]
    assert texts[True].startswith(texts[False])
    assert texts[True].endswith(prompt.REFLECTION)


def test_held_out_groups_are_never_trained_on(folder):
    train, held, away = Rows(folder).trained_on(0.3)
    assert {r.item.groups for r in train}.isdisjoint(r.item.groups for r in held)
    assert (len(train) + len(held), away) == (24, [])
    assert held
    with pytest.raises(PaqaError, match="no rows to train on"):
        Rows(folder).trained_on(1.0)
    train, held, _ = Rows(folder).trained_on(
        1e-9
    )  # a share that falls on nobody: one group, so that a best can be told
    assert len({r.item.groups for r in held}) == 1
    assert len(train) + len(held) == 24
    assert Rows(folder).trained_on(0.0)[1] == []


def test_a_share_rises_until_enough_rows_are_held_out(tmp_path):
    folder = scenes(tmp_path, lambda i: (f"sound {i}",))
    assert [len(Rows(folder).trained_on(0.05, least)[1]) for least in (0, 4, 6, 64)] == [2, 4, 6, 6]
    assert Rows(folder).trained_on(0.0, 64)[1] == []


def scenes(path, groups):
    """Rows about 24 clips with these groups."""
    items = [tiny.item(label, "train", n) for label in tiny.HEARD for n in range(6)]
    return tiny.build(path / "b", [replace(one, groups=groups(i)) for i, one in enumerate(items)])


def shared(rows, others):
    return {g for r in rows for g in r.item.groups} & {g for r in others for g in r.item.groups}


def test_held_out_scenes_share_no_voice_with_what_is_trained_on(tmp_path):
    """Six casts of four scenes each, every scene with two voices of its cast of three."""
    folder = scenes(tmp_path, lambda i: (f"v{i // 4}.{i % 3}", f"v{i // 4}.{(i + 1) % 3}", f"sound {i}"))
    train, held, away = Rows(folder).trained_on(0.2)
    assert not shared(train, held)
    assert (len(train) + len(held), away) == (24, [])
    assert len(held) % 4 == 0
    assert held


def test_most_scenes_of_one_cast_are_trained_on(tmp_path):
    folder = scenes(tmp_path, lambda i: ("anna", f"sound {i}") if i < 20 else (f"sound {i}",))
    train, held, away = Rows(folder).trained_on(0.1)
    assert not shared(train, held)
    assert not away
    assert 0 < len(held) <= 4


def test_where_all_scenes_hang_together_rows_between_are_left_out(tmp_path):
    """Each scene shares a voice with the next one: the two ends hang together, by all others."""
    folder = scenes(tmp_path, lambda i: (f"v{i}", f"v{i + 1}"))
    train, held, away = Rows(folder).trained_on(0.1)
    assert (len(held), len(train) + len(away)) == (3, 21)
    assert not shared(train, held)
    assert all(shared([row], held) for row in away)
    assert 0 < len(away) <= 6
    assert Rows(folder).trained_on(0.0)[1:] == ([], [])
    one = scenes(tmp_path / "one", lambda i: ("anna", f"sound {i}"))
    with pytest.raises(
        PaqaError, match=r"\(3 held out, 21 share recordings or speakers with them\).*split\.validation"
    ):
        Rows(one).trained_on(0.1)


def test_an_epoch_is_every_row_once_and_another_order_each_time(folder):
    rows = Rows(folder).split("train")
    first, again, second, other = (order(rows, s, e, {}) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert first == again
    assert sorted(first) == sorted(second) == sorted(other) == list(range(24))
    assert len({tuple(first), tuple(second), tuple(other)}) == 3
    assert first != sorted(first)


def test_tasks_are_mixed_by_weight(folder):
    rows = Rows(folder).split("train")
    seen = Counter(
        rows[i].item.task for e in range(50) for i in order(rows, 0, e, {"Bark": 2.5, "Rain": 0.0})
    )
    assert seen["Rain"] == 0
    assert seen["Meow"] == seen["Bell"] == 300
    assert 700 < seen["Bark"] < 800
    with pytest.raises(PaqaError, match="no row is of task Whale; expected some of: Bark"):
        order(rows, 0, 0, {"Whale": 1.0})


@given(st.lists(st.integers(1, 10), max_size=60), st.integers(10, 30))
def test_packs_hold_every_row_once_within_the_budget(lengths, budget):
    packs = pack(range(len(lengths)), lengths, budget)
    assert sorted(i for p in packs for i in p) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in p) <= budget for p in packs)
    assert (
        sum(2 * sum(lengths[i] for i in p) <= budget for p in packs) <= 2
    )  # first fit leaves hardly any half empty


def test_a_position_is_a_number(folder):
    rows = Rows(folder).split("train")
    stream = Stream(rows, 0, {}, [5] * 24, 12)
    assert stream.total(2.5) == 30
    listed = [stream.at(n) for n in range(30)]
    assert [e for e, _ in listed] == [0] * 12 + [1] * 12 + [2] * 6
    fresh = Stream(rows, 0, {}, [5] * 24, 12)
    assert [r.item.id for r in fresh.at(29)[1]] == [r.item.id for r in listed[29][1]]
    with pytest.raises(PaqaError, match="has 13 tokens with its prompt"):
        Stream(rows, 0, {}, [13] * 24, 12)
    with pytest.raises(PaqaError, match="an epoch without rows"):
        Stream(rows, 0, dict.fromkeys(tiny.HEARD, 0.0), [5] * 24, 12).at(0)


def test_a_clip_is_heard_once(folder, monkeypatch):
    policy, rows = tiny.policy(), Rows(folder)
    heard = []
    monkeypatch.setattr(policy, "encode", lambda s, name: heard.append(name) or torch.zeros(24, 32))
    clips = EncodedClips(policy, rows)
    for row in rows.all[:3] * 2:
        clips.sound(row)
    assert len(heard) == 3


def test_audio_rows_are_those_that_are_heard():
    policy = tiny.policy()
    for ms in (330, 500, 1000, 1990):
        assert audio_rows(ms) == len(policy.encode(tiny.sounds(ms / 1000)[0]))


def test_pauses_stand_before_the_least_likely_tokens():
    config = PauseConfig(tokens=2, runs=2, warmup=1, cooldown=3)
    logp = torch.tensor([-9.0, -1.0, -5.0, -8.0, -1.0, -1.0, -6.0, -1.0, -99.0])
    assert pause_places(logp, config) == [
        3,
        6,
    ]  # not 0 (warm-up), not 2 (too near), not the last (end of the turn)
    ids = torch.arange(9)
    tree = Tree(None, (ids,), (torch.ones(9, dtype=torch.bool),))
    paused = with_pauses(tree, [3, 6], 2, 77)
    assert paused.completions[0].tolist() == [0, 1, 2, 77, 77, 3, 4, 5, 77, 77, 6, 7, 8]
    assert torch.equal(paused.completions[0][paused.learn[0]], ids)
    assert with_pauses(tree, [], 2, 77).completions[0].tolist() == ids.tolist()
