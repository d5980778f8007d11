"""A language model that learned nothing, with an SAE of its own: the control for all that training did."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from real.config import SAEConfig
from real.controls import rerandomise
from real.sae_files import load_sae
from real.sae_on_text import describe, site_activations
from real.sae_training import Progress, train_sae
from real.system import RealSystem

ENTROPY_SEQUENCES = 16
"""Sequences on which the outputs' entropy is brought to the trained model's."""


def untrained_system(
    trained: RealSystem, config: SAEConfig, *, keep_embeddings: bool, progress: Progress | None = None
) -> RealSystem:
    """The same text through the same architecture, each tensor drawn anew, and an SAE trained on that.

    The SAE learns from `config.part` of the very tokens that are measured, over and over: what it finds in
    them is there to be found. Their activations are computed once and held in memory.
    """
    model = rerandomise(
        trained.language_model,
        trained.blocks[:ENTROPY_SEQUENCES],
        seed=config.seed,
        keep_embeddings=keep_embeddings,
    )
    per_sequence = trained.config.context - trained.config.drop_first_position
    blocks = trained.blocks[: -(-config.part // per_sequence)]
    rows = torch.cat([some.cpu() for some in site_activations(model, blocks, trained.config)])

    def over_and_over(part: int, n_rows: int) -> Tensor:
        return rows[torch.arange(part * n_rows, (part + 1) * n_rows) % len(rows)]

    with TemporaryDirectory() as folder:
        train_sae(over_and_over, config, Path(folder) / "sae", progress=progress)
        sae = load_sae(Path(folder) / "sae", device=str(model.device))
    named = dataclasses.replace(trained.config, model=model.name, sae=f"its own: {describe(config)}")
    return RealSystem(model, sae, trained.blocks, named, text_sha256=trained.text_sha256)
