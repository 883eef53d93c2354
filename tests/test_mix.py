"""Composed scenes: what `plan` promises for any material, and what `render` makes of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paqa import spans
from paqa.audio import digest, quantize, rms
from paqa.config.recipe import AudioConfig, MixConfig, SplitConfig
from paqa.errors import PaqaError
from paqa.mixing import plan as mixing
from paqa.mixing.render import FADE_MS, render
from paqa.types import Audio, Clip, Event, Scene, Split, Turn

AUDIO = AudioConfig()
SHARES = SplitConfig(0.2, 0.3)
CONFIG = MixConfig("m", 20, "voices", "noises", speakers=(1, 5), turns=(2, 6), overlap=0.5)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
RATE = 16000


def clip(name: str, duration_ms: int, group: str, split: Split, truth: Scene) -> Clip:
    sha = hashlib.sha256(name.encode()).hexdigest()
    return Clip(
        name,
        name,
        sha,
        duration_ms,
        RATE,
        "corpus",
        "src " + group[0],
        "CC0-1.0",
        (group,),
        split,
        truth=truth,
    )


def utterance(name: str, duration_ms: int, group: str, split: Split) -> Clip:
    truth = Scene(name, duration_ms, turns=(Turn(0, duration_ms, 1, f"words of {name}"),), language="en")
    return clip(name, duration_ms, group, split, truth)


def sound(name: str, duration_ms: int, label: str, split: Split) -> Clip:
    event = Event(100, max(200, duration_ms - 100), label, f"/m/{label}")
    return clip(name, duration_ms, name, split, Scene(name, duration_ms, events=(event,)))


def corpus(voices: int = 6, each: int = 5, sounds: int = 8) -> tuple[list[Clip], list[Clip]]:
    said, heard = [], []
    for split in SPLITS:
        for v in range(voices):
            said += [
                utterance(f"u{split}{v}.{i}", 900 + 317 * i + 50 * v, f"v{split}{v}", split)
                for i in range(each)
            ]
        heard += [sound(f"s{split}{i}", 700 + 413 * i, f"label{i % 6}", split) for i in range(sounds)]
    return said, heard


def plan(config: MixConfig, speech: list[Clip], sounds: list[Clip], seed: int = 0) -> list[mixing.Mixture]:
    return mixing.plan(config, seed, AUDIO, speech, sounds, SHARES)


durations = st.lists(st.integers(100, 12_000), min_size=1, max_size=14)
configs = st.builds(
    MixConfig,
    name=st.sampled_from(["m", "other"]),
    scenes=st.integers(1, 8),
    speech=st.just("voices"),
    background=st.just("noises"),
    speakers=st.sampled_from([(1, 1), (1, 3), (2, 5), (1, 5)]),
    turns=st.sampled_from([(1, 2), (2, 6), (4, 12)]),
    pause_ms=st.sampled_from([(0, 0), (150, 900), (13, 77)]),
    overlap=st.sampled_from([0.0, 0.5, 1.0]),
    sounds=st.sampled_from([(0, 0), (0, 2), (1, 3), (1, 6)]),
    repeat=st.sampled_from([0.0, 0.5, 1.0]),
)


@settings(max_examples=120, deadline=None)
@given(configs, durations, durations, st.integers(0, 99), st.integers(1, 5), st.booleans(), st.booleans())
def test_any_plan(
    config: MixConfig, said: list[int], heard: list[int], seed: int, voices: int, talk: bool, noise: bool
) -> None:
    config = replace(
        config, speech="voices" if talk else None, background="noises" if noise or not talk else None
    )
    config = config if talk or config.sounds[1] else replace(config, sounds=(1, 3))
    if not talk and config.sounds[0] == 0:
        config = replace(config, sounds=(1, config.sounds[1]))
    speech = [utterance(f"u{i}", ms, f"v{i % voices}", SPLITS[i % voices % 2]) for i, ms in enumerate(said)]
    sounds = [sound(f"s{i}", ms, f"l{i % 5}", SPLITS[i % 2]) for i, ms in enumerate(heard)]
    planned = plan_if_enough(config, speech, sounds, seed)
    clips = {c.id: c for c in [*speech, *sounds]}
    assert len(planned) in (0, config.scenes)
    assert len({tuple((p.sha256, p.start_ms) for p in m.placements) for m in planned}) == len(planned)
    for mixture in planned:
        check_scene(mixture, config, clips)
        if talk and max(said) < (AUDIO.max_clip_ms - 1600) // 5 - 900:
            groups = {c.groups for c in speech if c.split == mixture.split}
            spoken = {clips[p.clip_id].groups for p in mixture.placements if p.kind == "speech"}
            assert len(spoken) >= min(config.speakers[0], len(groups))
    assert plan_if_enough(config, speech[::-1], sounds[::-1], seed) == planned
    more = plan_if_enough(replace(config, scenes=config.scenes + 5), speech, sounds, seed)
    assert more[: config.scenes] == planned or not more


def plan_if_enough(
    config: MixConfig, speech: list[Clip], sounds: list[Clip], seed: int
) -> list[mixing.Mixture]:
    try:
        return plan(config, speech, sounds, seed)
    except PaqaError as error:
        if "too little" not in str(error):
            raise
        return []


def check_scene(mixture: mixing.Mixture, config: MixConfig, clips: dict[str, Clip]) -> None:
    length = {p: -(-clips[p.clip_id].duration_ms // 10) * 10 for p in mixture.placements}
    span = {p: (p.start_ms, p.start_ms + length[p]) for p in mixture.placements}
    assert 0 < mixture.length_ms <= AUDIO.max_clip_ms
    assert all(0 <= start < end <= mixture.length_ms for start, end in span.values())
    assert all(p.start_ms % 10 == 0 for p in mixture.placements)
    assert {clips[p.clip_id].split for p in mixture.placements} == {mixture.split}
    turns = [p for p in mixture.placements if p.kind == "speech"]
    sounds = [p for p in mixture.placements if p.kind == "sound"]
    assert bool(turns) == bool(config.speech)
    assert len({p.clip_id for p in turns}) == len(turns) <= max(config.turns[1], config.speakers[1])
    assert len({clips[p.clip_id].groups for p in turns}) <= config.speakers[1]
    for a, b in combinations(turns, 2):
        assert spans.overlap(span[a], span[b]) <= 0.6 * min(
            clips[a.clip_id].duration_ms, clips[b.clip_id].duration_ms
        )
    for a, b in zip(turns, turns[2:], strict=False):
        assert span[a][1] <= span[b][0]
    assert len(sounds) <= config.sounds[1]
    labels = {p.clip_id: clips[p.clip_id].truth.events[0].label for p in sounds}  # type: ignore[union-attr]
    assert len(set(labels.values())) == len(labels)
    assert sum(count > 1 for count in Counter(p.clip_id for p in sounds).values()) <= 1
    for a, b in pairwise(sounds):
        assert b.start_ms - span[a][1] >= (600 if a.clip_id == b.clip_id else 300)
    assert (mixture.snr_db is not None) == bool(turns and sounds)


def test_every_number_of_speakers_occurs() -> None:
    speech, sounds = corpus()
    planned = plan(replace(CONFIG, scenes=100), speech, sounds)
    counts = Counter(
        (m.split, len({p.clip_id.split(".")[0] for p in m.placements if p.kind == "speech"})) for m in planned
    )
    for split in SPLITS:
        of_split = [counts[split, n] for n in range(1, 6)]
        assert min(of_split) >= 3
        assert max(of_split) - min(of_split) <= 1
    shares = Counter(m.split for m in planned)
    assert abs(shares["test"] - 30) <= 2
    assert abs(shares["validation"] - 20) <= 2


def test_split_without_voices_is_replaced() -> None:
    speech, sounds = corpus()
    train = [c for c in speech if c.split == "train"]
    assert {m.split for m in plan(CONFIG, train, sounds)} == {"train"}


def test_nothing_is_shared_between_splits() -> None:
    speech, sounds = corpus()
    twins = [replace(c, id="twin" + c.id, split="train") for c in speech if c.split == "test"]
    used: dict[str, set[str]] = {}
    for mixture in plan(replace(CONFIG, scenes=60), [*speech, *twins], sounds):
        for placement in mixture.placements:
            used.setdefault(placement.sha256, set()).add(mixture.split)
    assert all(len(splits) == 1 for splits in used.values())


def test_repeats_and_overlaps_occur_as_asked() -> None:
    speech, sounds = corpus()
    planned = plan(replace(CONFIG, scenes=60, repeat=1.0, overlap=1.0, sounds=(2, 5)), speech, sounds)
    repeats = [max(Counter(p.clip_id for p in m.placements if p.kind == "sound").values()) for m in planned]
    assert set(repeats) == {2, 3, 4}
    calm = plan(replace(CONFIG, scenes=60, repeat=0.0, overlap=0.0), speech, sounds)
    clips = {c.id: c for c in speech}
    for mixtures, often in ((planned, True), (calm, False)):
        early = 0
        for m in mixtures:
            turns = [p for p in m.placements if p.kind == "speech"]
            early += sum(b.start_ms < a.start_ms + clips[a.clip_id].duration_ms for a, b in pairwise(turns))
        assert (early > 60) == often
        assert often or early == 0


@pytest.mark.parametrize(("speech", "sounds"), [(False, True), (True, False), (False, False)])
def test_missing_material(speech: bool, sounds: bool) -> None:
    said, heard = corpus()
    with pytest.raises(PaqaError, match="mix 'm' has no material: found"):
        plan(CONFIG, said if speech else [], heard if sounds else [])


def test_material_without_truth_or_too_long_is_left_out() -> None:
    long = utterance("long", 29_000, "v", "train")
    mute = replace(utterance("mute", 2000, "v", "train"), truth=None)
    with pytest.raises(PaqaError, match="found 2 clips of speech 'voices'"):
        plan(CONFIG, [long, mute], corpus()[1])


def test_exhausted_material() -> None:
    only = [utterance("u", 1000, "v", "train")]
    with pytest.raises(PaqaError, match="too little train material"):
        plan(MixConfig("m", 3000, speech="voices", turns=(1, 1)), only, [])


def audible(item: Clip, channels: int = 1) -> Audio:
    """Noise of its own loudness; silence where the truth has nothing, and at the ends of an utterance."""
    rng = np.random.default_rng(int(item.sha256[:8], 16))
    samples = rng.standard_normal((channels, item.duration_ms * RATE // 1000)) * rng.uniform(0.01, 0.2)
    assert item.truth is not None
    active = item.truth.events or (Event(200, item.duration_ms - 150, "", ""),)
    mask = np.zeros(samples.shape[1], bool)
    for event in active:
        mask[event.start_ms * RATE // 1000 : event.end_ms * RATE // 1000] = True
    return Audio(quantize((samples * mask).astype(np.float32)), RATE)


def over(audio: Audio, active: list[spans.Interval]) -> np.ndarray:
    return np.concatenate([audio.samples[:, a * 16 : b * 16] for a, b in spans.merge(active)], axis=1)


@pytest.mark.parametrize("channels", [1, 2])
def test_render(channels: int) -> None:
    speech, sounds = corpus()
    clips = {c.id: c for c in [*speech, *sounds]}
    store = {c.sha256: audible(c, channels) for c in clips.values()}
    for mixture in plan(replace(CONFIG, scenes=15, snr_db=(-5, 25), pause_ms=(150, 400)), speech, sounds):
        mixed, clean, scene = render(mixture, store.__getitem__, clips)
        assert mixed.samples.shape == clean.samples.shape == (channels, mixture.length_ms * 16)
        assert (scene.clip_id, scene.duration_ms, scene.language) == (mixture.id, mixture.length_ms, "en")
        assert np.abs(mixed.samples).max() <= 0.981
        for made in (mixed, clean):
            assert np.array_equal(quantize(made.samples), made.samples)
        background = Audio(mixed.samples - clean.samples, RATE)
        turns = [spans.interval(t) for t in scene.turns]
        events = [spans.interval(e) for e in scene.events]
        measured = 20 * np.log10(rms(over(clean, turns)) / rms(over(background, events)))
        assert mixture.snr_db is not None
        assert abs(measured - mixture.snr_db) < 0.2
        assert scene.snr_db == mixture.snr_db
        check_energy(clean, turns)
        check_energy(background, events)
        check_truth(scene, mixture, clips)
        again, _, _ = render(mixture, store.__getitem__, clips)
        assert digest(again) == digest(mixed)


def check_energy(audio: Audio, active: list[spans.Interval]) -> None:
    """All the energy lies in the spans (to half a grid step), and every span begins and ends with some."""
    mask = np.zeros(audio.samples.shape[1], bool)
    for start, end in active:
        mask[start * 16 - 80 : end * 16 + 80] = True
        assert rms(audio.samples[:, start * 16 : start * 16 + 160]) > 1e-4
        assert rms(audio.samples[:, end * 16 - 160 : end * 16]) > 1e-4
    assert rms(audio.samples[:, ~mask]) < 1e-3 * rms(audio.samples[:, mask])


def check_truth(scene: Scene, mixture: mixing.Mixture, clips: dict[str, Clip]) -> None:
    placed = [p for p in mixture.placements if p.kind == "speech"]
    assert [t.text for t in scene.turns] == [f"words of {p.clip_id}" for p in placed]
    groups = list(dict.fromkeys(clips[p.clip_id].groups for p in placed))
    assert [t.speaker for t in scene.turns] == [groups.index(clips[p.clip_id].groups) + 1 for p in placed]
    assert len(scene.events) == sum(p.kind == "sound" for p in mixture.placements)


def test_a_name_is_one_person_in_its_own_source_alone() -> None:
    """LibriSpeech has a reader "1", VCTK has another one."""
    readers = [
        utterance(f"{corpus}{i}", 1000 + i, "1", "train") for corpus in ("libri", "vctk") for i in range(3)
    ]
    for voice in ("1", None):
        clips = {c.id: replace(c, corpus=c.id[:-1], voice=voice) for c in readers}
        store = {c.sha256: audible(c) for c in clips.values()}
        for mixture in plan(replace(CONFIG, background=None, speakers=(2, 2)), list(clips.values()), []):
            turns = render(mixture, store.__getitem__, clips)[2].turns
            assert {turn.speaker for turn in turns} == {1, 2}
            who = {(turn.speaker, turn.text.removeprefix("words of ")[:-1]) for turn in turns}
            assert len(who) == 2


def test_render_sounds_alone_and_speech_alone() -> None:
    speech, sounds = corpus()
    clips = {c.id: c for c in [*speech, *sounds]}
    store = {c.sha256: audible(c) for c in clips.values()}
    for config in (replace(CONFIG, speech=None), replace(CONFIG, background=None)):
        for mixture in plan(config, speech if config.speech else [], sounds if config.background else []):
            mixed, clean, scene = render(mixture, store.__getitem__, clips)
            assert scene.snr_db is None
            assert bool(scene.turns) == clean.samples.any() == bool(config.speech)
            assert bool(scene.events) == bool(config.background)
            assert mixed.samples.any()


def test_render_merges_a_sounds_own_events() -> None:
    near = (
        Event(104, 500, "Bark", "/m/b"),
        Event(550, 900, "Bark", "/m/b"),
        Event(1200, 1304, "Bark", "/m/b"),
    )
    barks = clip("barks", 2000, "g", "train", Scene("barks", 2000, events=near))
    (mixture,) = plan(MixConfig("m", 1, background="noises", sounds=(1, 1), repeat=0), [], [barks])
    at = mixture.placements[0].start_ms
    _, _, scene = render(mixture, lambda _: audible(barks), {"barks": barks})
    assert [(e.start_ms - at, e.end_ms - at) for e in scene.events] == [(100, 900), (1200, 1300)]


def test_nothing_begins_or_ends_with_a_click() -> None:
    """A clip that is cut out of a louder sound rises within 5 ms and falls again."""
    cut = clip("cut", 1000, "g", "train", Scene("cut", 1000, events=(Event(0, 1000, "Hum", "/m/h"),)))
    (mixture,) = plan(MixConfig("m", 1, background="noises", sounds=(1, 1), repeat=0), [], [cut])
    loud = Audio(np.full((1, RATE), 0.5, np.float32), RATE)
    samples = render(mixture, lambda _: loud, {"cut": cut})[0].samples[0]
    start, fade = mixture.placements[0].start_ms * RATE // 1000, FADE_MS * RATE // 1000
    whole = samples[start + RATE // 2]
    edges = (
        np.stack([samples[start : start + fade], samples[start + RATE - fade : start + RATE][::-1]]) / whole
    )
    assert np.allclose(edges, (np.arange(fade) + 1) / (fade + 1), atol=1e-3)
    assert np.allclose(samples[start + fade : start + RATE - fade], whole)


def test_render_refuses_mixed_rates() -> None:
    speech, sounds = corpus()
    clips = {c.id: c for c in [*speech, *sounds]}
    (mixture,) = plan(replace(CONFIG, scenes=1), speech, sounds)
    rates = iter([8000, *[RATE] * 20])
    with pytest.raises(PaqaError, match="expected one form"):
        render(mixture, lambda _: Audio(np.ones((1, 999), np.float32), next(rates)), clips)


BED = replace(CONFIG, scenes=40, bed=0.5, sounds=(1, 2), answers="heard")


def noise(name: str, duration_ms: int, split: Split) -> Clip:
    """A recording that nobody labelled."""
    return replace(clip(name, duration_ms, name, split, Scene(name, duration_ms)), truth=None)


def music(name: str, duration_ms: int, split: Split) -> Clip:
    event = Event(0, duration_ms, "Music", "/m/04rlf")
    return clip(name, duration_ms, name, split, Scene(name, duration_ms, events=(event,)))


def test_beds_last_as_long_as_the_dialogue() -> None:
    speech, sounds = corpus()
    beds = [make(f"{make.__name__}{split}", 30_000, split) for split in SPLITS for make in (noise, music)]
    planned = plan(BED, speech, [*sounds, *beds])
    clips = {c.id: c for c in [*speech, *sounds, *beds]}
    used = Counter(clips[p.clip_id].source for m in planned for p in m.placements if p.length_ms)
    assert 10 <= sum(used.values()) <= 30
    assert len(used) == 2
    for mixture in planned:
        background = [p for p in mixture.placements if p.kind == "sound"]
        assert mixture.snr_db is not None
        assert background
        for placement in background:
            if placement.length_ms:
                assert background == [placement]
                assert (placement.start_ms, placement.length_ms) == (0, mixture.length_ms)
                assert 0 <= placement.from_ms <= 30_000 - mixture.length_ms
    from_truth = plan(replace(BED, answers="truth", bed=1.0), speech, [*sounds, *beds])
    assert {p.clip_id for m in from_truth for p in m.placements if p.length_ms} <= {
        b.id for b in beds if b.truth
    }


def test_no_beds_no_change() -> None:
    speech, sounds = corpus()
    long = [music(f"bed{split}", 30_000, split) for split in SPLITS]
    assert plan(CONFIG, speech, [*sounds, *long]) == plan(CONFIG, speech, sounds)


@pytest.mark.parametrize("labelled", [True, False])
def test_render_a_bed(labelled: bool) -> None:
    rng = np.random.default_rng(1)
    audios = [Audio(quantize(rng.normal(0, 0.1, (1, RATE * s)).astype(np.float32)), RATE) for s in (2, 30)]
    make = music if labelled else noise
    clips = [utterance("said", 2000, "v", "train"), make("bed", 30_000, "train")]
    clips = [replace(c, sha256=digest(a)) for c, a in zip(clips, audios, strict=True)]
    config = replace(BED, scenes=1, bed=1.0, speakers=(1, 1), turns=(1, 1), snr_db=(6.0, 6.0))
    (mixture,) = plan(config, clips[:1], clips[1:])
    by_sha = {digest(a): a for a in audios}
    whole, speech, scene = render(mixture, by_sha.__getitem__, {c.id: c for c in clips})
    assert whole.duration_ms == scene.duration_ms == mixture.length_ms
    assert [(e.start_ms, e.end_ms, e.label) for e in scene.events] == [
        (0, mixture.length_ms, "Music")
    ] * labelled
    (turn,) = scene.turns
    spoken = speech.samples[:, turn.start_ms * RATE // 1000 : turn.end_ms * RATE // 1000]
    assert 20 * np.log10(rms(spoken) / rms(whole.samples - speech.samples)) == pytest.approx(6.0, abs=0.1)


def test_labels_of_utterances_reach_the_scene() -> None:
    audio = Audio(quantize(np.random.default_rng(1).normal(0, 0.1, (1, RATE)).astype(np.float32)), RATE)
    turn = Turn(0, 1000, 1, "Guten Tag.", "joy", "Good day.")
    truth = Scene("u", 1000, turns=(turn,), language="de", translated_to="en")
    said = replace(clip("u", 1000, "v", "train", truth), sha256=digest(audio))
    config = replace(CONFIG, scenes=1, background=None, speakers=(1, 1), turns=(1, 1))
    (mixture,) = plan(config, [said], [])
    scene = render(mixture, lambda _: audio, {"u": said})[2]
    assert [(t.emotion, t.translation) for t in scene.turns] == [("joy", "Good day.")]
    assert (scene.language, scene.translated_to) == ("de", "en")


def labelled(name: str, voice: str, target: str | None, *turns: tuple[str, str | None, str | None]) -> Clip:
    """An utterance of one voice whose turns have `(text, emotion, translation)`."""
    said = tuple(Turn(i * 500, i * 500 + 400, 1, *turn) for i, turn in enumerate(turns))
    ms = 500 * len(turns)
    return clip(name, ms, voice, "train", Scene(name, ms, turns=said, language="de", translated_to=target))


def rendered(*clips: Clip) -> Scene:
    config = MixConfig("m", 1, "voices", speakers=(len(clips), len(clips)), turns=(len(clips), len(clips)))
    (mixture,) = plan(config, list(clips), [])
    return render(mixture, {c.sha256: audible(c) for c in clips}.__getitem__, {c.id: c for c in clips})[2]


def test_translations_survive_where_all_utterances_agree_on_the_language() -> None:
    one = labelled("a", "v1", "en", ("Ja.", "joy", "Yes."), ("Gut.", "joy", "Fine."))
    agreeing, other = (labelled("b", "v2", target, ("Nein.", "anger", "No.")) for target in ("en", "fr"))
    scene = rendered(one, agreeing)
    assert scene.translated_to == "en"
    assert {(t.text, t.emotion, t.translation) for t in scene.turns} == {
        ("Ja. Gut.", "joy", "Yes. Fine."),
        ("Nein.", "anger", "No."),
    }
    mixed = rendered(one, other)
    assert mixed.translated_to is None
    assert {(t.emotion, t.translation) for t in mixed.turns} == {("joy", None), ("anger", None)}


def test_a_label_that_only_part_of_an_utterance_has_is_dropped() -> None:
    scene = rendered(labelled("a", "v1", "en", ("Ja.", "joy", "Yes."), ("Gut.", None, None)))
    assert [(t.emotion, t.translation) for t in scene.turns] == [(None, None)]


def test_pauses_silences_and_gains_keep_to_their_limits() -> None:
    speech, sounds = corpus()
    clips = {c.id: c for c in [*speech, *sounds]}
    config = replace(CONFIG, scenes=120, overlap=0.0, pause_ms=(150, 900), snr_db=(-3, 17))
    planned = plan(config, speech, sounds)
    leads, pauses, tails = [], [], []
    for m in planned:
        turns = [(p.start_ms, p.start_ms + -(-clips[p.clip_id].duration_ms // 10) * 10) for p in m.placements
                 if p.kind == "speech"]  # fmt: skip
        leads.append(turns[0][0])
        pauses += [b[0] - a[1] for a, b in pairwise(turns)]
        last = max(p.start_ms + -(-clips[p.clip_id].duration_ms // 10) * 10 for p in m.placements)
        tails += [m.length_ms - turns[-1][1]] if last == turns[-1][1] else []
    for found, low, high in ((leads, 200, 1000), (pauses, 150, 900), (tails, 200, 600)):
        assert low <= min(found) < low + 60
        assert high - 60 < max(found) <= high
    gains = [20 * np.log10(p.gain) for m in planned for p in m.placements]
    assert -3.01 <= min(gains) < -2.8
    assert 2.8 < max(gains) <= 3.01
    ratios = [m.snr_db for m in planned if m.snr_db is not None]
    assert -3 <= min(ratios) < -2
    assert 16 < max(ratios) <= 17


def test_other_seeds_and_names_make_other_scenes() -> None:
    speech, sounds = corpus()
    plans = [plan(CONFIG, speech, sounds), plan(CONFIG, speech, sounds, seed=1)]
    plans.append(plan(replace(CONFIG, name="n"), speech, sounds))
    drawn = [[tuple((p.clip_id, p.start_ms) for p in m.placements) for m in planned] for planned in plans]
    assert all(set(a).isdisjoint(b) for a, b in combinations(drawn, 2))
    assert [m.id for m in plans[2]][:2] == ["n-00000", "n-00001"]


def test_a_scene_names_all_its_material_once() -> None:
    speech, sounds = corpus()
    sounds = [replace(s, license="CC-BY", source="noises") for s in sounds]
    clips = {c.id: c for c in [*speech, *sounds]}
    for m in plan(CONFIG, speech, sounds):
        used = [clips[p.clip_id] for p in m.placements]
        assert m.license.split("; ") == sorted({c.license for c in used})
        assert m.source.split("; ") == sorted({c.source for c in used})


def test_what_is_too_short_is_no_material() -> None:
    speech, _ = corpus()
    assert plan(replace(CONFIG, scenes=1, speech=None), [], [sound("s", 100, "l", "train")])
    with pytest.raises(PaqaError, match="has no material"):
        plan(replace(CONFIG, scenes=1, speech=None), [], [sound("s", 99, "l", "train")])
    assert plan(replace(CONFIG, scenes=1, sounds=(0, 0)), speech, [])  # a dialogue needs no background


def test_all_material_comes_to_one_level_before_its_gain() -> None:
    """Over its own active spans, -23 dBFS; unless that is too loud for the peak."""
    for loudness in (0.001, 0.02, 0.3):
        item = sound("s", 3000, "l", "train")
        mask = np.zeros(3 * RATE, np.float32)
        mask[100 * 16 : 2900 * 16] = loudness
        noisy = Audio(
            (np.random.default_rng(1).uniform(-1, 1, (1, 3 * RATE)) * mask).astype(np.float32), RATE
        )
        (mixture,) = plan(MixConfig("m", 1, background="noises", sounds=(1, 1), repeat=0), [], [item])
        mixed, _, scene = render(mixture, lambda _, noisy=noisy: noisy, {"s": item})
        (event,) = scene.events
        level = 20 * np.log10(rms(over(mixed, [spans.interval(event)])) / mixture.placements[0].gain)
        assert level == pytest.approx(-23, abs=0.05)


def test_an_utterance_begins_where_it_is_near_its_loudest() -> None:
    """At most 40 dB below its loudest 10 ms; breath and room before and after it are not speech."""
    said = utterance("u", 2000, "v", "train")
    levels = np.repeat(
        [0.5 * 10 ** (db / 20) for db in (-45, -38, 0, -60, -20, -38, -43)],
        [300, 200, 400, 300, 400, 200, 200],
    )
    wave = np.repeat(levels, 16) * np.tile([1.0, -1.0], RATE)
    config = replace(CONFIG, scenes=1, background=None, speakers=(1, 1), turns=(1, 1))
    (mixture,) = plan(config, [said], [])
    audio = Audio(wave[None].astype(np.float32), RATE)
    scene = render(mixture, lambda _: audio, {"u": said})[2]
    at = mixture.placements[0].start_ms
    assert [(t.start_ms - at, t.end_ms - at) for t in scene.turns] == [(300, 1800)]


def test_an_utterance_lies_within_its_own_turns() -> None:
    turn = Turn(504, 1296, 1, "words")
    said = clip("u", 2000, "v", "train", Scene("u", 2000, turns=(turn,), language="en"))
    config = replace(CONFIG, scenes=1, background=None, speakers=(1, 1), turns=(1, 1))
    (mixture,) = plan(config, [said], [])
    audio = Audio(np.tile([0.1, -0.1], RATE)[None].astype(np.float32), RATE)
    scene = render(mixture, lambda _: audio, {"u": said})[2]
    at = mixture.placements[0].start_ms
    assert [(t.start_ms - at, t.end_ms - at) for t in scene.turns] == [(500, 1300)]


def test_what_says_nothing_is_no_utterance() -> None:
    silent = clip("u", 2000, "v", "train", Scene("u", 2000, turns=(Turn(0, 2000, 1, ""),), language="en"))
    two = clip(
        "w", 2000, "v", "train", Scene("w", 2000, turns=(Turn(0, 900, 1, "a"), Turn(950, 2000, 2, "b")))
    )
    for item in (silent, two):
        with pytest.raises(PaqaError, match="has no material"):
            plan(replace(CONFIG, scenes=1, background=None), [item], [])


def test_a_sound_with_a_pause_is_no_bed() -> None:
    speech, _ = corpus()
    config = replace(BED, scenes=1, bed=1.0, answers="truth")
    whole = music("bed", 30_000, "train")
    assert plan(config, speech, [whole])[0].placements[0].length_ms
    half = replace(whole, truth=Scene("bed", 30_000, events=(Event(0, 15_000, "Music", "/m/04rlf"),)))
    with pytest.raises(PaqaError, match="has no material"):
        plan(config, speech, [half])
