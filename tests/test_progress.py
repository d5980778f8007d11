import subprocess
import sys
from functools import partial

import pytest

from compare import progress


@pytest.mark.parametrize(("seconds", "words"), [(8.4, "8 s"), (200.0, "3 min 20 s"), (3900.0, "1 h 05 min")])
def test_durations_are_said_as_a_person_says_them(seconds, words):
    assert progress.duration(seconds) == words


def test_without_a_terminal_progress_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_PLAIN_LINES", 0.0)
    with progress.step("counting") as show:
        show(1, 2)
        show(2, 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "counting ..."
    assert lines[1].startswith("counting: 50%")
    assert lines[-1].startswith("counting: done in")


@pytest.mark.parametrize(("first", "left"), [(1, "1 min 39 s"), (10, "1 min 59 s")])
def test_what_comes_before_the_first_of_many_pieces_counts_as_preparation(first, left, capsys, monkeypatch):
    clock = iter([0.0, 20.0 + first, 121.0, 121.0])  # 20 s, then a piece a second
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.step("counting") as show:
        show(first, 200)
        show(101, 200)
    assert capsys.readouterr().err.splitlines()[-2] == f"counting: 50%, {left} left"


def test_quiet_says_nothing(capsys):
    with progress.step("counting", quiet=True) as show:
        show(1, 2)
    assert capsys.readouterr().err == ""


def test_a_timed_step_counts_what_its_processes_have_used():
    timed = progress.Timed(partial(progress.step, quiet=True))
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    with timed("elsewhere"):
        subprocess.run([sys.executable, "-c", busy], check=True)
    with timed("here"):
        pass
    assert timed.seconds["elsewhere"][1] >= 0.5
    assert timed.seconds["here"][1] < 0.25
