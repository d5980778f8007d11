"""Worlds in which it is known whether directions have to do with co-occurrence and similarity."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from compare.calibration import Drawn, cosines, plant


@dataclass(frozen=True, kw_only=True)
class World:
    """Directions that owe nothing to co-occurrence and similarity, unless an effect is planted.

    Both regressors have levels of features, latent structure and noise, and share a part with one another, as
    measured ones do.
    """

    n_features: int = 60
    """How many features a replicate has."""

    width: int = 32
    """Dimensions of directions."""

    decay: float = 1.0
    """Variance of dimension k is k ** -decay: 0 is isotropic."""

    mean_length: float = 1.0
    """Length of a direction common to all features beside the rest: gives cosines levels of features."""

    family_size: int = 1
    """Features that share an axis, each with a sign of its own, and co-occur more; 1 is no families."""

    skew: float = 0.0
    """Co-occurrence x becomes (exp(skew x) - 1) / skew; 0 leaves it as it is."""

    confounding: float = 0.0
    """Weight c of an attribute f of features on both sides: (1 + c f) times the common direction, and
    c (1 + f_i)(1 + f_j) in co-occurrence."""

    effect: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Planted slopes of co, sim and co:sim, in sd of the cosine by sd of the regressor."""

    def __post_init__(self) -> None:
        if self.n_features < 8 or self.width < 2:
            raise ValueError(
                f"expected 8 features and 2 dimensions or more, found {self.n_features} and {self.width}: "
                "raise n_features or width."
            )

    def draw(self, rng: np.random.Generator) -> Drawn:
        """A fresh replicate: directions, co-occurrence and similarity."""
        n = self.n_features
        activity = rng.normal(size=n)
        variances = np.arange(1, self.width + 1) ** -self.decay
        common = rng.normal(size=self.width)
        common *= self.mean_length * np.sqrt(variances.sum()) / np.linalg.norm(common)
        directions = rng.normal(size=(n, self.width)) * np.sqrt(variances)
        family = np.arange(n) // self.family_size
        if self.family_size > 1:
            axes = rng.normal(size=(family[-1] + 1, self.width)) * np.sqrt(variances)
            directions += 2 * rng.choice([-1, 1], size=(n, 1)) * axes[family]
        directions += (1 + self.confounding * activity)[:, None] * common
        shared, kin = _relation(n, rng), family[:, None] == family[None, :]
        co = shared + _relation(n, rng) + self.confounding * np.outer(1 + activity, 1 + activity)
        co = co + 4.0 * kin if self.family_size > 1 else co
        co = np.expm1(self.skew * co) / self.skew if self.skew else co
        similarity = 0.5 * shared + _relation(n, rng)
        return Drawn(plant(cosines(directions), co, similarity, self.effect), co, similarity, activity)


WORLDS: Mapping[str, World] = {
    "power-law spectrum, n=60": World(),
    "isotropic, d=8, n=60": World(width=8, decay=0.0, mean_length=0.0),
    "sign-symmetric families, n=150": World(n_features=150, family_size=5, mean_length=0.0),
    "skewed co-occurrence, n=150": World(n_features=150, skew=0.8),
    "power-law spectrum, n=300": World(n_features=300),
}
"""Worlds without an effect in which tests of size 5 % are held to reject in 5 % of replicates."""


def _relation(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    """A symmetric relation of features: levels, three latent dimensions and noise."""
    level, latent, noise = rng.normal(size=n), rng.normal(size=(n, 3)), rng.normal(size=(n, n))
    return 0.7 * np.add.outer(level, level) + latent @ latent.T / 2 + (noise + noise.T) / 2
