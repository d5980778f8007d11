"""Language models with an SAE trained within the run: controls for all that training did, of either."""

import dataclasses
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from real.config import SAEConfig
from real.controls import rerandomise
from real.language_model import LanguageModel
from real.sae_files import load_sae
from real.sae_on_text import N_HELD_OUT, N_SPLICED, describe, site_activations, splice_losses
from real.sae_quality import reconstruction
from real.sae_training import Progress, train_sae
from real.system import RealSystem

ENTROPY_SEQUENCES = 16
"""Sequences on which the outputs' entropy is brought to the trained model's."""


def untrained_system(
    trained: RealSystem, config: SAEConfig, *, keep_embeddings: bool, progress: Progress | None = None
) -> RealSystem:
    """The same text through the same architecture, each tensor drawn anew, and an SAE trained on that."""
    model = rerandomise(
        trained.language_model,
        trained.blocks[:ENTROPY_SEQUENCES],
        seed=config.seed,
        keep_embeddings=keep_embeddings,
    )
    return with_own_sae(trained, model, config, progress)


def frozen_system(trained: RealSystem, config: SAEConfig, *, progress: Progress | None = None) -> RealSystem:
    """The same model and text, and an SAE whose decoder is held at random directions of the mean and
    covariance of the trained one's. Its quality holds what it costs the model as well.
    """
    held = dataclasses.replace(config, decoder="matched", matched_to=trained.config.sae)
    system = with_own_sae(trained, trained.language_model, held, progress)
    lost = splice_losses(system.language_model, system.sae, system.blocks[:N_SPLICED], system.config)
    system.sae.metadata["quality"] |= lost
    system.provenance["inputs"]["matched_to"] = trained.provenance["inputs"]["sae"]
    return system


def with_own_sae(
    trained: RealSystem, model: LanguageModel, config: SAEConfig, progress: Progress | None
) -> RealSystem:
    """The text of a system through a model and an SAE that is trained on it; its metadata says how well.

    The SAE learns from `config.part` of the very tokens that are measured, over and over: what it finds in
    them is there to be found. Their activations are computed once and held in memory.
    """
    per_sequence = trained.config.context - trained.config.drop_first_position
    blocks = trained.blocks[: -(-config.part // per_sequence)]
    rows = torch.cat([some.cpu() for some in site_activations(model, blocks, trained.config)])

    def over_and_over(part: int, n_rows: int) -> Tensor:
        return rows[torch.arange(part * n_rows, (part + 1) * n_rows) % len(rows)]

    with TemporaryDirectory() as folder:
        train_sae(over_and_over, config, Path(folder) / "sae", progress=progress)
        sae = load_sae(Path(folder) / "sae", device=str(model.device))
    judged = rows[: N_HELD_OUT * per_sequence].to(model.device).split(trained.config.batch_tokens)
    quality = asdict(reconstruction(sae, iter(judged)))
    sae.metadata["quality"] = quality | {"cosine_with_start": sae.metadata["cosine_with_start"]}
    sae.metadata["note"] = describe(config)
    named = dataclasses.replace(trained.config, model=model.name, sae=f"its own: {describe(config)}")
    return RealSystem(model, sae, trained.blocks, named, text_sha256=trained.text_sha256)
