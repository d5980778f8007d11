"""Dense co-occurrence: features fire where correlated Gaussians lie below a threshold (a Gaussian copula).

The dial is what is seen, a joint rate or phi, never the latent correlation: at rate .05 a latent .9 is a phi
of .62, and -.5 one of -.05. The correlation of each pair is solved for through the bivariate normal.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ndtr, ndtri, owens_t
from torch import Tensor

from toy.firing import Events
from toy.magnitudes import draw_magnitudes

Rates = Float[np.ndarray, " features"]
Joint = Float[np.ndarray, "features features"]

STEEPEST = 0.995
"""Largest absolute latent correlation of two features."""
TOLERANCE = 0.05
"""Root mean square error of phi beyond which a set of joint rates counts as out of reach."""
TRUTH_ROWS = 2**17
"""Samples from which expected labels are estimated."""
ROWS = 2**14


class Copula:
    """`rates` [features] and `joint_rates` [features, features] are exact for the correlation in use.

    Pairwise correlations need not make a correlation matrix together. Then the nearest by clipped eigenvalues
    is used; `phi_error` is the root mean square of what that changes in phi, over pairs.
    Raises ValueError where a pair's joint rate is out of its range, or phi_error is above 0.05.
    """

    rows_drawn = TRUTH_ROWS

    def __init__(self, rates: Rates, joint_rates: Joint, seed: int) -> None:
        check_reachable(rates, joint_rates)
        wanted = latent_correlation(rates, joint_rates)
        correlation = nearest_correlation(wanted)
        found = gaussian_joint_rate(rates[:, None], rates[None, :], correlation)
        upper = np.triu_indices(len(rates), 1)
        error = phi_of(found, rates)[upper] - phi_of(joint_rates, rates)[upper]
        self.phi_error = float(np.sqrt((error**2).mean())) if len(error) else 0.0
        if self.phi_error > TOLERANCE:
            worst = int(np.abs(error).argmax())
            i, j = upper[0][worst], upper[1][worst]
            raise ValueError(
                f"expected joint rates that a Gaussian copula can have together, found a root mean square "
                f"error of {self.phi_error:.3f} in phi (worst for features {i} and {j}): ask for weaker "
                "co-occurrence, or for groups that are small."
            )
        np.fill_diagonal(found, rates)
        self.rates, self.joint_rates = torch.from_numpy(rates.copy()), torch.from_numpy(found)
        self._threshold = torch.from_numpy(ndtri(rates)).float()
        values, vectors = np.linalg.eigh(correlation)
        self._factor = torch.from_numpy(vectors * np.sqrt(np.maximum(values, 0))).float()
        self._seed = seed

    @property
    def silence(self) -> float:
        """P(no feature is on), estimated from the samples behind label_weights."""
        generator = torch.Generator().manual_seed(self._seed)
        rows = torch.cat([self.draw(ROWS, generator)[0].unique() + k for k in range(TRUTH_ROWS // ROWS)])
        return 1 - len(rows) / TRUTH_ROWS

    def draw(self, n_rows: int, generator: torch.Generator) -> Events:
        """The events of n_rows samples."""
        parts = []
        for first in range(0, n_rows, ROWS):
            size = (min(ROWS, n_rows - first), len(self.rates))
            is_on = torch.randn(size, generator=generator) @ self._factor.T < self._threshold
            rows, features = is_on.nonzero(as_tuple=True)
            parts.append((rows + first, features))
        return torch.cat([rows for rows, _ in parts]), torch.cat([features for _, features in parts])

    def label_weights(
        self, magnitudes: str
    ) -> tuple[Float[Tensor, "features features"], Float[Tensor, " features"]]:
        """E[x_i x_k / S] / E[x_i] for all i, k, and E[x_k / S; S > 0], by Monte Carlo on 131,072 samples."""
        generator = torch.Generator().manual_seed(self._seed)
        n = len(self.rates)
        weights, mass = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        share = torch.zeros(n, dtype=torch.float64)
        for _ in range(TRUTH_ROWS // ROWS):
            rows, features = self.draw(ROWS, generator)
            x = torch.zeros(ROWS, n)
            x[rows, features] = draw_magnitudes(magnitudes, len(rows), generator)
            shares = x / x.sum(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
            weights += (x.T @ shares).double()
            mass += x.sum(0)
            share += shares.sum(0)
        return weights / mass[:, None], share / TRUTH_ROWS


def gaussian_joint_rate(p: np.ndarray, q: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """P(both below their thresholds) of two Gaussians that are so with probabilities p and q.

    Owen (1956): the bivariate normal by his T function; broadcasts; within 1e-15 absolute.
    """
    h, k = (np.where(np.abs(z) < 1e-12, 1e-12, z) for z in (ndtri(p), ndtri(q)))
    root = np.sqrt((1 - correlation) * (1 + correlation))
    with np.errstate(divide="ignore", invalid="ignore"):
        at_h, at_k = owens_t(h, (k / h - correlation) / root), owens_t(k, (h / k - correlation) / root)
    found = (ndtr(h) + ndtr(k)) / 2 - at_h - at_k - np.where(h * k < 0, 0.5, 0.0)
    return np.where(correlation >= 1, np.minimum(p, q), np.clip(found, 0, 1))


def latent_correlation(rates: Rates, joint_rates: Joint) -> Joint:
    """For each pair the correlation that gives its joint rate, within +-0.995, by bisection."""
    i, j = np.triu_indices(len(rates), 1)
    low, high = np.full(len(i), -STEEPEST), np.full(len(i), STEEPEST)
    for _ in range(50):
        middle = (low + high) / 2
        is_below = gaussian_joint_rate(rates[i], rates[j], middle) < joint_rates[i, j]
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    found = np.eye(len(rates))
    found[i, j] = found[j, i] = (low + high) / 2
    return found


def nearest_correlation(wanted: Joint) -> Joint:
    """The matrix itself if it is a correlation matrix, else with eigenvalues below 0 cut and rescaled."""
    values, vectors = np.linalg.eigh(wanted)
    if values[0] >= -1e-12:
        return wanted
    found = (vectors * np.maximum(values, 1e-10)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(found))
    return np.clip(found * np.outer(scale, scale), -1, 1)


def phi_of(joint_rates: Joint, rates: Rates) -> Joint:
    """Correlation of on and off: (P(i,j) - P(i) P(j)) / sqrt(P(i) (1 - P(i)) P(j) (1 - P(j)))."""
    spread = np.sqrt(rates * (1 - rates))
    return (joint_rates - np.outer(rates, rates)) / np.outer(spread, spread)


def joint_of(phi: Joint, rates: Rates) -> Joint:
    """Joint rates from phi; phi_of backwards."""
    spread = np.sqrt(rates * (1 - rates))
    return phi * np.outer(spread, spread) + np.outer(rates, rates)


def check_reachable(rates: Rates, joint_rates: Joint) -> None:
    """Raise ValueError where a pair's joint rate lies outside of what its two rates allow."""
    low = np.maximum(0, rates[:, None] + rates[None, :] - 1)
    high = np.minimum(rates[:, None], rates[None, :])
    is_bad = (joint_rates < low - 1e-9) | (joint_rates > high + 1e-9)
    np.fill_diagonal(is_bad, False)
    if is_bad.any():
        i, j = np.argwhere(is_bad)[0]
        ends = [phi_of(limit, rates)[i, j] for limit in (low, high)]
        raise ValueError(
            f"expected P(i, j) from {low[i, j]:.4g} to {high[i, j]:.4g} (phi from {ends[0]:.3g} to "
            f"{ends[1]:.3g}) for features {i} and {j} that fire at {rates[i]:.4g} and {rates[j]:.4g}, found "
            f"{joint_rates[i, j]:.4g} (phi {phi_of(joint_rates, rates)[i, j]:.3g}): change it or the rates."
        )
