"""The walk's own rules: one clip's failure, twins, sides, and a folder that is somebody else's."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import builds
import msgspec
import numpy as np
import pytest

from paqa.audio import digest, flac, quantize
from paqa.config.recipe import HearConfig, HearConfigs, SourceConfig
from paqa.dataset import summary
from paqa.engines import base
from paqa.engines.base import EngineOutput
from paqa.engines.event_scores import EventScores, KindScores
from paqa.errors import PaqaError
from paqa.perception import engine_runs, inference
from paqa.perception.engine_runs import EngineRun
from paqa.pipeline import ingest, quarantine_limit
from paqa.pipeline.recipe_files import for_folder
from paqa.sources.jsonl import recordings
from paqa.storage.store import Store
from paqa.types import Audio, Clip, Disagreement, Event, GivenQuestion, Quarantined, Tag, Turn, Word

RATE = 16000

FAILED = Path("out/failed")


@dataclass(frozen=True)
class NoParams:
    pass


class Picky:
    """A separator that fails on clips that begin with full scale."""

    name: ClassVar[str] = "picky"
    stage: ClassVar[str] = "separate"
    Params: ClassVar[type] = NoParams
    weights: ClassVar[tuple] = ()

    def __init__(self, params, device="cpu", threads=1):
        pass

    @classmethod
    def identify(cls, params):
        return "1"

    def __call__(self, batch):
        if any(a.samples[0, 0] > 0.9 for a in batch):
            raise RuntimeError("too loud")
        return [EngineOutput(stems={"speech": a, "background": Audio(a.samples * 0, a.rate)}) for a in batch]


def clip(name, store, seed=0, first=0.0, **changes):
    samples = np.random.default_rng(seed).normal(0, 0.1, (1, RATE)).astype(np.float32)
    samples[0, 0] = first
    audio = Audio(quantize(samples), RATE)
    store.put(digest(audio), ".flac", flac(audio))
    made = Clip(name, f"{name}.wav", digest(audio), 1000, RATE, "c", "s", "CC0-1.0", (name,), "train")
    return replace(made, **changes)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_an_engine_that_fails_on_one_clip_loses_that_clip_only(store, monkeypatch):
    monkeypatch.setitem(base.ENGINES, "picky", f"{__name__}:Picky")
    separate, tag = EngineRun("separate", "mix", "picky", "{}"), EngineRun("tag", "background", "picky", "{}")
    clips = [clip("a", store, 1), clip("loud", store, 2, first=0.95), clip("b", store, 3)]
    spent, lost = inference.run_engine(clips, separate, separate, store)
    assert [(q.id, q.reason) for q in lost] == [("loud", "engine_failed")]
    assert "too loud" in lost[0].detail
    assert spent.clips == 3
    assert [c.id for c in engine_runs.without_output(clips, separate, separate, store)] == ["loud"]
    again, none = inference.run_engine(clips, tag, separate, store)
    assert (again.clips, none) == (2, [])


@dataclass(frozen=True)
class ContextParams:
    context_s: int = base.not_in_key(3)
    model: str = base.not_in_key("a")
    level: int = 1


class Averse(Picky):
    """A separator that hears a clip in its recording: it takes the mean of all it is given for background."""

    name = "averse"
    Params = ContextParams
    inputs: ClassVar[list[int]] = []

    def __call__(self, batch):
        self.inputs.extend(a.samples.shape[1] for a in batch)
        speech = [Audio(a.samples - a.samples.mean(), a.rate) for a in batch]
        if any(a.samples.max() > 0.9 for a in batch):
            raise RuntimeError("too loud")
        return [EngineOutput(stems={"speech": s}) for s in speech]


def pieces(store, count, first=0.0):
    """The clips of one recording of `count` seconds, as they are cut for a separator that hears three at
    once.
    """
    cut = [clip(f"r@{i}", store, i, first=first if i == 1 else 0.0) for i in range(count)]
    recipe = replace(for_folder(Path(".")), hear=HearConfigs(separate=HearConfig(engine="averse")))
    parts = [ingest.Piece(c.sha256, 1000 * i, 1000) for i, c in enumerate(cut)]
    contexts = ingest.contexts(parts, recipe)
    return [replace(c, context=names, place=place) for c, (names, place) in zip(cut, contexts, strict=True)]


@pytest.fixture
def averse(monkeypatch):
    monkeypatch.setitem(base.ENGINES, "averse", f"{__name__}:Averse")
    monkeypatch.setattr(Averse, "inputs", [])
    return EngineRun("separate", "mix", "averse", '{"context_s":3,"level":1,"model":"a"}', context_s=3)


def test_clips_of_one_recording_are_separated_together_and_cut_afterwards(store, averse):
    clips = pieces(store, 5)
    assert [(len(c.context), c.place) for c in clips] == [(3, 0), (3, 1), (3, 2), (2, 0), (2, 1)]
    spent, lost = inference.run_engine(clips, averse, averse, store)
    assert (spent.clips, lost) == (5, [])
    assert Averse.inputs == [3 * RATE, 2 * RATE]
    whole = np.concatenate([engine_runs.stem(c, "mix", averse, store).samples for c in clips[:3]], axis=1)
    speech = [engine_runs.stem(c, "speech", averse, store).samples for c in clips[:3]]
    assert np.abs(np.concatenate(speech, axis=1) - (whole - whole.mean())).max() < 1e-4
    assert np.array_equal(
        speech[1] + engine_runs.stem(clips[1], "background", averse, store).samples, whole[:, RATE : 2 * RATE]
    )


def test_only_the_clips_that_are_missing_are_kept_but_all_their_context_is_heard(store, averse):
    clips = pieces(store, 3)
    inference.run_engine(clips[1:2], averse, averse, store)
    assert Averse.inputs == [3 * RATE]
    assert engine_runs.without_output(clips, averse, averse, store) == [clips[0], clips[2]]


def test_a_recording_that_cannot_be_separated_loses_all_its_clips_and_no_other(store, averse):
    clips = [*pieces(store, 2, first=0.95), clip("alone", store, 9)]
    _, lost = inference.run_engine(clips, averse, averse, store)
    assert [q.id for q in lost] == ["r@0", "r@1"]
    assert engine_runs.without_output(clips, averse, averse, store) == clips[:2]


def test_a_key_holds_what_decides_what_is_heard(store, averse):
    """The context of a clip does; where weights lie and how much context is wanted at most do not."""
    alone, first, _ = clip("r@0", store, 0), *pieces(store, 2)
    assert alone.sha256 == first.sha256

    def keyed(of, **changes):
        params = msgspec.json.encode(ContextParams(**changes)).decode()
        return engine_runs.output_key(of, replace(averse, params=params), averse)

    assert keyed(alone) != keyed(first)
    assert keyed(first) == keyed(first, model="b") == keyed(first, context_s=9)
    assert keyed(first) != keyed(first, level=2)


def test_same_samples_twice_is_quarantined_and_same_id_twice_renamed(store):
    one, twin = clip("001.wav", store, 1), clip("zzz.wav", store, 1)
    other = clip("001.wav", store, 2, corpus="second")
    kept, lost = ingest.unique([one, twin, other])
    assert len(kept) == 2
    assert len({c.id for c in kept}) == 2
    assert [(q.id, q.reason) for q in lost] == [("zzz.wav", "duplicate_audio")]
    assert "001.wav" in lost[0].detail


def test_a_near_duplicate_is_quarantined_as_such(store):
    one, copy, other = clip("a", store, 1), clip("b", store, 2), clip("c", store, 3)
    kept, lost = ingest.unique([one, copy, other], {one.sha256: "x", copy.sha256: "x"})
    assert [c.id for c in kept] == ["a", "c"]
    assert [(q.id, q.reason) for q in lost] == [("b", "near_duplicate_audio")]


def test_a_clip_of_the_build_that_grows_goes_before_a_copy_with_a_smaller_id(store):
    known, copy, near = clip("m", store, 1), clip("a", store, 1), clip("b", store, 2)
    kept, lost = ingest.unique(
        [copy, near, known], {known.sha256: "x", near.sha256: "x"}, {"m": known.sha256}
    )
    assert [c.id for c in kept] == ["m"]
    assert [(q.id, q.reason) for q in lost] == [("a", "duplicate_audio"), ("b", "near_duplicate_audio")]


def test_clips_of_the_build_that_grows_keep_their_ids(store):
    """Of three with one id the new one has the smallest digest: it would take the id of another."""
    new, bare, renamed = sorted((clip("001.wav", store, seed) for seed in range(3)), key=lambda c: c.sha256)
    first, _ = ingest.unique([bare, renamed])
    earlier = {c.id: c.sha256 for c in first}
    kept, _ = ingest.unique([new, bare, renamed], earlier=earlier)
    assert earlier.items() <= {c.id: c.sha256 for c in kept}.items()
    assert len(kept) == 3
    again, _ = ingest.unique([new, bare, renamed], earlier={c.id: c.sha256 for c in kept})
    assert again == kept


def test_a_new_clip_that_ties_two_known_ones_together_takes_neither_out(store):
    one, other, tie = (clip(name, store, seed) for seed, name in enumerate("ABa"))
    copies = {c.sha256: "x" for c in (one, other, tie)}
    kept, lost = ingest.unique([one, other, tie], copies, {c.id: c.sha256 for c in (one, other)})
    assert ([c.id for c in kept], [q.id for q in lost]) == (["A", "B"], ["a"])


def test_long_ids_are_cut_and_material_carries_its_source():
    asked, material = SourceConfig("s", "folder", "."), SourceConfig("s", "folder", ".", use="material")
    assert ingest.clip_id("a", asked) == "a"
    assert ingest.clip_id("a", material) == "s/a"
    long = {ingest.clip_id("x" * 300 + str(i), asked) for i in range(3)}
    assert len(long) == 3
    assert all(len(name) <= ingest.LONGEST_ID for name in long)


def test_partial_truth_does_not_answer(tmp_path):
    rows = [
        '{"id": "text", "path": "a.wav", "text": "Hello there.", "speaker": "anna"}',
        '{"id": "both", "path": "a.wav", "text": "Hello there.", "speaker": "anna", "events": []}',
        '{"id": "sound", "path": "a.wav",'
        ' "events": [{"label": "Dog", "mid": "/m/x", "start_ms": 0, "end_ms": 9}]}',
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(rows))
    found = list(recordings(SourceConfig("s", "jsonl", "l.jsonl", answers="truth"), tmp_path / "l.jsonl"))
    assert {r.id: r.answers for r in found} == {"text": "heard", "both": "truth", "sound": "heard"}


def test_the_limit_is_about_what_was_given_and_counts_each_once():
    row = Quarantined("a", "tag", "engine_failed", "x", "f")
    quarantine_limit.enforce(1, 1, [row, replace(row, stage="transcribe")], 0.5, FAILED)
    with pytest.raises(
        PaqaError, match=r"1 of 2 .*engine_failed 1.*out/failed/quarantine\.parquet.*max_quarantined"
    ):
        quarantine_limit.enforce(1, 1, [row, row], 0.4, FAILED)
    with pytest.raises(PaqaError, match="no question is left: engine_failed 1"):
        quarantine_limit.enforce(0, 9, [row], 0.5, FAILED)
    with pytest.raises(PaqaError, match="nothing was found"):
        quarantine_limit.enforce(0, 0, [], 0.5, FAILED)


def test_what_the_recipe_takes_out_is_no_sign_of_a_broken_build(store):
    """Many rows per clip must not hide clips that are lost, nor rows that gates drop end a build."""
    dropped = [Quarantined(f"a-{n}", "gates", "low_margin", "x", "f") for n in range(90)]
    copies = [Quarantined(f"b{n}", "ingest", "duplicate_audio", "x", f"{n}") for n in range(90)]
    quarantine_limit.enforce(10, 10, [*dropped, *copies], 0.1, FAILED)
    crashed = [Quarantined(f"c{n}", "separate", "engine_crashed", "x", f"{n}") for n in range(50)]
    with pytest.raises(PaqaError, match=r"50 of 100 recordings, clips and questions .*engine_crashed 50"):
        quarantine_limit.enforce(1000, 50, crashed, 0.1, FAILED)


def test_questions_that_were_given_are_given_like_clips(store):
    asked = clip("a", store, 1, questions=(GivenQuestion("q", "sounds", "What?", ("x", "y"), 0),))
    assert quarantine_limit.given([asked, asked, clip("b", store, 2)]) == 3
    lost = [Quarantined("a-given-0", "questions", "empty", "x", asked.sha256)]
    with pytest.raises(PaqaError, match=r"1 of 3 .*empty 1"):
        quarantine_limit.enforce(1, 3, lost, 0.1, FAILED)
    quarantine_limit.enforce(1, 3, [replace(lost[0], reason="answer_not_heard")], 0.1, FAILED)


# ---------------------------------------------------------------- what is heard, and where it is kept


DOG_SCORES = KindScores("/m/0bt9lr", 0.5, 0.0, 0.0, 0.0)


class Thorough(Picky):
    """An engine that hears something of every kind; its revision is in its parameters."""

    name = "thorough"
    Params = ContextParams
    inputs: ClassVar[list[float]] = []

    @classmethod
    def identify(cls, params):
        return f"revision {params.level}"

    def __call__(self, batch):
        self.inputs.extend(float(a.samples[0, 0]) for a in batch)
        speech = [Audio(quantize(a.samples / 2), a.rate) for a in batch]
        return [
            EngineOutput(
                stems={"speech": s, "background": Audio(a.samples - s.samples, a.rate)},
                turns=(Turn(0, 500, 1), Turn(300, 900, 2)),
                exclusive=(Turn(0, 400, 1), Turn(400, 900, 2)),
                events=(Event(100, 200, "Dog", "/m/0bt9lr", 0.5),),
                event_scores=(EventScores(100, 200, 1.0, 0.1, 0.1, (DOG_SCORES,)),),
                tags=(Tag("/m/0bt9lr", 0.5),),
                words=(Word(0, 400, "yes", None, 0.7),),
                language="en",
                doubts=(Disagreement("transcribe", 0, 400, "yes", "unsure"),),
                count_stability=0.9,
                second_speaker=0.1,
            )
            for a, s in zip(batch, speech, strict=True)
        ]


@pytest.fixture
def thorough(monkeypatch):
    monkeypatch.setitem(base.ENGINES, "thorough", f"{__name__}:Thorough")
    monkeypatch.setattr(Thorough, "inputs", [])


def on(stage, stem, engine="thorough", params="{}"):
    return EngineRun(stage, stem, engine, params)


def test_all_that_an_engine_hears_is_kept(store, thorough):
    separate, diarize = on("separate", "mix"), on("diarize", "speech")
    a = clip("a", store, 1)
    for node in (separate, diarize):
        assert inference.run_engine([a], node, separate, store)[1] == []
    (heard,) = Thorough(None)([engine_runs.stem(a, "speech", separate, store)])
    kept = engine_runs.stored_output(a, diarize, separate, store)
    assert all(
        getattr(kept, name) == getattr(heard, name) for name in engine_runs.StoredOutput.__dataclass_fields__
    )
    assert all(getattr(kept, name) for name in engine_runs.StoredOutput.__dataclass_fields__)


def test_an_engine_is_given_its_stem(store, thorough):
    """The first sample is 0.5 in the mix, a half of it in either stem of this separator."""
    separate = on("separate", "mix")
    a = clip("a", store, 1, first=0.5)
    inference.run_engine([a], separate, separate, store)
    for stem in ("mix", "speech"):
        inference.run_engine([a], on("tag", stem), separate, store)
    assert Thorough.inputs == [0.5, 0.5, 0.25]
    mix, speech, background = (
        engine_runs.stem(a, name, separate, store).samples for name in ("mix", "speech", "background")
    )
    assert np.array_equal(mix, speech + background)
    assert speech[0, 0] == 0.25


def test_every_hearing_has_a_place_of_its_own(store, thorough, monkeypatch):
    """Stage, stem, engine, revision and clip tell them apart; a name, or who else is heard, does not."""
    monkeypatch.setitem(base.ENGINES, "averse", f"{__name__}:Averse")
    a, b = clip("a", store, 1), clip("b", store, 2)
    separate = on("separate", "mix")
    nodes = [
        separate,
        on("tag", "mix"),
        on("tag", "speech"),
        on("tag", "background"),
        on("diarize", "speech"),
    ]
    nodes += [on("tag", "mix", "averse"), on("tag", "mix", params='{"level":2}')]
    keys = [engine_runs.output_key(c, node, separate) for c in (a, b) for node in nodes]
    assert len(set(keys)) == 2 * len(nodes)
    assert engine_runs.output_key(replace(a, id="other", license="x"), nodes[2], separate) == keys[2]
    moved = on("separate", "mix", params='{"level":2}')
    after = [engine_runs.output_key(a, node, moved) for node in nodes]
    assert [now == before for now, before in zip(after, keys, strict=False)] == [
        node.stem == "mix" for node in nodes
    ]  # another separator: what was heard on its stems is heard again, and nothing else


def test_clips_are_heard_together_where_they_have_a_context_and_else_alone(store, averse):
    first, second = pieces(store, 2), [replace(c, id=f"x{c.id}", groups=("x",)) for c in pieces(store, 2)]
    alone = clip("alone", store, 7)
    order = [alone, first[1], second[0], first[0], second[1], replace(alone, id="twin")]
    whole = engine_runs.context_groups(order, averse)
    assert [[c.id for c in group] for group in whole] == [["alone"], ["r@1", "xr@0", "r@0", "xr@1"], ["twin"]]
    assert [
        [c.id for c in group] for group in engine_runs.context_groups(order, replace(averse, context_s=0))
    ] == [[c.id] for c in order]


def test_no_clip_is_lost_between_the_parts_of_a_batch(store, thorough, monkeypatch):
    monkeypatch.setattr(inference, "PART_MS", 2000)
    separate = on("separate", "mix")
    clips = [clip(f"c{i}", store, i) for i in range(7)]
    spent, lost = inference.run_engine(clips, separate, separate, store)
    assert (spent.clips, spent.audio_s, lost) == (7, 7.0, [])
    assert engine_runs.without_output(clips, separate, separate, store) == []
    assert len(Thorough.inputs) == 7
    for c in clips:
        assert np.array_equal(
            engine_runs.stem(c, "speech", separate, store).samples,
            quantize(engine_runs.stem(c, "mix", separate, store).samples / 2),
        )


def test_nothing_to_hear_loads_no_engine(store):
    """Clips that the separator failed on are not listened to further."""
    separate = on("separate", "mix", "no such engine")
    with pytest.raises(PaqaError, match="no such engine"):
        inference.run_engine([clip("a", store, 1)], separate, separate, store)
    assert inference.run_engine([], separate, separate, store) == (inference.Cost(), [])


def test_the_hearings_of_a_recipe():
    """Words on both stems or on one; what only wrong first responses rest on, where they are wanted."""
    plain = for_folder(Path("."))
    recipe = replace(plain, hear=replace(plain.hear, diarize=HearConfig(stem="speech")))

    def names(recipe):
        return [node.name for node in engine_runs.engine_runs(recipe)], [
            node.name for node in engine_runs.optional_runs(recipe)
        ]

    base = ["separate", "diarize speech", "tag background", "transcribe mix"]
    witness, raw = "tag mix", ["diarize mix"]
    assert names(recipe) == ([*base, "transcribe speech", witness, *raw], raw)
    alike = replace(recipe, hear=replace(recipe.hear, transcribe=HearConfig(align="mix")))
    assert names(alike) == ([*base, witness, *raw], raw)
    for change in ({"mishear": False}, {"reflect": 0.0}):
        without = replace(recipe, questions=replace(recipe.questions, **change))
        assert names(without) == ([*base, "transcribe speech", witness], [])
    on_mix = replace(recipe, hear=replace(recipe.hear, tag=HearConfig(stem="mix")))
    assert names(on_mix) == (
        ["separate", "diarize speech", "tag mix", "transcribe mix", "transcribe speech", *raw],
        raw,
    )
    # a diarizer of the mix hears no raw mix beside it
    assert names(plain) == (
        ["separate", "diarize mix", "tag background", "transcribe mix", "transcribe speech", witness],
        [],
    )


def test_a_mistake_that_could_not_be_heard_loses_no_clip():
    (row,) = inference.raw_mix_failures(
        [Quarantined("a", "tag", "engine_failed", "yamnet failed on a.wav", "0" * 64)]
    )
    assert (row.id, row.stage, row.reason) == ("a", "tag", inference.RAW_MIX_FAILED)
    assert row.detail.startswith("yamnet failed on a.wav; ")
    assert "is asked about all the same" in row.detail


def test_a_large_loss_to_the_split_is_said():
    lost = [Quarantined(f"a{n}", "split", "would_leak", "x", f"{n}") for n in range(11)]
    assert quarantine_limit.split_warning(110, lost, 0.1) is None
    assert "11 of 100 clips were left out" in quarantine_limit.split_warning(100, lost, 0.1)


def test_a_build_says_where_one_voice_may_be_in_two_splits(tmp_path: Path) -> None:
    """Its recordings have turns and no names: in the summary, in build.json and on the card, with what to
    do.
    """
    done = summary.load(builds.make(tmp_path, clips=6, per_clip=1))
    (warning,) = done.warnings
    assert warning.startswith(
        "nothing says whether one person speaks in several files of 6 clips of the source 'mix'"
    )
    assert 'group = "folder"' in warning
    assert f"warning      {warning}" in summary.text(done)
    assert f"\n\nN{warning[1:]}.\n" in (tmp_path / "README.md").read_text()
