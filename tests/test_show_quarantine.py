"""`paqa show --quarantine`: what was left out, without a reader of Parquet."""

import pytest

from paqa.cli.main import main
from paqa.dataset import shards
from paqa.types import Quarantined


def rows(reason, stage, count):
    return [
        Quarantined(f"{reason}{n}.flac", stage, reason, f"{reason}{n}.flac: detail {n}", "")
        for n in range(count)
    ]


@pytest.fixture
def build(tmp_path):
    """A build whose quarantine has two reasons."""
    shards.write_table(
        tmp_path / "quarantine.parquet",
        Quarantined,
        [*rows("truncated", "ingest", 2), *rows("uncertain", "gates", 7)],
    )
    return tmp_path


def shown(capsys, *args):
    assert main(["show", *map(str, args), "--quarantine"]) == 0
    return capsys.readouterr().out.splitlines()


def test_reasons_stand_with_their_counts_and_examples(build, capsys):
    lines = shown(capsys, build)
    assert lines[0] == f"quarantine   9 of {build / 'quarantine.parquet'}"
    assert lines.index("uncertain (gates): 7") < lines.index("truncated (ingest): 2")
    assert "  truncated1.flac: detail 1" in lines
    assert f"  and 2 more: paqa show {build} uncertain --quarantine" in lines
    assert "  uncertain6.flac: detail 6" not in lines


def test_a_reason_or_a_file_shows_all_about_it(build, capsys):
    assert "  uncertain6.flac: detail 6" in shown(capsys, build, "uncertain")
    assert shown(capsys, build, "truncated1.flac")[2:] == [
        "truncated (ingest): 1",
        "  truncated1.flac: detail 1",
    ]


def test_a_build_that_failed_comes_first(build, capsys):
    (build / "failed").mkdir()
    shards.write_table(build / "failed" / "quarantine.parquet", Quarantined, rows("bad_truth", "source", 1))
    assert "bad_truth (source): 1" in shown(capsys, build)


def test_nothing_there_is_an_error_with_the_next_command(build, tmp_path, capsys):
    assert main(["show", str(build), "other.flac", "--quarantine"]) == 2
    assert "nothing about 'other.flac'" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "none"), "--quarantine"]) == 2
    assert "run: paqa build RECIPE.toml --out" in capsys.readouterr().err
