"""The encoder reads a clip's own frames, and makes of them what it makes with masked silence behind them."""

from __future__ import annotations

import numpy as np
import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from closeness import steps  # noqa: E402

from paqa.train.model import RATE  # noqa: E402

CLOSE = 80  # steps: 1e-5 of the largest; seen: 4


def padded(policy, samples):
    """The same by transformers' own forward pass: filled with silence to the encoder's window, and masked."""
    extractor, tower = policy.processor.feature_extractor, policy.inner.model.audio_tower
    features = extractor(
        samples, sampling_rate=RATE, padding="max_length", return_attention_mask=True, return_tensors="pt"
    )
    frames, rows = (int(n) for n in tower._get_feat_extract_output_lengths(features["attention_mask"].sum()))
    mask = torch.zeros(1, 1, 1, tower.config.max_source_positions)
    mask[..., frames:] = torch.finfo(mask.dtype).min
    with torch.no_grad():
        return tower(features["input_features"], attention_mask=mask).last_hidden_state[0, :rows]


@pytest.fixture(scope="module")
def policy():
    return tiny.policy(seconds=30, mels=80)


@pytest.mark.parametrize(
    "samples",
    [
        *(481, 640, 641, 1000, 1601, 15999, 16000, 16001, 100_003),
        *(30 * RATE - 1121, 30 * RATE - 961, 30 * RATE - 641, 30 * RATE - 321, 30 * RATE - 1, 30 * RATE),
    ],
)
def test_a_clip_alone_is_encoded_as_with_masked_silence_behind_it(policy, samples):
    (noise,) = tiny.sounds(samples / RATE + 1, seed=samples)
    clip = noise[:samples]
    assert steps(policy.encode(clip), padded(policy, clip)) < CLOSE


def test_silence_is_encoded_as_with_more_silence_behind_it(policy):
    clip = np.zeros(5000, np.float32)
    assert steps(policy.encode(clip), padded(policy, clip)) < CLOSE


def test_only_the_frames_of_a_clip_are_read(policy):
    seen = []
    hook = policy.inner.model.audio_tower.conv1.register_forward_hook(lambda _, x, y: seen.append(x[0].shape))
    policy.encode(tiny.sounds(1.0)[0])
    hook.remove()
    assert [shape[-1] for shape in seen] == [101]  # 100 frames, and the next, which the convolutions see
