"""`paqa calibrate`: from a recipe of material with truth to confidences in the next build."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from conftest import RECIPE, Built, paqa
from strategies import spread_words

from paqa import audioset
from paqa.cli import main
from paqa.config.recipe import Recipe
from paqa.dataset import shards, summary
from paqa.dataset.open_build import open_build
from paqa.dataset.summary import Summary
from paqa.evaluation.known_truth import KnownTruth, truth_of
from paqa.execution import local
from paqa.perception.calibration import NOT_CALIBRATED, Calibration, Kind, LogisticModel, encoded, for_recipe
from paqa.perception.confidence import Extras
from paqa.pipeline import calibrate, recipe_files
from paqa.pipeline.calibrate import LabelledClip, labelled_clips, prediction_examples
from paqa.pipeline.rows import compose_clip
from paqa.storage.store import Store
from paqa.types import Clip, Event, Item, Quarantined, Scene, TruthPart, Turn

# --- which predictions truth says something about

RAIN = Event(0, 9000, "Rain", audioset.mid("Rain"))
BARK = Event(2000, 3000, "Bark", audioset.mid("Bark"))
VOICE = Turn(1000, 3000, 1, "One two three.")
PREDICTED = Scene("c", 9000, (VOICE,), tuple(spread_words(VOICE)), (BARK,))


def labelled(truth: Scene, *covers: TruthPart, fold: int = 0, uri: str = "c.wav") -> LabelledClip:
    clip = Clip(
        id="c", uri=uri, sha256="0" * 64, duration_ms=9000, rate=16_000, corpus="talks", source="s",
        license="CC0-1.0", groups=("g",), split="train", truth=truth, truth_covers=covers,
    )  # fmt: skip
    partial = truth_of(clip)
    assert isinstance(partial, KnownTruth)
    return LabelledClip(clip, partial, PREDICTED, Extras(), fold)


def outcomes(clip: LabelledClip) -> dict[Kind, list[bool]]:
    return {kind: [e.right for e in examples] for kind, examples in prediction_examples([clip]).items()}


def test_every_kind_of_prediction_is_labelled_by_a_full_truth() -> None:
    labels = outcomes(labelled(PREDICTED, "turns", "events"))
    assert set(labels.pop("ancestor")) == {True}
    assert labels == {
        "word": [True] * 3, "turn": [True], "speaker_count": [True], "event": [True], "event_span": [True],
        "background": [True],
    }  # fmt: skip


def test_truth_without_words_or_events_labels_turns_alone() -> None:
    turns = Scene("c", 9000, (replace(VOICE, text=""),))
    assert outcomes(labelled(turns, "turns")) == {
        "word": [], "turn": [True], "speaker_count": [True], "event": [], "event_span": [], "ancestor": [],
        "background": [],
    }  # fmt: skip


def test_the_class_of_a_whole_recording_labels_classes_alone() -> None:
    labels = outcomes(labelled(Scene("c", 9000, events=(RAIN,))))
    assert (labels["event"], labels["event_span"], labels["background"]) == ([False], [], [])
    assert (labels["turn"], labels["speaker_count"]) == ([], [])


def test_without_speech_in_truth_speech_is_wrong() -> None:
    labels = outcomes(labelled(Scene("c", 9000, events=(RAIN,)), "turns", "events", uri="mix:events/1"))
    assert (labels["turn"], labels["speaker_count"]) == ([False], [False])
    assert (labels["event"], labels["background"]) == ([False], [False])


# --- with the embedded engines

MATERIAL = RECIPE.replace('shortcuts = "warn"', 'shortcuts = "off"')  # takes long, and is no matter here
ASKED = MATERIAL.replace("scenes = ", 'answers = "heard"\nscenes = ')


@dataclass(frozen=True)
class Calibrated:
    """What a run of `paqa calibrate` left behind in a folder."""

    folder: Path
    output: str

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def file(self) -> Path:
        return self.folder / "calibration.json"

    @property
    def recipe(self) -> Recipe:
        return recipe_files.load(self.folder / "material.toml")


@pytest.fixture(scope="module")
def calibrated(corpus: Path, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """`paqa calibrate` on the scenes of `built`, with a copy of its store: nothing is predicted again."""
    folder = tmp_path_factory.mktemp("calibrated")
    shutil.copytree(built.store, folder / "store")
    for name in ("demo", "recordings"):
        (folder / name).symlink_to(corpus / name)
    (folder / "material.toml").write_text(MATERIAL)
    files = ("--out", folder / "out", "--store", folder / "store", "--write", folder / "calibration.json")
    done = paqa("calibrate", folder / "material.toml", *files, "--workers", 1)
    return Calibrated(folder, done.stdout)


def test_it_prints_how_well_it_holds(calibrated: Calibrated) -> None:
    lines = calibrated.output.splitlines()
    assert "held out, by voices and recordings; rows from a confidence of 0.9" in lines
    assert {"prediction", "word", "turn", "speaker_count", "background"} <= {
        line.split()[0] for line in lines if line.strip()
    }
    (dialogue,) = [line.split() for line in lines if line.startswith("dialogue")]
    (everything,) = [line.split() for line in lines if line.startswith("all ")]
    assert dialogue[1] == "5"
    assert everything[1] == "7"  # the two recordings have no truth
    assert any(line.startswith("rows, calibration error 0.") for line in lines)
    assert f"written to {calibrated.file}" in lines


def test_it_keeps_the_calibration_in_the_store_and_the_file(calibrated: Calibrated) -> None:
    written = msgspec.json.decode(calibrated.file.read_bytes(), type=Calibration)
    assert for_recipe(calibrated.recipe, Store(calibrated.store)) == written
    assert set(written.models) == set(get_args(Kind))
    assert written.models["word"].examples > 50
    assert written.models["answer"].examples > 10
    assert written.material.startswith("small: 7 clips, ")


def test_the_same_material_gives_the_same_bytes(calibrated: Calibrated) -> None:
    again = calibrate.calibrate(calibrated.out)  # now with a calibration in the store
    assert encoded(again.calibration) == calibrated.file.read_bytes()


def test_no_voice_or_recording_is_held_out_and_fitted_on(calibrated: Calibrated) -> None:
    _, _, clips = labelled_clips(calibrated.out)
    assert len(clips) == 7
    folds: dict[str, set[int]] = {}
    for clip in clips:
        for group in clip.clip.groups:
            folds.setdefault(group, set()).add(clip.fold)
    assert all(len(those_of_it) == 1 for those_of_it in folds.values())


@pytest.fixture(scope="module")
def following(calibrated: Calibrated) -> Summary:
    """A build whose answers come from the same engines."""
    recipe = calibrated.folder / "asked.toml"
    recipe.write_text(ASKED.replace("[gates]", "[gates]\nmin_confidence = 0.0"))
    return local.build(recipe, calibrated.folder / "asked", store=calibrated.store, workers=1, quiet=True)


def test_the_next_build_has_confidences(
    following: Summary, calibrated: Calibrated, built: Built, tmp_path: Path
) -> None:
    packaged = for_recipe(calibrated.recipe, Store(tmp_path))
    assert (NOT_CALIBRATED in built.output) == (packaged is None)
    assert NOT_CALIBRATED not in following.warnings
    names = [name for name in shards.item_schema(16_000).names if name != "audio"]
    items = [shards.item(row) for row in shards.rows(calibrated.folder / "asked", names)]
    assert len(items) > 10
    assert {item.answers_from for item in items} == {"heard"}
    confidences = [item.confidence for item in items]
    assert all(p is not None and 0 < p < 1 for p in confidences)
    assert len(set(confidences)) > 3
    assert not any(stage.clips for stage in following.stages if stage.model_s)  # nothing predicted again


def test_rows_that_are_not_sure_are_quarantined(following: Summary, calibrated: Calibrated) -> None:
    recipe, store, clips = open_build(calibrated.folder / "asked")
    recipe = replace(recipe, gates=replace(recipe.gates, min_confidence=0.9))
    fitted = for_recipe(recipe, store)
    assert fitted is not None

    def composed(log_odds: float) -> tuple[list[Item], list[Quarantined]]:
        """The rows of the clips where all are as sure as that."""
        sure = dict.fromkeys(fitted.models, LogisticModel((), (), 30.0))
        models = sure | {"answer": LogisticModel((), (), log_odds)}
        each = [compose_clip(c, recipe, store, calibration=replace(fitted, models=models)) for c in clips]
        return [item for kept, _ in each for item in kept], [q for _, lost in each for q in lost]

    rows, quarantined = composed(2.0)
    assert rows == []
    assert {(q.stage, q.reason) for q in quarantined if q.reason != "nothing_to_ask"} == {
        ("gates", "uncertain")
    }
    detail = "the row is right with probability 0.8808, below gates.min_confidence 0.9"
    assert all(q.detail == f"{q.id}: {detail}" for q in quarantined if q.reason == "uncertain")
    rows, quarantined = composed(3.0)
    assert {row.confidence for row in rows} == {0.9526}
    assert "uncertain" not in {q.reason for q in quarantined}


def test_material_without_truth_is_refused(
    calibrated: Calibrated, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, store, clips = open_build(calibrated.out)
    untold = [replace(clip, truth=None) for clip in clips]
    monkeypatch.setattr(calibrate, "open_build", lambda folder: (recipe, store, untold))
    monkeypatch.setattr(local, "build", lambda *_, **options: None)
    monkeypatch.setattr(summary, "text", lambda built: "a build")
    written = calibrated.folder / "untold.json"
    arguments = ["calibrate", calibrated.folder / "material.toml", "--out", "out", "--write", written]
    assert main.main([*map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert "out: no clip has truth to calibrate with; mix scenes, or give turns and events" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out.strip() == "a build"
    assert not written.exists()


def test_a_recipe_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["calibrate", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
