"""What a dimension is worth to the atlas' networks: `python tests/validation/dimension_price.py`.

Writes dimension_price.csv beside this file, a row a firing rate and pair of neighbouring widths. `price` is
by how much the reconstruction loss of all features rises when a network gives up a dimension, in units of
losing one feature; `opposite_cost` is which share of a feature's output loss comes back if exclusive features
of one output lie opposite each other, directions held fixed. From both follows `border`: the share of
reconstruction in the loss above which such a pair gains by lying opposite (docs/science.md). About ten
minutes on one core.
"""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch

from toy.grid import BASE
from toy.model import train, trained
from toy.network import LossScales, Network
from toy.world import World

RATES = (0.03, 0.07, 0.1, 0.15, 0.2)
WIDTHS = (64, 56, 53, 43, 32, 26, 21)
SEED = 3


def prices(rate: float) -> list[dict]:
    """Price of a dimension between neighbouring widths, mean over starts."""
    losses = {}
    for width in WIDTHS:
        config = replace(BASE, firing_rate=rate, width=width, reconstruction_share=1.0, seed=SEED)
        losses[width] = train(config, World(config)).reconstruction_losses.mean().item()
    return [
        {
            "firing_rate": rate,
            "width_above": wide,
            "width_below": narrow,
            "price": BASE.n_features * (losses[narrow] - losses[wide]) / (wide - narrow),
        }
        for wide, narrow in pairwise(WIDTHS)
    ]


def opposite_cost(rate: float) -> float:
    """Output loss of exclusive pairs of one output laid opposite, less that of orthogonal ones, a feature."""
    config = replace(
        BASE, firing_rate=rate, width=64, reconstruction_share=0.0, n_seeds=1, steps=1500, seed=SEED
    )
    world = World(config)
    pairs = [pair for pair in world.pairs if (pair.cooccurrence, pair.overlap) == ("exclusive", 1.0)]
    orthogonal = torch.eye(config.n_features)
    opposite = orthogonal.clone()
    for pair in pairs:
        opposite[pair.j] = -opposite[pair.i]
    more = output_loss(config, world, opposite) - output_loss(config, world, orthogonal)
    return more * config.n_features / (2 * len(pairs))


def output_loss(config, world, directions) -> float:
    """Output loss of a readout that learns on directions that are held fixed."""
    scales = LossScales(world)
    network = Network(replace(config, directions="given"), scales)
    network.directions.copy_(directions[:, None, :].expand_as(network.directions))
    network.encoder = network.directions
    optimizer = torch.optim.AdamW(network.groups(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(SEED)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 + math.cos(math.pi * step / config.steps)) / 2
        sample = world.sample(config.batch, generator)
        network.backward(sample, world.labels(sample.csr(), generator))
        optimizer.step()
    return trained(network, scales).output_losses.mean().item()


def main() -> None:
    rows = []
    for rate in RATES:
        cost = opposite_cost(rate)
        for row in prices(rate):
            odds = 2 * cost / row["price"] if row["price"] > 0 else math.inf
            border = odds / (1 + odds) if odds < math.inf else 1.0
            rows.append(row | {"opposite_cost": cost, "border": border})
        print(pd.DataFrame(rows).tail(len(WIDTHS) - 1).round(3).to_string(), flush=True)
        pd.DataFrame(rows).round(6).to_csv(Path(__file__).with_name("dimension_price.csv"), index=False)


if __name__ == "__main__":
    main()
