"""The atlas: networks in a small world at each point of a grid, so that a claim has a map.

A point is a ToyConfig, in which several worlds are drawn; what was found at it is a plain dictionary, kept as
a file of its own, so that an atlas that was stopped goes on.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import get_num_threads, set_num_threads

from toy.anchors import pair_cosines
from toy.config import ToyConfig
from toy.grid import N_WORLDS, N_WORLDS_BY_SLICE, slices
from toy.known import SHORT, anchor_runs, measure_run
from toy.model import Trained, train
from toy.world import World

Task = tuple[Path, Callable[[], Any]]
"""A file, and what makes its content where it is missing."""
ANTIPODAL = -0.9
"""Pairs with a cosine below count as antipodal, above its opposite as parallel."""


def explore(
    seed: int, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[str, dict]]:
    """What was found at every point, with the name of its slice; points in the folder are not run again."""
    names, tasks = [], []
    for name, points in slices(seed).items():
        n_worlds = N_WORLDS_BY_SLICE.get(name, N_WORLDS)
        for config in points:
            names.append(name)
            path = kept_at(folder, [asdict(config), n_worlds])
            tasks.append((path, partial(measure_point, config, n_worlds)))
    return zip(names, in_turn(tasks, progress), strict=True)


def explore_anchors(
    seed: int, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[dict]:
    """The rows of every anchor (toy.known.measure_run); runs in the folder are not made again."""
    tasks = [
        (kept_at(folder, [asdict(run.config), [one.name for one in run.anchors]]), partial(measure_run, run))
        for run in anchor_runs(seed)
    ]
    return list(chain.from_iterable(in_turn(tasks, progress)))


def in_turn(tasks: Sequence[Task], progress: Callable[[int, int], None] | None = None) -> Iterator[Any]:
    """What is in the file of each task, in order; files that are not there are made, others read alone."""
    made = made_in_processes({path: make for path, make in tasks if not path.is_file()})
    for done, (path, _) in enumerate(tasks, 1):
        while not path.is_file():
            next(made)  # the first starts the processes, so that none are where nothing is missing
        yield json.loads(path.read_text(encoding="utf-8"))
        if progress is not None:
            progress(done, len(tasks))


def made_in_processes(tasks: dict[Path, Callable[[], Any]]) -> Iterator[None]:
    """Keep what each task gives, in order, from as many processes as torch has threads.

    Each has one thread, which is all that networks of this size can use, and numbers come out as they would
    in this process.
    """
    # processes that start anew: a copy of this one would have its locks without its threads
    with ProcessPoolExecutor(get_num_threads(), get_context("spawn"), set_num_threads, (1,)) as pool:
        yield from pool.map(keep, tasks.keys(), tasks.values())


def keep(path: Path, make: Callable[[], Any]) -> None:
    """Write what `make` gives, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(make()), encoding="utf-8")
    unfinished.replace(path)


def kept_at(folder: Path, about: list) -> Path:
    """The file of what the same code and torch make of the same thing."""
    key = json.dumps([about, toy_sha256(), torch.__version__], sort_keys=True)
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def measure_point(config: ToyConfig, n_worlds: int = 1) -> dict:
    """Train at one point: losses of each network, and of each cell the cosines' mean and shares by network.

    Networks go world by world, each world with draws of its own and config.n_seeds starts. `by_seed` are
    means over a cell's pairs, `antipodal` and `parallel` shares of pairs beyond +-0.9, `unwritten` shares of
    pairs of which one feature is shorter than a tenth of the longest.
    """
    losses: list[float] = []
    cells: dict[tuple[str, float], dict] = {}
    for number in range(n_worlds):
        one = replace(config, seed=config.seed * n_worlds + number)
        world = World(one)
        found = train(one, world)
        losses += found.losses.tolist()
        n_pairs = {cell: len(pairs) for cell, pairs in pairs_by_overlap(world).items()}
        for cell, numbers in cells_of(world, found).items():
            whole = cells.setdefault(cell, {name: [] for name in numbers})
            for name, values in numbers.items():
                whole[name] += values
    return {
        "config": asdict(config),
        "n_worlds": n_worlds,
        "losses": losses,
        "best": min(range(len(losses)), key=losses.__getitem__),
        "cells": [
            {"cooccurrence": cooccurrence, "overlap": overlap, "n_pairs": n_pairs[cooccurrence, overlap]}
            | numbers
            for (cooccurrence, overlap), numbers in cells.items()
        ],
    }


def cells_of(world: World, found: Trained) -> dict[tuple[str, float], dict[str, list]]:
    """Numbers of each cell by start, as measure_point names them."""
    length = found.directions.norm(dim=2)
    is_written = length > SHORT * length.amax(1, keepdim=True)
    cells = {}
    for cell, pairs in pairs_by_overlap(world).items():
        cosines = pair_cosines(found.directions, pairs)
        both = is_written[:, pairs[:, 0]] & is_written[:, pairs[:, 1]]
        cells[cell] = {
            "by_seed": cosines.mean(1).tolist(),
            "antipodal": (cosines < ANTIPODAL).float().mean(1).tolist(),
            "parallel": (cosines > -ANTIPODAL).float().mean(1).tolist(),
            "unwritten": (1 - both.float().mean(1)).tolist(),
        }
    return cells


def pairs_by_overlap(world: World) -> dict[tuple[str, float], torch.Tensor]:
    """Designed pairs [pairs, 2] by co-occurrence and share of votes in common."""
    found: dict[tuple[str, float], list[tuple[int, int]]] = {}
    for pair in world.pairs:
        found.setdefault((pair.cooccurrence, pair.overlap), []).append((pair.i, pair.j))
    return {cell: torch.tensor(pairs) for cell, pairs in found.items()}


def toy_sha256() -> str:
    """SHA-256 of this package's modules: points of other code are not taken up.

    Not of the grid's, which says what points there are: more of them leave these as they were.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name == "grid.py":
            continue
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
