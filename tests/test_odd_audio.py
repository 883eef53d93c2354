"""Files as people really have them: all the sound that they hold is decoded, where it belongs in time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from test_audio import CONFIG, noise, reason, tone, write

from paqa import audio
from paqa.audio import joined_files
from paqa.audio.file_part import FilePart
from paqa.audio.readers import CONTAINERS
from paqa.config.recipe import AudioConfig, SourceConfig
from paqa.sources.folder import EXTENSIONS
from paqa.sources.registry import recordings
from paqa.types import Recording

RATE = 16_000
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def samples(path: Path) -> np.ndarray:
    return audio.decode(path, CONFIG).samples[0]


def notes(path: Path) -> str:
    return " ".join(audio.decode_with_notes(path, CONFIG).notes)


# --- more sound than the first header counts


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus", "a.oga", "a.flac", "a.wav"])
def test_recordings_that_were_joined_are_all_decoded(tmp_path: Path, name: str) -> None:
    forms = {
        "a.opus": {"format": "OGG", "subtype": "OPUS"}, "a.oga": {"format": "OGG", "subtype": "VORBIS"}
    }  # fmt: skip
    paths = [tmp_path / f"{i}{name}" for i in range(3)]
    for path, seconds in zip(paths, (1, 2, 1.5), strict=True):
        write(path, tone(seconds, hertz=300 * seconds), **forms.get(name, {}))
    alone = [samples(path) for path in paths]
    (tmp_path / name).write_bytes(b"".join(path.read_bytes() for path in paths))
    assert np.array_equal(samples(tmp_path / name), np.concatenate(alone))
    assert notes(tmp_path / name).startswith("several recordings follow each other")
    assert not notes(paths[0])


def test_joined_recordings_of_different_forms(tmp_path: Path) -> None:
    write(tmp_path / "1.mp3", tone(2))
    write(tmp_path / "2.mp3", np.stack([tone(3, 44_100)] * 2, axis=1), 44_100)
    both = tmp_path / "both.mp3"
    both.write_bytes((tmp_path / "1.mp3").read_bytes() + (tmp_path / "2.mp3").read_bytes())
    assert audio.decode(both, CONFIG).duration_ms == 5000


def test_a_joined_recording_that_was_cut_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", noise(2))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    code, detail = reason(path)
    assert code == "truncated"
    assert f"from byte {len(whole)} on" in detail


def test_an_mp3_file_without_a_count_is_decoded_to_its_end(tmp_path: Path) -> None:
    """Its length was guessed from the first bit rate, which here is that of noise."""
    path = tmp_path / "a.mp3"
    sound = np.concatenate([noise(2, level=0.3), tone(8, level=0.01)])
    encode(path, "libmp3lame", [Piece(sound)], options={"write_xing": "0"}, codec_options={"abr": "1"})
    assert abs(audio.decode(path, CONFIG).duration_ms - 10_000) < 150


def riff(
    data: bytes, length: int, form: bytes = b"RIFF", wide: int | None = None, after: bytes = b""
) -> bytes:
    """A WAV file whose header says that it holds `length` bytes of samples."""
    sizes = b"" if wide is None else b"ds64" + struct.pack("<IQQQI", 28, 0, wide, 0, 0)
    chunks = b"WAVE" + sizes + b"fmt " + struct.pack("<I", 16) + FORMAT + b"data" + struct.pack("<I", length)
    return form + struct.pack("<I", min(len(chunks) + length, 2**32 - 1)) + chunks + data + after


@pytest.mark.parametrize(("length", "form", "wide"), [
    (0, b"RIFF", None), (RATE, b"RIFF", None), (2**32 - 1, b"RIFF", None), (2**32 - 1, b"RF64", 0),
    (2**32 - 1, b"RF64", RATE), (2**32 - 1, b"BW64", 2 * RATE),
])  # fmt: skip
def test_a_recording_that_was_not_closed_is_whole(
    tmp_path: Path, length: int, form: bytes, wide: int | None
) -> None:
    pcm = np.random.default_rng(0).integers(-9000, 9000, 5 * RATE).astype("<i2")
    path = tmp_path / "a.wav"
    path.write_bytes(riff(pcm.tobytes(), length, form, wide))
    assert np.array_equal(samples(path) * 32768, pcm)
    assert notes(path).startswith("the header declares less") == (length != 2**32 - 1 or form != b"RIFF")


@pytest.mark.parametrize("after", [
    b"LIST" + struct.pack("<I", 30_000) + b"INFO" + bytes(range(256)) * 117 + bytes(44),
    b"odd " + struct.pack("<I", 29_999) + b"\1" * 30_000 + b"id3 " + struct.pack("<I", 9000) + b"cut",
    b"ID3\4\0\0" + b"\1" * 30_000, b"APETAGEX" + b"\1" * 30_000, bytes(30_000), b"\7" * 3000,
])  # fmt: skip
def test_what_follows_the_samples_is_no_noise(tmp_path: Path, after: bytes) -> None:
    pcm = (tone(2) * 32768).astype("<i2")
    path = tmp_path / "a.wav"
    path.write_bytes(riff(pcm.tobytes(), 4 * RATE, after=after))
    assert np.array_equal(samples(path) * 32768, pcm)
    assert not notes(path)
    path.write_bytes(riff(b"", 0, after=b"LIST" + struct.pack("<I", 60_000) + b"\1" * 60_000))
    assert reason(path)[0] == "too_short"


@pytest.mark.parametrize("closed", [True, False])
def test_a_length_that_passed_four_gigabytes(tmp_path: Path, closed: bool) -> None:
    """A sparse file, of which the header alone is read; a chunk behind the samples tells their true
    length.
    """
    path, present = tmp_path / "a.wav", 2**32 + 4 * RATE
    with path.open("wb") as file:
        file.write(riff(b"\1" * 5 * RATE, 4 * RATE))
        file.seek(present)
        file.write(b"\1" * 44 + (b"LIST" + struct.pack("<I", 8000) + bytes(8000)) * closed)
    with path.open("rb") as file:
        (part,) = joined_files.parts(FilePart(path, file, 0, path.stat().st_size))
        assert part.end == 44 + present
        assert soundfile.SoundFile(part).frames == present // 2


# --- time stamps


class Piece:
    """Sound, and where its stamp says that it begins."""

    def __init__(self, sound: np.ndarray, at_s: float | None = None):
        self.sound, self.at_s = sound, at_s


def encode(
    path: Path,
    codec: str,
    pieces: Sequence[Piece],
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    film: bool = False,
    block: int = 320,
    stamp: Callable[[int], int] = lambda n: n,
    rate: int = RATE,
    form: str | None = None,
) -> Path:
    """Mono, encoded by PyAV; packets are stamped as the pieces say. With a film from 0 s on, if wanted."""
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        picture = container.add_stream("mpeg4", rate=10) if film else None
        stream = container.add_stream(codec, rate=rate, options=codec_options or {})
        stream.layout = "mono"
        stream.bit_rate = 64_000
        if codec == "wavpack":
            stream.format = "s16p"
        for i in range(10 if picture else 0):
            image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            image.pts, image.time_base = i, Fraction(1, 10)
            container.mux(picture.encode(image))
        block = stream.codec_context.frame_size or block
        kind = stream.codec_context.format.name
        at = 0
        for piece in pieces:
            at = at if piece.at_s is None else round(piece.at_s * rate)
            for start in range(0, len(piece.sound), block):
                part = piece.sound[None, start : start + block]
                scale = {"s16": 2.0**15, "s32": 2.0**31}.get(kind[:3])
                part = np.rint(np.clip(part, -1, 0.999) * scale).astype(f"int{kind[1:3]}") if scale else part
                frame = av.AudioFrame.from_ndarray(part, kind, "mono")
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), stamp(at)
                for packet in stream.encode(frame):
                    container.mux(packet)
                at += part.shape[1]
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "alac")])
def test_a_pause_is_silence(tmp_path: Path, name: str, codec: str) -> None:
    first, second = noise(2.048), tone(3)
    path = encode(tmp_path / name, codec, [Piece(first), Piece(second, 7.048)])
    expected = np.concatenate([first, np.zeros(5 * RATE, np.float32), second])
    assert np.abs(samples(path) - expected).max() < 2 / 32768
    assert notes(path) == "its time stamps leave gaps: they are silence"


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libopus"), ("a.mp4", "aac"), ("a.ts", "aac")])
def test_a_pause_between_coded_frames(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, codec, [Piece(tone(2.048)), Piece(tone(2), 7.04)])
    sound = samples(path)
    assert abs(len(sound) / RATE - 9.04) < 0.15
    assert np.abs(sound[round(2.3 * RATE) : round(6.8 * RATE)]).max() < 0.01
    assert np.abs(sound[round(7.2 * RATE) : round(9 * RATE)]).max() > 0.2


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "aac"), ("a.ts", "mp2")])
def test_sound_that_begins_after_the_picture(tmp_path: Path, name: str, codec: str) -> None:
    late = samples(encode(tmp_path / name, codec, [Piece(tone(2), 3)], film=True))
    assert abs(len(late) / RATE - 5) < 0.15
    assert np.abs(late[: round(2.9 * RATE)]).max() < 0.01
    alone = samples(encode(tmp_path / f"alone-{name}", codec, [Piece(tone(2), 3)]))
    assert abs(len(alone) / RATE - 2) < 0.15


def test_jitter_is_no_gap(tmp_path: Path) -> None:
    sound = noise(4)
    shake = np.random.default_rng(0).integers(-320, 320, 1 << 16)
    path = encode(
        tmp_path / "a.mkv",
        "pcm_s16le",
        [Piece(sound)],
        block=1600,
        stamp=lambda at: at + int(shake[at % 999]),
    )
    assert np.abs(samples(path) - sound).max() < 2 / 32768


def test_lost_packets_add_up_to_a_gap(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", "pcm_s16le", [Piece(noise(0.1), 0.13 * i) for i in range(40)])
    assert abs(len(samples(path)) / RATE - 39 * 0.13 - 0.1) <= 0.05


def restamped(path: Path, number: int, ms: int) -> None:
    """Write another stamp over that of one packet of an FLV file."""
    data, at = bytearray(path.read_bytes()), 13
    for _ in range(number):
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    assert data[at] == 8  # sound
    data[at + 4 : at + 8] = (ms & 0xFFFFFF).to_bytes(3, "big") + bytes([ms >> 24])
    path.write_bytes(data)


@pytest.mark.parametrize("stamp_ms", [3_600_000, 500_000])
def test_one_broken_stamp_moves_nothing(tmp_path: Path, stamp_ms: int) -> None:
    sound = noise(3, level=0.3)
    path = encode(tmp_path / "a.flv", "aac", [Piece(sound, 1000)])
    before = samples(path)
    restamped(path, 12, stamp_ms)
    assert np.array_equal(samples(path), before)


def test_stamps_that_begin_anew_go_on(tmp_path: Path) -> None:
    parts = []
    for i in range(2):
        path = encode(tmp_path / f"{i}.ts", "mp2", [Piece(tone(2.016), 5)])
        parts.append(path.read_bytes())
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    assert abs(len(samples(tmp_path / "a.ts")) / RATE - 4.032) < 0.2


def test_a_stamp_of_hours_makes_no_file_of_hours(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", "pcm_s16le", [Piece(noise(2)), Piece(noise(2), 3 * 3600)], film=True)
    code, detail = reason(path, AudioConfig(max_file_ms=3_600_000))
    assert code == "too_long"
    assert "a time stamp 10798000 ms after 2000 ms of sound" in detail


@pytest.mark.parametrize(("name", "codec"), [
    ("a.m4a", "aac"), ("a.mkv", "aac"), ("a.webm", "libopus"), ("a.flv", "aac"), ("a.wma", "wmav2"),
    ("a.ts", "aac"),
])  # fmt: skip
def test_what_encoders_add_is_no_gap(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, codec, [Piece(tone(3))])
    with av.open(str(path)) as container:
        frames = sum(frame.samples * RATE // frame.sample_rate for frame in container.decode(audio=0))
    assert abs(len(samples(path)) - frames) <= 2
    assert not notes(path)


# --- channels, tracks, levels


def test_channels_that_cancel_each_other_out(tmp_path: Path) -> None:
    left = tone(2)
    for right in (-left, -0.8 * left):
        path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="PCM_16")
        assert np.abs(samples(path) - left).max() < 2 / 32768
        assert "channel 1 is used" in notes(path)
    stereo = audio.decode(path, AudioConfig(channels=2)).samples  # those who listen take the mean
    assert np.abs(stereo - left).max() < 2 / 32768
    path = write(tmp_path / "a.wav", np.stack([0.5 * left, -left, 0.5 * left], axis=1), subtype="PCM_16")
    assert np.abs(samples(path) + left).max() < 2 / 32768
    assert "channel 2 is used" in notes(path)


def test_channels_that_differ_are_averaged(tmp_path: Path) -> None:
    left = noise(2)
    for others in ([np.roll(left, 100)], [0 * left], [0 * left] * 20, [-0.4 * left]):
        path = write(tmp_path / "a.wav", np.stack([left, *others], axis=1), subtype="FLOAT")
        mean = np.mean([left, *others], axis=0)
        assert np.abs(samples(path) - mean).max() < 2 / 32768
        assert not notes(path)


def tracks(path: Path, *sounds: np.ndarray, default: int | None = None) -> Path:
    """A file with a track for each sound."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in sounds]
        if default is not None:
            streams[default].disposition = av.stream.Disposition.default
        for stream, sound in zip(streams, sounds, strict=True):
            frame = av.AudioFrame.from_ndarray((sound[None] * 32768).astype(np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_a_silent_first_track_is_not_the_recording(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mkv", 0 * tone(2), 0 * tone(2), tone(2))
    assert np.abs(samples(path) - tone(2)).max() < 2 / 32768
    assert notes(path) == "audio track 3 of 3 is used: the default one is silent"
    code, detail = reason(tracks(tmp_path / "b.mkv", 0 * tone(2), 0 * tone(2)))
    assert code == "silent"
    assert "each of its 2 audio tracks" in detail


def test_the_default_track_is_the_recording(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mkv", noise(2), tone(2), default=1)
    assert np.abs(samples(path) - tone(2)).max() < 2 / 32768
    assert notes(path) == "audio track 2 of 2 is used: it is the default one"
    path = tracks(tmp_path / "b.mkv", noise(2), tone(2))
    assert np.abs(samples(path) - noise(2)).max() < 2 / 32768
    assert not notes(path)


@pytest.mark.parametrize("bits", [15, 31])
@pytest.mark.parametrize("level", [0.9, 0.1])
def test_integers_that_were_written_as_float(tmp_path: Path, bits: int, level: float) -> None:
    sound = np.rint(tone(2, level=level) * 32768) / 32768
    path = write(tmp_path / "a.wav", sound * 2.0**bits, subtype="FLOAT")
    assert np.array_equal(samples(path), sound.astype(np.float32))
    assert notes(path) == f"float samples are integers: they were divided by {2**bits}"


def test_resampled_integers_that_were_written_as_float(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(2) * 32768 + 0.3, subtype="FLOAT")
    assert np.abs(samples(path) - noise(2)).max() < 3 / 32768


def test_float_samples_that_are_far_too_loud_are_named(tmp_path: Path) -> None:
    loud = np.repeat(noise(1, level=1.5), 4)
    code, detail = reason(write(tmp_path / "a.wav", 3 * loud, subtype="FLOAT"))
    assert code == "clipped"
    assert "float samples go up to" in detail
    assert "write it at a lower level" in detail


# --- every form that the decoder opens

NO_SOUND = {"apl", "avif", "heic", "heif", "ism", "mj2", "mks", "psp"}  # pictures, subtitles, lists


def test_every_ending_that_decoders_open_is_audio() -> None:
    forms = [av.format.ContainerFormat(name, "r") for name in CONTAINERS.split(",")]
    assert {f".{end}" for form in forms for end in form.extensions - NO_SOUND} <= set(EXTENSIONS)


@pytest.mark.parametrize(("name", "codec"), [
    ("a.m4b", "aac"), ("a.mkv", "aac"), ("a.mov", "aac"), ("a.3gp", "aac"), ("a.avi", "mp2"),
    ("a.mp2", "mp2"), ("a.ac3", "ac3"), ("a.wv", "wavpack"), ("a.w64", "pcm_s16le"), ("a.sph", "NIST"),
    ("a.spx", "libopus"),
])  # fmt: skip
def test_a_folder_source_takes_what_the_decoder_opens(tmp_path: Path, name: str, codec: str) -> None:
    if codec == "NIST":
        soundfile.write(tmp_path / name, noise(2), 16_000, format="NIST")
    else:
        form = "ogg" if name == "a.spx" else None
        encode(
            tmp_path / name, codec, [Piece(noise(2))], rate=48_000 if codec == "ac3" else 16_000, form=form
        )
    (found,) = recordings(SourceConfig("here", "folder", "."), tmp_path)
    assert isinstance(found, Recording)
    assert audio.decode(tmp_path / found.uri, CONFIG).duration_ms > 600
