"""Files, lists and recipes from strangers: nothing else is opened, run or asked, and nothing grows without
end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import gzip
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from paqa import audio
from paqa.config import recipe
from paqa.config.recipe import AudioConfig, SourceConfig
from paqa.dataset import hyper_rows
from paqa.engines.base import ENGINES, engine_class
from paqa.errors import PaqaError, Rejected
from paqa.pipeline import recipe_files
from paqa.rationale import grammar
from paqa.rationale.answers import answer_of
from paqa.sources import answer_choices, json_reading, rttm_stm_ctm
from paqa.sources.paths import locate
from paqa.sources.registry import recordings
from paqa.storage import redact
from paqa.types import Audio, Quarantined, Recording, Turn, Word

CONFIG = AudioConfig()
RATE = 16_000


def tone(path: Path, seconds: float = 2, rate: int = RATE, channels: int = 1, **form: str) -> Path:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1).astype(np.float32), rate, **form)
    return path


def reason(path: Path, config: AudioConfig = CONFIG) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        audio.decode(path, config)
    assert "\n" not in caught.value.detail
    return caught.value.reason, caught.value.detail


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and what it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()


def dref(kind: bytes, target: str) -> bytes:
    """A QuickTime sound track of 16-bit samples whose data lies in another file, as its data reference
    says.
    """

    def box(name: bytes, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return struct.pack(">I4s", 8 + len(content), name) + content

    n = 32_000
    entry = struct.pack(">IIH6xHHIHHHHI", 36, 0x736F7774, 0, 0, 0, 0, 1, 16, 0, 0, RATE << 16)
    entry = struct.pack(">I4s6xHHHIHHHHI", 36, b"sowt", 1, 0, 0, 0, 1, 16, 0, 0, RATE << 16)
    url = struct.pack(">I", 0) + target.encode() + b"\0"
    stbl = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">IIII", 0, 1, n, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, n, 1)),
        box(b"stsz", struct.pack(">III", 0, 2, n)),
        box(b"stco", struct.pack(">III", 0, 1, 44)),
    )
    minf = box(
        b"minf",
        box(b"smhd", bytes(8)),
        box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), box(kind, url))),
        stbl,
    )
    mdia = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, RATE, n, 0, 0)),
        box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"soun") + b"\0"),
        minf,
    )
    tkhd = box(b"tkhd", struct.pack(">IIIIII", 7, 0, 0, 1, 0, n), bytes(60))
    mvhd = box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, RATE, n), bytes(80))
    return box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + box(b"moov", mvhd, box(b"trak", tkhd, mdia))


def pointing(secret: Path, address: str) -> dict[str, bytes]:
    """Files that name other files or addresses, by the name they pretend to have."""
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT9S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
        '<Period><AdaptationSet contentType="audio" mimeType="audio/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{address}/a.mp4</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    texts = {
        "playlist.mp3": hls.format(secret.name),
        "playlist.m3u8": hls.format(secret),
        "web.mp3": hls.format(f"{address}/segment.ts"),
        "web.m3u8": hls.format(f"{address}/segment.mp3"),
        "concat.mp3": f"ffconcat version 1.0\nfile {secret.name}\n",
        "concat.wav": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat.m4a": f"ffconcat version 1.0\nfile '{address}/a.wav'\n",
        "dash.mp4": dash,
        "session.wav": sdp,
        "stream.rtsp.wav": "rtsp://127.0.0.1:5/x\n",
    }
    tracks = {f"{kind.decode().strip()}.mov": dref(kind, str(secret)) for kind in (b"url ", b"alis")}
    return (
        {name: text.encode() for name, text in texts.items()}
        | tracks
        | {"w.mov": dref(b"url ", f"{address}/a")}
    )


def test_files_that_name_other_files_or_addresses_are_no_audio(
    tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    address, paths = asked
    secret = tone(tmp_path / "secret.wav")
    for name, content in pointing(secret, address).items():
        (tmp_path / name).write_bytes(content)
        found, detail = reason(tmp_path / name)
        assert found in ("not_audio", "truncated", "too_short"), detail
    assert paths == []


def test_the_same_concatenation_is_played_by_ffmpeg_itself(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    tone(tmp_path / "secret.wav")
    (tmp_path / "good.mp3").write_text("ffconcat version 1.0\nfile secret.wav\n")
    with av.open(str(tmp_path / "good.mp3")) as container:  # or the test above could not fail
        assert sum(frame.samples for frame in container.decode(audio=0)) == 2 * RATE
    assert reason(tmp_path / "good.mp3")[0] == "not_audio"


@pytest.mark.parametrize(
    "name", ["-", "http:/x.wav", "concat:secret.wav|secret.wav", "subfile,,start,0,end,9,,:a.wav"]
)
def test_names_of_files_are_no_options_and_no_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tone(tmp_path / "secret.wav")
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(tone(tmp_path / "real.wav", 1).read_bytes())
    assert audio.decode(path, CONFIG).duration_ms == 1000


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    assert reason(tmp_path / "pipe.wav")[0] == reason(tmp_path / "zero.wav")[0] == "unreadable"
    (found,) = [r for r in recordings(SourceConfig("a", "folder", "."), tmp_path) if r.id == "pipe.wav"]
    assert isinstance(found, Quarantined)
    assert found.reason == "unreadable"


def wav(path: Path, rate: int, channels: int, frames: int) -> Path:
    """A 16-bit WAV file with this in its header, and samples for it."""
    data = (np.random.default_rng(0).integers(-9999, 9999, frames * channels)).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


@pytest.mark.parametrize(("rate", "channels", "frames", "expected"), [
    (1, 1, 20_000, "bad_rate"), (999, 1, 20_000, "bad_rate"), (10_000_000, 1, 100_000, "bad_rate"),
    (2_000_000_000, 1, 1000, "bad_rate"), (RATE, 65, 9000, "too_many_channels"),
    (RATE, 1024, 900, "too_many_channels"), (RATE, 1, 0, "too_short"), (768_000, 1, 0, "too_short"),
    (0, 1, 9000, "truncated"),
])  # fmt: skip
def test_forms_that_no_recording_has(
    tmp_path: Path, rate: int, channels: int, frames: int, expected: str
) -> None:
    found, detail = reason(wav(tmp_path / "a.wav", rate, channels, frames))
    assert found in (expected, "not_audio", "truncated") if rate == 0 else found == expected, detail


def test_forms_at_the_limits(tmp_path: Path) -> None:
    for rate, channels in ((1000, 1), (768_000, 1), (RATE, 64)):
        assert audio.decode(wav(tmp_path / "a.wav", rate, channels, rate), CONFIG).duration_ms == 1000


def test_a_sound_that_changes_its_channels_is_cut_there(tmp_path: Path) -> None:
    """Found by fuzzing: PyAV hands such frames on as they are where nothing has to be converted."""
    av = pytest.importorskip("av")
    for name, channels in (("mono.aac", 1), ("stereo.aac", 2)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("aac", rate=48_000)
            stream.layout = "mono" if channels == 1 else "stereo"
            for i in range(50):
                wave = 0.3 * np.sin(np.arange(i * 1024, (i + 1) * 1024) / 20).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(
                    np.repeat(wave[None], channels, 0), "fltp", stream.layout.name
                )
                frame.sample_rate, frame.pts = 48_000, i * 1024
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (tmp_path / "both.aac").write_bytes(
        (tmp_path / "stereo.aac").read_bytes() + (tmp_path / "mono.aac").read_bytes()
    )
    assert audio.decode(tmp_path / "stereo.aac", CONFIG).duration_ms > 1000
    found, detail = reason(tmp_path / "both.aac")
    assert found == "truncated"
    assert "changes from" in detail


def test_more_planes_than_pyav_knows(tmp_path: Path) -> None:
    """Found by fuzzing: 12 channels in planes crashed the process with a read beyond memory."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE)
        stream.layout = "7.1.4"
        frame = av.AudioFrame.from_ndarray(np.full((1, 12 * RATE), 0.1, np.float32), "flt", "7.1.4")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    decoded = audio.decode(path, CONFIG)
    assert decoded.duration_ms == 1000
    assert abs(decoded.samples - 0.1).max() < 1e-4


def test_samples_that_no_arithmetic_holds(tmp_path: Path) -> None:
    for loud in (3e38, 1e11):
        soundfile.write(tmp_path / "a.wav", np.full((48_000, 2), loud, np.float32), 48_000, subtype="FLOAT")
        assert reason(tmp_path / "a.wav")[0] == "not_finite"


PEAK = """
import resource, sys
from pathlib import Path
from paqa import audio
from paqa.errors import Rejected
from paqa.config.recipe import AudioConfig
import av, soundfile, soxr
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
audio.decode(Path(sys.argv[1]), AudioConfig())
before = peak()
try:
    audio.decode(Path(sys.argv[2]), AudioConfig(max_file_ms=int(sys.argv[3])))
    print("decoded", peak() - before)
except Rejected as error:
    print(error.reason, peak() - before, error.detail)
"""


def grown(small: Path, large: Path, max_file_ms: int) -> tuple[str, int, str]:
    """How decoding ends, and the MB that it adds to what a small file needs, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(small), str(large), str(max_file_ms)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    what, megabytes, *detail = done.stdout.strip().split(" ", 2)
    return what, int(megabytes), "".join(detail)


def silence(path: Path, hours: float, known: bool) -> Path:
    """Hours of stereo silence at 48 kHz as FLAC of some kB; its header may leave the length open."""
    with soundfile.SoundFile(path, "w", 48_000, 2, format="FLAC") as file:
        block = np.zeros((48_000 * 60, 2), np.int16)
        for _ in range(round(hours * 60)):
            file.write(block)
    if not known:
        data = bytearray(path.read_bytes())
        data[21] &= 0xF0
        data[22:26] = bytes(4)  # STREAMINFO's number of samples: 0 is unknown
        path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("known", [True, False])
def test_a_small_file_of_hours_is_stopped_on_the_way(tmp_path: Path, known: bool) -> None:
    bomb = silence(tmp_path / "bomb.flac", 2, known)
    decoded = 2 * 3600 * 48_000 * 2 * 4 / 1e6  # MB as float32
    assert bomb.stat().st_size < 3e6
    what, megabytes, detail = grown(tone(tmp_path / "small.wav"), bomb, 60_000)
    assert what == "too_long"
    assert "audio.max_file_ms = 60000" in detail
    assert "raise that key in the recipe" in detail
    assert megabytes < decoded / 30, f"{megabytes} MB for a file of {decoded:.0f} MB"


def test_what_a_long_recording_costs(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    wave = (8000 * np.sin(np.arange(RATE * 60) / 9)).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE, 1, format="FLAC") as file:
        for _ in range(30):
            file.write(wave)
    what, megabytes, _ = grown(tone(tmp_path / "small.wav"), path, 6 * 3_600_000)
    result = 30 * 60 * RATE * 4 / 1e6
    assert what == "decoded"
    assert megabytes < 1.5 * result + 40  # the result as int16 on top of the result, and a block


# --- lists, annotations, tables


@pytest.mark.parametrize("uri", [
    "../x.wav", "/etc/passwd", "a/../../x.wav", "~/x.wav", "file:///etc/passwd", "http://127.0.0.1/x.wav",
    "a\0b.wav", "..\\x.wav", "C:\\x.wav", "link/x.wav", "loop", "package:../../x", "package:/x",
    "package:a\0b/x", "package:.", "package:paqa/../../x", "x" * 5000, "package:" + "x." * 3000 + "/x",
    "\ud800.wav",
])  # fmt: skip
def test_no_uri_leads_out_of_the_root(tmp_path: Path, uri: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "x.wav").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    try:
        found = locate(uri, root)
    except Rejected:
        return
    assert found.is_relative_to(root)
    assert not found.is_file()


def test_a_folder_of_the_working_directory_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir()
    tone(tmp_path / "private" / "x.wav")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Rejected, match="not installed"):
        locate("package:private/x.wav", tmp_path / "elsewhere")


def listed(path: Path, kind: str = "jsonl", **params: Any) -> list[Recording | Quarantined]:
    return list(recordings(SourceConfig("list", kind, path.name, params=params), path.parent))


def why(found: Recording | Quarantined) -> str:
    assert isinstance(found, Quarantined)
    assert len(found.detail) < 1000
    return found.reason


@pytest.mark.parametrize("kind", ["jsonl", "questions", "lhotse"])
def test_lines_without_end_and_nests_without_ground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(json_reading, "LONGEST_LINE", 200_000)
    deep = b'{"id": "a", "path": "a.wav", "custom": ' + b"[" * 90_000
    rows = [
        deep,
        b'{"id": "' + b"a" * 300_000 + b'"}',
        b"{" * 1000,
        b'{"id": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe",
    ]
    (tmp_path / "list.jsonl").write_bytes(b"\n".join(rows))
    assert [why(found) in ("broken_json", "bad_row") for found in listed(tmp_path / "list.jsonl", kind)] == [
        True
    ] * 5


def test_a_list_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": "')
        for _ in range(200):
            file.write(b"a" * 1_000_000)
        file.write(b'"}\n{"id": "b", "path": "b.wav"}\n')
    code = (
        "import resource, sys; from pathlib import Path; from paqa.sources.registry import recordings\n"
        "from paqa.config.recipe import SourceConfig\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "before = peak(); found = list(recordings(SourceConfig('a', 'jsonl', sys.argv[1]), Path('.')))\n"
        "print(len(found), found[0].reason, found[1].id, peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, first, second, megabytes = done.stdout.split()
    assert (count, first, second) == ("2", "bad_row", "b")
    assert int(megabytes) < 120  # of a line of 200 MB


def test_a_manifest_that_unpacks_without_end(tmp_path: Path) -> None:
    (tmp_path / "cuts.jsonl.gz").write_bytes(gzip.compress(bytes(json_reading.LONGEST_LINE * 4)))
    with pytest.raises(PaqaError, match="200 times as large"):
        listed(tmp_path / "cuts.jsonl.gz", "lhotse")


def test_times_that_are_none(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    for start, length in (
        ("nan", "1"),
        ("inf", "1"),
        ("0", "inf"),
        ("1e300", "1"),
        ("2", "-1"),
        ("0", "nan"),
    ):
        (tmp_path / "a.rttm").write_text(f"SPEAKER a 1 {start} {length} <NA> <NA> x <NA> <NA>\n")
        found = list(recordings(SourceConfig("list", "references", "."), tmp_path))
        assert "bad_truth" in [f.reason for f in found if isinstance(f, Quarantined)]
    (tmp_path / "a.rttm").unlink()
    cut: dict[str, Any] = {"type": "MonoCut", "id": "c", "start": 0, "recording": {
        "id": "a", "sources": [{"type": "file", "source": "a.wav"}]}}  # fmt: skip
    for start, word in ((1e308, [["a", 0, 1]]), (0, [["a", 1e308, 1e308]]), (0, [["a", 10**300, 1]])):
        said = {"id": "s", "recording_id": "a", "start": start, "duration": 1, "alignment": {"word": word}}
        (tmp_path / "cuts.jsonl").write_text(json.dumps({**cut, "supervisions": [said]}))
        assert len(listed(tmp_path / "cuts.jsonl", "lhotse")) == 1


def seconds(call: Any, *args: Any) -> float:
    """The CPU time of a call in this thread; other threads and the objects of other tests do not count."""
    gc.disable()
    began = time.thread_time()
    try:
        call(*args)
        return time.thread_time() - began
    finally:
        gc.enable()


def test_annotations_of_any_size_are_compared_in_time(tmp_path: Path) -> None:
    turns = [Turn(i * 1000, i * 1000 + 900, 1 + i % 4) for i in range(20_000)]
    whole = [Turn(0, 20_000_000, 1), *turns[1:]]
    words = [Word(i * 500, i * 500 + 300, "a") for i in range(40_000)]
    assert seconds(rttm_stm_ctm.assign_words, turns, words) < 5
    assert seconds(rttm_stm_ctm.assign_words, whole, words) < 10
    everywhere = [Turn(i, 20_000_000, 1) for i in range(20_000)]
    with pytest.raises(Rejected, match="as long as the recording"):
        rttm_stm_ctm.assign_words(everywhere, words)


def test_an_annotation_of_too_many_turns_costs_its_recording_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rttm_stm_ctm, "MOST_SPANS", 100)
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav")
    line = "SPEAKER {} 1 {} 0.5 <NA> <NA> x <NA> <NA>\n"
    (tmp_path / "a.rttm").write_text("".join(line.format("a", i) for i in range(101)))
    (tmp_path / "b.rttm").write_text(line.format("b", 0))
    found = list(recordings(SourceConfig("list", "references", "."), tmp_path))
    assert [why(f) for f in found if isinstance(f, Quarantined)] == ["bad_truth", "no_reference"]
    assert [f.id for f in found if isinstance(f, Recording)] == ["b.wav"]


def test_a_parquet_row_cannot_name_a_file_of_this_machine(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    datasets = pytest.importorskip("datasets")
    secret = tone(tmp_path / "secret.wav")
    corpus = tmp_path / "corpus"
    (corpus / "data").mkdir(parents=True)
    tone(corpus / "own.wav")
    named = [str(secret), "../secret.wav", "/etc/passwd", str(corpus / "own.wav"), "a\0b"]
    features = datasets.Features({"audio": datasets.Audio()})
    table = pa.table(
        {"audio": [{"bytes": None, "path": name} for name in named]}, schema=features.arrow_schema
    )
    pq.write_table(table, corpus / "data" / "train.parquet")
    found = list(recordings(SourceConfig("list", "hub", "corpus", params={"dataset": "data"}), tmp_path))
    assert [f.uri if isinstance(f, Recording) else f.reason for f in found] == [
        "outside_corpus", "missing_audio", "outside_corpus", "own.wav", "missing_audio",
    ]  # fmt: skip
    assert not (corpus / "audio").exists()


def test_the_name_of_a_reader_is_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "train.pkl").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PaqaError, match="neither a name on the Hub"):
        list(recordings(SourceConfig("list", "hub", "corpus", params={"dataset": "pandas"}), tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_shard_of_somebody_cannot_name_the_files_of_an_export(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from builds import make

    from paqa.publish.export.registry import export

    folder = make(tmp_path / "made", clips=2)
    for path in (folder / "data").glob("*.parquet"):
        table = pq.read_table(path)
        rows = [
            {**row, "path": f"../../../{n}/evil.flac"} for n, row in enumerate(table["audio"].to_pylist())
        ]
        place = table.schema.get_field_index("audio")
        pq.write_table(
            table.set_column(place, table.schema.field("audio"), pa.array(rows, table["audio"].type)), path
        )
    export("swift", folder, tmp_path / "a" / "b" / "out")
    found = [p.relative_to(tmp_path).parts[:3] for p in tmp_path.rglob("*evil*")]
    assert len(found) == 2
    assert set(found) == {("a", "b", "out")}


# --- texts


@pytest.mark.parametrize(("call", "text"), [
    (lambda t: answer_choices.parse_question("q", "t", t, None, "A"), "['a" * 5000),
    (lambda t: answer_choices.parse_question("q", "t", t, None, "A"), "choose option " * 700 + "(a) x (b) y"),
    (lambda t: answer_choices.parse_question("q", "t", t, None, "A"), " \n" * 4900 + "(a) x (b) y"),
    (lambda t: answer_choices.parse_question("q", "t", "Which?", [t, "b"], "A"), "a" * 1_000_000),
    (lambda t: answer_choices.parse_question("q", "t", "Which?", ["a"] * 1_000_000, "A"), ""),
    (lambda t: answer_choices.parse_question("q", "t", "['a'," + "[" * 5000 + "'b']", None, "A"), ""),
    (lambda t: hyper_rows.mended(t), "```" + " " * 100_000 + "x y"),
    (lambda t: hyper_rows.mended(t), "\\" * 100_000 + "x"),
    (lambda t: hyper_rows.mended(t), "`" * 100_000 + "x"),
    (lambda t: hyper_rows.mended(t), "<THINK>" * 20_000),
    (lambda t: hyper_rows.chosen(t, ["a", "b"]), "answer" + " " * 100_000 + "x"),
    (grammar.parse, "<THINK>" * 100_000),
    (grammar.parse, "<" * 100_000),
    (answer_of, "<RESPONSE>" * 100_000),
    (answer_of, "<RESPONSE>(A) " + "<" * 100_000),
])  # fmt: skip
def test_texts_made_to_take_long(call: Any, text: str) -> None:
    def parse() -> None:
        with contextlib.suppress(Rejected, grammar.GrammarError):
            call(text)

    assert seconds(parse) < 2


def rationale_with(**leaves: str) -> str:
    given = dict.fromkeys(grammar.LEAVES[:8], "x") | {"ENV": grammar.NO_SOUND, "SPEAKER": grammar.NO_SPEECH}
    leaf = {tag: f"<{tag}>{text}</{tag}>" for tag, text in (given | {"RESPONSE": "(A) x"} | leaves).items()}
    caption = "".join(leaf[tag] for tag in ("ENV", "SPEAKER", "ASR", "DESCRIPTION"))
    thought = f"{leaf['PLANNING']}<CAPTION>{caption}</CAPTION>{leaf['REASONING']}{leaf['SUMMARY']}"
    return f"<THINK>{thought}</THINK>{leaf['RESPONSE']}"


@pytest.mark.parametrize("leaves", [
    {"ENV": f"Rain [{'9' * 5000}.00-1.00 s]"},
    {"SPEAKER": f'Speaker {"9" * 5000} [0.00-1.00 s]: "a"'},
    {"SPEAKER": "Speaker 1 [0.00-1.00 s]: " + "[" * 100_000},
])  # fmt: skip
def test_numbers_of_thousands_of_digits_and_deep_json_are_errors_of_the_grammar(
    leaves: dict[str, str],
) -> None:
    assert grammar.parse(rationale_with()).env == ()
    with pytest.raises(grammar.GrammarError):
        grammar.parse(rationale_with(**leaves))


@pytest.mark.parametrize("shape", ["<THINK>", '"', "\\", " ", "\n", "[1.20-3.40 s] ", "\\u003c", "("])
@pytest.mark.parametrize("tag", ["ENV", "SPEAKER", "ASR", "RESPONSE", None])
def test_parsing_takes_time_in_proportion(tag: str | None, shape: str) -> None:
    def parsed(size: int) -> None:
        text = shape * (size // len(shape))
        with contextlib.suppress(grammar.GrammarError):
            grammar.parse(rationale_with(**{tag: text}) if tag else text)

    parsed(1000)
    short = max(min(seconds(parsed, 20_000) for _ in range(3)), 2e-3)
    long = min(seconds(parsed, 200_000) for _ in range(2))
    assert long < 40 * short, f"{long / short:.0f} times for ten times the text"


# --- recipes

RECIPE = 'name = "x"\n[[sources]]\nname = "a"\ntype = "folder"\npath = "."\n'


def loaded(folder: Path, text: str) -> str:
    (folder / "recipe.toml").write_text(text)
    with pytest.raises(PaqaError) as caught:
        recipe_files.load(folder / "recipe.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize(("more", "words"), [
    ("[questions]\nnone_rate = nan", "questions.none_rate: found nan"),
    ("[gates]\nmax_below_db = inf", "gates.max_below_db: found inf"),
    ("[split]\ntest = 1" + "0" * 5000, "not valid TOML"),
    ("[audio]\nmax_file_ms = 99999999999", "audio.max_file_ms"),
    ("[hear.tag.params]\nhop_ms = 0", "hear.tag.params: engine yamnet: .*hop_ms"),
    ("[hear.tag.params]\nhop_ms = 15", "hop_ms"),
    ("[hear.tag.params]\non_threshold = nan", "on_threshold"),
    ("[hear.diarize.params]\nmax_speakers = 0", "max_speakers"),
    ("[hear.diarize.params]\nhop_ms = -5", "hop_ms"),
    ("[hear.transcribe.params]\nbeam_size = 0", "beam_size"),
    ("[hear.separate.params]\nattenuation_db = -1.0", "attenuation_db"),
    ("[questions]\nx = " + "[" * 3000 + "]" * 3000, "not valid TOML|deep"),
    ("[questions]\nx = " + "[" * 50 + "]" * 50, "20 deep"),
    ("[hear.transcribe]\nengine = 'whisper'\nparams = {allow_pickle = true}", "a recipe cannot allow that"),
    ("[hear.transcribe]\nengine = 'os:system'", "unknown engine"),
    ("[[sources]]\nname = 'b'\ntype = 'os'\npath = '.'", "has type 'os'"),
])  # fmt: skip
def test_recipes_that_ask_for_too_much(tmp_path: Path, more: str, words: str) -> None:
    import re

    assert re.search(words, loaded(tmp_path, f"{RECIPE}{more}\n"))


@pytest.mark.parametrize(
    "text", ["seed=" + "9" * 5000, "seed=" + "[" * 3000, "seed=1e999", "seed=nan", "name=\ud800"]
)
def test_changes_that_ask_for_too_much(text: str) -> None:
    with pytest.raises(PaqaError, match="--set"):
        recipe_files.change(recipe.Recipe("x", (SourceConfig("a", "folder", "."),)), [text])


def test_a_name_has_no_end_of_line(tmp_path: Path) -> None:
    assert "name" in loaded(tmp_path, RECIPE.replace('name = "x"', 'name = "x\\n"'))
    assert "name" in loaded(tmp_path, RECIPE.replace('name = "x"', 'name = "../x"'))


def test_a_large_file_is_no_recipe(tmp_path: Path) -> None:
    assert "1 MB" in loaded(tmp_path, "#" * 2_000_000)


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_number_of_an_engine_has_bounds(name: str) -> None:
    """So that no recipe makes an engine divide by zero, or wait for ever."""
    kind = engine_class(name).Params
    others = ("str", "bool", "Literal", "tuple", "dict")
    numbers = [f.name for f in dataclasses.fields(kind) if not str(f.type).startswith(others)]
    assert numbers
    for field in numbers:
        with pytest.raises(PaqaError, match=field):
            recipe.converted(kind, {field: -(10**9)}, "x")


# --- secrets

SECRETS = {
    "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz",
    "AWS_ACCESS_KEY_ID": "AKIAABCDEFGHIJKLMNOP",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE",
    "PREFECT_API_KEY": "pnu_abcdefghijklmnopqrstuvwxyz0123",
    "MY_PASSWORD": "correct horse battery staple",
}


@pytest.mark.parametrize("value", [
    "hf_abcdefghijklmnopqrstuvwxyz", "s3://AKIAABCDEFGHIJKLMNOP:secret/key@bucket/x", "https://user:pa55@host/x",
    "https://host/x?sig=abcdef&b=1", "pnu_abcdefghijklmnopqrstuvwxyz0123",
])  # fmt: skip
def test_secrets_in_recipes_are_refused_and_not_repeated(tmp_path: Path, value: str) -> None:
    found = loaded(tmp_path, RECIPE.replace('path = "."', f'path = "{value}"'))
    assert "sources.0.path: holds a token or password" in found
    assert value not in found


def test_addresses_without_secrets_are_none() -> None:
    for text in (
        "s3://bucket/prefix",
        "abfs://container-of-recordings@account.dfs.core/x",
        "https://a/b?c=d",
        "a:b@c",
    ):
        assert redact.mask_secrets(text) == text


def test_secrets_of_the_environment_are_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    text = redact.mask_secrets(" ".join(SECRETS.values()))
    assert text == " ".join(["(secret)"] * len(SECRETS))


def files_with(folder: Path, secrets: dict[str, str]) -> list[str]:
    """The files below a folder that hold one of the values, Prefect's database among them."""
    values = [value.encode() for value in secrets.values()]
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files if any(value in path.read_bytes() for value in values)]


@pytest.mark.build
def test_a_build_keeps_no_secret_of_its_environment(tmp_path: Path) -> None:
    from conftest import CORPUS, build

    (tmp_path / "audio").mkdir()
    for name in ("dog-01", "rooster-01"):
        (tmp_path / "audio" / f"{name}.flac").write_bytes((CORPUS / "sounds" / f"{name}.flac").read_bytes())
    (tmp_path / "audio" / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    (tmp_path / "small.toml").write_text(
        'name = "small"\n[[sources]]\nname = "a"\ntype = "folder"\npath = "audio"\n'
        '[gates]\nmax_quarantined = 1.0\nshortcuts = "off"\n[questions]\nmishear = false\n'
    )
    flags = ["--report", "--workers", "1"]
    made = build(tmp_path / "small.toml", tmp_path / "out" / "small", *flags, own_server=True, **SECRETS)
    assert list((tmp_path / "out" / ".paqa").rglob("prefect.db"))
    assert files_with(
        tmp_path / "out", {"known": "small.toml"} | {"name": "rooster-01"}
    )  # the search does find things
    assert files_with(tmp_path / "out", SECRETS) == []
    assert not [value for value in SECRETS.values() if value in made.output]


def test_a_store_with_a_password_is_refused_before_anything_keeps_it(tmp_path: Path) -> None:
    from conftest import CORPUS, paqa

    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCY"
    store = f"s3://AKIAABCDEFGHIJKLMNOP:{secret}@bucket/prefix"
    done = paqa(
        "build", "--audio", CORPUS / "sounds", "--out", tmp_path / "out" / "a", "--store", store, check=False
    )
    assert done.returncode == 2
    assert "--store: holds a token or password" in done.stderr
    assert secret not in done.stderr + done.stdout
    assert files_with(tmp_path, {"a": secret}) == []


def test_what_an_engine_says_is_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    from paqa.perception.inference import EngineInput, _outputs

    def engine(batch: Any) -> Any:
        raise ValueError(f"403 for https://me:{SECRETS['MY_PASSWORD'][:7]}@host/x with {SECRETS['HF_TOKEN']}")

    (failure,) = _outputs(engine, [EngineInput(Audio(np.zeros((1, 10), np.float32), RATE), ())])
    assert failure == "ValueError: 403 for https://(secret)@host/x with (secret)"
