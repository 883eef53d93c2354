"""WebDataset tars, read by webdataset itself."""

import io

import pytest
import soundfile
from builds import make

from paqa.dataset import shards
from paqa.publish.export import webdataset as written
from paqa.publish.export.registry import export
from paqa.types import Item


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("build") / "made", clips=6)


def samples(paths):
    wds = pytest.importorskip("webdataset")
    return list(wds.WebDataset([str(p) for p in paths], shardshuffle=False).decode())


@pytest.mark.parametrize("audio", ["flac", "wav"])
def test_the_library_gives_back_every_row(built, tmp_path, audio):
    import msgspec

    export("webdataset", built, tmp_path / "out", audio=audio)
    read = samples(sorted((tmp_path / "out").glob("*.tar")))
    rows = [
        {**{k: v for k, v in s["json"].items() if k != "questions"}, **question}
        for s in read
        for question in s["json"]["questions"]
    ]
    found = {row["id"]: msgspec.convert(row, Item) for row in rows}
    assert found == {i.id: i for i in map(shards.item, shards.rows(built))}
    for s in read:
        data = s[audio] if isinstance(s[audio], bytes) else None
        samples_, rate = soundfile.read(io.BytesIO(data), dtype="int16")
        assert len(samples_) * 1000 // rate == s["json"]["scene"]["duration_ms"]


def test_full_tars_are_followed_by_others_and_keys_are_unique(built, tmp_path, monkeypatch):
    monkeypatch.setattr(written, "MAX_BYTES", 400_000)
    export("webdataset", built, tmp_path / "out", splits=("train",))
    tars = sorted((tmp_path / "out").glob("*.tar"))
    assert [t.name for t in tars] == [f"train-{n:06d}.tar" for n in range(len(tars))]
    assert len(tars) > 2
    keys = [s["__key__"] for s in samples(tars)]
    assert len(keys) == len(set(keys)) == 4
