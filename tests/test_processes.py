"""Tasks in processes: what is there is not made again, what fails is told, what is done is kept."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from compare.processes import Task, in_processes


def silent(done: int, total: int | None) -> None:
    pass


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@contextmanager
def processes(n: int) -> Iterator[None]:
    """So many at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hears_of_interrupts():
    """What a shell starts in the background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def threads() -> str:
    return os.environ["OMP_NUM_THREADS"]


def interrupt(folder: Path) -> None:
    """As one presses Ctrl-C, which all processes hear, while this one holds a temporary folder."""
    with TemporaryDirectory(dir=folder):
        os.kill(os.getpid(), signal.SIGINT)
        (folder / "went on").touch()
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)


def fail() -> None:
    raise ValueError("expected 1, found 2: mend it.")


def test_results_come_in_the_order_of_the_tasks_and_progress_by_their_cost(tmp_path):
    seconds = (0.5, 0.0, 0.1)
    tasks = [Task(tmp_path / f"{k}.json", partial(wait, s), cost=k + 1) for k, s in enumerate(seconds)]
    shown = []
    assert in_processes(tasks, lambda done, total: shown.append((done, total))) == list(seconds)
    assert shown[-1] == (6, 6)
    assert len(shown) == 3


def test_the_longest_are_begun_first(tmp_path):
    tasks = [Task(tmp_path / f"{cost}.json", time.monotonic, cost) for cost in (1, 3, 2)]
    with processes(1):
        first, third, second = in_processes(tasks, silent)
    assert third < second < first


def test_what_is_there_is_not_made_again(tmp_path):
    (tmp_path / "there.json").write_text(json.dumps("kept"))
    tasks = [Task(tmp_path / "there.json", fail), Task(tmp_path / "new.json", threads)]
    assert in_processes(tasks, silent) == ["kept", "1"]
    assert in_processes([Task(tmp_path / "new.json", fail)], silent) == ["1"]


def test_an_error_of_a_task_is_raised_here_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="expected 1, found 2"):
        in_processes([Task(tmp_path / "a.json", fail)], silent)
    assert list(tmp_path.iterdir()) == []


def test_after_an_error_nothing_new_is_begun(tmp_path):
    tasks = [Task(tmp_path / "fails.json", fail, cost=2)]
    tasks += [Task(tmp_path / f"{k}.json", threads) for k in range(6)]
    with processes(1), pytest.raises(ValueError, match="expected 1, found 2"):
        in_processes(tasks, silent)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_what_runs_and_keeps_what_is_done(tmp_path, capfd, hears_of_interrupts):
    tasks = [Task(tmp_path / "done.json", threads, cost=3), Task(tmp_path / "waits.json", threads)]
    tasks += [Task(tmp_path / "cut.json", partial(interrupt, tmp_path), cost=2)]
    other = get_context("spawn").Process(target=wait, args=(60,))
    other.start()
    with processes(1), pytest.raises(KeyboardInterrupt):
        in_processes(tasks, silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done.json", "went on"]
    assert capfd.readouterr().err == "Stopped; the same command goes on with what is done.\n"
    assert other.is_alive()
    other.terminate()


def test_an_interrupt_between_two_tasks_ends_what_runs_as_well(tmp_path):
    def interrupted(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    tasks = [Task(tmp_path / "long.json", partial(wait, 60), cost=2), Task(tmp_path / "done.json", threads)]
    with processes(2), pytest.raises(KeyboardInterrupt):
        in_processes(tasks, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["done.json"]


def test_a_process_that_is_ended_from_outside_is_told_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match="found one that was ended from outside"):
        in_processes([Task(tmp_path / "a.json", partial(os._exit, 1))], silent)
