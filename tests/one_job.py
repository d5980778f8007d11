"""Several processes of one job, played by threads of this one."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from compare import ranks


def as_one_job(works: list[Callable[[], Any]], monkeypatch) -> list[Any]:
    """What each process's work gives, where sums and arrays are exchanged as between processes."""
    meet = threading.Barrier(len(works), timeout=60)
    mine = threading.local()
    given: list[Any] = [None] * len(works)

    def gathered(array: np.ndarray) -> np.ndarray:
        given[mine.number] = array.copy()
        meet.wait()
        found = np.stack(given)
        meet.wait()
        return found

    def total(*arrays: np.ndarray) -> None:
        for array in arrays:
            array[...] = gathered(array).sum(0)

    def run(number: int) -> Any:
        mine.number = number
        try:
            return works[number]()
        except BaseException:
            meet.abort()  # the others would wait for it
            raise

    with monkeypatch.context() as patched, ThreadPoolExecutor(len(works)) as threads:
        patched.setattr(ranks, "gathered", gathered)
        patched.setattr(ranks, "total", total)
        return list(threads.map(run, range(len(works))))
