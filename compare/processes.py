"""Tasks that stand alone, in processes of one thread each; what each gives is kept in a file of its own.

Numbers do not depend on how many processes there are, and work that was stopped goes on.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from compare.progress import Progress

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that say how many threads OpenMP, numpy's linear algebra and compiled kernels may have."""


class Task(NamedTuple):
    """A file of JSON, and what makes its content where it is missing."""

    path: Path
    make: Callable[[], Any]
    cost: int = 1
    """Seconds that it takes, roughly: the longest are begun first."""


def in_processes(tasks: Sequence[Task], progress: Progress) -> list[Any]:
    """What each task gives, in order; files that are not there are made, by as many processes as torch has
    threads. Raises ValueError where a process was ended from outside.
    """
    missing = {task.path: task for task in tasks if not task.path.is_file()}.values()
    done, total = 0, sum(task.cost for task in missing)
    if missing:
        for cost in made(sorted(missing, key=lambda task: -task.cost)):
            done += cost
            progress(done, total)
    return [kept(task.path) for task in tasks]


def made(tasks: Sequence[Task]) -> Iterator[int]:
    """Keep what each task gives; yields the cost of each when it is done."""
    # processes that start anew: a copy of this one would have its locks without its threads
    how = (torch.get_num_threads(), get_context("spawn"), begin_alone)
    waiting, running = iter(tasks), {}
    with one_thread_each(), ProcessPoolExecutor(*how) as pool:

        def begin(n: int) -> None:
            for task in islice(waiting, n):
                running[pool.submit(keep, task.path, task.make)] = task.cost

        try:
            # as many as can run and no more: what the pool has taken in, it works off after an error as well
            begin(how[0])
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
                    begin(1)
        except KeyboardInterrupt:
            for child in active_children():
                child.terminate()
            print("Stopped; the same command goes on with what is done.", file=sys.stderr)
            raise
        except BrokenProcessPool as error:
            raise ValueError(
                "expected processes that work to their end, found one that was ended from outside, for want "
                "of memory perhaps: run again with OMP_NUM_THREADS=1; what is done is kept."
            ) from error


def begin_alone() -> None:
    """A process has one thread, and leaves it to the one that started it to be interrupted."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def kept(path: Path) -> Any:
    """What a task left in its file."""
    return json.loads(path.read_text(encoding="utf-8"))


def keep(path: Path, make: Callable[[], Any]) -> None:
    """Write what `make` gives, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(make()), encoding="utf-8")
    unfinished.replace(path)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started within load their libraries with one thread."""
    before = os.environ.copy()
    os.environ |= dict.fromkeys(THREADS, "1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
