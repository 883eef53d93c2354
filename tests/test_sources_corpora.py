"""MELD, CoVoST 2, MUSAN and FSD50K: small corpora in exactly their layouts, with broken rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sounds import tone

from paqa.config.recipe import SourceConfig
from paqa.errors import PaqaError
from paqa.licensing.identify import spdx
from paqa.sources.groups import groups_by_speaker
from paqa.sources.meld import repaired_text
from paqa.sources.paths import locate
from paqa.sources.registry import check, recordings
from paqa.sources.truth import close_truth
from paqa.types import Event, Quarantined, Recording, Turn


def read(path: Path, kind: str, **settings: Any) -> tuple[list[Recording], dict[str, tuple[str, str]]]:
    """What a source finds below a folder, and what it loses with reason and detail."""
    config = SourceConfig("set", kind, ".", **settings)
    check(config)
    rows = list(recordings(config, path))
    found = [row for row in rows if isinstance(row, Recording)]
    for recording in found:
        assert locate(recording.uri, path).is_file()
    return found, {row.id: (row.reason, row.detail) for row in rows if isinstance(row, Quarantined)}


MELD = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    '1,"Oh, I\x92m fine.",Monica,joy,positive,0,0,8,21,"00:16:16,059","00:16:21,731"\n'
    '2,Wait\x85 what?,Waiter,surprise,positive,0,1,8,21,"00:16:21,940","00:16:23,442"\n'
    '3,We do!,All,joy,positive,0,2,8,21,"00:16:23,442","00:16:26,389"\n'
    '4,Never recorded.,Ross,anger,negative,0,3,8,21,"00:16:26,820","00:16:29,572"\n'
    '5,No speaker.,,anger,negative,0,4,8,21,"00:16:26,820","00:16:29,572"\n'
    '6,No number.,Ross,anger,negative,zero,5,8,21,"00:16:26,820","00:16:29,572"\n'
    "7,Too short\n"
)


@pytest.fixture
def meld(tmp_path: Path) -> Path:
    (tmp_path / "train_sent_emo.csv").write_text(MELD, "utf-8")
    (tmp_path / "dev_sent_emo.csv").write_text(MELD.split("2,Wait")[0].replace("Monica", "Ross"), "utf-8")
    for n in range(3):
        tone(tmp_path / f"train/train_splits/dia0_utt{n}.wav", 300 + n)
    (tmp_path / "train/train_splits/dia0_utt0.mp4").write_bytes(b"the same as video")
    tone(tmp_path / "dev/dev_splits_complete/dia0_utt0.wav")
    return tmp_path


def test_meld(meld: Path) -> None:
    found, lost = read(meld, "meld")
    assert [r.id for r in found] == ["dev/dia0_utt0", "train/dia0_utt0", "train/dia0_utt1"]
    assert [r.uri.split("/")[0] for r in found] == ["dev", "train", "train"]
    assert found[1].uri.endswith("dia0_utt0.wav")
    assert [r.groups for r in found] == [("set-dev-dia0",), ("set-train-dia0",), ("set-train-dia0",)]
    assert [r.voice for r in found] == ["Ross", "Monica", "Waiter of set-train-dia0"]
    assert found[1].truth is not None
    truth = close_truth(found[1].truth, 900)
    assert truth.turns == (Turn(0, 900, 1, "Oh, I’m fine.", emotion="joy"),)
    assert truth.language == "en"
    assert found[1].answers == "heard"
    assert {name: reason for name, (reason, _) in lost.items()} == {
        "train_sent_emo.csv:4": "several_speakers",
        "train_sent_emo.csv:5": "missing_file",
        "train_sent_emo.csv:6": "bad_row",
        "train_sent_emo.csv:7": "bad_row",
        "train_sent_emo.csv:8": "bad_row",
    }
    assert "column 'Speaker' is empty" in lost["train_sent_emo.csv:6"][1]
    assert "'zero', expected a number" in lost["train_sent_emo.csv:7"][1]
    assert "found 2 fields, expected 11" in lost["train_sent_emo.csv:8"][1]
    assert "dia0_utt3.mp4" in lost["train_sent_emo.csv:5"][1]


@pytest.mark.parametrize(("found", "meant"), [
    ("I\x92m", "I’m"), ("Wait\x85", "Wait…"), ("a\x81b", "ab"),
    ("Itâ€™s", "It’s"), ("cafÃ©", "café"), ("naïve", "naïve"),
])  # fmt: skip
def test_mended(found: str, meant: str) -> None:
    assert repaired_text(found) == meant


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(PaqaError, match="train_sent_emo"):
        read(tmp_path, "meld")
    (tmp_path / "train_sent_emo.csv").write_text("Sr No.,Utterance,Speaker\n1,a,b\n")
    with pytest.raises(PaqaError, match=r"no column 'Emotion'; found Sr No\., Utterance"):
        read(tmp_path, "meld")
    (tmp_path / "train_sent_emo.csv").write_bytes(b"Utterance,\xff\n")
    with pytest.raises(PaqaError, match="expected UTF-8"):
        read(tmp_path, "meld")


COVOST = (
    "path\tsentence\ttranslation\tclient_id\n"
    'a.mp3\tEr sagte "Ja.\tHe said "yes.\tc1\n'
    "b.mp3\tGuten Tag.\tGood day.\tc2\n"
    "c.mp3\tFehlt.\tMissing.\tc2\n"
    "d.mp3\tLeer.\t\tc2\n"
    "e.mp3\tkurz\n"
)


@pytest.fixture
def covost(tmp_path: Path) -> Path:
    for n, name in enumerate("abd"):
        tone(tmp_path / f"clips/{name}.wav", 300 + n).rename(tmp_path / f"clips/{name}.mp3")
    return tmp_path


def test_covost2_as_its_script_writes_it(covost: Path) -> None:
    (covost / "covost_v2.de_en.train.tsv").write_text(COVOST)
    found, lost = read(covost, "covost2", params={"languages": "de_en", "splits": ["train"]})
    assert [(r.id, r.groups, r.voice, r.license) for r in found] == [
        ("a.mp3", ("c1",), "c1", "CC0-1.0"), ("b.mp3", ("c2",), "c2", "CC0-1.0"),
    ]  # fmt: skip
    truth = found[0].truth
    assert truth is not None
    assert truth.turns == (Turn(0, 0, 1, 'Er sagte "Ja.', translation='He said "yes.'),)
    assert (truth.language, truth.translated_to) == ("de", "en")
    assert [reason for reason, _ in lost.values()] == ["missing_file", "bad_row", "bad_row"]
    assert "clips/c.mp3" in lost["covost_v2.de_en.train.tsv:4"][1]


def test_covost2_as_published_is_joined(covost: Path) -> None:
    lines = "a.mp3\tHi.\ttrain\nb.mp3\tBye.\tdev\nd.mp3\tLost.\ttrain_covost\n"
    (covost / "covost_v2.en_zh-CN.tsv").write_text(f"path\ttranslation\tsplit\n{lines}")
    voices = "client_id\tpath\tsentence\tup_votes\nc1\ta.mp3\tHello.\t2\nc2\tb.mp3\tGoodbye.\t2\n"
    (covost / "validated.tsv").write_text(voices)
    found, lost = read(covost, "covost2", params={"splits": ["train"]})
    assert [(r.id, r.voice) for r in found] == [("a.mp3", "c1")]
    assert found[0].truth is not None
    assert found[0].truth.turns[0] == Turn(0, 0, 1, "Hello.", translation="Hi.")
    assert found[0].truth.translated_to == "zh"
    assert lost["covost_v2.en_zh-CN.tsv:4"] == (
        "bad_row", "covost_v2.en_zh-CN.tsv:4: 'd.mp3' is not in validated.tsv; take that of the same release",
    )  # fmt: skip


def test_covost2_needs_one_pair(covost: Path) -> None:
    with pytest.raises(PaqaError, match=r"params\.languages"):
        read(covost, "covost2")
    with pytest.raises(PaqaError, match="'german'"):
        read(covost, "covost2", params={"languages": "german"})
    with pytest.raises(PaqaError, match=r"covost_v2\.de_en\.train\.tsv cannot be read"):
        read(covost, "covost2", params={"languages": "de_en"})


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    names = ("music/fma/music-fma-0000", "music/fma/music-fma-0001", "music/rfm/music-rfm-0000",
             "noise/sound-bible/noise-sound-bible-0000", "noise/sound-bible/noise-sound-bible-0001",
             "noise/free-sound/noise-free-sound-0000", "speech/librivox/speech-librivox-0000")  # fmt: skip
    for n, name in enumerate(names):
        tone(tmp_path / f"{name}.wav", 300 + n)
    (tmp_path / "music/fma/LICENSE").write_text(
        "music-fma-0000\nTitle: One\nArtist: Ann\nCreative Commons Attribution-NonCommercial-ShareAlike 3.0\n"
        "==========\nmusic-fma-0001\nTitle: Two\nlicensed under http://creativecommons.org/licenses/by/4.0/\n=====\n"
    )
    (tmp_path / "music/fma/ANNOTATIONS").write_text(
        "music-fma-0000 blues,folk Y Ann\nmusic-fma-0001 pop N Bob\n"
    )
    (tmp_path / "music/rfm/LICENSE").write_text("All of this is in the public domain.\n")
    (tmp_path / "noise/sound-bible/LICENSE").write_text(
        "noise-sound-bible-0001\nTitle: Crickets Chirping\nAttribution 3.0\n======\n"
    )
    (tmp_path / "noise/free-sound/LICENSE").write_text("These files are all CC0 1.0.\n")
    (tmp_path / "speech/librivox/LICENSE").write_text("LibriVox recordings are in the public domain.\n")
    return tmp_path


def test_musan(musan: Path) -> None:
    found, lost = read(musan, "musan")
    licenses = {r.id: r.license for r in found}
    assert licenses == {
        "music-fma-0000": "CC-BY-NC-SA-3.0",
        "music-fma-0001": "CC-BY-4.0",
        "music-rfm-0000": "LicenseRef-Public-Domain",
        "noise-free-sound-0000": "CC0-1.0",
        "noise-sound-bible-0001": "CC-BY-3.0",
        "speech-librivox-0000": "LicenseRef-Public-Domain",
    }
    assert lost == {"noise-sound-bible-0000": ("no_license", (
        "sound-bible/LICENSE does not name noise-sound-bible-0000; "
        "set `license` of the source in the recipe to use it all the same"))}  # fmt: skip
    assert [r.groups for r in found[:3]] == [("set-Ann",), ("set-Bob",), ("music-rfm-0000",)]
    assert [r.truth is None for r in found] == [False] * 3 + [True] * 3
    assert found[0].truth is not None
    assert close_truth(found[0].truth, 5000).events == (Event(0, 5000, "Music", "/m/04rlf"),)


def test_musan_parts(musan: Path) -> None:
    found, lost = read(
        musan, "musan", license="CC-BY-4.0", params={"parts": ["noise", "music"], "vocals": False}
    )
    assert [r.id for r in found] == [
        "noise-free-sound-0000", "noise-sound-bible-0000", "noise-sound-bible-0001", "music-fma-0001",
    ]  # fmt: skip
    assert found[1].license == "CC-BY-4.0"
    assert not lost
    with pytest.raises(PaqaError, match=r"music holds no recordings"):
        read(musan / "noise", "musan")


FSD = {
    "64760": {"title": "guitar", "license": "http://creativecommons.org/licenses/by/3.0/", "uploader": "al"},
    "16399": {"license": "http://creativecommons.org/licenses/sampling+/1.0/", "uploader": "al"},
    "500": {"license": "http://creativecommons.org/publicdomain/zero/1.0/", "uploader": "bo"},
}  # fmt: skip


@pytest.fixture
def fsd50k(tmp_path: Path) -> Path:
    truth, metadata = tmp_path / "FSD50K.ground_truth", tmp_path / "FSD50K.metadata"
    truth.mkdir()
    metadata.mkdir()
    (truth / "vocabulary.csv").write_text("".join(
        f"{n},Name,{mid}\n"
        for n, mid in enumerate(("/m/042v_gx", "/m/0fx80y", "/m/04szw", "/m/04rlf", "/m/05tny_", "/m/0bt9lr",
                                 "/m/0jbk",
                                 "/m/068hy", "/m/01jt3m", "/m/09x0r", "/m/05zppz", "/m/09l8g"))))  # fmt: skip
    (truth / "dev.csv").write_text(
        "fname,labels,mids,split\n"
        '64760,"Acoustic_guitar,Plucked_string_instrument,Musical_instrument,Music","/m/042v_gx,/m/0fx80y,/m/04szw,/m/04rlf",train\n'
        '16399,"Toilet_flush,Bark,Dog,Animal","/m/01jt3m,/m/05tny_,/m/0bt9lr,/m/0jbk",val\n'
        '1,"Male_speech,Speech,Human_voice","/m/05zppz,/m/09x0r,/m/09l8g",train\n'
        '2,"Bark,Dog","/m/05tny_,/m/0bt9lr",train\n'
        "3,Unknown,/m/nope,train\n"
        "4,,,train\n"
    )
    (truth / "eval.csv").write_text("fname,labels,mids\n500,Bark,/m/05tny_\n600,Bark,/m/05tny_\n")
    (metadata / "dev_clips_info_FSD50K.json").write_text(json.dumps({k: FSD[k] for k in ("64760", "16399")}))
    (metadata / "eval_clips_info_FSD50K.json").write_text(json.dumps({"500": FSD["500"]}))
    for n, name in enumerate(("dev/64760", "dev/16399", "dev/1", "eval/500", "eval/600")):
        split, number = name.split("/")
        tone(tmp_path / f"FSD50K.{split}_audio/{number}.wav", 400 + n)
    return tmp_path


def test_fsd50k(fsd50k: Path) -> None:
    found, lost = read(fsd50k, "fsd50k")
    assert [(r.id, r.license, r.groups) for r in found] == [
        ("64760", "CC-BY-3.0", ("set-al",)),
        ("16399", "LicenseRef-CC-Sampling-Plus-1.0", ("set-al",)),
        ("500", "CC0-1.0", ("set-bo",)),
        ("600", "unknown", ("set-600",)),
    ]
    labels = [[e.label for e in close_truth(r.truth, 400).events] for r in found if r.truth]
    assert labels == [["Acoustic guitar"], ["Bark", "Toilet flush"], ["Bark"], ["Bark"]]
    assert {name: reason for name, (reason, _) in lost.items()} == {
        "dev.csv:5": "missing_file", "dev.csv:6": "unknown_class", "dev.csv:7": "bad_row",
    }  # fmt: skip
    spoken, _ = read(fsd50k, "fsd50k", params={"splits": ["dev"], "skip": ["Dog"]})
    assert [r.id for r in spoken] == ["64760", "1"]


def test_fsd50k_says_what_is_broken(fsd50k: Path) -> None:
    with pytest.raises(PaqaError, match="did you mean"):
        read(fsd50k, "fsd50k", params={"skip": ["Speeches"]})
    (fsd50k / "FSD50K.metadata/dev_clips_info_FSD50K.json").write_text("{")
    with pytest.raises(PaqaError, match=r"dev_clips_info_FSD50K\.json cannot be read"):
        read(fsd50k, "fsd50k")


@pytest.mark.parametrize(("text", "name"), [
    ("http://creativecommons.org/licenses/by-nc/3.0/", "CC-BY-NC-3.0"),
    ("Creative Commons Attribution Share Alike license, version 2.0", "CC-BY-SA-2.0"),
    ("This is in the Public Domain", "LicenseRef-Public-Domain"),
    ("Licensed under CC BY 3.0", "CC-BY-3.0"),
    ("Attribution NonCommercial NoDerivs", "CC-BY-NC-ND"),
    ("Personal use only", None),
])  # fmt: skip
def test_licenses(text: str, name: str | None) -> None:
    assert spdx(text) == name


def test_recordings_with_a_speaker_in_common_are_one_group() -> None:
    groups = groups_by_speaker({"r1": {"b", "a"}, "r2": {"c"}, "r3": {"c", "b"}, "r4": {"d"}, "r5": set()})
    assert groups == {"r1": "a", "r2": "a", "r3": "a", "r4": "d", "r5": "r5"}


@pytest.mark.parametrize(("kind", "params", "words"), [
    ("meld", {"split": 1}, ["no 'split'", "known: none"]),
    ("musan", {"parts": ["voices"]}, ["params", "voices"]),
    ("fsd50k", {"splits": "dev"}, ["params", "array"]),
    ("covost", {}, ["'covost'", "covost2"]),
])  # fmt: skip
def test_params_are_checked_before_anything_is_read(
    kind: str, params: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(PaqaError) as error:
        check(SourceConfig("s", kind, "nowhere", params=params))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_limit_draws_the_same_rows_whatever_is_added(fsd50k: Path) -> None:
    whole, _ = read(fsd50k, "fsd50k")
    some, lost = read(fsd50k, "fsd50k", limit=3)
    assert len(some) + len(lost) == 3
    assert [r for r in whole if r in some] == some
