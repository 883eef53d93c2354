"""What the Prefect UI has to show of a build: its stages, its artifacts, and reports at the UI's own
address.
"""

import json
import os
import re
import sqlite3

import pytest
from builds import make
from conftest import build

from flows import pages, settings
from paqa.dataset import summary
from paqa.evaluation import audit_folder
from paqa.report.write import write
from paqa.storage import build_folder
from paqa.types import Quarantined

TOKEN = "secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Builds, one of them with a report, beside things that are nobody's business."""
    folder = tmp_path_factory.mktemp("builds")
    write(make(folder / "my build", clips=2))
    (folder / "other" / "report").mkdir(parents=True)
    (folder / "other" / "report" / "index.html").write_text("somebody else's report")
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    pytest.importorskip("prefect")
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    return TestClient(Starlette(routes=[pages.reports(folder, TOKEN)]))


def test_a_report_opens_at_the_uis_address(client, folder):
    link = pages.report_link(folder / "my build", folder / ".paqa" / "prefect", external=False)
    assert link == f"/reports/{pages.token(folder / '.paqa' / 'prefect')}/my%20build/"
    link = f"/reports/{TOKEN}/my%20build/"
    page = client.get(link)
    assert page.status_code == 200
    assert "assets/main.js" in page.text
    assert client.get(link + "data/index.js").content.startswith(b"paqa.take(")
    assert client.get(link.rstrip("/")).url.path == f"/reports/{TOKEN}/my build/"
    assert pages.report_link(folder / "my build", folder, external=True).startswith("file:///")


@pytest.mark.parametrize(
    "path",
    [
        "", "my build/../recipe.json", "my build/%2e%2e/recipe.json", "my build/..%2f..%2fsecret.txt",
        "other/", "secret.txt", "../secret.txt", "%2e%2e/builds/secret.txt", "nothing/", "./", "/etc/passwd",
    ],
)  # fmt: skip
def test_nothing_but_reports_is_served(client, path):
    assert client.get(f"/reports/{TOKEN}/{path}").status_code == 404


def test_what_fell_out_is_counted_with_examples():
    lost = [
        Quarantined(f"f{i}.wav", "ingest", "silent", f"f{i}.wav: no *sound*, <b>\nnone", "0" * 64)
        for i in range(9)
    ]
    text = summary.quarantine_markdown(
        [*lost, lost[0], Quarantined("q", "gates", "guessable", "why", "0" * 64)]
    )
    assert text.index("| ingest | silent | 9 |") < text.index("| gates | guessable | 1 |")
    assert "- `f0.wav`: no \\*sound\\*, \\<b\\> none" in text
    assert text.count("- `") == summary.EXAMPLES + 1


def test_stages_have_counts_whether_an_engine_was_needed_or_not():
    stages = {"tag": summary.Stage("tag", 3, 30.0, 6.0, 7.5)}
    heard, plain = summary.stage_rows(stages, [("tag", 3, "clips", 4.0), ("shard", 9, "rows", 0.5)])
    assert heard == {
        "stage": "tag", "done": "3 clips", "seconds": 4.0, "audio s": 30.0, "engine s": 6.0,
        "real-time factor": 0.25,
    }  # fmt: skip
    assert (plain["done"], plain["engine s"], plain["real-time factor"]) == ("9 rows", "", "")


def test_a_run_has_its_artifacts(corpus, built, tmp_path):
    """A second build of what is in the store already, with audit and report."""
    out = tmp_path / "shown"
    flags = ["--store", built.store, "--audit", "--report", "--set", "gates.shortcuts=off"]
    again = build(corpus / "small.toml", out, *flags, own_server=True)
    report, answers, _ = audit_folder.measure(out)
    assert json.loads((out / build_folder.AUDIT).read_text())["slices"][0]["clips"] == report.slices[0].clips
    assert answers
    assert (out / "report" / "index.html").exists()
    assert again.heard == {}
    assert "audit" in again.output
    with sqlite3.connect(tmp_path / ".paqa" / "prefect" / "prefect.db") as database:
        run = database.execute("select id from flow_run order by start_time desc limit 1").fetchone()[0]
        found = dict(database.execute("select key, data from artifact where flow_run_id = ?", [run]))
        lines = [line for (line,) in database.execute("select message from log where flow_run_id = ?", [run])]
        tasks = database.execute("select count(*) from log where task_run_id is not null").fetchone()[0]
        tags = {
            tags for (tags,) in database.execute("select tags from task_run where flow_run_id = ?", [run])
        }
    assert set(found) >= {"summary", "stages", "audit", "report"}
    assert f"{again.summary['items']} (" in found["summary"]
    assert {"ingest", "compose", "shard", "audit", "report"} <= {
        row["stage"] for row in table(found["stages"])
    }
    assert "DER %" in found["audit"]
    assert re.search(r"\(/reports/[\w-]{40,}/shown/\)", found["report"])
    assert any(line.startswith("compose: ") for line in lines)
    assert tasks == 0
    assert tags == {"[]"}  # a task with a tag asks the server for a limit on that tag before it begins


def table(data):
    """The rows of a table artifact, which lie as JSON in JSON."""
    rows = json.loads(data)
    return json.loads(rows) if isinstance(rows, str) else rows


def test_settings_keep_tasks_quiet_unless_told(tmp_path, monkeypatch):
    name = "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL"
    monkeypatch.delenv(name, raising=False)
    assert settings.environment(tmp_path)[name] == "WARNING"
    monkeypatch.setenv(name, "INFO")
    assert settings.environment(tmp_path)[name] == os.environ[name]
