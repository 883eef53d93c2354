"""Every family of models is scored, sampled, trained and exported as transformers computes it.

Weights are random and small, classes are transformers' own.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

import train_families as fam  # noqa: E402
import transformers  # noqa: E402
from closeness import steps  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from paqa.errors import PaqaError  # noqa: E402
from paqa.rationale.prompt import PromptQuestion, question  # noqa: E402
from paqa.storage.store import Store  # noqa: E402
from paqa.train import export, full_weights, model, sft  # noqa: E402
from paqa.train import rollout as rollouts  # noqa: E402
from paqa.train.batch_layout import Tree  # noqa: E402
from paqa.train.config import PauseConfig, SftConfig  # noqa: E402
from paqa.train.model import RATE, Policy  # noqa: E402
from paqa.train.rollout import Sampling, rollout  # noqa: E402
from paqa.train.sound_store import SoundStore  # noqa: E402

CLOSE = 150  # steps
NEW = 24
ASKED = PromptQuestion("q", "who speaks?", ("a dog", "a car"))
PROJECTORS = ("multi_modal_projector", "audio_tower.proj")


@pytest.fixture(scope="module", params=fam.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def policy(name: str) -> Policy:
    return fam.policy(name)


def inputs(processor: Any, noise: np.ndarray, asked: PromptQuestion = ASKED) -> dict[str, Any]:
    """What transformers' own processor makes of a question about a clip."""
    content = [{"type": "audio", "audio_url": "x"}, {"type": "text", "text": question(asked)}]
    chat = [{"role": "user", "content": content}]
    written = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    return dict(processor(text=[written], audio=[noise], sampling_rate=RATE, return_tensors="pt"))


def completion(seed: int, tokens: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).integers(6, 200, tokens))


def tree(policy: Policy, noise: np.ndarray, *lengths: int) -> Tree:
    """A prompt about a clip with random completions of so many tokens, all learnt."""
    completions = tuple(completion(i, n) for i, n in enumerate(lengths))
    prompt = policy.prompt(ASKED, policy.encode(noise))
    return Tree(prompt, completions, tuple(torch.ones(n, dtype=torch.bool) for n in lengths))


def expected_scores(policy: Policy, noise: np.ndarray, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of a completion in one forward pass of transformers over the processor's features."""
    batch = inputs(policy.processor, noise)
    prompt = batch["input_ids"][0]
    ids = torch.cat([prompt, tokens])[None]
    batch |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        logits = policy.net(**batch).logits[0].float() + policy.forbidden
    return logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, tokens[:, None]).squeeze(-1)


@pytest.mark.parametrize("seconds", [0.7, 3.21, 30.0])
def test_scores_are_those_of_transformers(policy: Policy, seconds: float) -> None:
    (noise,) = tiny.sounds(seconds)
    one = tree(policy, noise, 9)
    batch = inputs(policy.processor, noise)
    assert one.prompt.ids.tolist() == batch["input_ids"][0].tolist()
    assert int((one.prompt.ids == policy.audio_id).sum()) == len(one.prompt.sound)
    expected = expected_scores(policy, noise, one.completions[0])
    scores = policy.score([one])[0].detach()
    assert steps(scores, expected) < CLOSE
    assert torch.allclose(scores, expected, atol=1e-4)
    assert len({round(float(x), 3) for x in scores}) > 3


def test_a_tree_is_scored_as_its_completions_alone(policy: Policy) -> None:
    long, short = (tree(policy, noise, 5, 8, 3) for noise in tiny.sounds(2.6, 0.9))
    packed = copy.copy(policy)
    packed.one_by_one = False
    alone = [
        policy.score([Tree(t.prompt, (c,), (learn,))])[0]
        for t in (long, short)
        for c, learn in zip(t.completions, t.learn, strict=True)
    ]
    assert steps(packed.score([long, short])[0], torch.cat(alone)) < CLOSE


def test_a_rollout_samples_what_generate_does(policy: Policy) -> None:
    noises = tiny.sounds(1.6, 0.7)
    prompts = [policy.prompt(ASKED, policy.encode(noise)) for noise in noises]
    done = rollout(policy, prompts, 2, [0, 1, 2, 3], Sampling(NEW, temperature=0.0))
    never = (policy.forbidden == -torch.inf).nonzero().flatten().tolist()
    for i, (noise, prompt) in enumerate(zip(noises, prompts, strict=True)):
        theirs = policy.net.generate(
            **inputs(policy.processor, noise),
            max_new_tokens=NEW,
            do_sample=False,
            suppress_tokens=never,
            eos_token_id=policy.stop_ids,
            pad_token_id=policy.pad_id,
        )[0, len(prompt.ids) :]
        assert theirs.tolist() == done.ids[2 * i][done.real[2 * i]].tolist()
        assert len(set(theirs.tolist())) > 2


def test_one_graph_of_a_step_samples_the_same(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the compiler the front half, which makes the graph."""
    step = torch.compile(rollouts.decode, dynamic=True, backend="eager", fullgraph=True)
    monkeypatch.setattr(rollouts, "compiled", lambda: step)
    prompts = [policy.prompt(ASKED, policy.encode(noise)) for noise in tiny.sounds(1.6, 0.7)]
    plain, compiled = (
        rollout(policy, prompts, 2, [0, 1, 2, 3], Sampling(9, compile=compile)) for compile in (False, True)
    )
    assert torch.equal(plain.ids, compiled.ids)


@pytest.mark.parametrize("name", fam.LONG, scope="module")
@pytest.mark.parametrize("seconds", [30.2, 45.0, 60.0])
def test_clips_longer_than_half_a_minute(name: str, seconds: float) -> None:
    policy = fam.policy(name)
    (noise,) = tiny.sounds(seconds)
    one = tree(policy, noise, 6)
    assert len(one.prompt.sound) == int(seconds * 25)
    assert steps(policy.score([one])[0], expected_scores(policy, noise, one.completions[0])) < CLOSE


@pytest.mark.parametrize("name", fam.LONG[1:], scope="module")
def test_a_last_window_of_no_row_changes_nothing(name: str) -> None:
    policy = fam.policy(name)
    (noise,) = tiny.sounds(30.005)
    assert torch.equal(policy.encode(noise), policy.encode(noise[: 30 * RATE]))


def test_clips_over_the_longest_are_refused(name: str) -> None:
    policy = fam.policy(name)
    seconds = {"qwen2_audio": 30, "qwen2_5_omni": 60, "audioflamingo3": 600, "musicflamingo": 1200}[name]
    assert policy.max_ms == seconds * 1000
    silence = np.zeros(seconds * RATE + 1, np.float32)
    with pytest.raises(PaqaError, match=f"s is longer than the {seconds} s that the encoder hears"):
        policy.encode(silence)


def test_features_of_omni_are_those_of_its_processor() -> None:
    """Its processor wants torchvision for its video part; ours is that of Qwen2-Audio. Both make the same."""
    ours = fam.processor("qwen2_5_omni")
    theirs = object.__new__(transformers.Qwen2_5OmniProcessor)
    theirs.feature_extractor, theirs.audio_token = ours.feature_extractor, "<|AUDIO|>"
    for noise in tiny.sounds(0.71, 3.0, 47.3):
        batch = inputs(ours, noise)
        features, (placeholders,) = theirs._process_audio(
            [noise], sampling_rate=RATE, return_attention_mask=True, return_tensors="pt"
        )
        rows = int((batch["input_ids"] == ours.tokenizer.convert_tokens_to_ids("<|AUDIO|>")).sum())
        assert placeholders == "<|AUDIO|>" * rows
        assert torch.equal(batch["input_features"], features["input_features"])
        assert torch.equal(batch["feature_attention_mask"], features["feature_attention_mask"])


# training


def sft_config(base: Path, data: Path, out: Path, train: Any) -> SftConfig:
    return SftConfig(
        model=str(base), data=str(data), out=str(out), device="cpu", quiet=True, train=train, batch=2,
        tokens=4000, steps=3, warmup=1, learning_rate=3e-3, validate_every=0, save_every=0, answer_rows=0,
        rank=4, alpha=8, pause=PauseConfig(tokens=2, runs=2, warmup=4, cooldown=20), tensorboard=False,
        max_new=8, caption_given=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        tiny.item(label, split, n) for label in tiny.HEARD for n, split in enumerate(("train", "validation"))
    ]
    return tiny.build(tmp_path_factory.mktemp("data") / "build", rows)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {n for n in before if not torch.equal(before[n], after[n])}


@pytest.mark.parametrize("projector", [True, False])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_training_changes_what_it_says(
    name: str, data: Path, tmp_path: Path, train: str, projector: bool
) -> None:
    base = fam.folder(tmp_path / "base", name)
    config = replace(sft_config(base, data, tmp_path / "out", train), projector=projector)
    sft.train(config)
    first, last = (model.load(str(path), "cpu", "float32") for path in (base, tmp_path / "out" / "last"))
    before, after = first.net.state_dict(), last.net.state_dict()
    if train == "full":
        parts = ("model.language_model.", "lm_head.", *(f"model.{p}." for p in PROJECTORS if projector))
        assert changed(before, after) == {n for n in before if n.startswith(parts)}
    else:
        plain = {
            n.removeprefix("base_model.model.").replace(".base_layer", "").replace(".original_module", ""): w
            for n, w in after.items()
        }
        assert not changed(before, plain)
        trained = {n for n in after if ".default." in n}
        assert any(".modules_to_save." in n for n in trained) == projector
        rest = [n for n in trained if ".modules_to_save." not in n]
        assert all(".language_model.layers." in n and ".lora_" in n for n in rest)
        assert all(after[n].abs().max() > 0 for n in rest if ".lora_B." in n)
        for n in trained - set(rest):
            assert any(p in n for p in PROJECTORS)
            assert not torch.equal(after[n], after[n.replace("modules_to_save.default", "original_module")])
    (noise,) = tiny.sounds(1.2)
    assert not torch.equal(first.score([tree(first, noise, 5)])[0], last.score([tree(last, noise, 5)])[0])


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_trained_folder_scores_and_answers_as_it_did(name: str, tmp_path: Path, train: str) -> None:
    """As `load` reads it, and as a plain checkpoint that transformers reads alone."""
    base = fam.folder(tmp_path / "base", name)
    policy = model.load(str(base), "cpu", "float32")
    if train == "lora":
        policy.train_lora(4, 8, projector=True, checkpointing=False)
    else:
        policy.train_full(projector=True, checkpointing=False, reference=False)
    torch.manual_seed(3)
    with torch.no_grad():
        for p in policy.trained().values():
            p.add_((0.03 if train == "lora" else 0.005) * torch.randn_like(p))
    policy.eval().save(tmp_path / "trained")
    again = model.load(str(tmp_path / "trained"), "cpu", "float32")
    (noise,) = tiny.sounds(1.7)
    one = tree(policy, noise, 5, 4)
    assert torch.equal(again.score([one])[0], policy.score([one])[0])
    network = export.export(str(tmp_path / "trained"), tmp_path / "plain", "float32")
    assert network == fam.CLASSES[name]
    assert network in (tmp_path / "plain" / "README.md").read_text()
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "plain")
    net = getattr(transformers, network).from_pretrained(tmp_path / "plain").eval()
    done = rollout(policy, [one.prompt], 1, [0], Sampling(NEW, temperature=0.0))
    theirs = net.generate(**inputs(processor, noise), max_new_tokens=NEW)[0, len(one.prompt.ids) :]
    assert theirs.tolist() == done.ids[0][done.real[0]].tolist()
    assert len(set(theirs.tolist())) > 2
    rows = net.get_input_embeddings().weight
    assert torch.equal(rows[policy.pause_id], policy.pause)
    assert model.load(str(tmp_path / "plain"), "cpu").family == policy.family


def test_the_encoder_runs_beside_a_projector_of_another_type(policy: Policy) -> None:
    """Training in full makes the projector float32, whatever the encoder is."""
    half = copy.deepcopy(policy)
    half.net.bfloat16()
    half.train_full(projector=True, checkpointing=False, reference=False)
    (noise,) = tiny.sounds(1.0)
    sound = half.encode(noise)
    assert sound.dtype == torch.bfloat16
    assert not sound.requires_grad
    logp = half.score([tree(half, noise, 5)])[0]
    logp.sum().backward()
    weights = full_weights.weights(half.net)
    assert all(p.grad is not None for n, p in weights.items() if any(x in n for x in PROJECTORS))


def test_a_stage_goes_on_with_the_adapter_and_keeps_a_reference(policy: Policy) -> None:
    """As GRPO does after SFT: the reference is the model as the stage began, projector and all."""
    trained = copy.deepcopy(policy)
    trained.train_lora(4, 8, projector=True, checkpointing=False)
    (noise,) = tiny.sounds(1.1)
    one = tree(trained, noise, 6)
    torch.manual_seed(5)
    scores = []
    for _ in range(2):
        with torch.no_grad():
            for p in trained.trained().values():
                p.add_(0.03 * torch.randn_like(p))
            scores.append(trained.score([one])[0])
        if len(scores) == 1:
            trained.net.requires_grad_(False)
            trained.train_lora(4, 8, projector=True, checkpointing=False)
    assert not torch.allclose(scores[0], scores[1], atol=1e-2)
    with trained.reference():
        assert torch.equal(trained.score([one])[0], scores[0])
    assert torch.equal(trained.score([one])[0], scores[1])


# loading


def test_the_thinker_of_a_whole_omni_is_loaded_alone(tmp_path: Path) -> None:
    """Beside it are the files of a processor for images as well, and a chat template in JSON."""
    policy = fam.policy("qwen2_5_omni")
    fam.whole_omni(tmp_path, policy.net)
    names = load_file(tmp_path / "model.safetensors").keys()
    assert {n.split(".")[0] for n in names} == {"thinker", "talker", "token2wav"}
    policy.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    chat = {"chat_template": policy.processor.chat_template}
    (tmp_path / "chat_template.json").write_text(json.dumps(chat))
    images = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5OmniProcessor"}
    extractor = policy.processor.feature_extractor.to_dict()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(extractor | images))
    loaded = model.load(str(tmp_path), "cpu", "float32")
    assert type(loaded.inner).__name__ == fam.CLASSES["qwen2_5_omni"]
    before, after = policy.net.state_dict(), loaded.net.state_dict()
    assert before.keys() == after.keys()
    assert not changed(before, after)
    (noise,) = tiny.sounds(1.3)
    one, other = tree(policy, noise, 5), tree(loaded, noise, 5)
    assert one.prompt.ids.tolist() == other.prompt.ids.tolist()
    assert torch.equal(policy.score([one])[0], loaded.score([other])[0])


def test_unknown_families_are_named(tmp_path: Path) -> None:
    transformers.Qwen2Config().save_pretrained(tmp_path / "text")
    with pytest.raises(
        PaqaError, match="text: is qwen2 over qwen2; expected qwen2_audio over llama or qwen2"
    ):
        model.load(str(tmp_path / "text"), "cpu")
    over = fam.config("audioflamingo3", fam.processor("audioflamingo3").tokenizer, 600)
    over.text_config = transformers.GemmaConfig()
    over.save_pretrained(tmp_path / "gemma")
    with pytest.raises(
        PaqaError, match=r"is audioflamingo3 over gemma; expected .*audioflamingo3 over qwen2"
    ):
        model.load(str(tmp_path / "gemma"), "cpu")


def test_a_tokenizer_of_another_family_is_refused() -> None:
    net = fam.policy("audioflamingo3").net
    with pytest.raises(PaqaError, match=r"its tokenizer has no <sound> .* expected one of audioflamingo3"):
        Policy(net, tiny.processor(), "base")


# the store of encoded clips


def test_encoded_clips_of_two_families_have_two_keys(tmp_path: Path) -> None:
    """Audio and Music Flamingo may have the same encoder weights, and their rows differ."""
    (noise,) = tiny.sounds(1.0)
    one, other = fam.policy("audioflamingo3"), fam.policy("musicflamingo")
    other.inner.model.audio_tower.load_state_dict(one.inner.model.audio_tower.state_dict())
    expected = other.encode(noise)
    for policy in (one, other):
        policy.sounds = SoundStore(Store(tmp_path), policy.inner)
        policy.encode(noise)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert torch.equal(other.encode(noise), expected)
    assert not torch.equal(one.encode(noise), expected)


def test_training_the_projector_changes_no_key(policy: Policy, tmp_path: Path) -> None:
    trained = copy.deepcopy(policy)
    before = SoundStore(Store(tmp_path), trained.inner).encoder
    trained.train_lora(4, 8, projector=True, checkpointing=False)
    assert SoundStore(Store(tmp_path), trained.inner).encoder == before
    with torch.no_grad():
        trained.inner.model.audio_tower.conv1.weight.add_(1)
    assert SoundStore(Store(tmp_path), trained.inner).encoder != before
