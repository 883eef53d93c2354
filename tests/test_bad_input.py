"""Bad input ends in a quarantine row or one line that names file, problem and remedy; the rest goes on."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import CORPUS, SERVER, paqa

from paqa.dataset import shards

RATE = 16000


def tone(seconds, rate=RATE, channels=1):
    t = np.arange(int(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 0.7 * t) > 0)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def mess(tmp_path_factory):
    """A folder with everything that can be wrong, and two good files."""
    folder = tmp_path_factory.mktemp("mess") / "audio"
    folder.mkdir()
    good = (CORPUS / "sounds" / "dog-01.flac").read_bytes()
    speech = sorted((CORPUS / "speech").glob("*.flac"))
    (folder / "good-dog.flac").write_bytes(good)
    (folder / "good-dog-again.flac").write_bytes(good)
    (folder / "good-speech.flac").write_bytes(speech[0].read_bytes())
    (folder / "zero.wav").write_bytes(b"")
    (folder / "cut.flac").write_bytes(speech[3].read_bytes()[:20_000])
    (folder / "text.wav").write_text("this is no audio, it is a text file with the wrong name\n" * 20)
    nan = tone(2)
    nan[5000:5100] = np.nan
    soundfile.write(folder / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(folder / "eight-channels.wav", tone(2, channels=8), RATE)
    soundfile.write(folder / "8k.wav", tone(2.2, rate=8000), 8000)
    soundfile.write(folder / "192k.wav", tone(2.4, rate=192_000), 192_000)
    soundfile.write(folder / "short.wav", tone(0.02), RATE)
    soundfile.write(folder / "silence.wav", np.zeros((RATE * 2, 1), np.float32), RATE)
    soundfile.write(folder / "clipped.wav", np.clip(tone(2.6) * 30, -1, 1), RATE)
    soundfile.write(folder / "long.flac", np.tile(tone(10), (7, 1)), RATE)
    (folder / "leads-out.wav").symlink_to(CORPUS / "sounds" / "dog-02.flac")
    return folder


@pytest.fixture(scope="module")
def messy(mess, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "messy"
    return out, paqa(
        "build",
        "--audio",
        mess,
        "--out",
        out,
        "--set",
        "gates.max_quarantined=0.99",
        "--set",
        "gates.near_duplicates=false",
        **SERVER.variables(),
    )


@pytest.mark.build
def test_every_bad_file_has_its_row_and_reason(messy):
    out, _ = messy
    lost = {
        q.id.split("@")[0]: q for q in shards.quarantined(out) if q.stage in ("source", "ingest", "split")
    }
    expected = {
        "zero.wav": "empty_file",
        "cut.flac": "truncated",
        "text.wav": "not_audio",
        "nan.wav": "not_finite",
        "short.wav": "too_short",
        "silence.wav": "silent",
        "clipped.wav": "clipped",
        "leads-out.wav": "outside_corpus",
        "good-dog.flac": "would_leak",  # its copy is on another side
    }
    assert {name: q.reason for name, q in lost.items()} == expected
    for name, row in lost.items():
        assert name.split(".")[0] in row.detail
        assert "\n" not in row.detail


@pytest.mark.build
def test_the_rest_goes_on(messy):
    out, _ = messy
    clips = pq.read_table(out / "clips.parquet").to_pylist()
    names = {c["id"].split("@")[0] for c in clips}
    assert {"good-speech.flac", "eight-channels.wav", "8k.wav", "192k.wav", "long.flac"} <= names
    assert all(c["rate"] == RATE for c in clips)
    long = [c for c in clips if c["id"].startswith("long.flac")]
    assert len(long) >= 3
    assert all(c["duration_ms"] <= 30_000 for c in long)
    assert sum(c["duration_ms"] for c in long) == 70_000


@pytest.mark.build
def test_past_the_limit_the_build_fails_and_says_why(mess, tmp_path):
    flags = ["--out", tmp_path / "x", "--set", "gates.max_quarantined=0.1"]
    done = paqa("build", "--audio", mess, *flags, check=False, **SERVER.variables())
    assert done.returncode == 2
    assert "quarantined" in done.stderr
    assert "max_quarantined" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["build", "--audio", "EMPTY"], ["EMPTY", ".wav"]),
        (["build", "--audio", "NOWHERE"], ["NOWHERE"]),
        (["build"], ["paqa build --audio FOLDER"]),
        (["build", "nothing.toml"], ["nothing.toml", "paqa build --audio"]),
        (["check", "EMPTY"], ["EMPTY", "paqa build"]),
        (["show", "EMPTY"], ["EMPTY", "paqa build"]),
        (["audit", "EMPTY"], ["EMPTY", "paqa build"]),
    ],
)
def test_one_line_errors_name_the_thing_and_the_next_command(tmp_path, args, words):
    (tmp_path / "EMPTY").mkdir()
    done = paqa(*args, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
