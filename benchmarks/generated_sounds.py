"""A bank of synthesised sounds: `python benchmarks/generated_sounds.py --out DIR --instances 24 --seed 0`.

Each function below synthesises one class of AudioSet. An instance draws its own pitch, pace, length and
colour, so that a split by `group` leaves other instances of the same classes on the other side. DIR gets
sounds/*.flac (16 kHz, mono) and sounds.jsonl, a list for sources of type `jsonl`. The same seed gives the
same bytes, and more instances leave those before them as they are. Such sounds are much easier to tell apart
than recordings: a model that hears them may hear no real ones.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from paqa import audioset
from paqa.audio import flac
from paqa.types import Audio

RATE = 16_000  # Hz
FRAME = RATE // 100  # samples of the 10 ms grid that events lie on
MARGIN = 3 * FRAME  # samples of silence before and after a sound
PEAK = 0.25  # of the samples, full scale being 1
AUDIBLE_DB = 40.0  # frames further below the loudest one are no part of the event
STRUCK_BELL = ((0.56, 1.0), (0.92, 0.67), (1.19, 1.0), (1.71, 1.8), (2.0, 2.67), (2.74, 1.67), (3.0, 1.46))
Random = np.random.Generator


def seconds(length: float) -> np.ndarray:
    """The times of the samples of so many seconds, shape `[n]`."""
    return np.arange(round(length * RATE)) / RATE


def silence(length: float) -> np.ndarray:
    """Zeros for so many seconds, shape `[n]`."""
    return np.zeros(round(length * RATE))


def tone(hz: float | np.ndarray, t: np.ndarray, harmonics: int = 1) -> np.ndarray:
    """A tone with weaker harmonics, of the shape of `t`; `hz` may change from sample to sample."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, t.shape)) / RATE
    return np.sum([np.sin(k * phase) / k**1.2 for k in range(1, harmonics + 1)], axis=0)


def band(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """What of `x` lies between two frequencies in Hz, of its shape."""
    spectrum, hz = np.fft.rfft(x), np.fft.rfftfreq(len(x), 1 / RATE)
    spectrum[(hz < low) | (hz > high)] = 0
    return np.fft.irfft(spectrum, len(x))


def faded(x: np.ndarray, rise: float, fall: float) -> np.ndarray:
    """`x` with its first `rise` and last `fall` seconds faded, of its shape."""
    start, end = round(rise * RATE), round(fall * RATE)
    gain = np.ones(len(x))
    gain[:start] = np.linspace(0, 1, start)
    gain[-end:] *= np.linspace(1, 0, end)
    return x * gain


def at_intervals(gap: float, parts: list[np.ndarray]) -> np.ndarray:
    """The parts added up, each `gap` seconds after the one before."""
    step = round(gap * RATE)
    out = np.zeros(max(i * step + len(part) for i, part in enumerate(parts)))
    for i, part in enumerate(parts):
        out[i * step : i * step + len(part)] += part
    return out


def alarm_clock(rng: Random) -> np.ndarray:
    """Short high beeps."""
    hz, on, off = rng.uniform(1800, 3200), rng.uniform(0.08, 0.16), rng.uniform(0.06, 0.16)
    beep = faded(tone(hz, seconds(on), 2), 0.004, 0.01)
    return np.tile(np.concatenate([beep, silence(off)]), rng.integers(4, 8))


def siren(rng: Random) -> np.ndarray:
    """A tone that slides up and down."""
    t = seconds(rng.uniform(1.2, 2.4))
    low, high, period = rng.uniform(500, 700), rng.uniform(1100, 1600), rng.uniform(0.5, 1.2)
    return faded(tone(low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * t / period)), t, 4), 0.01, 0.05)


def bell(rng: Random) -> np.ndarray:
    """The partials of a struck bell, the higher ones dying away first."""
    t, hz = seconds(rng.uniform(1.2, 2.2)), rng.uniform(350, 900)
    partials = [
        weight * np.sin(2 * np.pi * hz * ratio * t) * np.exp(-t * (1.5 + ratio * rng.uniform(0.7, 1.3)))
        for ratio, weight in STRUCK_BELL
    ]
    return faded(np.sum(partials, axis=0), 0.002, 0.1)


def drum(rng: Random) -> np.ndarray:
    """Low strokes whose pitch falls, each with a click."""
    hz, gap, strokes = rng.uniform(70, 140), rng.uniform(0.16, 0.32), rng.integers(3, 7)
    t = seconds(0.3)
    parts = []
    for _ in range(strokes):
        stroke = tone(hz * (1 + 0.6 * np.exp(-25 * t)), t) * np.exp(-t * rng.uniform(9, 15))
        parts.append(stroke + 0.15 * rng.standard_normal(len(t)) * np.exp(-60 * t))
    return at_intervals(gap, parts)


def steam_whistle(rng: Random) -> np.ndarray:
    """Two tones a third apart, in hiss."""
    t = seconds(rng.uniform(0.9, 1.8))
    hz = rng.uniform(900, 1500) * (1 + 0.02 * np.sin(2 * np.pi * rng.uniform(4, 7) * t))
    return faded(tone(hz, t) + 0.5 * tone(1.26 * hz, t) + 0.25 * rng.standard_normal(len(t)), 0.08, 0.15)


def rain(rng: Random) -> np.ndarray:
    """Steady hiss with single drops."""
    n = len(seconds(rng.uniform(1.5, 2.8)))
    drops = 8 * (rng.random(n) < rng.uniform(0.001, 0.003)) * rng.standard_normal(n)
    hiss = band(rng.standard_normal(n), rng.uniform(800, 1500), 7500)
    return faded(hiss + band(drops, 1000, 7000), 0.1, 0.2)


def engine(rng: Random) -> np.ndarray:
    """A low hum with many harmonics, whose speed sways, over low noise."""
    t = seconds(rng.uniform(1.4, 2.6))
    hz = rng.uniform(25, 45) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * t))
    return faded(tone(hz, t, 18) + 0.3 * band(rng.standard_normal(len(t)), 50, 900), 0.1, 0.2)


def bird(rng: Random) -> np.ndarray:
    """Chirps, each gliding up or down."""
    parts = []
    for _ in range(rng.integers(3, 8)):
        t = seconds(rng.uniform(0.07, 0.16))
        hz = rng.uniform(2800, 5200) + rng.uniform(-1500, 1500) * t / t[-1]
        parts += [faded(tone(hz, t), 0.01, 0.03), silence(rng.uniform(0.04, 0.14))]
    return np.concatenate(parts[:-1])


def telephone(rng: Random) -> np.ndarray:
    """Two tones, interrupted many times a second, once or twice."""
    low, high, rate = rng.uniform(380, 480), rng.uniform(480, 620), rng.uniform(15, 28)
    parts = []
    for _ in range(rng.integers(1, 3)):
        t = seconds(rng.uniform(0.6, 1.0))
        strokes = np.sin(2 * np.pi * rate * t) > 0
        parts += [faded((tone(low, t, 3) + tone(high, t)) * strokes, 0.01, 0.05), silence(0.25)]
    return np.concatenate(parts[:-1])


def clock(rng: Random) -> np.ndarray:
    """Ticks, every other one lower."""
    hz, gap, ticks = rng.uniform(2000, 4200), rng.uniform(0.2, 0.34), rng.integers(5, 9)
    t = seconds(0.03)
    decay = np.exp(-t * rng.uniform(150, 250))
    return at_intervals(gap, [tone(hz * (0.8 if i % 2 else 1.0), t) * decay for i in range(ticks)])


def applause(rng: Random) -> np.ndarray:
    """Many claps at random times."""
    length, t = rng.uniform(1.4, 2.5), seconds(0.02)
    out = silence(length + 0.02)
    for start in rng.integers(0, round(length * RATE), int(length * rng.uniform(60, 120))):
        clap = band(rng.standard_normal(len(t)), 600, 4000) * np.exp(-200 * t)
        out[start : start + len(t)] += clap * rng.uniform(0.3, 1.0)
    return faded(out, 0.1, 0.2)


def explosion(rng: Random) -> np.ndarray:
    """Low noise that dies away."""
    t = seconds(rng.uniform(1.1, 2.0))
    noise = band(rng.standard_normal(len(t)), 20, rng.uniform(250, 600))
    return faded(noise * np.exp(-t * rng.uniform(2, 4)), 0.003, 0.1)


def car_horn(rng: Random) -> np.ndarray:
    """Two steady tones a third apart with many harmonics."""
    t, hz = seconds(rng.uniform(0.6, 1.3)), rng.uniform(300, 440)
    return faded(tone(hz, t, 8) + tone(1.25 * hz, t, 8), 0.02, 0.06)


def sawing(rng: Random) -> np.ndarray:
    """Strokes of rough noise, there and back."""
    low = rng.uniform(900, 1800)
    parts = []
    for i in range(rng.integers(3, 6)):
        n = len(seconds(rng.uniform(0.16, 0.3)))
        stroke = band(rng.standard_normal(n), low, 3 * low) * np.hanning(n)
        parts += [stroke * (1.0 if i % 2 else 0.7), silence(rng.uniform(0.03, 0.08))]
    return np.concatenate(parts[:-1])


CLASSES: dict[str, Callable[[Random], np.ndarray]] = {
    "Alarm clock": alarm_clock,
    "Siren": siren,
    "Bell": bell,
    "Drum": drum,
    "Steam whistle": steam_whistle,
    "Rain": rain,
    "Engine": engine,
    "Bird": bird,
    "Telephone bell ringing": telephone,
    "Tick-tock": clock,
    "Applause": applause,
    "Explosion": explosion,
    "Vehicle horn, car horn, honking": car_horn,
    "Sawing": sawing,
}


def instance(label: str, number: int, seed: int) -> np.ndarray:
    """One sound of a class between two margins of silence: whole frames, mono float32 `[n]` at 16 kHz."""
    x = CLASSES[label](np.random.default_rng([seed, zlib.crc32(label.encode()), number]))
    rest = -len(x) % FRAME
    return np.pad(PEAK * x / np.abs(x).max(), (MARGIN, MARGIN + rest)).astype(np.float32)


def span(samples: np.ndarray) -> tuple[int, int]:
    """Where a sound is audible: start and end in ms, on the 10 ms grid."""
    power = np.square(samples.reshape(-1, FRAME)).mean(1)
    audible = np.flatnonzero(power >= power.max() * 10 ** (-AUDIBLE_DB / 10))
    return int(audible[0]) * 10, int(audible[-1] + 1) * 10


def rows(out: Path, instances: int, seed: int) -> Iterator[dict[str, Any]]:
    """Write the files of all classes; yields their lines of the list."""
    for label in CLASSES:
        for number in range(instances):
            samples = instance(label, number, seed)
            start_ms, end_ms = span(samples)
            name = f"{label.split(',')[0].lower().replace(' ', '-')}-{number:03d}"
            (out / "sounds" / f"{name}.flac").write_bytes(flac(Audio(samples[None], RATE)))
            mid = audioset.mid(label)
            yield {
                "id": name,
                "path": f"sounds/{name}.flac",
                "events": [{"label": label, "mid": mid, "start_ms": start_ms, "end_ms": end_ms}],
                "group": name,
                "license": "CC0-1.0",
                "source": "synthesised by benchmarks/generated_sounds.py",
                "synthetic": True,
            }


def write(out: Path, instances: int, seed: int) -> int:
    """Write the bank into a folder; returns its number of sounds."""
    (out / "sounds").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in rows(out, instances, seed)]
    (out / "sounds.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def main() -> None:
    """Write a bank and say what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--instances", type=int, default=24, help="of each class (default: 24)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    count = write(args.out, args.instances, args.seed)
    print(f"{args.out / 'sounds.jsonl'}: {count} sounds of {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
