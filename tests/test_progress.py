"""Progress without a terminal: lines that a log can keep."""

from paqa.execution import progress


def test_a_long_stage_has_a_line_now_and_then(monkeypatch, capsys):
    clock = iter((0.0, 30.0, 61.0, 61.0, 70.0, 75.0))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    shown = progress.Progress()
    shown.terminal = False
    shown.open("verify", 9, "rows")
    for units in (2, 3, 4):
        shown.advance("verify", units)
    shown.close("verify", "rows")
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        ["verify", "5", "of", "9,", "61", "s"],
        ["verify", "9", "rows", "75.0", "s"],
    ]
