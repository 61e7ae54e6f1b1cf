"""Rate, remaining time and failures in the progress of a run."""

from __future__ import annotations

import pytest

from densnet_core.cli.progress import Pace, RichReporter


def test_rate_and_remaining_time():
    pace = Pace(100, 0.0)
    assert pace.told(0, 5.0) == ""
    assert pace.told(20, 10.0) == "2/s, 40 s left"
    assert pace.told(99, 300.0) == "0.33/s, 3 s left"
    assert pace.told(100, 303.0) == "0.33/s"
    assert Pace(1000, 0.0).told(1, 11.0) == "11 s each, 3 h left"
    assert Pace(40, 0.0).told(2, 22.0) == "11 s each, 7 min left"
    assert Pace(0, 0.0).told(6, 3.0) == "2/s"


def test_what_an_earlier_run_did_does_not_count():
    pace = Pace(100, 0.0)
    assert pace.told(60, 0.01) == ""
    assert pace.told(80, 0.02) == ""
    assert pace.told(82, 4.0) == "0.5/s, 36 s left"


def test_without_a_terminal_the_last_line_has_everything(capsys):
    with RichReporter() as reporter:
        advance = reporter.task("calculations", 3)
        for done in range(1, 4):
            advance(done, "frames, 1 failed" if done > 1 else "frames")
    shown = capsys.readouterr().err
    assert "calculations: 3/3 frames, 1 failed, 0 s" in shown


@pytest.mark.parametrize("total", [0, 5])
def test_a_task_may_stand_still(total):
    assert Pace(total, 1.0).told(0, 1.0) == ""
