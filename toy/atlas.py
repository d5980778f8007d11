"""The atlas: networks in a small world at each point of a grid, so that a claim has a map.

A point is a ToyConfig, in which several worlds are drawn; what was found at it is a plain dictionary, to be
kept as a file of its own, so that an atlas that was stopped goes on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from toy.anchors import pair_cosines
from toy.config import ToyConfig
from toy.grid import N_WORLDS, N_WORLDS_BY_SLICE, slices
from toy.known import SHORT, anchor_runs, measure_run
from toy.model import Trained, train
from toy.world import World

ANTIPODAL = -0.9
"""Pairs with a cosine below count as antipodal, above its opposite as parallel."""


def point_tasks(seed: int, folder: Path) -> Iterator[tuple[str, Path, Callable[[], dict]]]:
    """For every point the name of its slice, its file in the folder, and what makes its content."""
    for name, points in slices(seed).items():
        n_worlds = N_WORLDS_BY_SLICE.get(name, N_WORLDS)
        for config in points:
            path = kept_at(folder, [asdict(config), n_worlds])
            yield name, path, partial(measure_point, config, n_worlds)


def anchor_tasks(seed: int, folder: Path) -> Iterator[tuple[Path, Callable[[], list[dict]]]]:
    """For every run of the anchors its file in the folder, and what makes its rows."""
    for run in anchor_runs(seed):
        path = kept_at(folder, [asdict(run.config), [one.name for one in run.anchors]])
        yield path, partial(measure_run, run)


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
