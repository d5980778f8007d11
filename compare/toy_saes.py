"""SAEs trained on toys' hidden vectors: what an SAE writes into the cosines by itself (compare.sae_bias).

It knows both toy and real: the SAE's code is the language model's.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from compare.processes import Task, kept
from compare.run import ReportConfig, about_run, run_folder
from compare.toy_arms import trained_toy
from real.config import SAEConfig
from toy.config import ToyConfig

if TYPE_CHECKING:
    from torch import Tensor

    from real.sae import SAE
    from toy.world import World

SAE_ON_TOY = SAEConfig(
    n_features=128, n_activations=307_200, batch=512, part=51_200, learning_rate=3e-3, silent_steps=100
)

COVARIANCE_SAMPLES = 20_000
"""Hidden vectors that the covariance of what an SAE reads is estimated from."""

SAE_KINDS = (("trained", 2), ("trained", 5), ("trained", 10), ("isotropic", 5))
"""Decoder and L0 of the SAEs, on toys in which five features are on at once."""


def sae_toys(config: ReportConfig) -> dict[str, list[ToyConfig]]:
    """Toys with room that learn their directions, and toys with random ones, each in a world of its own."""
    base = ToyConfig(
        n_features=128, width=64, firing_rate=0.04, magnitudes="lognormal", n_seeds=1,
        steps=200 if config.quick else 1500,
    )  # fmt: skip
    n_worlds = 2 if config.quick else 3
    learned = [replace(base, seed=n_worlds * config.seed + number) for number in range(n_worlds)]
    return {"learned": learned, "given": [replace(toy, directions="given", steps=1) for toy in learned]}


def sae_tasks(config: ReportConfig, runs: Path) -> list[Task]:
    """What makes the rows of each toy and the SAEs on it."""
    chosen = replace(SAE_ON_TOY, n_activations=51_200) if config.quick else SAE_ON_TOY
    home = toys_folder(config, runs)
    return [
        Task(home / f"sae-on-{name}-{number}.json", partial(rows_on_toy, name, toy, number, chosen), cost=4)
        for name, toys in sae_toys(config).items()
        for number, toy in enumerate(toys)
    ]


def sae_on_toys(config: ReportConfig, runs: Path) -> dict:
    """What an SAE writes into the cosines by itself: on toys that learned directions, and on given ones.

    Its L0 lies below, at and above the toy's, and a frozen decoder stands beside it. Rows by cell of true
    co-occurrence and outputs, and what they say, from the files of sae_tasks().
    """
    from compare.sae_bias import numbers_on_toys, over_seeds, sae_bias_sentences

    rows = [row for task in sae_tasks(config, runs) for row in kept(task.path)]
    found = over_seeds(rows)
    return {"rows": found, "sentences": sae_bias_sentences(found), "shape": numbers_on_toys(rows)}


def rows_on_toy(name: str, toy: ToyConfig, number: int, config: SAEConfig) -> list[dict]:
    """A row for each kind of SAE on a toy's hidden vectors and each cell (compare.sae_bias)."""
    from compare.sae_bias import bias_rows, preactivation_slope

    world, found = trained_toy(toy)
    (directions,) = found.directions
    covariance = np.cov(hidden_of(world, directions, COVARIANCE_SAMPLES, seed=toy.seed).numpy().T)
    rows = []
    for decoder, k in SAE_KINDS:
        learned = sae_on_toy(world, directions, replace(config, k=k, decoder=decoder, seed=toy.seed))
        encoder, rows_of_sae = learned.W_enc.numpy(), learned.W_dec.numpy()
        about = {
            "directions": name,
            "l0": world.rates.sum().item(),
            "decoder": decoder,
            "k": k,
            "instance": number,
            "preactivation_slope": preactivation_slope(encoder, rows_of_sae, covariance),
        }
        rows += [about | row for row in bias_rows(directions.numpy(), rows_of_sae, world.cells())]
    return rows


def sae_on_toy(world: "World", directions: "Tensor", config: SAEConfig) -> "SAE":
    """An SAE trained on a toy's hidden vectors."""
    from real.sae_training import train_sae

    def hidden(part: int, n_rows: int) -> "Tensor":
        return hidden_of(world, directions, n_rows, seed=config.seed * 10_000 + part)

    with TemporaryDirectory() as folder:
        return train_sae(hidden, config, Path(folder) / "sae")


def hidden_of(world: "World", directions: "Tensor", n_rows: int, *, seed: int) -> "Tensor":
    """Hidden vectors of samples of a toy's world."""
    import torch

    return world.sample(n_rows, torch.Generator().manual_seed(seed)).csr() @ directions


def toys_folder(config: ReportConfig, runs: Path) -> Path:
    """Where what is known of toys alone is kept: it asks for no file."""
    return run_folder(runs, about_run(config, ()))
