"""What the README and the tutorial tell people to type exists, and the cheap half runs; the reference is whole."""

import argparse
import importlib.util
import inspect
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from builds import make
from conftest import ROOT

from paqa.cli import main
from paqa.cli import train as train_cli
from paqa.errors import PaqaError
from paqa.publish.export import registry

PAGES = ("README.md", "docs/tutorial.md")
SCALE = "docs/scale.md"
PARSERS = {"paqa": main.parser, "paqa-train": train_cli.parser}
NAMES = {"FOLDER": "talks", "FORMAT": "trl", "RECIPE.toml": "talks.toml"}  # what stands for a word in capitals


def fences(text):
    """The blocks of a page as (language, text), and last what is outside of them."""
    parts = re.split(r"^```(.*)\n", text, flags=re.MULTILINE)
    found = [(parts[i], parts[i + 1]) for i in range(1, len(parts) - 1, 4)]
    return [*found, (None, "".join(parts[0::4]))]


def block(page, language):
    (found,) = [body for name, body in fences((ROOT / page).read_text()) if name == language]
    return found


def commands(page, optional=True):
    """Every command of ours on a page, in blocks and within lines, without remarks; what is in brackets, or not."""
    *blocks, (_, prose) = fences((ROOT / page).read_text(encoding="utf-8"))
    lines = [line for language, body in blocks if not language for line in body.splitlines()]
    lines += re.findall(r"`((?:paqa|paqa-train) [a-z][^`]*)`", prose)
    for line in lines:
        gone = r"[\[\]]" if optional else r"\[.*?\]"
        plain = re.sub(gone, " ", line.partition("#")[0]).replace(" ... ", " ").partition(";")[0].strip()
        if plain.startswith(("paqa ", "paqa-train ")):
            yield plain


def flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


def subcommands(parser):
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


@pytest.mark.parametrize("page", [*PAGES, SCALE])
def test_commands_and_flags_exist(page):
    seen = 0
    for line in commands(page):
        program, name, *rest = shlex.split(line)
        known = subcommands(PARSERS[program]())
        assert name in known, line
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= flags(known[name]), line
        seen += 1
    assert seen > 8


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    text = (ROOT / page).read_text()
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert used
    assert used <= known


@pytest.mark.parametrize("page", [*PAGES, SCALE])
def test_links_and_files_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / link).exists(), link
    *_, (_, prose) = fences(text)
    for named in re.findall(r"`((?:paqa|flows|benchmarks|manifests|schemas|docs)/[\w./-]+)`", prose):
        if "TYPE" not in named:
            assert (ROOT / named).exists(), named


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


CHEAP = {"init", "check", "show", "report", "export"}


@pytest.mark.parametrize("page", PAGES)
def test_the_cheap_ones_run(page, here, monkeypatch, capsys):
    monkeypatch.chdir(here)
    ran = set()
    names = NAMES | {"OUT": f"out/{page.replace('/', '-')}"}
    for line in commands(page, optional=False):
        program, name, *rest = [names.get(word, word) for word in shlex.split(line)]
        if program != "paqa" or name not in CHEAP or not rest or any(word.isupper() for word in rest):
            continue
        if name == "init":
            Path(f"{rest[0]}.toml").unlink(missing_ok=True)
        assert main.main([name, *rest]) == 0, (line, capsys.readouterr().err)
        ran.add(name)
    assert {"init", "check", "show", "export"} <= ran


def test_the_python_of_the_readme_reads_rows(here, monkeypatch):
    monkeypatch.chdir(here)
    code = block("README.md", "python")
    light = "\n".join(line for line in code.splitlines() if "datasets" not in line)
    found = {}
    exec(light, found)
    assert next(found["rows"])["question"]


def test_every_format_is_in_the_table():
    table = re.findall(r"^\| (`.*?`) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert set(registry.FORMATS) <= named


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
    from paqa.cli.deployment import paqa

    (deployment,) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    taken = set(inspect.signature(paqa.fn).parameters)
    assert set(deployment["parameters"]) <= taken
    assert deployment["entrypoint"] == f"paqa/cli/deployment.py:{paqa.fn.__name__}"
    known = {flag.removeprefix("--").replace("-", "_") for flag in flags(subcommands(main.parser())["build"])}
    assert taken - {"recipe", "changes"} <= known


def test_the_toml_of_the_tutorial_is_a_recipe(tmp_path):
    from paqa.config import recipe

    text = block("docs/tutorial.md", "toml")
    (tmp_path / "r.toml").write_text(f'name = "r"\n{text}')
    assert recipe.load(tmp_path / "r.toml").mix[0].scenes == 500
    (tmp_path / "r.toml").write_text(f'name = "r"\n{text}\nscene = 1\n')
    with pytest.raises(PaqaError, match="did you mean 'scenes'"):
        recipe.load(tmp_path / "r.toml")


def test_the_reference_holds_every_module_and_its_links_lead_somewhere():
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "docs" / "make.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = made.text()
    modules = set(re.findall(r"^## (\S+)$", page, flags=re.MULTILINE))
    assert {
        "paqa.pipeline.steps",
        "paqa.rationale.grammar",
        "paqa.rationale.rewards",
        "flows.build",
        "paqa.publish.export.trl",
    } <= modules
    assert "### generate" in page
    assert {name.replace(".", "") for name in modules} >= set(re.findall(r"\(#([^)]*)\)", page.partition("\n## ")[0]))
