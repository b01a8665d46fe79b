"""Progress for those who watch no terminal: a line at the beginning, then one every ten seconds."""

import time

import pytest

from earwitness.cli import console
from earwitness.cli.console import ProgressLog


def test_a_line_tells_what_is_done_of_how_much_and_how_long_is_left() -> None:
    log = ProgressLog("searching", "steps", 100.0)
    assert log.line(101.0) == "searching: 1 s so far"
    log.update(102.0, 0, 1000, "")
    assert log.line(103.0) == "searching: 0 of 1000 steps (0 %), 3 s so far"
    log.update(112.0, 250, 1000, "median activation 3.1")
    assert log.line(112.0) == (
        "searching: 250 of 1000 steps (25 %), median activation 3.1, 12 s so far, about 30 s left"
    )
    log.update(152.0, 1000, 1000, "median activation 4")
    assert log.line(152.0) == "searching: 1000 of 1000 steps (100 %), median activation 4, 52 s so far"


def test_other_work_is_counted_anew() -> None:
    log = ProgressLog("demo", "", 0.0)
    log.update(10.0, 0.25, 1.0, "fetching Triton")
    log.update(20.0, 0.5, 1.0, "fetching Triton")
    assert log.line(20.0) == "demo: 50 %, fetching Triton, 20 s so far, about 20 s left"
    log.update(100.0, 0, 10, "reference top")
    log.update(104.0, 4, 10, "reference top")
    assert log.line(104.0) == "demo: 4 of 10 (40 %), reference top, 2 min so far, about 6 s left"
    log.update(200.0, 1, 10, "reference bottom")
    assert log.line(200.0) == "demo: 1 of 10 (10 %), reference bottom, 4 min so far"


def test_who_says_how_long_is_left_is_not_contradicted() -> None:
    log = ProgressLog("sweeping", "", 0.0)
    log.update(0.0, 0, 100, "")
    log.update(10.0, 50, 100, "1 of 4 settings, about 3 min left")
    assert log.line(10.0) == "sweeping: 50 of 100 (50 %), 1 of 4 settings, about 3 min left, 10 s so far"


def test_lines_come_while_the_work_goes_on_and_none_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE_S", 0.0)
    monkeypatch.setattr(console, "LINE_S", 0.01)
    said: list[str] = []
    with console.progress("reading", "recordings") as update:
        update(3, 10, "")
        while len(said) < 3:  # nothing but the lines' own clock makes them
            time.sleep(0.01)
            captured = capsys.readouterr()
            assert captured.out == ""
            said += captured.err.splitlines()
    capsys.readouterr()
    assert said[-1].startswith("reading: 3 of 10 recordings (30 %), ")
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_failure_is_not_kept_waiting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "FIRST_LINE_S", 600.0)
    with pytest.raises(ValueError, match="soon"), console.progress("reading"):
        raise ValueError("soon")
    assert capsys.readouterr() == ("", "")


def test_lines_are_at_most_ten_seconds_apart() -> None:
    assert console.FIRST_LINE_S <= console.LINE_S <= 10
