"""The atlas: a small world and its networks at each point of a grid, so that a claim has a map.

A point is a ToyConfig, in which several worlds are drawn; what was found at it is a plain dictionary, kept as
a file of its own, so that an atlas that was stopped goes on.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from toy.anchors import pair_cosines
from toy.config import ToyConfig
from toy.known import SHORT, anchor_runs, measure_run
from toy.model import Trained, train
from toy.world import World

N_WORLDS, N_SEEDS = 5, 2
"""Worlds of a point, each with draws of its own, and starts in each."""
ANTIPODAL = -0.9
"""Pairs with a cosine below count as antipodal, above its opposite as parallel."""

BASE = ToyConfig(
    n_features=64, width=32, vocabulary=64, firing_rate=0.03, n_seeds=N_SEEDS, steps=2000, batch=128
)
TWO = ToyConfig(
    n_features=2, width=1, vocabulary=32, firing_rate=0.02, readout_width=16, n_seeds=N_WORLDS * N_SEEDS,
    steps=1000, batch=256, grouped_share=1.0, conditionals=(0.0,), overlaps=(1.0,),
)  # fmt: skip
PARTIAL = replace(BASE, overlaps=(0.0, 0.25, 0.5, 0.75, 1.0), grouped_share=0.9375)
KINDS = {
    "softmax, tied": {},
    "softmax, untied": {"tied": False},
    "ReLU regression, tied": {"readout": "relu"},
    "MLP, tied": {"readout": "mlp"},
}
RATES = (0.01, 0.03, 0.1)
WIDTHS = (64, 32, 16, 8, 4)
SHARES = (0.0, 0.3, 0.6, 0.8, 0.9, 1.0)
DECAYS = (0.0, 0.3)
MORE_DECAYS = (0.1, 1.0)
"""Beside those of the grid, at a few of its points."""
ONE_WORLD = "two in one"
"""The slice whose points have one world: two features with one output leave nothing to draw but samples."""


def slices(seed: int = 0) -> dict[str, list[ToyConfig]]:
    """The points of each part of the atlas, in the order in which they are run."""
    two = [
        replace(TWO, reconstruction_share=share, **kind)
        for kind, share in product(KINDS.values(), (0.1, 0.3, 0.5, 0.6, 0.7, 0.9))
    ]
    deciding = [
        replace(PARTIAL, reconstruction_share=share, **kind)
        for kind, share in product(KINDS.values(), (0.1, 0.4, 0.7, 0.9))
    ]
    phase = [
        replace(BASE, weight_decay=decay, firing_rate=rate, width=width, reconstruction_share=share)
        for decay, rate, width, share in product(DECAYS, RATES, WIDTHS, SHARES)
    ]
    decay = [
        replace(BASE, weight_decay=decay, width=width, reconstruction_share=0.9)
        for decay, width in product(MORE_DECAYS, (32, 8))
    ]
    size = [
        replace(BASE, width=width, reconstruction_share=0.9, steps=times * BASE.steps)
        for width, times in product((32, 8), (1, 4))
    ]
    parts = {
        "phase": phase,
        "weight decay": decay,
        "deciding cell": deciding,
        "two in one": two,
        "size": size,
    }
    return {name: [replace(point, seed=seed) for point in points] for name, points in parts.items()}


def explore(
    seed: int, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[str, dict]]:
    """What was found at every point, with the name of its slice; points in the folder are not run again."""
    parts = slices(seed)
    total, done = sum(map(len, parts.values())), 0
    for name, points in parts.items():
        n_worlds = 1 if name == ONE_WORLD else N_WORLDS
        for config in points:
            make = partial(measure_point, config, n_worlds)
            yield name, kept(folder, [asdict(config), n_worlds], make)
            done += 1
            if progress is not None:
                progress(done, total)


def explore_anchors(
    seed: int, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[dict]:
    """The rows of every anchor (toy.known.measure_run); runs in the folder are not made again."""
    runs, rows = anchor_runs(seed), []
    for done, run in enumerate(runs, 1):
        names = [anchor.name for anchor in run.anchors]
        rows += kept(folder, [asdict(run.config), names], partial(measure_run, run))
        if progress is not None:
            progress(done, len(runs))
    return rows


def kept(folder: Path, about: list, make: Callable[[], Any]) -> Any:
    """What `make` gives, from the folder if the same code made it of the same thing before."""
    key = hashlib.sha256(json.dumps([about, toy_sha256()], sort_keys=True).encode()).hexdigest()[:24]
    path = folder / f"{key}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(make()), encoding="utf-8")
        unfinished.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


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
    """SHA-256 of this package's modules: points of other code are not taken up."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
