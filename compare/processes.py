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
    if missing:
        make(sorted(missing, key=lambda task: -task.cost), progress)
    return [kept(task.path) for task in tasks]


def make(tasks: Sequence[Task], progress: Progress) -> None:
    """Keep what each task gives, begun in their order."""
    # processes that start anew: a copy of this one would have its locks without its threads
    how = (torch.get_num_threads(), get_context("spawn"), begin_alone)
    waiting, running, done = iter(tasks), {}, 0
    others = set(active_children())
    with one_thread_each(), ProcessPoolExecutor(*how) as pool:

        def begin(n: int) -> None:
            for task in islice(waiting, n):
                with no_interrupt():
                    running[pool.submit(keep, task.path, task.make)] = task.cost

        try:
            # as many as can run and no more: what the pool has taken in, it works off after an error as well
            begin(how[0])
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    done += running.pop(future)
                    progress(done, sum(task.cost for task in tasks))
                    begin(1)
        except KeyboardInterrupt:
            for child in set(active_children()) - others:
                child.terminate()
            print("Stopped; the same command goes on with what is done.", file=sys.stderr)
            raise
        except BrokenProcessPool as error:
            raise ValueError(
                "expected processes that work to their end, found one that was ended from outside, for want "
                "of memory perhaps: run again with OMP_NUM_THREADS=1; what is done is kept."
            ) from error


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Processes that are started within never hear of Ctrl-C: it is for the one that started them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_alone() -> None:
    """A process has one thread, and removes its temporary folders when it is ended."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


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
