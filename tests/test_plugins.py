"""Engines, sources, questions and exports of other packages; the example of the docs, installed and used."""

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import CORPUS, ROOT, environment
from test_build import clip

from paqa import plugins
from paqa.cli import doctor
from paqa.config.recipe import QuestionsConfig
from paqa.dataset import shards
from paqa.engines import base
from paqa.engines.contract import check, output_problems
from paqa.errors import PaqaError
from paqa.evaluation.judge import judge_answer
from paqa.evaluation.known_truth import KnownTruth
from paqa.evaluation.row_question import asked
from paqa.perception import calibration
from paqa.pipeline import recipe_files, rows
from paqa.publish.export.registry import format_module
from paqa.questions import families
from paqa.questions.generate import NO_OTHER_CLIPS, generate, level, rests_on, template_named
from paqa.questions.row_confidence import row_probability
from paqa.sources import registry
from paqa.storage.store import Store
from paqa.types import Audio, Event, Scene

NAME = "halves.onset_half"
ASKED = QuestionsConfig(families=("halves",), none_rate=0, open_rate=0)
SCENE = Scene("a", 10_000, events=(Event(1000, 3000, "Dog", "/m/0bt9lr", 0.9),))


def forget():
    """What a process remembers of installed packages."""
    for cached in (plugins.installed, families.templates_of):
        cached.cache_clear()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The package of docs/plugin-example, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(ROOT / "docs" / "plugin-example", folder / "package")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    installer = [uv, "pip", "install", "--offline", "--python", sys.executable] if uv else [
        sys.executable, "-m", "pip", "install", "--no-index",
    ]  # fmt: skip
    flags = ["--no-deps", "--no-build-isolation", "--target", folder / "installed", folder / "package"]
    done = subprocess.run([*installer, *map(str, flags)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "installed"


@pytest.fixture
def at_hand(example, monkeypatch):
    """The example in this process."""
    monkeypatch.syspath_prepend(str(example))
    forget()
    yield
    forget()


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Makes an installed distribution with one entry point, of a module with the given code."""

    def make(name, group, point, code="", version="1.0", attribute=""):
        module = name.replace("-", "_")
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{point} = {module}{attribute}\n")
        (tmp_path / f"{module}.py").write_text(code)
        forget()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield make
    forget()


def python(code, target, *args):
    """A fresh interpreter that finds the packages in `target`."""
    variables = environment(PYTHONPATH=f"{ROOT}:{target}")
    done = subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *map(str, args)],
        cwd=ROOT, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_doctor_lists_plugins_with_their_distribution(at_hand):
    (engine,) = [e for e in doctor.engines_to_check() if e.engine == "energy_vad"]
    output = doctor.text(doctor.examine([engine]))
    for name in ("energy_vad (engines)", "audacity (sources)", "halves (questions)", "csv (exports)"):
        assert f"plug-in {name}" in output
    assert output.count("paqa-example 0.1: paqa_example") == 4
    assert "diarize; numpy" in output
    assert "revision paqa-example-0.1/1" in output


def test_the_engine_of_the_example_keeps_the_contract(at_hand):
    check(base.engine_class("energy_vad")())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Three clips with label tracks, one with a broken one, and a recipe that uses all of the example."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "clips").mkdir()
    for name, label, start in (
        ("dog-01", "Dog", 1),
        ("rooster-01", "Chicken, rooster", 6),
        ("cow-01", "Moo", 6),
    ):
        sound, rate = soundfile.read(CORPUS / "sounds" / f"{name}.flac", dtype="float32")
        samples = np.random.default_rng(0).normal(0, 1e-4, 10 * rate).astype(np.float32)
        samples[start * rate : start * rate + len(sound)] += sound
        soundfile.write(folder / "clips" / f"{name}.flac", samples, rate)
        end = start + len(sound) / rate
        (folder / "clips" / f"{name}.txt").write_text(f"{start:.6f}\t{end:.6f}\t{label}\n")
    shutil.copy(folder / "clips" / "dog-01.flac", folder / "clips" / "broken.flac")
    (folder / "clips" / "broken.txt").write_text("one\ttwo\tDog\n")
    (folder / "clips" / "tape.wav").write_bytes(b"RIFF")
    (folder / "r.toml").write_text("""
name = "halves"
[[sources]]
name = "labelled"
type = "audacity"
path = "clips"
answers = "truth"
license = "CC0-1.0"
[hear.diarize]
engine = "energy_vad"
[questions]
families = ["halves"]
reflect = 1.0
[gates]
shortcuts = "off"
max_quarantined = 0.5
""")
    return folder


BUILD = "import sys, paqa; paqa.build(sys.argv[1], sys.argv[2], workers=2)"


@pytest.mark.build
def test_a_build_uses_engine_source_and_question_of_the_example(example, labelled):
    out = labelled / "out"
    python(BUILD, example, labelled / "r.toml", out)
    rows = list(shards.rows(out))
    assert Counter(row["clip_id"] for row in rows if row["template"] == NAME).keys() == {
        "dog-01.flac", "rooster-01.flac", "cow-01.flac",
    }  # fmt: skip
    answers = {row["clip_id"]: row["answer"] for row in rows if row["template"] == NAME and row["choices"]}
    assert answers.get("dog-01.flac", "In the first half") == "In the first half"
    assert {row["task"] for row in rows if row["template"] == NAME} == {"halves"}
    revisions = {h["engine"]: h["revision"] for row in rows for h in row["heard_by"]}
    assert revisions["energy_vad"] == "paqa-example-0.1/1"
    broken = [
        row for row in pq.read_table(out / "quarantine.parquet").to_pylist() if row["reason"] == "bad_truth"
    ]
    assert [row["id"] for row in broken] == ["broken.flac"]
    assert any(
        "skipped tape.wav" in warning for warning in json.loads((out / "build.json").read_text())["warnings"]
    )
    python("", example, "-m", "paqa", "export", "csv", out, labelled / "csv")
    with (labelled / "csv" / "questions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    python("", example, "-m", "paqa", "audit", out)


@pytest.mark.build
def test_what_another_version_made_is_not_taken_from_the_store(example, labelled, tmp_path):
    """Its engine runs again, and no other does; its rows are composed anew."""
    newer = tmp_path / "newer"
    shutil.copytree(example, newer)
    (info,) = newer.glob("*.dist-info")
    metadata = (info / "METADATA").read_text().replace("Version: 0.1", "Version: 0.2")
    (info / "METADATA").write_text(metadata)
    info.rename(newer / "paqa_example-0.2.dist-info")
    out = labelled / "out"
    python(BUILD, example, labelled / "r.toml", out)
    python(BUILD, newer, labelled / "r.toml", out)
    stages = json.loads((out / "build.json").read_text())["stages"]
    assert {s["name"] for s in stages if s["model_s"]} == {"diarize mix"}
    assert {
        h["revision"] for row in shards.rows(out) for h in row["heard_by"] if h["stage"] == "diarize"
    } == {"paqa-example-0.2/1"}


def test_rows_of_another_version_have_other_keys(at_hand, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    one, plain = clip("a", store, 1), recipe_files.for_folder(tmp_path)
    recipe = replace(plain, questions=ASKED)
    before = [rows._where(one, r, store, NO_OTHER_CLIPS) for r in (plain, recipe)]
    later = tuple(replace(plugin, version="0.2") for plugin in plugins.installed())
    with monkeypatch.context() as patch:
        patch.setattr(plugins, "installed", lambda: later)
        after = [rows._where(one, r, store, NO_OTHER_CLIPS) for r in (plain, recipe)]
    assert [b == a for b, a in zip(before, after, strict=True)] == [True, False]


def test_questions_of_a_plugin_are_asked_where_the_recipe_names_them(at_hand):
    assert NAME not in {q.template for q in generate(SCENE, replace(ASKED, families=()), 1)}
    (question,) = [q for q in generate(SCENE, ASKED, 1) if q.template == NAME]
    assert (question.answer, question.task, level(question)) == ("In the first half", "halves", "environment")
    assert NAME not in {q.template for q in generate(SCENE, replace(ASKED, skip=(NAME,)), 1)}


def test_a_row_of_predictions_is_as_sure_as_the_claims_that_its_template_rests_on(at_hand, tmp_path):
    (question,) = [q for q in generate(SCENE, ASKED, 1) if q.template == NAME]
    assert rests_on(question) == {"sound", "sound_time"}
    recipe = recipe_files.for_folder(tmp_path)
    answers = calibration.for_recipe(recipe, Store(tmp_path / "store")).models["answer"]
    sure, unsure = (
        row_probability(
            replace(SCENE, events=(replace(SCENE.events[0], confidence=p),)),
            rests_on(question),
            NAME,
            answers,
        )
        for p in (1.0, 0.5)
    )
    assert 0.5 < sure <= 1
    assert unsure == pytest.approx(sure / 2)


def test_the_judge_has_no_oracle_for_it(at_hand):
    (question,) = [q for q in generate(SCENE, ASKED, 1) if q.template == NAME]
    verdict = judge_answer(asked(question), KnownTruth(SCENE))
    assert (verdict.outcome, verdict.note) == ("unjudged", f"no oracle for template {NAME}")


def test_builtin_names_need_no_reading_of_installed_packages(monkeypatch):
    """It would cost a tenth of a second in every process."""
    forget()
    monkeypatch.setattr(plugins, "entry_points", None)
    base.engine_revision("yamnet", base.engine_class("yamnet").Params())
    registry._module(recipe_files.for_folder(Path(".")).sources[0])
    assert template_named("onset_part")
    assert template_named("given") is None


# --- errors

ENGINE = """
class Engine:
    name, stage, package, weights, gpu_precision, Params = "mine", "tag", "numpy", (), None, object
    remotes = identify = __call__ = lambda *args: ()
"""


def test_two_distributions_with_one_name(distribution):
    distribution("one", "paqa.engines", "mine", ENGINE, attribute=":Engine")
    assert base.engine_class("mine").stage == "tag"
    distribution("two", "paqa.engines", "mine", ENGINE, "2.0", ":Engine")
    with pytest.raises(PaqaError, match=r"'mine' is in one 1\.0 and in two 2\.0.*uv pip uninstall two"):
        base.engine_class("mine")


def asking(recipe, family):
    return replace(recipe, questions=QuestionsConfig(families=(family,)))


@pytest.mark.parametrize(("group", "name", "use"), [
    ("paqa.engines", "yamnet", lambda r: recipe_files.check(r)),
    ("paqa.sources", "folder", lambda r: recipe_files.check(r)),
    ("paqa.questions", "timing", lambda r: recipe_files.check(asking(r, "timing"))),
    ("paqa.exports", "trl", lambda r: format_module("trl")),
])  # fmt: skip
def test_a_name_of_paqa_itself(distribution, group, name, use):
    distribution("greedy", group, name)
    with pytest.raises(PaqaError, match=rf"{group}: '{name}' is in paqa and in greedy 1\.0"):
        use(recipe_files.for_folder(Path(".")))


def test_one_that_cannot_be_imported_is_an_error_where_it_is_used_and_a_line_in_doctor(distribution):
    distribution("broken", "paqa.engines", "fragile", "import nothing_of_that_name")
    recipe = recipe_files.for_folder(Path("."))
    recipe_files.check(recipe)
    with pytest.raises(PaqaError, match=r"'fragile' \(paqa.engines\) of broken 1.0 .*No module named"):
        recipe_files.change(recipe, ["hear.tag.engine=fragile"])
    assert "fragile" not in {e.engine for e in doctor.engines_to_check()}
    output = doctor.text(doctor.examine([]))
    assert "plug-in fragile (engines)" in output
    assert "nothing_of_that_name" in output


@pytest.mark.parametrize(("code", "problem"), [
    ("TEMPLATES = 3", "found int 3"),
    ("TEMPLATES = ()", "found no template"),
])  # fmt: skip
def test_what_is_no_family(distribution, code, problem):
    name = f"odd{len(code)}"  # a module is imported once
    distribution(name, "paqa.questions", "odd", code, attribute=":TEMPLATES")
    with pytest.raises(PaqaError, match=rf"'odd' of {name} 1\.0: {problem}"):
        families.templates_of("odd")


def test_a_template_of_another_family(distribution):
    code = "from paqa.questions.timing import TEMPLATES"
    distribution("stray", "paqa.questions", "odd", code, attribute=":TEMPLATES")
    with pytest.raises(PaqaError, match="is of family 'timing'"):
        families.templates_of("odd")


def test_what_is_no_engine_and_no_format(distribution):
    distribution("odd", "paqa.engines", "odd", "Engine = int", attribute=":Engine")
    with pytest.raises(PaqaError, match=r"engine 'odd' of odd 1\.0 has no name, stage"):
        base.engine_class("odd")
    distribution("bare", "paqa.exports", "bare")
    with pytest.raises(PaqaError, match=r"format 'bare' of bare 1\.0 has no AUDIO, SPLITS, export"):
        format_module("bare")


def test_unknown_names_list_those_of_plugins(at_hand):
    with pytest.raises(PaqaError, match="energy_vad"):
        base.engine_class("nothing")
    with pytest.raises(PaqaError, match="csv"):
        format_module("nothing")
    with pytest.raises(PaqaError, match="installed: halves"):
        families.templates_of("nothing")


class Sloppy:
    """An engine that keeps no promise."""

    name, stage = "sloppy", "diarize"

    def __call__(self, batch):
        from paqa.types import Turn

        for audio in batch:
            audio.samples[:] = 0
        return [base.EngineOutput(turns=(Turn(0, 15, 2),), language="en") for _ in batch]


def test_the_contract_names_what_is_broken():
    with pytest.raises(PaqaError) as error:
        check(Sloppy())
    expected = ("10 ms grid", "speakers come in as [2]", "language is of another", "is changed", "silence")
    for problem in expected:
        assert problem in str(error.value)
    assert output_problems(base.EngineOutput(), Audio(np.zeros((1, 160), np.float32), 16_000)) == []
