"""An SAE on a language model: activations of a text to train on, and what it costs the model."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from real.activation_store import ActivationStore
from real.config import RealConfig, SAEConfig, sae_folder
from real.language_model import LanguageModel, Replacement
from real.sae import SAE
from real.sae_files import add_metadata, load_sae
from real.sae_quality import Agreement, agreement, firing_counts, reconstruction
from real.sae_state import generator
from real.sae_training import Progress, train_sae
from real.text import read_text, sample_blocks, token_blocks

N_HELD_OUT = 400
"""Sequences at most, a tenth of the text at most, that an SAE is judged on and never trained on."""

N_SPLICED = 100
"""How many of these the cross-entropy is measured on, which takes the whole model three times."""


@dataclass(frozen=True)
class TextActivations:
    """A source of training data: a site's activations, sequences drawn anew in every pass over the text."""

    language_model: LanguageModel
    blocks: Int[Tensor, "sequences context"]
    config: RealConfig
    seed: int
    store: ActivationStore | None = None

    def __call__(self, part: int, n_rows: int) -> Float[Tensor, "rows width"]:
        """Activations number part * n_rows and those after it, of a stream without end."""
        per_sequence = self.config.context - self.config.drop_first_position
        n_sequences = -(-n_rows // per_sequence)
        before, n_blocks = part * n_sequences, len(self.blocks)
        passes = range(before // n_blocks, (before + n_sequences - 1) // n_blocks + 1)
        order = torch.cat([torch.randperm(n_blocks, generator=generator(self.seed, p)) for p in passes])
        order = order[before - passes[0] * n_blocks :][:n_sequences]
        if self.store is not None:
            return self.store(order)[:n_rows]
        rows = [some.cpu() for some in site_activations(self.language_model, self.blocks[order], self.config)]
        return torch.cat(rows)[:n_rows]


def store_of(
    folder: Path, language_model: LanguageModel, blocks: Int[Tensor, "sequences context"], config: RealConfig
) -> ActivationStore:
    """Where a site's activations on these sequences are kept."""
    about = {
        "model_sha256": language_model.sha256,
        "site": config.site,
        "drop_first_position": config.drop_first_position,
    }
    return ActivationStore(
        folder, blocks, lambda some: torch.cat(list(site_activations(language_model, some, config))), about
    )


def site_activations(
    language_model: LanguageModel, blocks: Int[Tensor, "sequences context"], config: RealConfig
) -> Iterator[Float[Tensor, "tokens width"]]:
    """A site's activations, some sequences at a time."""
    for some in blocks.split(config.batch_tokens // config.context):
        site = language_model.activations(some, config.site)
        yield site[:, int(config.drop_first_position) :].flatten(0, 1)


def train_on_text(
    sae_config: SAEConfig,
    real_config: RealConfig,
    out: Path,
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> SAE:
    """Train an SAE on the model and text of a config; it and its quality go to the folder `out`.

    With `keep`, a folder, activations are read from there, and added where they are not there yet.
    """
    model = LanguageModel.load(real_config.model_source, device=real_config.device, name=real_config.model)
    text = read_text(real_config.text_file, split=real_config.split)
    blocks = token_blocks(text, model.tokenizer, context=real_config.context)
    sae = train_on_model(model, blocks, sae_config, real_config, out, keep=keep, progress=progress)
    add_metadata(out, {"text_sha256": text.sha256})
    return sae


def train_on_model(
    model: LanguageModel,
    blocks: Int[Tensor, "sequences context"],
    sae_config: SAEConfig,
    real_config: RealConfig,
    out: Path,
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> SAE:
    """The same for a model and a text in memory, such as a re-randomised model."""
    blocks = sample_blocks(blocks, len(blocks), seed=real_config.seed)
    if len(blocks) < 2:
        raise ValueError(
            f"expected 2 sequences of {real_config.context} tokens or more, one to train on and one to judge "
            f"by, found {len(blocks)}: give more text or lower context."
        )
    n_held_out = max(1, min(N_HELD_OUT, len(blocks) // 10))
    held_out = blocks[:n_held_out]
    rest = blocks[n_held_out:]
    # refuses a site where nothing can be spliced in, now and not after the training
    model.run(held_out[:1], real_config.site, replace=lambda site: site)
    reads = {
        "site": real_config.site,
        "context": real_config.context,
        "drop_first_position": real_config.drop_first_position,
        "model_sha256": model.sha256,
        "blocks_sha256": hashlib.sha256(rest.numpy().tobytes()).hexdigest(),
    }
    store = store_of(keep, model, rest, real_config) if keep is not None else None
    source = TextActivations(model, rest, real_config, sae_config.seed, store)
    train_sae(source, sae_config, out, reads=reads, progress=progress)
    sae = load_sae(out, device=str(model.device))
    quality = asdict(reconstruction(sae, site_activations(model, held_out, real_config)))
    quality |= splice_losses(model, sae, held_out[:N_SPLICED], real_config)
    about = {
        "note": describe(sae_config),
        "model_name": model.name,
        "hook_name": real_config.site,
        "context_size": real_config.context,
        "prepend_bos": False,
        "model_sha256": reads["model_sha256"],
        "quality": quality | {"cosine_with_start": sae.metadata["cosine_with_start"]},
    }
    add_metadata(out, about)
    return load_sae(out)


def record_agreement(first: Path, second: Path, config: RealConfig) -> Agreement:
    """Agreement of two SAEs over features that fire on the text; kept with the first one's quality.

    The second may be a bundled one's name. ValueError where it is the first one again.
    """
    saes = [load_sae(folder, device=config.device) for folder in (first, sae_folder(str(second)))]
    if all(
        torch.equal(getattr(saes[0], name), getattr(saes[1], name)) for name in ("W_dec", "W_enc", "b_enc")
    ):
        raise ValueError(
            f"expected another seed than {first}, found the same weights in {second}: train one."
        )
    model = LanguageModel.load(config.model_source, device=config.device, name=config.model)
    blocks = token_blocks(
        read_text(config.text_file, split=config.split), model.tokenizer, context=config.context
    )
    blocks = sample_blocks(blocks, N_HELD_OUT, seed=config.seed)
    alive, is_signed = [], False
    for folder, sae in zip((first, second), saes, strict=True):
        is_signed |= sae.is_signed
        fires = firing_counts(sae, site_activations(model, blocks, config)) > 0
        if not fires.any():
            raise ValueError(
                f"expected features that fire on the text, found none in {folder}: is it of this model, and "
                "of the site in [reads]?"
            )
        alive.append(sae.W_dec.cpu()[fires])
    found = agreement(*alive, signed=is_signed, generator=generator(config.seed, 0))
    quality = saes[0].metadata.get("quality") or {}
    add_metadata(first, {"quality": quality | {"agreement": found.mean, "agreement_null": found.null_mean}})
    return found


def describe(config: SAEConfig) -> str:
    """What was trained, in a line."""
    decoder = {
        "trained": "decoder trained",
        "isotropic": "decoder frozen at random directions",
        "matched": f"decoder frozen at random directions of the mean and covariance of {config.matched_to}",
    }[config.decoder]
    return f"{config.n_features:,} features, {config.kind}, {decoder}, {config.n_activations:,} activations"


def splice_losses(
    model: LanguageModel, sae: SAE, blocks: Int[Tensor, "sequences context"], config: RealConfig
) -> dict[str, float]:
    """Cross-entropy, in nats a token, as is, with the SAE's reconstruction at the site, and with zeros there.

    `loss_recovered` is 1 where the reconstruction costs nothing and 0 where it is no better than zeros.
    Positions that are dropped are left as they are and not counted.
    """
    first = int(config.drop_first_position)

    def splice(site: Tensor) -> Tensor:
        changed = site.clone()
        changed[:, first:] = sae.reconstruct(site[:, first:].flatten(0, 1)).view_as(site[:, first:])
        return changed

    def blank(site: Tensor) -> Tensor:
        changed = site.clone()
        changed[:, first:] = 0
        return changed

    clean, spliced, blanked = (cross_entropy(model, blocks, config, how) for how in (None, splice, blank))
    return {
        "loss": clean,
        "loss_with_sae": spliced,
        "loss_with_zeros": blanked,
        "loss_recovered": (blanked - spliced) / (blanked - clean),
    }


def cross_entropy(
    model: LanguageModel,
    blocks: Int[Tensor, "sequences context"],
    config: RealConfig,
    replace: Replacement | None,
) -> float:
    """Mean of -log P(next token) over all counted positions but the last of each sequence."""
    first = int(config.drop_first_position)
    total, count = 0.0, 0
    for some in blocks.split(config.batch_tokens // config.context):
        _, outputs = model.run(some, config.site, replace=replace)
        right = outputs[:, first:-1].gather(2, some[:, first + 1 :, None].to(outputs.device))
        total -= right.double().log().sum().item()
        count += right.numel()
    return total / count
