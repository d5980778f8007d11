"""The atlas: a small world and its networks at each point of a grid, so that a claim has a map.

A point is a ToyConfig; what was found at it is a plain dictionary, kept as a file of its own, so that an
atlas that was stopped goes on.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import torch

from toy.anchors import pair_cosines
from toy.config import ToyConfig
from toy.model import train
from toy.world import World

N_SEEDS = 10
ANTIPODAL = -0.9
"""Pairs with a cosine below count as antipodal, above its opposite as parallel."""
SHORT = 0.1
"""A feature shorter than this share of the longest counts as not written; its pairs are told apart."""

BASE = ToyConfig(
    n_features=64, width=32, vocabulary=64, firing_rate=0.03, n_seeds=N_SEEDS, steps=800, batch=128
)
TWO = ToyConfig(
    n_features=2, width=1, vocabulary=32, firing_rate=0.02, readout_width=16, n_seeds=N_SEEDS, steps=1000,
    batch=256, grouped_share=1.0, conditionals=(0.0,), overlaps=(1.0,),
)  # fmt: skip
PARTIAL = replace(BASE, overlaps=(0.0, 0.25, 0.5, 0.75, 1.0), grouped_share=0.9375)
KINDS = {
    "softmax, tied": {},
    "softmax, untied": {"tied": False},
    "ReLU regression, tied": {"readout": "relu"},
    "MLP, tied": {"readout": "mlp"},
}
SHARES = (0.0, 0.3, 0.6, 0.9, 0.97, 1.0)


def slices(seed: int = 0) -> dict[str, list[ToyConfig]]:
    """The points of each part of the atlas, in the order in which they are run."""
    two = [
        replace(TWO, reconstruction_share=share, **kind)
        for kind, share in product(KINDS.values(), (0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    ]
    deciding = [
        replace(PARTIAL, reconstruction_share=share, **kind)
        for kind, share in product(KINDS.values(), (0.1, 0.3, 0.5, 0.7, 0.9, 0.97))
    ]
    grid = [(0.0, rate) for rate in (0.03, 0.01, 0.1)] + [(0.3, 0.03)]
    phase = [
        replace(BASE, weight_decay=decay, firing_rate=rate, width=width, reconstruction_share=share)
        for (decay, rate), width, share in product(grid, (64, 32, 16, 8), SHARES)
    ]
    one = replace(BASE, reconstruction_share=0.9)
    size = [one, replace(one, steps=4 * one.steps)]
    size += [replace(one, n_features=256, width=128, vocabulary=256)]
    parts = {"phase": phase, "deciding cell": deciding, "two in one": two, "size": size}
    return {name: [replace(point, seed=seed) for point in points] for name, points in parts.items()}


def explore(
    seed: int, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[str, dict]]:
    """What was found at every point, with the name of its slice; points in the folder are not run again."""
    parts = slices(seed)
    total, done = sum(map(len, parts.values())), 0
    folder.mkdir(parents=True, exist_ok=True)
    code = toy_sha256()
    for name, points in parts.items():
        for config in points:
            key = hashlib.sha256(json.dumps([asdict(config), code], sort_keys=True).encode()).hexdigest()[:24]
            path = folder / f"{key}.json"
            if not path.is_file():
                unfinished = path.with_suffix(f".{os.getpid()}")
                unfinished.write_text(json.dumps(measure_point(config)), encoding="utf-8")
                unfinished.replace(path)
            yield name, json.loads(path.read_text(encoding="utf-8"))
            done += 1
            if progress is not None:
                progress(done, total)


def measure_point(config: ToyConfig) -> dict:
    """Train at one point: losses of each start, and of each cell the cosines' mean and shares by start.

    `by_seed` are means over a cell's pairs in each start, `antipodal` and `parallel` shares of pairs beyond
    +-0.9, `unwritten` shares of pairs of which one feature is shorter than a tenth of the longest.
    """
    world = World(config)
    found = train(config, world)
    length = found.directions.norm(dim=2)
    is_written = length > SHORT * length.amax(1, keepdim=True)
    cells = []
    for (cooccurrence, overlap), pairs in pairs_by_overlap(world).items():
        cosines = pair_cosines(found.directions, pairs)
        both = is_written[:, pairs[:, 0]] & is_written[:, pairs[:, 1]]
        cells.append(
            {
                "cooccurrence": cooccurrence,
                "overlap": overlap,
                "n_pairs": len(pairs),
                "by_seed": cosines.mean(1).tolist(),
                "antipodal": (cosines < ANTIPODAL).float().mean(1).tolist(),
                "parallel": (cosines > -ANTIPODAL).float().mean(1).tolist(),
                "unwritten": 1 - both.float().mean().item(),
            }
        )
    return {"config": asdict(config), "losses": found.losses.tolist(), "best": found.best, "cells": cells}


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
