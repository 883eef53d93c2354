"""The README and docs/: what they tell people to type exists, the cheap half runs, tables equal the code."""

import argparse
import importlib
import inspect
import itertools
import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from builds import make
from conftest import ROOT

import paqa
from paqa.cli import main
from paqa.cli import train as train_cli
from paqa.config import recipe
from paqa.engines.base import ENGINES
from paqa.errors import PaqaError
from paqa.pipeline import recipe_files
from paqa.publish.export.registry import FORMATS
from paqa.questions.generate import TEMPLATES
from paqa.sources.registry import SOURCES, NoParams
from paqa.types import Item

TEXTS = {
    page: (ROOT / page).read_text(encoding="utf-8")
    for page in ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")))
}
GUIDES = ("README.md", "docs/tutorial.md")  # a new user types these from start to end
SCALE = "docs/scale.md"
PARSERS = {"paqa": main.parser, "paqa-train": train_cli.parser}
NAMES = {  # examples for words in capitals, and for folders of theirs
    "FOLDER": "talks", "FORMAT": "trl", "RECIPE.toml": "talks.toml", "data/talks": "data/mine",
}  # fmt: skip


def fences(text):
    """The blocks of a page as (language, text), and last what is outside of them."""
    parts = re.split(r"^```(.*)\n", text, flags=re.MULTILINE)
    blocks = [(parts[i], parts[i + 1]) for i in range(1, len(parts) - 1, 4)]
    return [*blocks, (None, "".join(parts[0::4]))]


def block(page, language):
    (body,) = [body for name, body in fences(TEXTS[page]) if name == language]
    return body


def prose(page):
    *_, (_, text) = fences(TEXTS[page])
    return text


def table(page, heading):
    """The rows of the table whose head begins with `heading`, each as its cells."""
    lines = TEXTS[page].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def quoted(texts):
    """All that stands in backticks, blocks left out."""
    return [word for text in texts for word in re.findall(r"`([^`]+)`", fences(text)[-1][1])]


def commands(page, optional=True):
    """Every command of ours on a page, in blocks and in the text, without remarks; optional parts or not."""
    *blocks, (_, text) = fences(TEXTS[page])
    lines = [line for language, body in blocks if not language for line in body.splitlines()]
    lines += re.findall(r"`((?:paqa|paqa-train) [a-z][^`]*)`", text)
    for line in lines:
        left_out = r"[\[\]]" if optional else r"\[.*?\]"
        plain = re.sub(left_out, " ", line.partition("#")[0]).replace(" ... ", " ").partition(";")[0].strip()
        if plain.startswith(("paqa ", "paqa-train ")):
            yield plain


def flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


def subcommands(parser):
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


@pytest.mark.parametrize("page", TEXTS)
def test_commands_and_flags_exist(page):
    seen = 0
    for line in commands(page):
        program, name, *rest = shlex.split(line)
        parsers = subcommands(PARSERS[program]())
        assert name in parsers, line
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= flags(parsers[name]), line
        seen += 1
    assert seen > 5 or page not in (*GUIDES, SCALE)


@pytest.mark.parametrize("page", TEXTS)
def test_flags_in_the_text_exist(page):
    """Those that stand alone: of one of our commands, or of a benchmark."""
    parsers = [command for program in PARSERS.values() for command in subcommands(program()).values()]
    ours = {flag for parser in parsers for flag in flags(parser)}
    scripts = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))
    others = {"--requeue"}  # of Slurm
    for flag in re.findall(r"`(--[a-z][a-z-]*)", prose(page)):
        assert flag in ours | others or f'"{flag}"' in scripts, flag


@pytest.mark.parametrize("page", TEXTS)
def test_benchmarks_and_their_flags_exist(page):
    for name, rest in re.findall(r"python (benchmarks/\w+\.py)([^`\n]*)", TEXTS[page]):
        script = (ROOT / name).read_text()
        for flag in re.findall(r"--[a-z][a-z-]*", rest):
            assert f'"{flag}"' in script, f"{name} {flag}"


@pytest.mark.parametrize("page", TEXTS)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"(?:^|`)make ([a-z]+)", TEXTS[page], re.MULTILINE))
    assert used or page not in GUIDES
    assert used <= targets


def anchor(heading):
    """How GitHub and MkDocs name a heading of plain words."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_files_lead_somewhere(page):
    for link, place in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", TEXTS[page]):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        if place:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in map(anchor, headings), f"{link}#{place}"
    for named in re.findall(
        r"`((?:paqa|flows|benchmarks|manifests|schemas|docs|tests)/[\w./-]+)`", prose(page)
    ):
        assert "TYPE" in named or (ROOT / named).exists(), named


def test_every_page_is_on_the_first_page():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", TEXTS["docs/index.md"]))
    assert linked == {Path(page).name for page in TEXTS if page not in ("README.md", "docs/index.md")}


@pytest.mark.parametrize("page", TEXTS)
def test_modules_exist(page):
    for name in re.findall(r"(?:`|-m |from |import )((?:paqa|flows)(?:\.\w+)+)", TEXTS[page]):
        folder, rest = ROOT, name.split(".")
        while rest and (folder / rest[0]).is_dir():
            folder /= rest.pop(0)
        file = folder / "__init__.py"
        if rest and (folder / f"{rest[0]}.py").exists():
            file = folder / f"{rest.pop(0)}.py"
        text = file.read_text()
        for part in rest:  # defined there, or imported for others
            assert re.search(rf"^(?:def |class | *from .* import |){part}\b", text, re.MULTILINE), name


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder in which the pages' names exist: recordings, and a small build of them."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("demo", "mine", "recordings"):
        make(folder / "data" / name, clips=3)
    for name in ("talks", "recordings"):
        (folder / name).mkdir()
        (folder / name / "a.wav").write_bytes(b"not decoded here")
    return folder


def placeholder(word):
    """Whether something of the reader's own has to be put there: a word in capitals, the id of a row."""
    return word.isupper() or ":" in word


CHEAP = {"init", "check", "show", "report", "export"}


@pytest.mark.parametrize("page", TEXTS)
def test_the_cheap_ones_run(page, here, monkeypatch, capsys):
    monkeypatch.chdir(here)
    ran = set()
    names = NAMES | {"OUT": f"out/{page.replace('/', '-')}"}
    for line in commands(page, optional=False):
        program, name, *rest = [names.get(word, word) for word in shlex.split(line)]
        complete = any(not word.startswith("--") for word in rest) and not any(map(placeholder, rest))
        if program != "paqa" or name not in CHEAP or not complete:
            continue
        if name == "init":
            Path(f"{rest[0]}.toml").unlink(missing_ok=True)
        assert main.main([name, *rest]) == 0, (line, capsys.readouterr().err)
        ran.add(name)
    assert {"init", "check", "show"} <= ran or page not in GUIDES


def test_the_python_of_the_readme_reads_rows(here, monkeypatch):
    monkeypatch.chdir(here)
    code = block("README.md", "python").replace("data/talks", "data/mine")
    light = "\n".join(line for line in code.splitlines() if "datasets" not in line)
    names = {}
    exec(light, names)
    assert next(names["rows"])["question"]


def test_build_from_python_takes_what_the_page_gives_it():
    call = re.search(r"paqa\.build\((.*)\)", block("docs/pipeline.md", "python"))[1]
    keywords = re.findall(r"(\w+)=", call)
    inspect.signature(paqa.build).bind("recipe", "out", **dict.fromkeys(keywords))


def test_tables_are_those_of_the_code():
    columns = ["audio", *(field.name for field in fields(Item))]
    assert sorted(quoted(row[0] for row in table("docs/example-row.md", "column"))) == sorted(columns)
    assert sorted(quoted(row[0] for row in table("README.md", "column"))) == sorted(columns)
    assert quoted(row[0] for row in table("docs/publishing.md", "format")) == list(FORMATS)
    assert sorted(quoted(row[0] for row in table("docs/sources.md", "`type`"))) == sorted(SOURCES)
    keys = [field.name for field in fields(recipe.SourceConfig)]
    assert quoted(row[0] for row in table("docs/sources.md", "key")) == keys
    families = {task: quoted([names]) for task, names, _ in table("docs/questions.md", "family")}
    assert {quoted([task])[0]: sorted(names) for task, names in families.items()} == {
        task: sorted(t.name for t in TEMPLATES.values() if t.task == task)
        for task in {t.task for t in TEMPLATES.values()}
    }
    assert len(TEMPLATES) == int(re.search(r"^(\d+) templates", TEXTS["docs/questions.md"], re.MULTILINE)[1])


TRANSFORMERS = ("transformers_asr", "transformers_diarizer", "transformers_tagger")


def test_the_recipe_of_large_models_names_engines_of_their_stages():
    quality = recipe_files.load(ROOT / "manifests" / "quality.toml")
    used = {stage: quality.stage_config(stage).engine for stage in recipe.PROFILES["paper"]}
    assert set(used.values()) == {"demucs", *TRANSFORMERS}


def test_engines_and_their_stages_are_those_of_the_code():
    for stage, listening in recipe.PROFILES["paper"].items():
        rows = [line for line in TEXTS["docs/engines.md"].splitlines() if line.startswith(f"| {stage} |")]
        engines = [quoted([row])[0] for row in rows]
        assert engines == [recipe.PROFILES["embedded"][stage].engine, listening.engine]
    in_profiles = {config.engine for profile in recipe.PROFILES.values() for config in profile.values()}
    assert set(ENGINES) - in_profiles == {"silero_dvector", *TRANSFORMERS}
    assert all(f"`{name}`" in TEXTS["docs/engines.md"] for name in ENGINES)


def test_every_reason_in_quarantine_is_explained():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "paqa").rglob("*.py"))
    reasons = set(re.findall(r'Rejected\(\s*"(\w+)"', code)) | set(
        re.findall(r'^        "(\w+)": lambda', code, re.M)
    )
    named = set(quoted(TEXTS[f"docs/{page}.md"] for page in ("questions", "publishing", "training")))
    assert len(reasons) > 50
    assert reasons <= named


def test_the_sources_of_the_page_are_sources(tmp_path):
    """Each type has one example, and its keys are those of its Params."""
    examples = [body for language, body in fences(TEXTS["docs/sources.md"]) if language == "toml"]
    (tmp_path / "r.toml").write_text("\n".join(['name = "r"', *examples]))
    loaded = recipe_files.load(tmp_path / "r.toml")
    assert sorted(source.type for source in loaded.sources) == sorted(SOURCES)


@pytest.mark.parametrize("type", SOURCES)
def test_the_params_of_a_source_are_on_the_page(type):
    module = importlib.import_module(SOURCES[type].partition(":")[0])
    params = {field.name for field in fields(getattr(module, "Params", NoParams))}
    (section,) = re.findall(rf"^## `{type}`\n(.*?)^## ", TEXTS["docs/sources.md"], re.MULTILINE | re.DOTALL)
    assert params <= set(quoted([section]))


def test_the_manifests_and_the_script_of_scale_are_whole():
    """Kubernetes and Slurm are not here: that these parse, and name what exists, is all that is shown."""
    kinds = [document["kind"] for document in yaml.safe_load_all(block(SCALE, "yaml"))]
    assert kinds == ["Service", "Deployment", "Deployment", "Job"]
    done = subprocess.run(["bash", "-n"], input=block(SCALE, "bash"), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    build = re.search(r"paqa build .*", block(SCALE, "yaml")).group()
    used = {word.partition("=")[0] for word in shlex.split(build) if word.startswith("--")}
    assert used <= flags(subcommands(main.parser())["build"])


def test_the_deployment_takes_what_its_flow_takes():
    pytest.importorskip("prefect")
    from paqa.cli.deployment import paqa as flow

    (deployment,) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    taken = set(inspect.signature(flow.fn).parameters)
    assert set(deployment["parameters"]) <= taken
    assert deployment["entrypoint"] == f"paqa/cli/deployment.py:{flow.fn.__name__}"
    known = {flag.removeprefix("--").replace("-", "_") for flag in flags(subcommands(main.parser())["build"])}
    assert taken - {"recipe", "changes"} <= known


def test_the_toml_of_the_tutorial_is_a_recipe(tmp_path):
    text = block("docs/tutorial.md", "toml")
    (tmp_path / "r.toml").write_text(f'name = "r"\n{text}')
    assert recipe_files.load(tmp_path / "r.toml").mix[0].scenes == 500
    (tmp_path / "r.toml").write_text(f'name = "r"\n{text}\nscene = 1\n')
    with pytest.raises(PaqaError, match="did you mean 'scenes'"):
        recipe_files.load(tmp_path / "r.toml")
