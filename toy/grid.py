"""Which points the atlas has: a small world at each point of a grid, and slices for single questions."""

from dataclasses import replace
from itertools import product

from toy.config import ToyConfig

N_WORLDS, N_SEEDS = 5, 2
"""Worlds of a point, each with draws of its own, and starts in each."""

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
NEAR = "near the table"
NEAR_RATES, NEAR_WIDTHS = (0.03, 0.07, 0.1, 0.15, 0.2), (53, 43, 32)
NEAR_SHARES = (0.85, 0.9, 0.95, 0.97, 0.99)
"""Round the one point of the grid at which the post's table was found to hold."""
DENSER_RATES, DENSER_WIDTHS, DENSER_SHARES = (0.07, 0.1, 0.15), (26, 21), (0.85, 0.9, 0.95)
"""Where its border was looked for with less room."""

N_WORLDS_BY_SLICE = {NEAR: 10, "two in one": 1}
"""Where it is not N_WORLDS: two features with one output leave nothing to draw but samples."""


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
    near = [
        replace(BASE, firing_rate=rate, width=width, reconstruction_share=share)
        for rate, width, share in (
            *product(NEAR_RATES, NEAR_WIDTHS, NEAR_SHARES),
            *product(DENSER_RATES, DENSER_WIDTHS, DENSER_SHARES),
        )
    ]
    parts = {
        "phase": phase,
        NEAR: near,
        "weight decay": decay,
        "deciding cell": deciding,
        "two in one": two,
        "size": size,
    }
    # worlds of their own near the table, so that chance which led there is not counted again
    seeds = {name: seed + (name == NEAR) for name in parts}
    return {name: [replace(point, seed=seeds[name]) for point in points] for name, points in parts.items()}
