"""What was sampled is scored with the probability it was sampled with; PAUSE comes where and only where it
may.
"""

from __future__ import annotations

import math

import pytest
import train_tiny as tiny
from closeness import steps

torch = pytest.importorskip("torch")

from paqa.train import rollout as rollouts  # noqa: E402
from paqa.train.config import OFF, PauseConfig  # noqa: E402
from paqa.train.pause_tokens import UNBOUND, Bounds, PauseState, keyword_rows  # noqa: E402
from paqa.train.rollout import Sampling, rollout  # noqa: E402

CLOSE = 20  # steps; seen: 2
GROUP = 4
PAUSE = PauseConfig(tokens=3, runs=2, window=4, top=8, warmup=3, cooldown=5)


@pytest.fixture(scope="module")
def policy():
    return tiny.policy()


@pytest.fixture(scope="module")
def prompts(policy):
    return tiny.asked(policy, 1.6, 0.7)


def write(policy, prompts, pause=OFF, bounds=UNBOUND, max_new=30, **options):
    return rollout(
        policy,
        prompts,
        GROUP,
        range(len(prompts) * GROUP),
        Sampling(max_new, pause=pause, bounds=bounds, **options),
    )


def median(policy, prompts):
    """Bounds that about half of all windows lie below."""
    seen = write(policy, prompts, PauseConfig(mode="never", window=4, top=8)).confidence
    return Bounds(float(seen[~seen.isnan()].median()))


def runs_of(row):
    """Lengths of the runs of True."""
    return [len(s) for s in "".join("x" if v else "." for v in row.tolist()).split(".") if s]


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_replayed_log_probabilities_are_the_recorded_ones(kind, temperature):
    policy = tiny.policy(kind)
    policy.train_lora(4, 8, projector=True, checkpointing=False)
    with torch.no_grad():
        for p in policy.trained().values():
            p.add_(0.02 * torch.randn_like(p))
    policy.eval()
    prompts = tiny.asked(policy, 1.6, 0.7)
    for pause, bounds in ((OFF, UNBOUND), (PAUSE, median(policy, prompts))):
        done = write(policy, prompts, pause, bounds, temperature=temperature)
        again, _ = policy.score(done.trees(prompts, range(2)), temperature)
        assert steps(again, done.logp[done.sampled]) < CLOSE
        assert bool(done.pauses.any()) == (pause.mode == "on")


def test_a_step_is_what_transformers_does(policy, prompts):
    """Greedy: the same tokens as `generate`, which reads the prompt anew for each."""
    done = rollout(policy, prompts, 1, [0, 0], Sampling(12, temperature=0.0))
    for i, prompt in enumerate(prompts):
        x = policy.embed(prompt.ids, [prompt.sound])[None]
        policy.net.generation_config.suppress_tokens = [policy.pause_id, policy.audio_id]
        policy.net.generation_config.suppress_tokens += list(
            range(len(policy.tokenizer), policy.net.lm_head.weight.shape[0])
        )
        theirs = policy.net.generate(
            inputs_embeds=x,
            attention_mask=torch.ones(x.shape[:2]),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=policy.stop_ids,
            pad_token_id=policy.pad_id,
        )[0]
        assert done.ids[i][done.real[i]].tolist() == theirs.tolist()


def test_a_row_does_not_depend_on_the_others(policy, prompts):
    done = write(policy, prompts)
    alone = rollout(policy, prompts[1:], 2, [5, 6], Sampling(30))
    for i, j in ((0, 5), (1, 6)):
        assert alone.ids[i][alone.real[i]].tolist() == done.ids[j][done.real[j]].tolist()


@pytest.mark.parametrize("pause", [OFF, PAUSE], ids=["off", "on"])
def test_rows_that_have_ended_are_dropped_and_nothing_else_changes(monkeypatch, pause):
    policy = tiny.policy()
    policy.forbidden[policy.end_id] = 3.0  # ends early, and at different times
    prompts = tiny.asked(policy, 1.6, 0.7, 1.1)
    bounds = Bounds(99.0)
    rows = []
    plain = rollouts.decode

    def counted(*args):
        rows.append(len(args[1]))
        return plain(*args)

    monkeypatch.setattr(rollouts, "decode", counted)
    dropped = write(policy, prompts, pause, bounds, max_new=60)
    assert rows == sorted(rows, reverse=True)
    assert len(set(rows)) > 1
    monkeypatch.setattr(rollouts, "rows_to_keep", lambda *_: None)
    carried = write(policy, prompts, pause, bounds, max_new=60)
    assert len(set(dropped.lengths.tolist())) > 6
    assert bool(carried.pauses.any()) == (pause is PAUSE)
    for name in ("ids", "real", "sampled", "cut", "aborted", "pauses"):
        assert torch.equal(getattr(dropped, name), getattr(carried, name)), name
    assert steps(dropped.logp, carried.logp) < CLOSE
    for name in ("confidence", "lowest"):
        one, other = (getattr(x, name) for x in (dropped, carried))
        assert torch.equal(one.isnan(), other.isnan())
        torch.testing.assert_close(one, other, equal_nan=True)


def test_groups_that_go_on_have_one_size():
    alive = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]).bool().flatten()
    kept, size = rollouts.rows_to_keep(alive, 4)
    assert size == 2
    assert kept[:2].sort().values.tolist() == [1, 3]
    assert kept[2] == 8
    assert kept[3] in (9, 10, 11)
    assert rollouts.rows_to_keep(torch.tensor([1, 1, 1, 0]).bool(), 4) is None


def test_never_is_off_to_the_bit(policy, prompts):
    off, never = (
        write(policy, prompts),
        write(policy, prompts, PauseConfig(mode="never", window=4), Bounds(99.0, 98.0)),
    )
    for name in ("ids", "real", "sampled", "logp"):
        assert torch.equal(getattr(off, name), getattr(never, name)), name
    assert not never.pauses.any()
    assert not off.lowest.isfinite().any()
    assert never.lowest.isfinite().all()


def test_before_the_first_pause_nothing_changes(policy, prompts):
    plain, paused = write(policy, prompts), write(policy, prompts, PAUSE, median(policy, prompts))
    is_pause = paused.ids == policy.pause_id
    assert is_pause.any()
    for i in range(len(plain.ids)):
        first = (
            int(is_pause[i].int().argmax())
            if is_pause[i].any()
            else min(plain.ids.shape[1], paused.ids.shape[1])
        )
        assert torch.equal(plain.ids[i, :first], paused.ids[i, :first])


@pytest.mark.parametrize("mode", ["on", "always"])
def test_where_pauses_stand(policy, prompts, mode):
    pause = PauseConfig(**{**PAUSE.__dict__, "mode": mode})
    done = write(policy, prompts, pause, median(policy, prompts))
    is_pause = done.ids == policy.pause_id
    assert torch.equal(is_pause, done.real & ~done.sampled)
    assert (done.lengths <= 30).all()
    assert not done.aborted.any()
    for i, row in enumerate(is_pause):
        lengths = runs_of(row)
        assert lengths == [pause.tokens] * int(done.pauses[i])
        assert len(lengths) <= pause.runs
        if lengths:
            places = row.nonzero().flatten()
            assert int(places[0]) >= max(pause.warmup, pause.window - 1)
            gaps = runs_of(done.sampled[i][int(places[0]) : int(places[-1])])
            assert all(gap >= pause.cooldown for gap in gaps)
            assert done.sampled[i, int(places[-1]) + 1]  # never the last thing: something is said after it
        ended = (done.ids[i] == policy.end_id) & done.sampled[i]
        assert not ended.any() or int(ended.int().argmax()) == int(done.real[i].sum()) - 1
    if mode == "always":
        assert (done.pauses[done.lengths > 12] == 2).all()


def test_what_has_lost_its_way_is_given_up(policy, prompts):
    bounds = median(policy, prompts)
    done = write(policy, prompts, PAUSE, Bounds(math.inf, bounds.pause))
    assert done.aborted.any()
    for i in done.aborted.nonzero().flatten().tolist():
        last = int(done.real[i].sum()) - 1
        assert done.ids[i, last] == policy.end_id
        assert not done.sampled[i, last]
        assert float(done.lowest[i]) <= bounds.pause
    again, _ = policy.score(done.trees(prompts, range(2)))
    assert steps(again, done.logp[done.sampled]) < CLOSE


def test_confidence_is_the_mean_over_the_window(policy, prompts):
    """By hand: -mean of the 8 likeliest log-probabilities at each place, averaged over four."""
    done = write(policy, prompts, PauseConfig(mode="never", window=4, top=8))
    row, prompt = 0, prompts[0]
    said = done.ids[row][done.real[row]]
    x = policy.embed(torch.cat([prompt.ids, said]), [prompt.sound])
    logits = policy.net(inputs_embeds=x[None]).logits[0].float() + policy.forbidden
    sure = -logits.log_softmax(-1)[len(prompt.ids) - 1 : -1].topk(8).values.mean(-1)
    expected = torch.stack([sure[i - 3 : i + 1].mean() for i in range(3, len(said))])
    assert steps(done.confidence[row, 3 : len(said)], expected) < CLOSE
    assert done.confidence[row, :3].isnan().all()
    assert steps(done.lowest[row], expected.min()) < CLOSE


def test_confidence_does_not_depend_on_the_temperature(policy, prompts):
    """The same bounds hold in training, which samples, and in evaluation, which does not."""
    never = PauseConfig(mode="never", window=1, top=8, warmup=0)
    first = [write(policy, prompts, never, temperature=t).confidence[:, 0] for t in (0.0, 0.5, 1.0, 2.0)]
    assert not first[0].isnan().any()
    for other in first[1:]:
        assert steps(other, first[0]) < CLOSE


def test_bounds_are_calibrated_and_follow():
    config = PauseConfig(quantile=0.25, abort_quantile=0.01, momentum=0.5)
    first = Bounds.first(config).after(torch.tensor([4.0, math.nan, 1.0, 2.0, 3.0]), config)
    assert first == Bounds(2.0, 1.0)
    assert first.after(torch.tensor([6.0, 6.0]), config) == Bounds(4.0, 3.5)
    fixed = PauseConfig(tau_pause=0.5, tau_abort=0.05)
    assert Bounds.first(fixed).after(torch.tensor([9.0]), fixed) == Bounds(0.5, 0.05)
    assert Bounds().after(torch.tensor([math.nan]), config) == Bounds()


def test_keywords_make_it_pause_more_readily(policy):
    config = PauseConfig(
        tokens=1, window=1, top=2, warmup=0, cooldown=0, keywords=("noise",), keyword_bonus=10.0
    )
    rows = keyword_rows(config.keywords, lambda t: policy.tokenizer(t)["input_ids"], torch.device("cpu"))
    watch = PauseState(config, Bounds(0.5), 2, 99, rows)
    logp, alive, both = (
        torch.full((2, 4), -1.4),
        torch.ones(2, dtype=torch.bool),
        torch.ones(2, dtype=torch.bool),
    )
    assert not watch.decide(logp, alive)[0].any()
    for token in policy.tokenizer(" noise")["input_ids"]:
        watch.record(torch.tensor([token, 7]), both)
    assert watch.decide(logp, alive)[0].tolist() == [True, False]


def test_one_graph_serves_all_lengths(policy, prompts, monkeypatch):
    """Of the real compiler the front half, which is where graphs break and are made anew for other shapes."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(
        rollouts, "compiled", lambda: torch.compile(rollouts.decode, dynamic=True, backend=counter)
    )
    monkeypatch.setattr(
        rollouts, "BUCKET", 20
    )  # equal to no width of the model: equal sizes are compiled as one
    plain, compiled = (write(policy, prompts + prompts[:1], max_new=43, compile=c) for c in (False, True))
    assert torch.equal(plain.ids, compiled.ids)
    plain, compiled = (write(policy, prompts[:1] * 5, max_new=21, compile=c) for c in (False, True))
    assert torch.equal(plain.ids, compiled.ids)
    assert counter.frame_count == 1
