"""What features do to the next token: each one's direction added, or taken away where it fires."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from real.config import RealConfig
from real.language_model import LanguageModel
from real.sae import SAE

Progress = Callable[[int, int], None]
CHUNK = 512
"""Changed tokens that go through the model side by side."""
REPLAY_TOLERANCE = 1e-2
"""Nats that a token's log-probability may shift by where nothing is changed; rounding costs about 1e-5."""


class Effects(NamedTuple):
    """Mean shifts of next-token log-probabilities, in nats, changed minus clean."""

    added: Float[Tensor, "some vocab"]
    """When a feature's direction, times its amount, is added at the positions of the sample."""

    ablated: Float[Tensor, "some vocab"]
    """When what a feature writes is taken away where it fires; NaN where it fires nowhere in the sample."""

    n_ablated: Int[Tensor, " some"]
    """Firings that the second is a mean over."""


class Change(NamedTuple):
    """One feature, by its place among those asked for, at one position of a sequence."""

    feature: int
    position: int
    amount: float
    """Of its direction; negative where it is taken away."""


@torch.no_grad()
def causal_effects(
    model: LanguageModel,
    sae: SAE,
    blocks: Int[Tensor, "sequences context"],
    config: RealConfig,
    features: Int[Tensor, " some"],
    amounts: Float[Tensor, " some"],
    *,
    progress: Progress | None = None,
) -> Effects:
    """Effects of some features on the next token at the position where they are changed, and nowhere else.

    The sample is the first `effect_sequences` sequences: in each of the first `effect_positions` one position
    is drawn at which all features are added, and over all of them the first `effect_firings` firings of each
    feature are ablated. `amounts` are in the SAE's units of activation.
    """
    first, blocks = int(config.drop_first_position), blocks[: config.effect_sequences]
    check_replay(model, blocks[0], config.site)
    draws = torch.Generator().manual_seed(config.seed)
    places = torch.randint(first, blocks.shape[1], (config.effect_positions,), generator=draws).tolist()
    added, ablated = (torch.zeros(len(features), model.n_vocabulary) for _ in range(2))
    n_ablated = torch.zeros(len(features), dtype=torch.int64)
    for number, block in enumerate(blocks):
        site = model.activations(block[None], config.site)[0]
        ablations = list(firings(sae, site, first, features, n_ablated, config.effect_firings))
        additions = [
            Change(feature, places[number], amount)
            for feature, amount in enumerate(amounts.tolist())
            if number < len(places)
        ]
        for changes, total in ((additions, added), (ablations, ablated)):
            add_shifts(total, changes, model, sae, block, site, config.site, features)
        if progress is not None:
            progress(number + 1, len(blocks))
    ablated /= n_ablated[:, None]  # 0 / 0 is NaN
    return Effects(added / min(len(places), len(blocks)), ablated, n_ablated)


def check_replay(model: LanguageModel, block: Int[Tensor, " context"], site: str) -> None:
    """ValueError where values that are put back as they were shift the next token.

    So it is where attention reaches less far back than the sequence: a change would see what the model does
    not.
    """
    as_they_are = model.activations(block[None], site)[0]
    replayed = model.shifts(block, site, torch.arange(len(block)), as_they_are, chunk=CHUNK)
    largest = max(shifts.abs().max().item() for shifts in replayed)
    if not largest <= REPLAY_TOLERANCE:
        window = f" (its window: {model.window})" if model.window else ""
        raise ValueError(
            f"expected no shift where nothing is changed, found {largest:.2g} nats on sequences of "
            f"{len(block)} tokens: {model.name} does not look back over all of them{window}, as causal "
            "effects need; lower context or leave --effects out."
        )


def firings(
    sae: SAE,
    site: Float[Tensor, "context width"],
    first: int,
    features: Int[Tensor, " some"],
    n_seen: Int[Tensor, " some"],
    n_wanted: int,
) -> Iterator[Change]:
    """Ablations of what fires in a sequence, at most `n_wanted` a feature in all; counts them in n_seen."""
    activations = sae.activations(sae.read(site[first:]))
    activations = activations.to_dense() if activations.layout == torch.sparse_csr else activations
    activations = activations[:, features.to(activations.device)].cpu()
    for feature in ((activations != 0).any(0) & (n_seen < n_wanted)).nonzero()[:, 0].tolist():
        tokens = activations[:, feature].nonzero()[:, 0][: n_wanted - int(n_seen[feature])]
        n_seen[feature] += len(tokens)
        for token in tokens.tolist():
            yield Change(feature, first + token, -activations[token, feature].item())


def add_shifts(
    total: Float[Tensor, "some vocab"],
    changes: list[Change],
    model: LanguageModel,
    sae: SAE,
    block: Int[Tensor, " context"],
    site: Float[Tensor, "context width"],
    name: str,
    features: Int[Tensor, " some"],
) -> None:
    """Add to each feature's row the shifts that its changes in one sequence make."""
    if not changes:
        return
    which = torch.tensor([change.feature for change in changes])
    positions = torch.tensor([change.position for change in changes])
    amounts = torch.tensor([change.amount for change in changes])
    before = site[positions]
    steps = amounts[:, None].to(before) * sae.W_dec[features[which].to(sae.W_dec.device)]
    changed = sae.write(sae.read(before) + steps, before)
    start = 0
    for shifts in model.shifts(block, name, positions, changed, chunk=CHUNK):
        total.index_add_(0, which[start : start + len(shifts)], shifts.cpu())
        start += len(shifts)
