"""Processes that share one job, as torchrun starts them: each takes its part, and sums are over all of them.

All of them run the same code on the same inputs, so that all meet in the same sums in the same order and
hold the whole result; rank 0 alone prints and writes. A process by itself is rank 0 of 1, every part its own.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

Part = TypeVar("Part")

ALONE = ContextVar("alone", default=False)
"""Whether this process does by itself what it does now."""

SHARED = ("measure", "test")
"""Commands that several processes can share."""


@contextmanager
def joined(command: str = "") -> Iterator[None]:
    """Meet the other processes that torchrun started for a command, and part from them at its end."""
    if command not in SHARED:
        raise ValueError(
            f"expected {' or '.join(SHARED)} under torchrun, found {command!r}: run it as one process."
        )
    # This module's default arguments hold the group that is there when it is loaded. Loaded later, as torch's
    # optimisers do, it would keep the group beyond its end; the group's threads then meet an interpreter that
    # is being torn down, and now and then the process aborts.
    import torch.distributed.nn.functional

    on_gpu = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() and not ALONE.get() else 1


def number() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() and not ALONE.get() else 0


def is_first() -> bool:
    """Whether this is the process that prints and writes."""
    return number() == 0


def share(parts: Iterable[Part]) -> Iterator[Part]:
    """This process's parts: every count()-th, from number() on."""
    return islice(parts, number(), None, count())


def total(*arrays: np.ndarray) -> None:
    """Replace arrays, contiguous and of one shape in all processes, by their sums over these."""
    if count() > 1:
        for array in arrays:
            distributed.all_reduce(torch.from_numpy(array))


def gathered(array: np.ndarray) -> np.ndarray:
    """What each process has of an array of one shape in all, stacked by rank."""
    if count() == 1:
        return array[None]
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    found = [torch.empty_like(tensor) for _ in range(count())]
    distributed.all_gather(found, tensor)
    return torch.stack(found).numpy()


def each(jobs: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each job gives, by name. One process does a job, by itself; it tells the others as JSON, which
    keeps floats to the last bit.
    """
    if count() == 1:
        return {name: job() for name, job in jobs.items()}
    mine = list(share(jobs))
    token = ALONE.set(True)
    try:
        told = {"done": {name: jobs[name]() for name in mine}}
    except ValueError as error:  # is said by all, as what all do is
        told = {"error": str(error)}
    finally:
        ALONE.reset(token)
    text = json.dumps(told).encode()
    longest = gathered(np.array([len(text)])).max()
    texts = gathered(np.frombuffer(bytearray(text.ljust(longest)), dtype=np.uint8))
    heard = [json.loads(one.tobytes()) for one in texts]
    for one in heard:
        if "error" in one:
            raise ValueError(one["error"])
    found = {name: result for one in heard for name, result in one["done"].items()}
    return {name: found[name] for name in jobs}
