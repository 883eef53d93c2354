"""`paqa-train score`: the rows' own rationales earn everything, others what they deserve."""

import json

from paqa.cli.train import main
from paqa.dataset import shards


def test_own_rationales_earn_everything(built, capsys):
    assert main(["score", str(built.out)]) == 0
    overall = capsys.readouterr().out.splitlines()[1].split()
    assert overall[0] == "all"
    assert overall[2:] == ["1.000", "1.000", "1.000", "1.000", "1.600"]


def test_wrong_letters_earn_no_accuracy_and_missing_ones_count(built, tmp_path, capsys):
    rows = list(shards.rows(built.out, ["id"]))
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps({"id": r["id"], "completion": "It is B."}) for r in rows[1:]))
    assert main(["score", str(built.out), str(path)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[2:] == ["0.000"] * 5
    assert "1 rows without a completion" in out


def test_a_broken_line_is_named(built, tmp_path, capsys):
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "x"}\n')
    assert main(["score", str(built.out), str(path)]) == 2
    assert "c.jsonl:1" in capsys.readouterr().err
