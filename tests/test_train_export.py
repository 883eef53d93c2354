"""An exported model says in transformers' own words what a rollout says; a model answers about one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

import soundfile  # noqa: E402
from closeness import steps  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration  # noqa: E402

from paqa.cli.train import main  # noqa: E402
from paqa.rationale.prompt import PromptQuestion, question  # noqa: E402
from paqa.train import model  # noqa: E402
from paqa.train.ask import ask  # noqa: E402
from paqa.train.config import OFF, PauseConfig  # noqa: E402
from paqa.train.model import RATE  # noqa: E402
from paqa.train.pause_tokens import Bounds  # noqa: E402
from paqa.train.rollout import Sampling, rollout  # noqa: E402

NEW = 24
CLOSE = 150  # steps
PAUSE = PauseConfig(mode="always", tokens=3, runs=2, window=4, top=8, warmup=3, cooldown=5)


@pytest.fixture(scope="module", params=[9, 0], ids=["pause-inside", "pause-outside"])
def trained(request, tmp_path_factory) -> Path:
    """A trained folder whose every trained weight has moved; PAUSE lies inside or outside of the rows."""
    folder = tmp_path_factory.mktemp("export")
    tiny.folder(folder / "base", head=4.0, spare=request.param)
    policy = model.load(str(folder / "base"), "cpu", "float32")
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    torch.manual_seed(3)
    with torch.no_grad():
        for p in policy.trained().values():
            p.add_(0.03 * torch.randn_like(p))
    policy.bounds, policy.pause_config = Bounds(99.0), PAUSE
    policy.save(folder / "trained")
    return folder / "trained"


@pytest.fixture
def clip(tmp_path) -> Path:
    soundfile.write(tmp_path / "clip.wav", tiny.sounds(1.3)[0], RATE)
    return tmp_path / "clip.wav"


def test_generate_says_what_a_rollout_says(trained, tmp_path):
    assert main(["export", str(trained), str(tmp_path / "plain"), "--dtype", "float32"]) == 0
    policy = model.load(str(trained), "cpu", "float32")
    processor = AutoProcessor.from_pretrained(tmp_path / "plain")
    net = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "plain").eval()
    assert net.dtype == torch.float32
    for seconds, text in ((1.6, "who speaks?"), (0.7, "how many?")):
        (samples,) = tiny.sounds(seconds)
        asked = PromptQuestion("q", text, ("a dog", "a car"))
        prompt = policy.prompt(asked, policy.encode(samples))
        done = rollout(policy, [prompt], 1, [0], Sampling(NEW, temperature=0.0))
        content = [{"type": "audio", "audio_url": "x"}, {"type": "text", "text": question(asked)}]
        chat = [{"role": "user", "content": content}]
        written = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        batch = processor(text=[written], audio=[samples], sampling_rate=RATE, return_tensors="pt")
        assert batch["input_ids"][0].tolist() == prompt.ids.tolist()
        theirs = net.generate(**batch, max_new_tokens=NEW)[0, len(prompt.ids) :]
        assert theirs.tolist() == done.ids[0][done.real[0]].tolist()
        assert len(set(theirs.tolist())) > 3
        waiting = torch.cat([prompt.ids, torch.full((3,), policy.pause_id)])[None]
        batch |= {"input_ids": waiting, "attention_mask": torch.ones_like(waiting)}
        with torch.no_grad():
            expected = policy.net(inputs_embeds=policy.embed(waiting, [prompt.sound])).logits[0, -1]
            found = net(**batch).logits[0, -1]
        tokens = policy.forbidden.isfinite().nonzero().flatten()
        assert steps(found[tokens], expected[tokens]) < CLOSE


def test_an_export_is_cast_once_and_never_over_something(trained, tmp_path, capsys):
    out = tmp_path / "plain"
    assert main(["export", str(trained), str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    weights = load_file(out / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    policy = model.load(str(trained), "cpu", "float32")
    rows = next(w for name, w in weights.items() if name.endswith("embed_tokens.weight"))
    assert torch.equal(rows[policy.pause_id], policy.pause.detach().bfloat16())
    assert len(rows) == len(policy.tokenizer)
    assert model.load(str(out), "cpu").pause_id == policy.pause_id
    assert main(["export", str(trained), str(out)]) == 2
    assert "holds something already" in capsys.readouterr().err
    assert main(["export", str(trained.parent / "nothing"), str(tmp_path / "b")]) == 2
    assert "no model there" in capsys.readouterr().err


def test_a_file_is_asked_about(trained, clip, capsys):
    words = ["ask", str(trained), str(clip), "who speaks?", "--choices", "a dog", "a car", "--device", "cpu"]
    assert main([*words, "--max-new", str(NEW)]) == 0
    printed = capsys.readouterr().out
    policy = model.load(str(trained), "cpu")
    paused = ask(policy, clip, "who speaks?", ("a dog", "a car"), NEW, PAUSE)
    assert printed.startswith(paused.text)
    assert printed.splitlines()[-2:] == [
        f"choice: none is named, it was cut after {NEW} tokens" if paused.cut else "choice: none is named",
        "pauses: 2",
    ]
    assert paused.pauses == 2
    plain = ask(policy, clip, "who speaks?", ("a dog", "a car"), NEW, OFF)
    assert plain.pauses == 0
    assert main([*words, "--max-new", str(NEW), "--no-pause"]) == 0
    assert capsys.readouterr().out.endswith("pauses: 0\n")


def test_a_file_is_asked_about_as_the_model_was_trained(trained, clip, tmp_path, monkeypatch):
    policy = model.load(str(trained), "cpu")
    policy.brief, policy.letters = True, False
    policy.save(tmp_path / "brief")
    prompts: list[str] = []
    monkeypatch.setattr(model.prompts, "question", lambda asked: prompts.append(question(asked)) or "what?")
    ask(model.load(str(tmp_path / "brief"), "cpu"), clip, "what?", ("a dog", "a car"), 2, OFF)
    ask(policy, clip, "what?", ("a dog", "a car"), 2, OFF)
    ask(model.load(str(trained), "cpu"), clip, "what?", ("a dog", "a car"), 2, OFF)
    assert prompts[0] == prompts[1]
    assert "- a dog\n- a car" in prompts[0]
    assert "PLANNING" not in prompts[0]
    assert "(A) a dog" in prompts[2]
    assert "PLANNING" in prompts[2]


def test_the_choice_that_is_named_is_told(trained, clip, capsys, monkeypatch):
    from paqa.train.rollout import Rollout

    monkeypatch.setattr(Rollout, "texts", lambda *_: ["<RESPONSE>(B) a car</RESPONSE>"])
    words = ["ask", str(trained), str(clip), "what?", "--choices", "a dog", "a car", "--device", "cpu"]
    assert main([*words, "--max-new", "4"]) == 0
    assert "choice: (B) a car\n" in capsys.readouterr().out
    assert main([*words[:4], "--device", "cpu", "--max-new", "4"]) == 0
    assert "choice" not in capsys.readouterr().out


def test_files_that_cannot_be_asked_about_are_named(trained, tmp_path, capsys):
    words = [str(tmp_path / "clip.wav"), "who speaks?", "--device", "cpu"]
    assert main(["ask", str(trained), *words]) == 2
    assert "clip.wav" in capsys.readouterr().err
    soundfile.write(tmp_path / "clip.wav", tiny.sounds(2.5)[0], RATE)
    assert main(["ask", str(trained), *words]) == 2
    assert "2.500 s is longer than the 2 s" in capsys.readouterr().err
    (tmp_path / "clip.wav").write_bytes(b"no sound")
    assert main(["ask", str(trained), *words]) == 2
    assert "clip.wav" in capsys.readouterr().err
