"""Bounded fuzzing of everything that reads what a stranger wrote: a value, a row with a reason, or one clear
error.

The suite spends about a minute of CPU here. `PAQA_FUZZ=20 pytest tests/test_fuzz.py` goes on twenty times as
long, and draws other inputs each time. Real defects that were found are kept as tests with their least input,
in test_safety.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from conftest import CORPUS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import scenes

from paqa import audio
from paqa.config import recipe
from paqa.config.recipe import Recipe, SourceConfig
from paqa.dataset import hyper_rows
from paqa.errors import PaqaError, Rejected
from paqa.perception.engine_runs import StoredOutput
from paqa.pipeline import recipe_files
from paqa.rationale import grammar
from paqa.rationale.rewards import Reference, RewardWeights, accuracy, format_score, perception, reward
from paqa.rationale.trace import Trace
from paqa.sources.answer_choices import parse_question as question
from paqa.sources.paths import locate
from paqa.sources.registry import recordings
from paqa.sources.truth import close_truth
from paqa.storage.store import Store
from paqa.types import Event, GivenQuestion, Quarantined, Question, Recording, Scene, Turn

MORE = int(os.environ.get("PAQA_FUZZ", "1"))
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def few(count: int) -> Any:
    """So many examples in the suite, the same each time, and many more of others on demand."""
    return settings(
        max_examples=3 * count * MORE,
        deadline=None,
        suppress_health_check=CHECKS,
        derandomize=MORE == 1,
        database=None,
    )


# --- the decoder front: in a process of its own, which a crash of a library would end

DECODE = """
import random, struct, sys, time
from pathlib import Path
from paqa.audio import decode
from paqa.errors import Rejected
from paqa.config.recipe import AudioConfig
seed, count, limit, here = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
config = AudioConfig(max_file_ms=limit, min_clip_ms=1)
seeds = sorted(Path(sys.argv[5]).iterdir())
EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]

def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            return bytes(data)
        kind, head = rng.randrange(7), min(len(data), 200)
        at = rng.randrange(head if rng.random() < 0.7 else len(data))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(EDGES))
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + rng.choice((1, 2, 4, 100, 5000))]
        elif kind == 5:
            data[at:at] = data[: rng.choice((4, 12, 64, 4000))]
        else:
            data[at : at + 32] = rng.randbytes(32)
    return bytes(data)

good = 0
for n in range(seed, seed + count):
    rng = random.Random(n)
    source = seeds[n % len(seeds)]
    path = here / f"{n}{source.suffix}"
    path.write_bytes(mutated(source.read_bytes(), rng))
    print("at", n, source.name, flush=True)
    began = time.process_time()
    try:
        found = decode(path, config)
        assert 0 < found.duration_ms <= limit + 2000, found.duration_ms
        assert abs(found.samples).max() <= 1
        good += 1
    except Rejected as error:
        assert error.reason and "\\n" not in error.detail and len(error.detail) < 500, error.detail
    assert time.process_time() - began < 20, "too slow"
    path.unlink()
print("done", good)
"""


def encoded(path: Path, codec: str, rate: int, channels: int) -> None:
    import av

    wave = (0.3 * np.sin(np.arange(rate) / 20)).astype(np.float32)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(
            np.repeat(wave[None], channels, axis=0), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        size = stream.codec_context.frame_size
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))


FORMS = [
    ("a.m4a", "aac", 44_100, 2), ("a.aac", "aac", 24_000, 1), ("a.webm", "libopus", 48_000, 1),
    ("a.mka", "pcm_s16le", 16_000, 2), ("a.avi", "libmp3lame", 44_100, 1), ("a.ts", "aac", 48_000, 2),
    ("a.caf", "pcm_s16le", 16_000, 1), ("a.mov", "pcm_s16le", 16_000, 6), ("a.wv", "wavpack", 16_000, 1),
    ("a.tta", "tta", 16_000, 1), ("b.ac3", "ac3", 48_000, 2),
]  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small real files of every form that decodes."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("seeds")
    flac = min((CORPUS / "sounds").glob("*.flac"), key=lambda path: path.stat().st_size)
    (folder / "demo.flac").write_bytes(flac.read_bytes())
    speech = min((CORPUS / "speech").glob("*.flac"), key=lambda path: path.stat().st_size)
    samples, rate = soundfile.read(speech, frames=32_000, dtype="float32")
    for name in ("a.wav", "a.mp3", "a.ogg", "a.aiff", "a.au", "a.w64", "a.flac"):
        soundfile.write(folder / name, samples, rate)
    soundfile.write(folder / "f.wav", samples, rate, subtype="FLOAT")
    soundfile.write(folder / "u.wav", samples, rate, subtype="MS_ADPCM")
    soundfile.write(folder / "a.opus", samples, rate, format="OGG", subtype="OPUS")
    for name, codec, rate, channels in FORMS:
        encoded(folder / name, codec, rate, channels)
    for name in ("a.mp3", "a.opus", "a.flac", "a.wav"):  # recordings that were joined
        (folder / f"two-{name}").write_bytes(2 * (folder / name).read_bytes())
    wave = (folder / "a.wav").read_bytes()
    (folder / "unclosed.wav").write_bytes(wave[:40] + bytes(4) + wave[44:])
    return folder


def test_damaged_files_decode_or_are_rejected(seeds: Path, tmp_path: Path) -> None:
    """Both decoders over bit flips, cuts, holes, repeats and lies in headers; the limit holds whatever these
    say.
    """
    first = 0 if MORE == 1 else random.randrange(10**9)
    arguments = [str(first), str(4000 * MORE), "20000", str(tmp_path), str(seeds)]
    done = subprocess.run(
        [sys.executable, "-c", DECODE, *arguments], capture_output=True, text=True, timeout=900 * MORE
    )
    last = done.stdout.splitlines()[-2:]
    assert done.returncode == 0, f"{last}: exit {done.returncode}\n{done.stderr[-2000:]}"
    assert last[-1].startswith("done")
    assert int(last[-1].split()[1]) > 20  # some of the damage leaves sound


# --- recipes

HUGE = 10**4200  # stands for a number of 5000 digits, which Python would not even print
WORDS = st.sampled_from(
    ["", "x", "..", "/", "~", "a" * 5000, "nan", "\0", "\n", "folder", "jsonl", "hub", "truth", "whisper",
     "mix", "\ud800", "{0.__class__}", "%s", "hf_abcdefghijklmnop", "CC-BY-4.0"]
)  # fmt: skip
NUMBERS = (
    st.integers() | st.floats() | st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**30, HUGE, 1e308])
)
LEAVES = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def toml(value: Any) -> str:
    """A value as TOML, except for None and what TOML cannot say."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool) or value is None:
        return str(bool(value)).lower()
    if isinstance(value, int):
        return str(value) if value != HUGE else "9" * 5000
    return repr(value) if isinstance(value, float) else json.dumps(value)


@st.composite
def recipe_texts(draw: st.DrawFn) -> str:
    """A whole recipe of which a few keys, at any depth, hold anything at all."""
    sound = {"name": "x", "sources": [{"name": "a", "type": "folder", "path": ".", "use": "material"}]}
    base = msgspec.to_builtins(
        recipe.Recipe("x", (SourceConfig("a", "folder", ".", "material"),)), str_keys=True
    )
    base = {key: value for key, value in base.items() if value is not None and key != "folder"} | sound
    base["mix"] = [{"name": "m", "scenes": 2, "background": "a"}]
    for _ in range(draw(st.integers(1, 3))):
        place: Any = base
        for _ in range(draw(st.integers(0, 3))):
            inner = place.values() if isinstance(place, dict) else place
            tables = [value for value in inner if isinstance(value, dict | list) and value]
            place = draw(st.sampled_from(tables)) if tables else place
        if isinstance(place, list):
            place[draw(st.integers(0, len(place) - 1))] = draw(VALUES)
        else:
            key = draw(st.sampled_from(sorted(place, key=str)) | WORDS) if place else draw(WORDS)
            place[key] = draw(VALUES)
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in base.items())


def load(folder: Path, text: str) -> None:
    (folder / "recipe.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = recipe_files.load(folder / "recipe.toml")
    except PaqaError:
        return
    assert isinstance(found, Recipe)
    again = msgspec.json.decode(msgspec.json.encode(found), type=Recipe)  # as builds keep it
    assert again == found


@few(120)
@given(text=recipe_texts())
def test_recipes_of_any_structure(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)


@few(150)
@given(text=st.text(max_size=200) | st.lists(st.sampled_from(
    ["[", "]", "[[", "]]", "=", '"', "'''", "\n", "name", "sources", ".", ",", "{", "}", "nan", "1e999", "-",
     "#", "\\u", "2020-01-01", "0x", "_"]), max_size=40).map("".join))  # fmt: skip
def test_recipes_of_any_text(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)


@few(60)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "name",
                    "seed",
                    "audio.rate",
                    "hear.tag.params.hop_ms",
                    "sources",
                    "mix",
                    "questions",
                    "gates.benchmarks",
                    "folder",
                    "split.test",
                    ".",
                    "",
                    "a.b.c",
                    "hear.tag.engine",
                    "hear.diarize.params.x",
                ]
            )
            | st.text(max_size=10),
            VALUES.map(toml) | st.text(max_size=20),
        ).map("=".join)
        | st.text(max_size=10),
        min_size=1,
        max_size=2,
    )
)
def test_changes_on_the_command_line(changes: list[str]) -> None:
    with contextlib.suppress(PaqaError):
        recipe_files.change(Recipe("x", (SourceConfig("a", "folder", "."),)), changes)


# --- lists and tables of every kind of source

KEYS = ["id", "path", "text", "speaker", "turns", "events", "rttm", "stm", "audio", "question", "choices",
        "answer", "recording", "recording_id", "supervisions", "start", "duration", "sources", "type",
        "source", "alignment", "custom", "transforms", "output", "license", "language", "start_ms",
        "end_ms"]  # fmt: skip
ANY = st.recursive(
    LEAVES | st.sampled_from(["a.wav", "../a.wav", "/etc/passwd", "a.rttm", "MonoCut", "file", "(A) x", "A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=9,
)
ROW: dict[str, dict[str, Any]] = {
    "jsonl": {"id": "a", "path": "a.wav",
              "turns": [{"start_ms": 0, "end_ms": 900, "speaker": "x", "text": "hi"}],
              "events": [{"start_ms": 0, "end_ms": 500, "label": "Dog", "mid": "/m/0bt9lr"}],
              "license": "MIT"},
    "questions": {"id": 1, "audio": "a.wav", "question": "Which?", "choices": ["a", "b"], "answer": "b",
                  "task": "t", "output": "<RESPONSE>(B) b</RESPONSE>"},
    "lhotse": {"type": "MonoCut", "id": "c", "start": 0, "recording": {"id": "a", "sources": [
        {"type": "file", "source": "a.wav"}]}, "supervisions": [{"id": "s", "recording_id": "a", "start": 0.1,
        "duration": 0.5, "text": "hi", "speaker": "x", "alignment": {"word": [["hi", 0.1, 0.2, 1.0]]}}]},
}  # fmt: skip


@st.composite
def json_rows(draw: st.DrawFn, kind: str) -> bytes:
    """A line of a list with a few values, at any depth, replaced by anything; sometimes with damaged
    bytes.
    """
    row: Any = json.loads(json.dumps(ROW[kind]))
    for _ in range(draw(st.integers(0, 2))):
        place: Any = row
        for _ in range(draw(st.integers(0, 4))):
            inner = [
                v
                for v in (place.values() if isinstance(place, dict) else place)
                if isinstance(v, dict | list) and v
            ]
            place = draw(st.sampled_from(inner)) if inner else place
        key = (
            draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if place
            else None
        )
        if key is not None:
            place[key] = draw(ANY)
    data = written_out(row)
    if draw(st.integers(0, 5)) == 0 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 3)) :]
    return data.replace(b"\n", b" ")


def written_out(value: Any) -> bytes:
    """A value as JSON, with a number that no Python would print."""
    return json.dumps(value).replace(str(HUGE), "9" * 5000).encode("utf-8", "surrogatepass")


def check(found: list[Recording | Quarantined], folder: Path) -> None:
    """Rows that the rest of the walk can use."""
    for row in found:
        assert isinstance(row, Recording | Quarantined)
        msgspec.json.encode(row)
        if isinstance(row, Quarantined):
            assert row.reason
            assert len(row.detail) < 20_000
            continue
        with contextlib.suppress(Rejected):
            assert locate(row.uri, folder).is_relative_to(folder.resolve())
        if row.truth:
            try:
                closed = close_truth(row.truth, 5000)
            except Rejected:  # far beyond the file
                continue
            assert all(
                0 <= t.start_ms < t.end_ms <= 5000 for t in (*closed.turns, *closed.events, *closed.words)
            )


def sources(folder: Path, kind: str, path: str, **params: Any) -> None:
    with contextlib.suppress(PaqaError):
        check(list(recordings(SourceConfig("s", kind, path, params=params), folder)), folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    soundfile.write(folder / "a.wav", np.zeros(8000, np.float32), 16_000)
    (folder / "a.rttm").write_text("SPEAKER a 1 0.1 0.4 <NA> <NA> x <NA> <NA>\n")
    (tmp_path_factory.getbasetemp() / "a.wav").write_bytes(b"secret")
    return folder


@few(120)
@given(data=st.data(), kind=st.sampled_from(sorted(ROW)))
def test_lists_of_any_rows(corpus: Path, data: st.DataObject, kind: str) -> None:
    rows = data.draw(st.lists(json_rows(kind), min_size=1, max_size=3))
    whole = kind == "questions" and data.draw(st.booleans())
    (corpus / "list.jsonl").write_bytes(b"[" + b",".join(rows) + b"]" if whole else b"\n".join(rows))
    sources(corpus, kind, "list.jsonl")


FIELDS = st.sampled_from(
    ["SPEAKER", "a", "b", "1", "0.1", "0.5", "-1", "nan", "inf", "1e999", "<NA>", "*", ";;", "<o,f0>",
     "hello", "x", "", "9" * 400, "inter_segment_gap", "ignore_time_segment_in_scoring", "\u2028", "\0", "٣"]
)  # fmt: skip
LINES = st.lists(st.lists(FIELDS, max_size=9).map(" ".join) | st.sampled_from([
    "SPEAKER a 1 0.10 0.40 <NA> <NA> x <NA> <NA>", "a 1 x 0.1 0.5 <o,f0> hello there",
    "a 1 0.10 0.20 hello 0.9",
]) | st.text(max_size=30), max_size=6).map("\n".join)  # fmt: skip


@few(120)
@given(text=LINES, kind=st.sampled_from([".rttm", ".stm", ".ctm"]), both=LINES)
def test_annotations_of_any_lines(corpus: Path, text: str, kind: str, both: str) -> None:
    folder = corpus / "annotated"
    folder.mkdir(exist_ok=True)
    (folder / "a.wav").write_bytes((corpus / "a.wav").read_bytes())
    for name in ("a.rttm", "a.stm", "a.ctm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "a.stm").write_text(both, "utf-8", "replace")
    (folder / f"a{kind}").write_text(text, "utf-8", "replace")
    sources(folder, "references", ".")


TABLES = {
    "meld": ("train_sent_emo.csv", "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\nHi,Ross,joy,0,0\n"),
    "covost2": (
        "covost_v2.de_en.tsv",
        "path\ttranslation\tsplit\tsentence\tclient_id\na.wav\tHi\ttrain\tHallo\tx\n",
    ),
    "fsd50k": ("FSD50K.ground_truth/dev.csv", 'fname,labels,mids\na,"Bark,Dog","/m/05tny_,/m/0bt9lr"\n'),
    "musan": (
        "noise/free-sound/LICENSE",
        "noise-free-sound-0000\ncreativecommons.org/licenses/by/3.0\n=====\n",
    ),
}


@few(100)
@given(kind=st.sampled_from(sorted(TABLES)), data=st.data())
def test_tables_of_any_text(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp(kind)
    name, text = TABLES[kind]
    for uri in ("train_splits/dia0_utt0.wav", "clips/a.wav", "FSD50K.dev_audio/a.wav",
                "noise/free-sound/noise-free-sound-0000.wav"):  # fmt: skip
        (folder / uri).parent.mkdir(parents=True, exist_ok=True)
        (folder / uri).write_bytes(b"x")
    at = data.draw(st.integers(0, len(text)))
    more = data.draw(
        st.text(max_size=30) | FIELDS | st.sampled_from(['"', "\t", ",", "../../a", "\r", '"' * 3, "\\"])
    )
    changed = text[:at] + more + text[at + data.draw(st.integers(0, 5)) :]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(changed.encode("utf-8", "replace"))
    splits = {"covost2": {"splits": ["train"]}, "fsd50k": {"splits": ["dev"]}, "musan": {"parts": ["noise"]}}
    sources(folder, kind, ".", **splits.get(kind, {}))


@few(100)
@given(uri=st.text(max_size=30) | st.lists(
    st.sampled_from(["..", ".", "/", "a", "~", "package:", "paqa", "\0", "link", "\\", "C:", "%2e"]),
    max_size=8,
).map("/".join) | st.text(max_size=8).map("package:{}/x".format))  # fmt: skip
def test_uris_stay_below_their_root(tmp_path: Path, uri: str) -> None:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(tmp_path)
    try:
        found = locate(uri, root)
    except Rejected:
        return
    packages = [Path(entry).resolve() for entry in sys.path if entry]
    below = [root.resolve(), *(packages if uri.startswith("package:") else ())]
    assert any(found.resolve().is_relative_to(base) for base in below)


@few(150)
@given(text=ANY | st.text(max_size=80), choices=ANY | st.text(max_size=60), answer=ANY)
@example("a" * 20_000, None, "A")
def test_questions_of_any_form(text: Any, choices: Any, answer: Any) -> None:
    try:
        found = question("q", "t", text, choices, answer)
    except Rejected:
        return
    assert isinstance(found, GivenQuestion)
    assert 2 <= len(found.choices) <= 26
    assert 0 <= found.answer_index < len(found.choices)


# --- rationales, rewards, released rows

TAGS = st.sampled_from([*grammar.SKELETON, *grammar.REFLECTION, "<BGM>", "</BGM>", "<think>", "<", ">"])
PIECES = st.sampled_from(
    ["(A) x", "(B)", "[1.20-3.40 s]", "Speaker 1 [0.20-2.15 s]: ", '"a"', "\\u003c", "\\ud800",
     grammar.NO_SOUND, grammar.NO_SPEECH, grammar.NO_WORDS, grammar.UNCLEAR, "9" * 5000 + ".00", "[" * 2000,
     "\n", "x", "\u2028"]
)  # fmt: skip
WRITTEN = st.lists(TAGS | PIECES | st.text(max_size=10), max_size=40).map("".join)
HEARD = Scene("c", 3000, (Turn(200, 900, 1, "Hello."),), (), (Event(1000, 2000, "Dog", "/m/0bt9lr"),), "en")
ASKED = Question("q", "c", "t", "t", "Which?", ("a dog", "a cat"), 0, (), "listen", "It barks.")
RATIONALE = grammar.render(HEARD, ASKED)


@st.composite
def written(draw: st.DrawFn) -> str:
    """A rationale with a few stretches replaced by anything, or nothing but pieces of one."""
    if draw(st.integers(0, 3)) == 0:
        return draw(WRITTEN)
    text = RATIONALE
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(TAGS | PIECES | st.text(max_size=8))
            + text[at + draw(st.sampled_from((0, 1, 5, 40))) :]
        )
    return text


@few(300)
@given(text=written(), letters=st.booleans())
@example(RATIONALE, False)
def test_rationales_of_any_text(text: str, letters: bool) -> None:
    try:
        found = grammar.parse(text, letters)
    except grammar.GrammarError:
        return
    assert isinstance(found, Trace)


@few(200)
@given(text=written(), heard=scenes(speakers=3, turns=3, sounds=2), index=st.none() | st.integers(-1, 5))
def test_rewards_of_any_completion(text: str, heard: Scene, index: int | None) -> None:
    choices, weights = ASKED.choices, RewardWeights()
    most = weights.accuracy + weights.format + weights.perception
    assert 0 <= reward(text, Reference(choices, index, heard, "a dog"), weights) <= most + 1e-9
    for score in (accuracy(text, choices, index), format_score(text), perception(text, heard)):
        assert 0 <= score <= 1


@few(120)
@given(text=written().map(lambda text: text.replace("ENV", "BGM")) | WRITTEN, more=st.dictionaries(
    st.sampled_from([*KEYS, "audio_path", "query", "options"]), ANY, max_size=4), wrap=st.sampled_from(
    ["{}", "```xml\n{}\n```", "json {{{}}}", "\\n{}\\n"]))  # fmt: skip
def test_released_rows_of_any_form(text: str, more: dict[str, Any], wrap: str) -> None:
    row = {
        "audio_path": "a.wav",
        "question": "Which?",
        "choices": ["a dog", "a cat"],
        "output": wrap.format(text),
    } | more
    try:
        found = hyper_rows.clean(row, "a:1", "a")
    except Rejected:
        return
    assert found.choices[found.answer_index] == found.answer
    assert found.answer_index < len(hyper_rows.LETTERS)


# --- the store


@few(150)
@given(data=st.binary(max_size=300) | st.binary(max_size=60).map(b"fLaC".__add__) | VALUES.map(written_out))
@example(b"[" * 100_000)
@example(b'{"turns": [' + b'{"start_ms": ' + b"9" * 5000 + b"}]}")
def test_objects_of_any_bytes(tmp_path: Path, data: bytes) -> None:
    """What lies under a key by damage is one of a few errors, never something half read."""
    store = Store(tmp_path)
    name = "ab" * 32
    store.put(name, ".flac", data)
    store.put(name, ".json", data)
    with contextlib.suppress(Rejected):
        audio.read_flac(store.get(name, ".flac"))
    try:
        found = store.get_json(name, StoredOutput)
    except (msgspec.DecodeError, UnicodeDecodeError, PaqaError, RecursionError):
        return
    assert isinstance(found, StoredOutput)
