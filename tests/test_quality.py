"""How clips sound: measures of known signals, thresholds, the column of clips.parquet, the report."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from builds import RATE, make, noise
from conftest import CORPUS, VOICES

import paqa
from paqa.audio import decode, digest, flac, quantize, resample
from paqa.config.recipe import AudioConfig, QualityConfig, Recipe, SourceConfig
from paqa.dataset import clip_quality, open_build, shards
from paqa.engines import dnsmos
from paqa.errors import OutOfMemory, PaqaError, TimedOut
from paqa.execution.local import ThreadExecutor
from paqa.execution.progress import Progress
from paqa.perception import quality
from paqa.perception.quality import Quality, SpeakerQuality
from paqa.perception.reverberation import srmr
from paqa.pipeline import quality_stage, quarantine_limit
from paqa.pipeline.stages import BuildState
from paqa.report.collect import open_build as open_report
from paqa.report.overview import overview
from paqa.storage.store import Store
from paqa.types import Audio, Clip, Scene, Turn

VOICE = CORPUS / "speech" / "rms-06.flac"  # 16 kHz, little noise


def audio(samples):
    return Audio(quantize(np.asarray(samples, np.float32)[None]), RATE)


def tone(hz, seconds=2.0, level=0.5):
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


def noisy(clean, snr_db):
    """Speech with white noise at an SNR in dB."""
    noise_samples = np.random.default_rng(0).normal(0, 1, clean.samples.shape)
    level = clean.samples.std() * 10 ** (-snr_db / 20)
    return Audio(quantize(np.clip(clean.samples + level * noise_samples, -1, 1)), clean.rate)


@pytest.fixture(scope="module")
def sentence():
    return decode(VOICE, AudioConfig())


@pytest.mark.parametrize("limit_hz", [1000, 3000, 4000, 6000])
def test_bandwidth_is_where_a_low_pass_cuts(limit_hz):
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(0, 0.1, 5 * RATE))
    spectrum[int(limit_hz * 5) :] = 0
    low_passed = audio(np.fft.irfft(spectrum))
    assert quality.bandwidth_hz(low_passed) == pytest.approx(limit_hz, abs=100)


def test_bandwidth_of_a_tone_is_the_tone_and_of_white_noise_half_of_the_rate():
    assert quality.bandwidth_hz(audio(tone(3000))) == pytest.approx(3000, abs=100)
    assert quality.bandwidth_hz(noise("white")) == RATE / 2
    assert quality.bandwidth_hz(audio(np.zeros(RATE))) is None
    assert quality.bandwidth_hz(audio(tone(3000, 0.01))) is None


def test_bandwidth_of_speech_from_a_telephone_is_half_of_its_rate(sentence):
    assert quality.bandwidth_hz(sentence) > 7000
    telephone = resample(resample(sentence, 8000), RATE)
    assert quality.bandwidth_hz(replace(telephone, samples=quantize(telephone.samples))) == pytest.approx(
        3850, abs=150
    )


def test_the_clipped_share_is_the_share_of_samples_at_full_scale():
    samples = np.full(1000, 0.1)
    samples[100:250] = 1.0
    samples[600:650] = -1.0
    samples[800:802] = 1.0  # two peaks are no flat run
    assert quality.clipped(audio(samples)) == 0.2
    assert quality.clipped(audio(tone(50, level=0.9))) == 0.0


def test_dnsmos_falls_with_the_snr_and_is_highest_without_noise(sentence):
    sounds = [sentence, *(noisy(sentence, snr_db) for snr_db in (30, 15, 0))]
    overall = [dnsmos.rate(sound).overall for sound in sounds]
    assert overall == sorted(overall, reverse=True)
    assert overall[0] > overall[-1] + 1
    assert dnsmos.rate(audio(np.zeros(RATE))) is None


def reverberant(dry, seconds):
    """Speech in a room with this reverberation time: its sound and a decaying tail of equal energy."""
    time = np.arange(int(1.2 * seconds * RATE)) / RATE
    tail = np.random.default_rng(2).normal(0, 1, len(time)) * 10 ** (-3 * time / seconds)
    tail[:40] = 0
    impulse = tail / np.sqrt(np.square(tail).sum())
    impulse[0] = 1
    return audio(0.5 * np.convolve(dry.samples[0], impulse)[: dry.samples.shape[1]])


def test_srmr_falls_with_the_reverberation_time(sentence):
    ratios = [srmr(sentence), *(srmr(reverberant(sentence, seconds)) for seconds in (0.3, 0.6, 1.2))]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 1.5 * ratios[-1]
    assert srmr(audio(np.zeros(RATE))) is None
    assert srmr(audio(tone(440, 0.2))) is None


def test_srmr_does_not_depend_on_the_level(sentence):
    assert srmr(replace(sentence, samples=sentence.samples / 4)) == srmr(sentence)


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [(3, [0]), (9.01, [0]), (10, [0]), (18.02, [0, 144_160]), (20, [0, 144_160, 175_840])],
)
def test_windows_cover_all_of_a_signal(seconds, starts):
    signal = np.arange(int(seconds * RATE), dtype=np.float32)
    windows = dnsmos.windows(signal)
    assert [int(window[0]) for window in windows] == starts
    assert {len(window) for window in windows} == {dnsmos.WINDOW}


def test_a_speaker_is_measured_where_nobody_else_talks():
    voice = tone(1000, 6.0)
    mix = audio(voice + np.where(np.arange(6 * RATE) >= 4 * RATE, tone(5000, 6.0, 0.3), 0))
    scene = Scene("c", 6000, (Turn(0, 4500, 1), Turn(4000, 6000, 2), Turn(5500, 6000, 3)))
    measured = quality.measured(mix, audio(voice), scene).quality
    spans = {s.speaker: (s.measured_ms, s.bandwidth_hz) for s in measured.speakers}
    assert {speaker: ms for speaker, (ms, _) in spans.items()} == {1: 4000, 2: 1000}  # 3 is never alone
    assert spans[1][1] == pytest.approx(1000, abs=100)
    assert spans[2][1] == pytest.approx(5000, abs=100)
    assert measured.bandwidth_hz > 4900


def test_the_snr_is_that_of_the_stems_within_the_turns():
    speech = np.where(np.arange(4 * RATE) < 2 * RATE, tone(400, 4.0, 0.4), 0)
    background = tone(2000, 4.0, 0.04)
    scene = Scene("c", 4000, (Turn(0, 2000, 1),))
    measured = quality.measured(audio(speech + background), audio(speech), scene).quality
    assert measured.snr_db == pytest.approx(20.0, abs=0.2)
    assert measured.speakers[0].snr_db == measured.snr_db
    assert quality.measured(audio(speech), None, scene).quality.snr_db is None


def test_without_speech_nothing_is_rated_as_speech():
    measured = quality.measured(noise("rain"), None, Scene("c", 10_000)).quality
    assert (measured.dnsmos, measured.snr_db, measured.speakers) == (None, None, ())
    assert measured.bandwidth_hz == RATE / 2


GOOD = Quality(3.0, 3.5, 4.0, 15.0, 9.0, 8000.0, 0.0)
POOR_SPEAKER = SpeakerQuality(2.0, 2.5, 3.0, 5.0, 9.0, 8000.0, 0.0, speaker=2, measured_ms=2000)
CLIP = Clip("a", "a.wav", "0" * 64, 1000, RATE, "s", "s", "CC0-1.0", ("a",), "train")


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"min_dnsmos": 3.1}, "DNSMOS 3, expected at least min_dnsmos = 3.1"),
        ({"min_speaker_dnsmos": 2.5}, "DNSMOS of a speaker 2, expected at least min_speaker_dnsmos = 2.5"),
        ({"min_snr_db": 20.0}, "SNR 15 dB, expected at least min_snr_db = 20 dB"),
        ({"min_srmr": 10.0}, "SRMR 9, expected at least min_srmr = 10"),
        ({"min_bandwidth_hz": 8001}, "bandwidth 8000 Hz, expected at least min_bandwidth_hz = 8001 Hz"),
        ({"max_clipping": 0.01}, "clipped 2.00% of its samples, expected at most max_clipping = 1.00%"),
    ],
)
def test_a_clip_below_a_threshold_is_quarantined_with_what_was_measured(limits, text):
    poor = replace(GOOD, clipped=0.02, speakers=(POOR_SPEAKER,))
    row = quality.low_quality(CLIP, poor, QualityConfig(measure=True, **limits))
    assert (row.id, row.stage, row.reason, row.fingerprint) == ("a", "quality", "low_quality", CLIP.sha256)
    assert row.detail == f"a.wav: {text}; change [quality] of the recipe to keep it"
    assert quality.low_quality(CLIP, poor, QualityConfig(measure=True)) is None


def test_what_is_at_a_threshold_or_cannot_be_measured_stays():
    at = QualityConfig(True, 3.0, 3.0, 15.0, 9.0, 8000, 0.0)
    assert quality.low_quality(CLIP, GOOD, at) is None
    assert quality.low_quality(CLIP, Quality(None, None, None, None, None, None, 0.0), at) is None


def recipe(**changes):
    return Recipe("r", (SourceConfig("s", "folder", "."),), quality=QualityConfig(**changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"min_dnsmos": 2.0}, r"quality.min_dnsmos = 2.0: nothing is measured; set quality.measure = true"),
        ({"min_snr_db": 0.0}, r"quality.min_snr_db = 0.0: nothing is measured"),
        ({"measure": True, "min_bandwidth_hz": 9000}, r"expected at most 8000, half of audio.rate = 16000"),
    ],
)
def test_thresholds_that_cannot_be_met_end_a_build_at_its_start(changes, text):
    with pytest.raises(PaqaError, match=text):
        quality_stage.check(recipe(**changes))


@pytest.mark.parametrize("missing", ["speechmos", "gammatone"])
def test_a_missing_package_is_named_with_the_command(missing, monkeypatch):
    monkeypatch.setattr(quality_stage, "installed", lambda package: package != missing)
    quality_stage.check(recipe())  # by default nothing is needed
    with pytest.raises(PaqaError, match=rf"'{missing}'.*uv pip install 'paqa\[quality\]'"):
        quality_stage.check(recipe(measure=True))


def test_the_store_keeps_what_was_measured(tmp_path, monkeypatch):
    store, sound = Store(tmp_path), audio(tone(440))
    store.put(digest(sound), ".flac", flac(sound))
    clip = replace(CLIP, sha256=digest(sound), answers="truth", truth=Scene("a", 2000), listen=False)
    first = quality.measure(clip, recipe(measure=True), store)
    assert first.failures == ()
    calls = []
    monkeypatch.setattr(quality, "measured", lambda *_: calls.append(1) or first)
    assert quality.measure(clip, recipe(measure=True), store) == first
    assert not calls
    with_turn = replace(clip, truth=Scene("a", 2000, (Turn(0, 2000, 1),)))
    quality.measure(with_turn, recipe(measure=True), store)
    monkeypatch.setattr(dnsmos, "BEHAVIOUR", dnsmos.BEHAVIOUR + 1)
    quality.measure(clip, recipe(measure=True), store)
    assert len(calls) == 2  # other turns, another revision


# --- measures that fail


def spoken(name, store, hz):
    """A clip of a tone that its truth calls speech, of which no engine output is needed."""
    sound = audio(tone(hz))
    store.put(digest(sound), ".flac", flac(sound))
    truth = Scene(name, 2000, (Turn(0, 2000, 1),))
    changes = {"sha256": digest(sound), "duration_ms": 2000, "answers": "truth", "truth": truth}
    return replace(CLIP, id=name, uri=f"{name}.wav", listen=False, **changes)


RATINGS = dnsmos.Ratings(3.5, 4.0, 3.0)
BAD_HZ = 700


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three clips and their store; DNSMOS raises on the one in the middle, a tone of `BAD_HZ`."""

    def rate(sound, threads=1):
        if abs(quality.bandwidth_hz(sound) - BAD_HZ) <= 150:
            raise RuntimeError("Invalid input name")
        return RATINGS

    monkeypatch.setattr(dnsmos, "rate", rate)
    store = Store(tmp_path / "store")
    clips = [spoken(name, store, hz) for name, hz in (("a", 400), ("b", BAD_HZ), ("c", 2000))]
    return store, clips


def here(seconds, step, *arguments):
    return step(*arguments)


def state_of(folder, store, run=here, **changes):
    placement = SimpleNamespace(worker_count=1, threads=1, runner=lambda stage: run)
    executor = ThreadExecutor(1, Progress(quiet=True))
    return BuildState(recipe(measure=True, **changes), folder, store, placement, executor, print)


def test_a_clip_on_which_a_measure_fails_is_kept_without_it(three, tmp_path):
    store, clips = three
    state = state_of(tmp_path, store)
    assert quality_stage.measure_quality(state, clips) == clips
    (row,) = state.quarantined
    assert (row.id, row.stage, row.reason) == ("b", "quality", "not_measured")
    assert row.detail.startswith("b.wav: dnsmos of speaker 1 failed: RuntimeError: Invalid input name; ")
    assert "the clip is kept" in row.detail
    assert "not_measured in quarantine" in state.warnings[0]
    failed = state.qualities["b"]
    assert (failed.dnsmos, failed.dnsmos_speech) == (None, None)
    assert failed.bandwidth_hz == pytest.approx(BAD_HZ, abs=150)
    assert state.qualities["a"].dnsmos == RATINGS.overall
    assert quarantine_limit.unusable(state.quarantined) == []


def test_the_next_build_measures_again_what_failed(three, tmp_path, monkeypatch):
    store, clips = three
    quality_stage.measure_quality(state_of(tmp_path, store), clips)
    monkeypatch.setattr(dnsmos, "rate", lambda *_: RATINGS)
    state = state_of(tmp_path, store)
    quality_stage.measure_quality(state, clips)
    assert (state.quarantined, state.qualities["b"].dnsmos) == ([], RATINGS.overall)


@pytest.mark.parametrize("limits", [{"min_dnsmos": 2.0}, {"min_speaker_dnsmos": 2.0}])
def test_a_threshold_that_needs_the_measure_keeps_the_clip_out(three, tmp_path, limits):
    store, clips = three
    state = state_of(tmp_path, store, **limits)
    assert [clip.id for clip in quality_stage.measure_quality(state, clips)] == ["a", "c"]
    (row,) = state.quarantined
    assert (row.id, row.reason) == ("b", "quality_failed")
    assert f"quality.{next(iter(limits))} needs it" in row.detail
    assert quarantine_limit.unusable(state.quarantined) == [row]
    assert state.qualities.keys() == {"a", "c"}
    other = state_of(tmp_path, store, min_bandwidth_hz=100)  # one that needs another measure
    assert quality_stage.measure_quality(other, clips) == clips


def test_a_figure_that_is_no_number_has_failed(monkeypatch):
    monkeypatch.setattr(dnsmos, "rate", lambda *_: dnsmos.Ratings(float("nan"), 4.0, 3.0))
    measured = quality.measured(audio(tone(440)), None, Scene("a", 2000, (Turn(0, 2000, 1),)))
    assert {(f.measure, f.speaker) for f in measured.failures} == {("dnsmos", 1), ("dnsmos", None)}
    assert "not finite" in measured.failures[0].error
    assert measured.quality.dnsmos is None
    assert measured.quality.srmr is not None


def test_damaged_audio_takes_out_its_clip_alone(three, tmp_path):
    store, clips = three
    store.remove(clips[1].sha256, ".flac")
    store.put(clips[1].sha256, ".flac", b"fLaC and no more")
    state = state_of(tmp_path, store)
    assert [clip.id for clip in quality_stage.measure_quality(state, clips)] == ["a", "c"]
    assert [(q.id, q.stage, q.reason) for q in state.quarantined] == [("b", "quality", "not_audio")]


def dies_with_bad(seconds, step, clips, *arguments):
    if any(clip.id == "b" for clip in clips):
        raise TimedOut("no answer in 300 s")
    return step(clips, *arguments)


@pytest.mark.parametrize(
    ("limits", "kept", "reason"), [({}, "abc", "not_measured"), ({"min_srmr": 0.1}, "ac", "timed_out")]
)
def test_a_clip_that_ends_its_worker_is_singled_out(three, tmp_path, limits, kept, reason):
    store, clips = three
    state = state_of(tmp_path, store, dies_with_bad, **limits)
    assert [clip.id for clip in quality_stage.measure_quality(state, clips)] == list(kept)
    (row,) = state.quarantined
    assert (row.id, row.reason) == ("b", reason)
    assert "tried twice" in row.detail
    assert state.qualities.keys() == {"a", "c"}


def test_a_measure_that_fails_on_every_clip_ends_the_build(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(dnsmos, "rate", broken)
    store = Store(tmp_path / "store")
    clips = [spoken(f"c{hz}", store, hz) for hz in range(400, 1300, 100)]
    with pytest.raises(PaqaError, match=r"quality: 8 inputs in a row failed.*no kernel"):
        quality_stage.measure_quality(state_of(tmp_path, store), clips)


@pytest.mark.parametrize("error", [MemoryError("12 GiB"), RuntimeError("Failed to allocate memory")])
def test_short_memory_is_no_fault_of_a_measure(three, monkeypatch, error):
    def rate(*_):
        raise error

    monkeypatch.setattr(dnsmos, "rate", rate)
    store, clips = three
    with pytest.raises(OutOfMemory):
        quality.measure(clips[0], recipe(measure=True), store)


def test_the_table_of_clips_has_the_column_only_where_it_was_measured(tmp_path):
    folder = make(tmp_path / "build", clips=3)
    plain = (folder / "clips.parquet").read_bytes()
    _, _, clips = open_build.open_build(folder)
    clip_quality.write_clips(folder / "clips.parquet", clips, {})
    assert (folder / "clips.parquet").read_bytes() == plain
    assert clip_quality.read(folder / "clips.parquet") == {}
    qualities = {clips[0].id: GOOD, clips[1].id: replace(GOOD, dnsmos=2.0, speakers=(POOR_SPEAKER,))}
    clip_quality.write_clips(folder / "clips.parquet", clips, qualities)
    assert clip_quality.read(folder / "clips.parquet") == qualities
    assert open_build.open_build(folder)[2] == clips
    figures = {f.label: f for f in clip_quality.figures(qualities.values())}
    assert (figures["DNSMOS"].median, figures["DNSMOS"].clips) == (2.5, 2)
    drawn = {q["name"]: q for q in overview(open_report(folder))["quality"]}
    assert sum(drawn["dnsmos"]["histogram"]["counts"]) == 2


RECIPE = f"""
name = "q"

{VOICES}limit = 12

[[mix]]
name = "scene"
scenes = 4
speech = "voices"
turns = [2, 2]
listen = false

[gates]
shortcuts = "off"
"""


@pytest.mark.build
@pytest.mark.slow
def test_a_build_measures_and_leaves_out_what_is_below(tmp_path):
    """Scenes of which the truth is known alone, so that no engine runs."""
    (tmp_path / "demo").symlink_to(CORPUS)
    (tmp_path / "q.toml").write_text(RECIPE)
    paqa.build(tmp_path / "q.toml", tmp_path / "plain", workers=1)
    before = {clip.id for clip in open_build.open_build(tmp_path / "plain")[2]}
    assert "quality" not in pq.read_schema(tmp_path / "plain" / "clips.parquet").names
    (tmp_path / "q.toml").write_text(f"{RECIPE}\n[quality]\nmeasure = true\n")
    paqa.build(tmp_path / "q.toml", tmp_path / "all", workers=1)
    measured = clip_quality.read(tmp_path / "all" / "clips.parquet")
    assert measured.keys() == before
    assert all(q.dnsmos and q.srmr and q.bandwidth_hz and q.speakers for q in measured.values())
    assert "| DNSMOS | " in (tmp_path / "all" / "README.md").read_text()
    assert shards_of(tmp_path / "all") == shards_of(tmp_path / "plain")  # figures are in no row
    limit = sorted(q.dnsmos for q in measured.values())[1]
    (tmp_path / "q.toml").write_text(f"{RECIPE}\n[quality]\nmeasure = true\nmin_dnsmos = {limit}\n")
    paqa.build(tmp_path / "q.toml", tmp_path / "some", workers=1)
    lost = shards.quarantined(tmp_path / "some")
    (row,) = [q for q in lost if q.reason == "low_quality"]
    assert measured[row.id].dnsmos < limit
    assert f"expected at least min_dnsmos = {limit:g}" in row.detail
    assert {c["clip_id"] for c in shards.rows(tmp_path / "some", ["clip_id"])} <= before - {row.id}


def shards_of(folder):
    return {path.name: path.read_bytes() for path in shards.files(folder)}
