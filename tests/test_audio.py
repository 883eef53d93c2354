"""Real files in, exact audio or a reason out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from paqa import audio
from paqa.config.recipe import AudioConfig
from paqa.errors import Rejected
from paqa.types import Audio

CONFIG = AudioConfig()


def tone(seconds: float, rate: int = 16000, hertz: float = 440, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int = 16000, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(1).standard_normal(round(seconds * rate))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 16000, **form: str) -> Path:
    soundfile.write(path, samples, rate, **form)
    return path


def encode(path: Path, codec: str, samples: np.ndarray, rate: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        size = stream.codec_context.frame_size
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def reason(path: Path, config: AudioConfig = CONFIG) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        audio.decode(path, config)
    assert "\n" not in caught.value.detail
    assert str(path) in caught.value.detail
    return caught.value.reason, caught.value.detail


def hertz(decoded: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(decoded.samples[0]))
    return float(np.argmax(spectrum) * decoded.rate / decoded.samples.shape[1])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus", "a.aiff"])
def test_soundfile_formats(tmp_path: Path, name: str) -> None:
    form = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    decoded = audio.decode(write(tmp_path / name, tone(2, 48000), 48000, **form), CONFIG)
    assert decoded.rate == 16000
    assert decoded.samples.shape[0] == 1
    assert decoded.samples.dtype == np.float32
    assert abs(decoded.duration_ms - 2000) < 100
    assert abs(hertz(decoded) - 440) < 2


@pytest.mark.parametrize(("name", "codec", "rate"), [
    ("a.m4a", "aac", 44100), ("a.aac", "aac", 44100), ("a.webm", "libopus", 48000), ("a.mka", "aac", 44100),
])  # fmt: skip
def test_formats_only_ffmpeg_reads(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    decoded = audio.decode(encode(tmp_path / name, codec, tone(2, rate), rate), CONFIG)
    assert abs(decoded.duration_ms - 2000) < 100
    assert abs(hertz(decoded) - 440) < 2
    assert abs(audio.dbfs(decoded.samples) - audio.dbfs(tone(2))) < 1


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 96000, 192000])
def test_rates(tmp_path: Path, rate: int) -> None:
    decoded = audio.decode(write(tmp_path / "a.wav", tone(2, rate), rate), CONFIG)
    assert abs(decoded.duration_ms - 2000) <= 1
    assert abs(hertz(decoded) - 440) < 1
    assert abs(audio.dbfs(decoded.samples) - audio.dbfs(tone(2))) < 0.1


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 12])
@pytest.mark.parametrize("wanted", [1, 2])
def test_channels(tmp_path: Path, channels: int, wanted: int) -> None:
    samples = np.stack([tone(1, level=0.05 * (i + 1)) for i in range(channels)], axis=1)
    path = write(tmp_path / "a.wav", samples, subtype="PCM_16")
    decoded = audio.decode(path, AudioConfig(channels=wanted))
    assert decoded.samples.shape == (wanted, 16000)
    kept = samples.T if wanted == channels else np.tile(samples.mean(axis=1), (wanted, 1))
    assert np.abs(decoded.samples - kept).max() < 2 / 32768


def test_sixteen_bit_file_is_exact(tmp_path: Path) -> None:
    pcm = np.random.default_rng(0).integers(-30000, 30000, 300_000).astype(np.int16)
    decoded = audio.decode(write(tmp_path / "a.wav", pcm), CONFIG)
    assert np.array_equal(decoded.samples[0] * 32768, pcm)


def test_streaming_resampler_equals_one_shot(tmp_path: Path) -> None:
    samples = noise(20, 44100)
    decoded = audio.decode(write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT"), CONFIG)
    whole = audio.resample(Audio(samples[None], 44100), 16000)
    assert decoded.samples.shape == whole.samples.shape
    assert np.abs(decoded.samples - whole.samples).max() < 2 / 32768


def test_missing(tmp_path: Path) -> None:
    assert reason(tmp_path / "no.wav")[0] == "missing_file"


def test_folder_is_unreadable(tmp_path: Path) -> None:
    assert reason(tmp_path) == (
        "unreadable",
        f"{tmp_path} is a folder; expected a readable file, check `ls -l`",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1))
    path.chmod(0)
    child = os.fork()
    if not child:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            audio.decode(path, CONFIG)
        except Rejected as error:
            code = 0 if error.reason == "unreadable" and "Permission denied" in error.detail else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.touch()
    assert reason(path)[0] == "empty_file"


@pytest.mark.parametrize(("data", "found"), [
    (b"this is a text that somebody renamed\n" * 50, "'this is a text that somebody ren'"),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    (bytes(range(1, 200)), "01 02 03 04"),
    (b"x", "'x'"),
])  # fmt: skip
def test_not_audio(tmp_path: Path, data: bytes, found: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    code, detail = reason(path)
    assert code == "not_audio"
    assert found in detail


def test_raw_file_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(range(256)) * 100)
    assert reason(path)[0] == "not_audio"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_truncated(tmp_path: Path, name: str) -> None:
    code, detail = reason(cut(write(tmp_path / name, noise(10))))
    assert code == "truncated"
    assert "10000 ms" in detail


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus"), ("a.aac", "aac")])
def test_truncated_ffmpeg(tmp_path: Path, name: str, codec: str) -> None:
    assert reason(cut(encode(tmp_path / name, codec, noise(3, 48000), 48000)))[0] == "truncated"


def test_header_alone_is_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1))
    path.write_bytes(path.read_bytes()[:20])
    assert reason(path)[0] == "truncated"


def test_wav_written_to_a_pipe_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert audio.decode(path, CONFIG).duration_ms == 1000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(tmp_path: Path, value: float) -> None:
    samples = noise(2)
    samples[20000] = value
    assert reason(write(tmp_path / "a.wav", samples, subtype="FLOAT"))[0] == "not_finite"


def test_too_short(tmp_path: Path) -> None:
    code, detail = reason(write(tmp_path / "a.wav", noise(0.02)))
    assert code == "too_short"
    assert "20 ms" in detail
    assert "500 ms" in detail
    assert reason(write(tmp_path / "b.wav", noise(0)))[0] == "too_short"


def test_too_long_stops_early(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(60))
    cut(path, 0.9)  # found too long before the damage is reached
    assert reason(path, AudioConfig(max_file_ms=20_000))[0] == "too_long"


def test_silent(tmp_path: Path) -> None:
    assert "every sample is 0" in reason(write(tmp_path / "a.wav", noise(2) * 0))[1]
    quiet = write(tmp_path / "b.wav", tone(2, level=0.0005))
    assert reason(quiet)[0] == "silent"
    assert "-66 dBFS" in reason(quiet)[1]
    assert audio.decode(write(tmp_path / "d.wav", tone(2, level=0.002)), CONFIG).duration_ms == 2000


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_clipped(tmp_path: Path, subtype: str) -> None:
    loud = noise(2, level=1.5) if subtype == "FLOAT" else np.clip(tone(2, level=4), -1, 1)
    loud = np.repeat(loud, 4)[:32000]
    code, detail = reason(write(tmp_path / "a.wav", loud, subtype=subtype))
    assert code == "clipped"
    assert "%" in detail


@pytest.mark.parametrize("pitch", [20, 100, 440, 4000])
def test_full_scale_tone_is_not_clipped(tmp_path: Path, pitch: int) -> None:
    path = write(tmp_path / "a.wav", tone(2, 48000, pitch, level=1), 48000)
    assert audio.decode(path, CONFIG).duration_ms == 2000


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=300), st.sampled_from([1, 2]))
def test_flac_round_trip_is_exact(pcm: list[int], channels: int) -> None:
    samples = np.tile(np.array(pcm, np.float32) / 32768, (channels, 1))
    made = Audio(samples, 16000)
    again = audio.read_flac(audio.flac(made))
    assert np.array_equal(again.samples, samples)
    assert again.rate == 16000
    assert audio.digest(again) == audio.digest(made)
    assert audio.flac(again) == audio.flac(made)


def test_damaged_flac_bytes() -> None:
    data = audio.flac(Audio(noise(2)[None], 16000))
    for bad in (b"", b"nothing", data[: len(data) // 2]):
        with pytest.raises(Rejected):
            audio.read_flac(bad)


def test_digest_tells_apart() -> None:
    mono = noise(1)[None]
    different = [
        Audio(mono, 16000),
        Audio(mono, 8000),
        Audio(mono[:, 1:], 16000),
        Audio(np.tile(mono, (2, 1)), 16000),
    ]
    assert len({audio.digest(made) for made in different}) == 4


def test_quantize_limits() -> None:
    snapped = audio.quantize(np.array([-2, -1, 0.1, 1, 2], np.float32))
    assert snapped.tolist() == [-1, -1, 3277 / 32768, 32767 / 32768, 32767 / 32768]
    assert np.array_equal(audio.quantize(snapped), snapped)


def test_loudness() -> None:
    assert abs(audio.dbfs(tone(1, level=1)) + 3.01) < 0.01
    assert audio.dbfs(np.zeros(5)) == -np.inf
    assert audio.rms(np.zeros((1, 0))) == 0


def test_short_audio_is_one_window() -> None:
    assert audio.windows(Audio(noise(30)[None], 16000), 30_000) == [(0, 30_000)]


def test_cuts_lie_in_silence() -> None:
    samples = noise(70)
    for start in (21, 26, 46):
        samples[start * 16000 : start * 16000 + 8000] = 0
    pieces = audio.windows(Audio(samples[None], 16000), 30_000)
    assert [end for _, end in pieces] == [
        pytest.approx(21250, abs=250),
        pytest.approx(46250, abs=250),
        70_000,
    ]
    for _, end in pieces[:-1]:
        assert not samples[end * 16 - 1600 : end * 16 + 1600].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4000), st.sampled_from([1000, 1500, 3000, 30_000]), st.integers(0, 9))
def test_windows_cover(tenths: int, max_ms: int, seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal((1, tenths * 80)).astype(np.float32)
    made = Audio(samples, 800)
    pieces = audio.windows(made, max_ms)
    assert [start for start, _ in pieces] == [0, *[end for _, end in pieces[:-1]]]
    assert pieces[-1][1] == made.duration_ms
    assert all(0 < end - start <= max_ms for start, end in pieces)
    if len(pieces) > 1:
        assert min(end - start for start, end in pieces) >= max_ms / 5


def test_long_file_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 48000, 2) as file:
        for _ in range(60):
            file.write(np.stack([tone(10, 48000), noise(10, 48000)], axis=1))
    code = (
        "import sys, resource; from pathlib import Path; import soundfile, soxr, av; from paqa import audio\n"
        "from paqa.config import recipe\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak(); made = audio.decode(Path(sys.argv[1]), recipe.AudioConfig())\n"
        "pieces = audio.windows(made, 30000)\n"
        "print(peak() - before, made.samples.nbytes >> 20, len(pieces), made.duration_ms)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    grown, result, pieces, duration = map(int, run.stdout.split())
    assert duration == 600_000
    assert pieces == 23
    assert grown < result + 100  # decoded it is 10 min * 48 kHz * 2 * 4 bytes = 220 MB
