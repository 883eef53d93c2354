"""The store's promise: a key moves with all that decides what is heard, and with nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_build import ContextParams, Picky, clip

from paqa.config.recipe import HearConfig, HearConfigs, QuestionsConfig
from paqa.engines import base
from paqa.execution.placement import PlacementOptions
from paqa.perception import engine_runs
from paqa.pipeline.recipe_files import for_folder
from paqa.storage.store import Store

STAGES = {"separate": "mix", "diarize": "speech", "tag": "background", "transcribe": "mix"}


def engine(stage_of, revision_of="1", **attributes):
    """An engine class of a stage, at a revision."""
    made = {
        "stage": stage_of,
        "Params": ContextParams,
        "identify": classmethod(lambda cls, params: revision_of),
    }
    return type("Made", (Picky,), made | {"remotes": classmethod(lambda cls, params: ())} | attributes)


@pytest.fixture
def engines(monkeypatch):
    """The registry, in which tests may change `NAME`: engines by stage, "other" ones, and some that know no
    GPU.
    """
    made = {stage: engine(stage) for stage in STAGES} | {f"other {stage}": engine(stage) for stage in STAGES}
    made["separate on a CPU"] = engine("separate", gpu_precision=None)
    monkeypatch.setattr(base, "ENGINES", dict.fromkeys(made, ""))
    monkeypatch.setattr(base, "engine_class", made.__getitem__)
    monkeypatch.setattr(engine_runs, "engine_class", made.__getitem__)
    engine_runs.identity.cache_clear()
    engine_runs._engine_runs.cache_clear()
    yield made
    engine_runs.identity.cache_clear()
    engine_runs._engine_runs.cache_clear()


@pytest.fixture
def recipe(engines):
    chosen = {stage: HearConfig(engine=stage, stem=on) for stage, on in STAGES.items()}
    chosen["transcribe"] = replace(chosen["transcribe"], align="speech")
    return replace(for_folder(Path(".")), hear=HearConfigs(**chosen))


@pytest.fixture
def one(tmp_path):
    return clip("a", Store(tmp_path / "store"), 1)


def keys(of, recipe):
    """The keys of all hearings of a clip, by name of the hearing."""
    engine_runs.identity.cache_clear()
    engine_runs._engine_runs.cache_clear()
    nodes = engine_runs.engine_runs(recipe)
    return {node.name: engine_runs.output_key(of, node, nodes[0]) for node in nodes}


def moved(of, before, after):
    """The names of the hearings whose keys differ."""
    one, other = keys(of, before), keys(of, after)
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


ON_STEMS = {"separate", "diarize speech", "tag background", "transcribe speech"}


def changed(recipe, stage, **changes):
    config = replace(getattr(recipe.hear, stage), **changes)
    return replace(recipe, hear=replace(recipe.hear, **{stage: config}))


def test_another_separator_moves_what_is_heard_on_its_stems_and_nothing_else(recipe, one):
    assert moved(one, recipe, changed(recipe, "separate", engine="other separate")) == ON_STEMS
    assert moved(one, recipe, changed(recipe, "separate", params={"level": 2})) == ON_STEMS
    assert (
        moved(one, recipe, changed(recipe, "separate", params={"model": "b"})) == set()
    )  # where weights lie


def test_another_revision_of_the_separator_moves_what_is_heard_on_its_stems(recipe, one, engines):
    before = keys(one, recipe)
    engines["separate"] = engine("separate", "2")
    after = keys(one, recipe)
    assert {name for name in before if before[name] != after[name]} == ON_STEMS


@pytest.mark.parametrize("stage", ["diarize", "tag", "transcribe"])
def test_another_engine_revision_or_parameter_moves_its_own_hearings(recipe, one, engines, stage):
    own = {name for name in keys(one, recipe) if name.startswith(stage)}
    assert moved(one, recipe, changed(recipe, stage, engine=f"other {stage}")) == own
    assert moved(one, recipe, changed(recipe, stage, params={"level": 2})) == own
    before = keys(one, recipe)
    engines[stage] = engine(stage, "2")
    after = keys(one, recipe)
    assert {name for name in before if before[name] != after[name]} == own


def test_hearings_on_different_stems_have_different_keys(recipe, one):
    found = keys(one, recipe)
    assert len(set(found.values())) == len(found) == 7
    assert "tag mix" in found  # for real mishearings


def test_other_samples_another_context_and_another_place_in_it_move_everything(recipe, one, tmp_path):
    everything = set(keys(one, recipe))
    assert {
        n for n, k in keys(clip("b", Store(tmp_path / "s"), 2), recipe).items() if k == keys(one, recipe)[n]
    } == set()
    long = changed(recipe, "separate", params={"context_s": 9})
    first = replace(one, context=(one.sha256, "1" * 64), place=0)
    for other in (one, replace(first, place=1), replace(first, context=(one.sha256, "2" * 64))):
        before, after = keys(first, long), keys(other, long)
        assert {name for name in everything if before[name] != after[name]} >= ON_STEMS


def test_questions_gates_and_names_move_nothing(recipe, one):
    asked = QuestionsConfig(per_clip=3, reflect=0.7, skip=("which_event",))
    for other in (
        replace(recipe, questions=asked),
        replace(
            recipe, gates=replace(recipe.gates, min_margin=0.9), seed=7, name="other", folder="/elsewhere"
        ),
    ):
        assert moved(one, recipe, other) == set()
    assert keys(replace(one, id="b", uri="b.wav", split="test", license="MIT"), recipe) == keys(one, recipe)


def test_what_a_gpu_hears_is_not_what_a_cpu_hears(recipe, one, engines):
    def on(**flags):
        return replace(recipe, devices=PlacementOptions(**flags).devices)

    assert on() == recipe
    assert moved(one, recipe, on(device="cuda:1")) == set(keys(one, recipe))
    assert moved(one, on(device="cuda"), on(device="cuda:1")) == set()  # a kind of device, not a number
    tags = {"tag background", "tag mix"}
    assert moved(one, recipe, on(runner="ray", gpus={"tag": 0.5})) == tags
    before = keys(one, on(device="cuda"))
    engines["tag"] = engine("tag", gpu_precision="float16")
    after = keys(one, on(device="cuda"))
    assert {name for name in before if before[name] != after[name]} == tags
    assert moved(one, recipe, on()) == set()
    alone = changed(recipe, "separate", engine="separate on a CPU")
    assert moved(one, alone, replace(alone, devices={"separate": "cuda"})) == set()
    revisions = {h.stage: h.revision for h in engine_runs.engines_used(on(runner="ray", gpus={"tag": 0.5}))}
    assert revisions == {"separate": "1", "diarize": "1", "tag": "1@cuda/float16", "transcribe": "1"}


def test_a_store_of_another_device_is_said_and_not_used(recipe, one, tmp_path):
    store = Store(tmp_path / "store")
    there = replace(recipe, devices=PlacementOptions(device="cuda").devices)
    nodes = engine_runs.engine_runs(there)
    assert engine_runs.device_of_outputs([one], recipe, store) is None
    store.put_json(engine_runs.output_key(one, nodes[-1], nodes[0]), engine_runs.StoredOutput())
    assert engine_runs.device_of_outputs([one], recipe, store) == "cuda"
    assert engine_runs.device_of_outputs([one], there, store) is None
    assert [
        len(engine_runs.without_output([one], n, nodes[0], store)) for n in engine_runs.engine_runs(recipe)
    ] == [1] * 7


def test_keys_of_cpus_are_those_of_earlier_stores(recipe, one):
    """Whoever changes these on purpose makes every store of every user worthless: say so in CHANGELOG.md."""
    assert {name: value[:12] for name, value in keys(replace(one, sha256="0" * 64), recipe).items()} == {
        "separate": "1734a7b05444",
        "diarize speech": "55fd78731fa8",
        "tag background": "e3a251b1d494",
        "transcribe mix": "cd3dd998dc3b",
        "transcribe speech": "ebd0a2deca74",
        "diarize mix": "b4378f072e83",
        "tag mix": "d7c9041d8b08",
    }
