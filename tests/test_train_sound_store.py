"""Encoder outputs are kept: the same numbers, from the same encoder, for the same samples."""

from __future__ import annotations

import pytest
import train_tiny as tiny
from builds import make

torch = pytest.importorskip("torch")

from paqa.storage.store import Store  # noqa: E402
from paqa.train.sound_store import SoundStore, sound_store  # noqa: E402


def tower(policy):
    return policy.inner.model.audio_tower


def test_a_clip_is_encoded_once_by_all_runs(tmp_path):
    first, second = tiny.policy(), tiny.policy()
    expected = first.encode(tiny.sounds(1.0)[0])
    calls = []
    for policy in (first, second):
        policy.sounds = SoundStore(Store(tmp_path), policy.inner)
        tower(policy).conv1.register_forward_hook(lambda *_: calls.append(1))
    for policy in (first, first, second):
        kept = policy.encode(tiny.sounds(1.0)[0])
        assert torch.equal(kept, expected)
        assert kept.dtype == expected.dtype
    assert len(calls) == 1
    second.encode(tiny.sounds(1.0, seed=5)[0])
    assert len(calls) == 2


def test_another_encoder_keeps_its_own(tmp_path):
    policy = tiny.policy()
    clip = tiny.sounds(1.0)[0]
    policy.sounds = SoundStore(Store(tmp_path), policy.inner)
    before = policy.encode(clip)
    with torch.no_grad():
        tower(policy).layer_norm.weight.mul_(2)
    assert torch.equal(policy.encode(clip), before)  # nobody has said that the encoder changed
    policy.sounds = SoundStore(Store(tmp_path), policy.inner)
    assert not torch.equal(policy.encode(clip), before)
    tower(policy).bfloat16()
    half = SoundStore(Store(tmp_path), policy.inner)
    assert half.encoder != policy.sounds.encoder


def test_a_damaged_object_is_made_again(tmp_path):
    policy = tiny.policy()
    policy.sounds = SoundStore(Store(tmp_path), policy.inner)
    before = policy.encode(tiny.sounds(1.0)[0])
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    assert torch.equal(policy.encode(tiny.sounds(1.0)[0]), before)


def test_the_store_is_that_of_the_build_where_it_is_there(tmp_path):
    folder = make(tmp_path / "made", clips=1)
    policy = tiny.policy()
    assert sound_store("", str(tmp_path), policy.inner) is None  # no build
    given = sound_store(str(tmp_path / "mine"), str(folder), policy.inner)
    assert given is not None
    assert given.store.url == str(tmp_path / "mine")
