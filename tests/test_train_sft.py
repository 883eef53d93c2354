"""SFT learns the rationales by heart, hears while doing so, and resumes to the bit."""

from __future__ import annotations

import json
import re
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import train_tiny as tiny

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from paqa.errors import PaqaError  # noqa: E402
from paqa.train import model, sft, trainer  # noqa: E402
from paqa.train.batch_layout import Tree  # noqa: E402
from paqa.train.config import PauseConfig, SftConfig  # noqa: E402
from paqa.train.data import EncodedClips, Rows, with_pauses  # noqa: E402

PAUSE = PauseConfig(tokens=2, runs=2, warmup=4, cooldown=20)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A base and a build: four sounds, each with rows to train on and to validate with."""
    folder = tmp_path_factory.mktemp("sft")
    tiny.folder(folder / "base", head=4.0)
    items = [
        tiny.item(label, split, n) for label in tiny.HEARD for n, split in enumerate(("train", "validation"))
    ]
    tiny.build(folder / "build", items)
    return folder


def config(there: Path, out: Path, **changes) -> SftConfig:
    plain = SftConfig(
        model=str(there / "base"), data=str(there / "build"), out=str(out), device="cpu", quiet=True, rank=16,
        alpha=32,
        batch=1, tokens=2000, steps=6, warmup=2, learning_rate=5e-3, validate_every=3, save_every=2,
        answer_rows=0,
        max_new=200, pause=PAUSE, pause_share=0.5,
    )  # fmt: skip
    return replace(plain, **changes)


def metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_a_handful_of_rows_by_heart_and_listens(there, tmp_path):
    """The same question every time: only the sound tells which of four rationales is right."""
    done = sft.train(
        config(there, tmp_path, steps=80, learning_rate=1e-2, validate_every=0, save_every=0, answer_rows=4)
    )
    told = metrics(tmp_path)
    assert told[0]["loss"] > 3
    assert told[-1]["loss"] < 0.05
    assert done["accuracy"] == done["format"] == 1.0  # of rows with other noise, answered in full
    policy = model.load(str(tmp_path / "last"), "cpu")
    rows = Rows(there / "build")
    clips, held = EncodedClips(policy, rows), rows.split("validation")
    silent = dict.fromkeys((r.item.clip_id for r in held), policy.encode(torch.zeros(16000).numpy()))
    clips._kept.update(silent)
    assert sft.answers(policy, clips, held, 200)["accuracy"] <= 0.25


def test_it_resumes_to_the_bit(there, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    sft.train(config(there, whole))
    with pytest.MonkeyPatch.context() as patch:
        plain = trainer.Trainer.update

        def killed(self):
            if self.state.step == 4:
                raise KeyboardInterrupt
            return plain(self)

        patch.setattr(trainer.Trainer, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            sft.train(config(there, parts))
    assert [p.name for p in trainer.checkpoints(parts)] == ["checkpoint-000002", "checkpoint-000004"]
    torch.manual_seed(999)
    torch.rand(7)
    sft.train(config(there, parts))
    for name in ("trained.safetensors",):
        one, other = (load_file(d / "checkpoint-000006" / name) for d in (whole, parts))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)
    one, other = (torch.load(d / "checkpoint-000006" / "optimizer.pt") for d in (whole, parts))
    assert all(torch.equal(one["state"][k]["exp_avg"], other["state"][k]["exp_avg"]) for k in one["state"])
    kept = [{k: v for k, v in m.items() if "second" not in k and k != "tokens_per_s"} for m in metrics(parts)]
    assert kept == [
        {k: v for k, v in m.items() if "second" not in k and k != "tokens_per_s"} for m in metrics(whole)
    ]
    assert [p.name for p in trainer.checkpoints(parts)] == ["checkpoint-000004", "checkpoint-000006"]
    assert list((parts / "tensorboard").iterdir())


def test_metrics_are_told_in_a_log_and_on_tensorboard(there, tmp_path, capfd):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sft.train(config(there, tmp_path, steps=4, quiet=False))
    (last,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("4/4 [")]
    assert "<00:00" in last  # time left
    assert "tokens_per_s" in last
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "validation/loss", "seconds/backward"):
        shown = {e.step: e.value for e in events.Scalars(name)}
        assert shown == pytest.approx(
            {m["step"]: m[name] for m in metrics(tmp_path) if name in m}, rel=1e-4, abs=1e-5
        )


def test_metrics_go_to_weights_and_biases(there, tmp_path, monkeypatch):
    """The file of a run that stays offline holds them: a log of LevelDB with one record a step."""
    records = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for name in ("WANDB_MODE", "WANDB_SILENT", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.get(name, "false"))
    sft.train(config(there, tmp_path / "street", steps=3, wandb="paqa"))
    (path,) = (tmp_path / "street").glob("wandb/offline-run-*/*.wandb")
    data, at, losses = path.read_bytes(), 7, {}
    while at < len(data):
        size, kind = struct.unpack_from("<HB", data, at + 4)
        assert kind == 1  # whole: nothing here is as long as a block
        record = records.Record.FromString(data[at + 7 : at + 7 + size])
        row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        if row:
            losses[row["_step"]] = row["loss"]
        at += 7 + size
    assert losses == pytest.approx({m["step"]: m["loss"] for m in metrics(tmp_path / "street")}, rel=1e-4)


def test_wandb_is_asked_for_where_it_is_missing(there, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PaqaError, match="--wandb: the package wandb is missing"):
        sft.train(config(there, tmp_path, steps=1, wandb="paqa"))


def test_the_best_is_kept(there, tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(sft, "validation", lambda *_: {"loss": (v := next(losses)), "score": -v, "rows": 2})
    sft.train(config(there, tmp_path, validate_every=2, best_rows=2))
    state = json.loads((tmp_path / "checkpoint-000006" / "state.json").read_text())
    assert (state["best"], state["best_step"]) == (-1.0, 4)
    best, last = (
        load_file(tmp_path / n / "adapter-0" / "adapter_model.safetensors") for n in ("best", "last")
    )
    assert any(not torch.equal(best[k], last[k]) for k in best)


def test_few_rows_tell_no_best(there, tmp_path, capfd):
    """Which of two models answers two rows better is chance."""
    sft.train(config(there, tmp_path, validate_every=2, quiet=False))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name in ("best", "last")) == ["last"]
    expected = f"no best model is kept, only the last: {len(tiny.HEARD)} rows are validated, expected 64"
    assert expected in capfd.readouterr().err


def test_pause_is_in_the_context_and_out_of_the_loss(there):
    policy = model.load(str(there / "base"), "cpu")
    rows = Rows(there / "build")
    trees = [EncodedClips(policy, rows).tree(row) for row in rows.all[:4]]
    always = replace(config(there, there), pause_share=1.0)
    paused = sft.add_pauses(policy, trees, rows.all[:4], 0, always)
    for before, after in zip(trees, paused, strict=True):
        (ids,), (learn,) = after.completions, after.learn
        assert int((ids == policy.pause_id).sum()) == PAUSE.tokens * PAUSE.runs
        assert torch.equal(learn, ids != policy.pause_id)
        assert torch.equal(ids[learn], before.completions[0])
        logp = policy.score([before])[0]
        first = int((ids == policy.pause_id).int().argmax())
        assert logp[first] <= logp[PAUSE.warmup : -1].kthvalue(PAUSE.runs * 2 * PAUSE.cooldown // 2).values
    assert sft.add_pauses(policy, trees, rows.all[:4], 0, replace(always, pause_share=0.0)) == trees
    never = replace(always, pause=replace(PAUSE, mode="never"))
    assert sft.add_pauses(policy, trees, rows.all[:4], 0, never) == trees
    assert sft.lengths(policy, rows.all, never) == sft.lengths(
        policy, rows.all, replace(always, pause_share=0.0)
    )
    policy.requires_grad_(True)
    policy.score(paused)[0].sum().backward()
    assert policy.pause.grad.abs().max() > 0
    assert policy.net.lm_head.weight.grad[policy.pause_id].abs().max() == 0


def test_a_run_goes_on_with_its_own_settings_only(there, tmp_path):
    sft.train(config(there, tmp_path, steps=1))
    with pytest.raises(PaqaError, match=r"learning_rate was 0.005 and is 0.1"):
        sft.train(config(there, tmp_path, steps=1, learning_rate=0.1))
    with pytest.raises(PaqaError, match="expected --model and --data"):
        sft.train(SftConfig(out=str(tmp_path)))


def test_clips_that_are_too_long_are_refused(there, tmp_path):
    """Before the first step, and those that are validated with as well."""
    tiny.folder(tmp_path / "base", seconds=1)
    items = [tiny.item("Bark"), tiny.item("Rain", "validation")]
    long = [replace(i, scene=replace(i.scene, duration_ms=2500)) for i in items[1:]]
    tiny.build(tmp_path / "build", items[:1] + long)
    message = (
        r"1 rows are .* than the 1 s .* \(rain-validation-0:0 lasts 2.5 s\); "
        r".*audio.max_clip_ms = 1000 or less"
    )
    with pytest.raises(PaqaError, match=message):
        sft.train(config(tmp_path, tmp_path / "run", steps=1))
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named(there, tmp_path):
    sft.train(config(there, tmp_path, steps=2, validate_every=0))
    (last,) = trainer.checkpoints(tmp_path)
    for name in ("trained.safetensors", "optimizer.pt", "rng.pt", "state.json"):
        whole = (last / name).read_bytes()
        for damaged in (whole[: len(whole) // 2], b""):
            (last / name).write_bytes(damaged)
            with pytest.raises(
                PaqaError, match=r"checkpoint-000002: not a whole checkpoint .* remove this folder"
            ):
                sft.train(config(there, tmp_path, steps=2, validate_every=0))
        (last / name).write_bytes(whole)
    state = json.loads((last / "state.json").read_text())
    (last / "state.json").write_text(json.dumps(state | {"world": 2}))
    with pytest.raises(PaqaError, match=r"was written by 2 processes and there are 1; start as many"):
        sft.train(config(there, tmp_path, steps=2, validate_every=0))


def test_a_damaged_model_is_named(there, tmp_path):
    sft.train(config(there, tmp_path, steps=1, validate_every=0))
    last = tmp_path / "last"
    for name in (
        "paqa.json",
        "pause.safetensors",
        "adapter-0/adapter_model.safetensors",
        "adapter-0/adapter_config.json",
    ):
        whole = (last / name).read_bytes()
        (last / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(PaqaError, match=r"last: not a whole trained model"):
            model.load(str(last), "cpu")
        (last / name).write_bytes(whole)
    with pytest.raises(PaqaError, match=r"no model there .* there is .*last; expected a Hub id"):
        model.load(str(tmp_path / "first"), "cpu")


@pytest.mark.parametrize(
    ("wish", "message"), [("gpu", "expected auto, cpu, cuda"), ("cuda:99", "try --device auto")]
)
def test_a_device_that_is_not_there_is_named(there, wish, message):
    with pytest.raises(PaqaError, match=message):
        model.load(str(there / "base"), wish)


def test_what_only_pauses_can_learn():
    """With all but the PAUSE row frozen, a target can be reached where pauses stand before it, and nowhere
    else.

    PAUSE adds positions, not depth: a task that needs their computation, and not just their row, is none for
    a random model of two layers in the seconds of a test.
    """
    policy = tiny.policy(head=4.0)
    policy.net.requires_grad_(False)
    (prompt,) = tiny.asked(policy, 1.0)
    target = policy.completion_ids("a cat")
    plain = Tree(prompt, (target,), (torch.ones(len(target), dtype=torch.bool),))
    policy.score([plain])[0].sum().backward()
    assert policy.pause.grad.abs().max() == 0
    waiting = with_pauses(plain, [0, len(target) - 1], 4, policy.pause_id)
    optimizer = torch.optim.Adam([policy.pause], lr=0.02)
    losses = []
    for _ in range(25):
        loss = -policy.score([waiting])[0].sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 3.0


def test_a_given_caption_is_read_and_all_else_is_learnt(there):
    policy = model.load(str(there / "base"), "cpu", "float32")
    rows = Rows(there / "build")
    (row, *_) = rows.split("train")
    clips = EncodedClips(policy, rows)
    heard, given = clips.tree(row), clips.tree(row, caption_given=True)
    assert policy.audio_id in heard.prompt.ids
    assert policy.audio_id not in given.prompt.ids
    (ids,), (learn,) = given.completions, given.learn
    assert torch.equal(ids, heard.completions[0])
    unlearnt = policy.tokenizer.decode(ids[~learn])
    assert row.item.scene.events[0].label in unlearnt
    assert not any(tag in unlearnt for tag in ("THINK", "REASONING", "RESPONSE"))
    assert f"({'ABCD'[row.item.answer_index]})" in policy.tokenizer.decode(ids[learn])
    assert torch.isfinite(policy.score([given])[0]).all()


def test_what_a_reflection_takes_back_is_not_learnt(there):
    policy = model.load(str(there / "base"), "cpu")
    rows = Rows(there / "build")
    row = rows.all[0]
    item = replace(row.item, mistaken=("ENV", "REASONING"))
    tree = EncodedClips(policy, rows).tree(replace(row, item=item))
    left_out = policy.tokenizer.decode(tree.completions[0][~tree.learn[0]])
    for tag in item.mistaken:
        content = re.search(rf"<{tag}>(.*?)</{tag}>", item.rationale)[1]
        assert "".join(content.split())[1:-1] in "".join(left_out.split())
    learnt = policy.tokenizer.decode(tree.completions[0][tree.learn[0]])
    assert "</REASONING><SUMMARY>" in "".join(learnt.split())
    assert bool(tree.learn[0][-1])
    assert EncodedClips(policy, rows).tree(row).learn[0].all()
