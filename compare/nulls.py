"""What the numbers would be if nothing were there: Gaussian inputs, random directions."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import betainc, betaincinv, betaln, xlog1py
from torch import Tensor

from compare.system import (
    Batch,
    HasEncoder,
    HasProvenance,
    HasShares,
    HasSite,
    HasVocabulary,
    Replace,
    System,
    share_of,
    unchanged,
)
from compare.tiles import unit_rows

FIXED_POINT_STEPS = 30
STANDS_OUT = 5.0
"""Standard deviations of the mean cosine of directions without a mean, from which they have one."""


class GaussianSurrogate:
    """A system whose site is fed Gaussian draws of a given mean and covariance, independent over tokens.

    Features and outputs follow from the draws through the same dictionary and the same network, so that a
    slope that is found here needs nothing but second moments. Every call of stream() gives the same draws. It
    has no truth, whatever the system had.
    """

    def __init__(
        self,
        system: System,
        mean: Float[np.ndarray, " width_in"],
        covariance: Float[np.ndarray, "width_in width_in"],
        *,
        seed: int = 0,
    ) -> None:
        if not isinstance(system, HasSite):
            raise ValueError(
                f"expected a system whose inputs can be replaced, found {system.name!r} without "
                "stream_with(): leave this null out or give the system a site."
            )
        self.name = f"{system.name}: Gaussian surrogate"
        self.directions = system.directions
        if isinstance(system, HasEncoder):
            self.encoder = system.encoder
        if isinstance(system, HasVocabulary):
            self.vocabulary = system.vocabulary
        base = system.provenance if isinstance(system, HasProvenance) else {"name": system.name}
        self.provenance = {"null": "Gaussian surrogate", "seed": seed, "of": base}
        self._system, self._seed = system, seed
        self._mean = torch.from_numpy(np.array(mean, dtype=np.float32))
        self._root = torch.from_numpy(_square_root(covariance).astype(np.float32))

    def stream(self) -> Iterator[Batch]:
        """The system's stream with the site's inputs drawn afresh from the same seed."""
        return self.stream_with(unchanged)

    def stream_with(self, replace: Replace) -> Iterator[Batch]:
        """The same, the draws having passed through `replace`."""
        return self._system.stream_with(self._draws(count(), replace))

    def share(self, number: int, of: int, replace: Replace = unchanged) -> Iterator[tuple[int, int, Batch]]:
        """Batches number, number + of, ... of stream(); at their own cost where the system has shares."""
        if isinstance(self._system, HasShares):
            return self._system.share(number, of, self._draws(count(number, of), replace))
        return share_of(self.stream_with(replace), number, of)

    def _draws(self, places: Iterator[int], replace: Replace) -> Replace:
        """For the batches at these places one after the other: what is drawn depends on the place alone."""

        def draw(inputs: Tensor) -> Tensor:
            seed = np.random.SeedSequence([self._seed, next(places)]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(seed[0] >> 1))
            noise = torch.randn(inputs.shape, generator=generator)
            return replace((self._mean + noise @ self._root).to(inputs))

        return draw


def cosine_density(
    cosine: Float[np.ndarray, "..."] | float, d: float | int
) -> Float[np.ndarray, "..."] | float:
    """Density of the cosine of two random unit vectors in d dimensions.

    (c + 1) / 2 is Beta((d - 1) / 2, (d - 1) / 2). d may be an effective dimension, above 1 and not whole.
    """
    half = _half(d)
    scale = betaln(half, half) + (d - 2) * np.log(2)
    return np.exp(xlog1py(half - 1, cosine) + xlog1py(half - 1, -cosine) - scale)


def cosine_cdf(cosine: Float[np.ndarray, "..."] | float, d: float | int) -> Float[np.ndarray, "..."] | float:
    """Probability that two random unit vectors in d dimensions have at most this cosine, which rounding may
    have taken beyond -1 or 1.
    """
    return betainc(_half(d), _half(d), np.clip((cosine + 1) / 2, 0, 1))


def cosine_quantile(q: Float[np.ndarray, "..."] | float, d: float | int) -> Float[np.ndarray, "..."] | float:
    """The cosine below which a share q of pairs of random unit vectors in d dimensions lies."""
    return 2 * betaincinv(_half(d), _half(d), q) - 1


def effective_dimension(directions: Float[np.ndarray, "n width"]) -> float:
    """One over the mean squared cosine of pairs, at most width: (sum l)^2 / sum l^2 over the eigenvalues l of
    the second moment of the distribution that the unit rows were drawn from.

    The rows' own second moment has a larger sum of squares by having been drawn (without_sampling).
    """
    unit = unit_rows(directions)
    n, width = unit.shape
    moment = unit.T.astype(np.float64) @ unit / n
    if n == 1:
        return 1.0
    mean_square = ((moment**2).sum() - 1 / n) / (1 - 1 / n)
    return float(1 / max(mean_square, 1 / width))


class Matched(NamedTuple):
    """Random directions: Gaussian vectors of this mean and covariance, at unit length."""

    mean: Float[np.ndarray, " width"]
    root: Float[np.ndarray, "width width"]
    """The covariance's symmetric square root."""

    def draw(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n width"]:
        """So many of them, in float32."""
        return unit_rows(rng.standard_normal((n, len(self.mean)), dtype=np.float32) @ self.root + self.mean)


def matched(unit: Float[np.ndarray, "n width"], rng: np.random.Generator) -> Matched:
    """Random directions of the mean and covariance of the distribution that these were drawn from.

    A Gaussian of the rows' own mean and covariance would, at unit length, have flatter ones, and a skewed but
    random dictionary would seem full of antipodal pairs. So the Gaussian shares the eigenvectors of the
    covariance, and its mean and eigenvalues are a fixed point, found on 4,096 draws and their opposites. From
    a mean cosine of about .5 on, far above that of dictionaries met so far, such directions have other tails
    than the ones that they match.
    """
    centre, wanted, vectors = shared_moments(unit)
    centre = vectors.T @ centre
    noise = rng.standard_normal((4096, len(wanted)))
    squares = noise**2
    values, middle = wanted.copy(), centre.copy()
    for _ in range(FIXED_POINT_STEPS):
        # 1 / length of middle + noise * root, and of middle - noise * root
        root = values**0.5
        even, odd = squares @ values + middle @ middle, 2 * (noise @ (root * middle))
        plus, minus = (even + odd) ** -0.5, (even - odd) ** -0.5
        mean = (middle * (plus + minus).sum() + root * (noise.T @ (plus - minus))) / (2 * len(noise))
        plus, minus = plus**2, minus**2
        second = middle**2 * (plus + minus).sum() + values * (squares.T @ (plus + minus))
        second += 2 * middle * root * (noise.T @ (plus - minus))
        found = second / (2 * len(noise)) - mean**2
        values = np.where((wanted > 0) & (found > 0), values * wanted / np.where(found > 0, found, 1), 0)
        middle += centre - mean
    root = vectors * values**0.5 @ vectors.T
    return Matched((vectors @ middle).astype(np.float32), root.astype(np.float32))


def shared_moments(
    unit: Float[np.ndarray, "n width"],
) -> tuple[Float[np.ndarray, " width"], Float[np.ndarray, " width"], Float[np.ndarray, "width width"]]:
    """Mean of the distribution that unit rows were drawn from, eigenvalues and eigenvectors of its
    covariance; their being a sample of n taken out of both.
    """
    centre = shared_mean(unit)
    moment = unit.T.astype(np.float64) @ unit / len(unit)
    values, vectors = np.linalg.eigh(moment - np.outer(centre, centre))
    values = values.clip(0)
    values = without_sampling(values / (values.sum() or 1.0), len(unit)) * (1 - float(centre @ centre))
    return centre, values, vectors


def shared_mean(unit: Float[np.ndarray, "n width"]) -> Float[np.ndarray, " width"]:
    """The mean of the distribution that unit rows were drawn from; zero unless it stands out from chance.

    The mean of n rows has a length of about 1 / sqrt(n) by itself: the square of the distribution's is the
    mean cosine of pairs i < j. Of directions without a mean that has an sd of sqrt(2 E[cos^2]) / n, and
    counts from STANDS_OUT of them on.
    """
    n, mean = len(unit), unit.mean(0, dtype=np.float64)
    squared = float(mean @ mean)
    cosine = (n * squared - 1) / (n - 1)
    if cosine < STANDS_OUT * (2 / effective_dimension(unit)) ** 0.5 / n:
        return np.zeros_like(mean)
    return mean * (cosine / squared) ** 0.5


def without_sampling(values: Float[np.ndarray, " width"], n: int) -> Float[np.ndarray, " width"]:
    """Eigenvalues, of sum 1, of a second moment or covariance of n directions, drawn together until sum l^2
    is what it was in the distribution.

    n unit rows of second moment S have E sum l^2 = sum S^2 + (1 - sum S^2) / n: random directions look
    anisotropic by having been drawn, and cosines drawn from that would be too wide (by d / n in the square).
    """
    flat, found = 1 / len(values), (values**2).sum()
    wanted = (found - 1 / n) / (1 - 1 / n)
    keep = np.sqrt(max(wanted - flat, 0.0) / (found - flat)) if found > flat else 0.0
    return flat + keep * (values - flat)


def matched_density(
    directions: Float[np.ndarray, "n width"], edges: Float[np.ndarray, " bins_and_one"], *, seed: int = 0
) -> Float[np.ndarray, " bins"]:
    """Density of the cosine, bin by bin, between as many random directions of this mean and covariance."""
    rng = np.random.default_rng(seed)
    unit = unit_rows(directions)
    drawn = matched(unit, rng).draw(len(unit), rng)
    cosines = (drawn @ drawn.T)[np.triu_indices(len(drawn), 1)].clip(edges[0], edges[-1])
    return np.histogram(cosines, edges, density=True)[0]


def _half(d: float | int) -> float:
    """The shape (d - 1) / 2 that both sides of the beta distribution have."""
    if d <= 1:
        raise ValueError(
            f"expected a dimension above 1, found {d}: give directions that span a plane or more."
        )
    return (d - 1) / 2


def _square_root(covariance: Float[np.ndarray, "width width"]) -> Float[np.ndarray, "width width"]:
    """The symmetric square root of a covariance; rounding below zero counts as zero."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    if values.min() < -1e-6 * max(values.max(), 0):
        raise ValueError(
            f"expected a covariance, found an eigenvalue of {values.min():.3g}: compute it over more tokens."
        )
    return vectors * np.sqrt(values.clip(0)) @ vectors.T
