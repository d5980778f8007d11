"""How good a dictionary is: what it explains, how many features fire, whether another seed finds the same."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from real.controls import matched_directions, unit_rows
from real.sae import SAE


@dataclass(frozen=True)
class Reconstruction:
    """How an SAE does on activations that it is shown."""

    explained_variance: float
    """1 - squared error / squared distance from the mean, both summed over tokens and width; 1 is perfect."""

    l0: float
    """Mean number of features that fire on a token."""

    dead_share: float
    """Share of features that never fired."""

    n_tokens: int
    """Over how many tokens."""


@torch.no_grad()
def reconstruction(sae: SAE, batches: Iterable[Float[Tensor, "tokens width"]]) -> Reconstruction:
    """One pass over a site's activations."""
    n_tokens, n_firings, errors, squares = 0, 0, 0.0, 0.0
    total = torch.zeros(sae.width, dtype=torch.float64)
    has_fired = torch.zeros(sae.n_features, dtype=torch.bool)
    for site in batches:
        activations = sae.activations(sae.read(site))
        firings = fired(activations)
        has_fired[firings] = True
        n_firings += len(firings)
        n_tokens += len(site)
        errors += (sae.write(sae.decode(activations), site) - site).double().square().sum().item()
        squares += site.double().square().sum().item()
        total += site.double().sum(0).cpu()
    if n_tokens == 0:
        raise ValueError("expected activations to judge an SAE by, found none: give it text.")
    variance = squares - total.square().sum().item() / n_tokens
    return Reconstruction(
        explained_variance=1 - errors / variance,
        l0=n_firings / n_tokens,
        dead_share=1 - has_fired.double().mean().item(),
        n_tokens=n_tokens,
    )


@torch.no_grad()
def firing_counts(sae: SAE, batches: Iterable[Float[Tensor, "tokens width"]]) -> Int[Tensor, " features"]:
    """On how many tokens each feature fired."""
    counts = torch.zeros(sae.n_features, dtype=torch.int64)
    for site in batches:
        counts += torch.bincount(fired(sae.activations(sae.read(site))), minlength=sae.n_features)
    return counts


def fired(activations: Float[Tensor, "tokens features"]) -> Int[Tensor, " firings"]:
    """The feature of every firing."""
    if activations.layout == torch.sparse_csr:
        return activations.col_indices().cpu()
    return activations.nonzero()[:, 1].cpu()


@dataclass(frozen=True)
class Agreement:
    """Mean over the first dictionary's rows of the largest cosine with a row of the second.

    Of signed dictionaries the largest by absolute value: a direction and its opposite are the same feature.
    """

    mean: float
    """As found."""

    null_mean: float
    """The same with a random dictionary in the place of the second, of the second's mean and covariance."""

    null_sd: float
    """Standard deviation of that over draws."""


def agreement(
    first: Float[Tensor, "features width"],
    second: Float[Tensor, "other_features width"],
    *,
    signed: bool,
    generator: torch.Generator,
    n_draws: int = 3,
) -> Agreement:
    """How much of one dictionary another has found, beside what a matched random one would have."""
    draws = [matched_directions(second, len(second), generator=generator) for _ in range(n_draws)]
    nulls = torch.tensor([mean_max_cosine(first, drawn, signed=signed) for drawn in draws])
    found = mean_max_cosine(first, second, signed=signed)
    return Agreement(found, nulls.mean().item(), nulls.std().item())


def mean_max_cosine(
    first: Float[Tensor, "features width"], second: Float[Tensor, "other_features width"], *, signed: bool
) -> float:
    """Mean over rows of `first` of the largest cosine with any row of `second`, within [-1, 1].

    If `signed`, of its largest absolute value.
    """
    second = unit_rows(second)
    cosines = (rows @ second.T for rows in unit_rows(first).split(1024))
    best = [(some.abs() if signed else some).amax(1) for some in cosines]
    return torch.cat(best).mean().item()
