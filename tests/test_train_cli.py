"""`paqa-train score`: the rows' own rationales earn everything, others what they deserve."""

import json

from paqa.cli.train import main
from paqa.dataset import shards


def test_own_rationales_earn_everything(built, capsys):
    assert main(["score", str(built.out)]) == 0
    overall = row_of_all(capsys.readouterr().out)
    chance = overall.pop("chance")
    assert 0.2 < float(chance) <= 0.5  # of two to five choices
    assert overall.pop("reward") == "1.600"
    assert set(overall.values()) == {"1.000"}


def row_of_all(out):
    """The figures of all rows, by name."""
    head, overall = (line.split() for line in out.splitlines()[:2])
    assert overall[0] == "all"
    return dict(zip(head[1:], overall[2:], strict=True))


def test_right_answers_in_another_form_are_told_from_exact_ones(built, tmp_path, capsys):
    """The letter alone, or the words alone, of the right choice."""
    rows = [
        r for r in shards.rows(built.out, ["id", "answer", "answer_index"]) if r["answer_index"] is not None
    ]
    for name, written in (
        ("letter", lambda row: "ABCDEFGH"[row["answer_index"]]),
        ("text", lambda row: row["answer"].upper()),
    ):
        path = tmp_path / f"{name}.jsonl"
        said = [{"id": r["id"], "completion": f"<RESPONSE>{written(r)}</RESPONSE>"} for r in rows]
        path.write_text("\n".join(map(json.dumps, said)))
        assert main(["score", str(built.out), str(path)]) == 0
        overall = row_of_all(capsys.readouterr().out)
        by = {kind: float(overall[f"accuracy_by_{kind}"]) for kind in ("letter", "text")}
        assert by == {"letter": 0.0, "text": 0.0} | {name: 1.0}
        assert (float(overall["accuracy"]) > 0.5, overall["accuracy_strict"]) == (True, "0.000")


def test_wrong_letters_earn_no_accuracy_and_missing_ones_count(built, tmp_path, capsys):
    rows = list(shards.rows(built.out, ["id"]))
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps({"id": r["id"], "completion": "It is B."}) for r in rows[1:]))
    assert main(["score", str(built.out), str(path)]) == 0
    out = capsys.readouterr().out
    overall = row_of_all(out)
    assert float(overall.pop("chance")) > 0
    assert set(overall.values()) == {"0.000"}
    assert "1 rows without a completion" in out


def test_a_broken_line_is_named(built, tmp_path, capsys):
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "x"}\n')
    assert main(["score", str(built.out), str(path)]) == 2
    assert "c.jsonl:1" in capsys.readouterr().err
