"""The orthogonal blob: the shape of all cosines of a dictionary, beside what geometry and chance give.

Its width is nearly fixed by the numbers of features and dimensions (Welch), so what can be tested is its
shape: how many pairs lie near zero, how heavy the tails are. The null is random directions of the same mean
and covariance; errors come from deleting groups of features, never pairs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from compare.geometry import cosine_blocks, unit_directions
from compare.nulls import cosine_cdf, effective_dimension, matched
from compare.tiles import row_products

MULTIPLES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Thresholds on |cosine|, in standard deviations 1 / sqrt(width) of random directions."""

GROUPS = 20
"""Groups of features that are deleted one at a time."""

NULL_DICTIONARIES = 40
"""Random dictionaries of the same mean and covariance."""

TESTED = ("kurtosis", "within 1", "beyond 3")
"""Numbers of the shape that are tested together, Bonferroni over the three."""

LEVEL = 0.05
N_SCORES = 100_000
"""Pairs, drawn at random, that the empirical null is fitted to."""

CENTRAL_SCORES = 100
"""Of these, z-scores within one of zero that the fit needs."""


class Sums(NamedTuple):
    """Sums over all pairs, and over the pairs that are left when a group of features is deleted."""

    n_pairs: Float[np.ndarray, " groups_and_one"]
    cosine: Float[np.ndarray, " groups_and_one"]
    square: Float[np.ndarray, " groups_and_one"]
    fourth: Float[np.ndarray, " groups_and_one"]
    inside: Float[np.ndarray, "groups_and_one multiples"]

    @property
    def numbers(self) -> dict[str, Float[np.ndarray, " groups_and_one"]]:
        """The numbers of the shape, whole first."""
        second = self.square / self.n_pairs
        inside = self.inside / self.n_pairs[:, None]
        found = {"mean": self.cosine / self.n_pairs, "mean square": second}
        found["kurtosis"] = self.fourth / self.n_pairs / second**2 - 3
        for k, t in enumerate(MULTIPLES):
            found[f"within {t:g}"], found[f"beyond {t:g}"] = inside[:, k], 1 - inside[:, k]
        return found

    def estimates(self) -> dict[str, tuple[float, float]]:
        """Each number with its error, by deleting one group of features at a time."""
        groups = len(self.n_pairs) - 1
        errors = {
            name: ((groups - 1) / groups * ((value[1:] - value[1:].mean()) ** 2).sum()) ** 0.5
            for name, value in self.numbers.items()
        }
        return {name: (float(value[0]), float(errors[name])) for name, value in self.numbers.items()}


def sums_of(unit: Float[np.ndarray, "n width"], groups: int = 0, seed: int = 0) -> Sums:
    """One pass over all cosines; with `groups`, features are dealt to so many at random."""
    n, width = unit.shape
    member = np.random.default_rng(seed).permutation(n) % groups if groups else np.zeros(n, dtype=int)
    rows = np.empty((n, 3 + len(MULTIPLES)))
    for first, block in cosine_blocks(unit, with_itself=0.0):
        rows[first : first + len(block)] = row_sums(block, width)
    whole = rows.sum(0) / 2
    left = [whole]
    for group in range(groups):
        own = unit[member == group]
        inside = np.zeros(rows.shape[1])
        for _, block in cosine_blocks(own, with_itself=0.0):
            inside += row_sums(block, width).sum(0) / 2
        left.append(whole - rows[member == group].sum(0) + inside)
    sizes = np.array([n, *(n - (member == group).sum() for group in range(groups))], dtype=float)
    found = np.array(left)
    found[:, 3:] -= sizes[:, None] / 2  # the zeros on the diagonal lie within every threshold
    return Sums(sizes * (sizes - 1) / 2, *found[:, :3].T, found[:, 3:])


def row_sums(block: Float[np.ndarray, "rows n"], width: int) -> Float[np.ndarray, "rows sums"]:
    """Of each row the sums of c, c^2, c^4 and the counts of |c| < t / sqrt(width), t in MULTIPLES."""
    square = block**2
    sums = [block.sum(1, dtype=np.float64), square.sum(1, dtype=np.float64)]
    sums.append((square**2).sum(1, dtype=np.float64))
    sums += [np.count_nonzero(square < t * t / width, axis=1) for t in MULTIPLES]
    return np.stack(sums, axis=1)


class Null(NamedTuple):
    """Mean and spread of each number of the shape, over random dictionaries of one mean and covariance."""

    mean: dict[str, float]
    sd: dict[str, float]


def matched_null(unit: Float[np.ndarray, "n width"], *, seed: int = 0) -> Null:
    """Random dictionaries as large as this one, of the mean and covariance that it was drawn from."""
    rng = np.random.default_rng(seed)
    directions = matched(unit, rng)
    drawn = [sums_of(directions.draw(len(unit), rng)).numbers for _ in range(NULL_DICTIONARIES)]
    values = {name: np.array([one[name][0] for one in drawn]) for name in drawn[0]}
    return Null(
        {name: float(each.mean()) for name, each in values.items()},
        {name: float(each.std(ddof=1)) for name, each in values.items()},
    )


def shape_p(found: dict[str, float], null: Null) -> float:
    """p-value of the shape being that of random directions: smallest of the TESTED numbers', Bonferroni.

    A number less the null's mean, over the null's spread between dictionaries, is Student's t.
    """
    distances = [abs(standardised(found[name], null, name)) for name in TESTED]
    p = [2 * stats.t.sf(distance, NULL_DICTIONARIES - 1) for distance in distances]
    return float(min(1.0, len(TESTED) * min(p)))


def standardised(value: float, null: Null, name: str) -> float:
    """A number less the null's mean, in the spread of such a difference; 0 where the null never varies."""
    spread = null.sd[name] * (1 + 1 / NULL_DICTIONARIES) ** 0.5
    return (value - null.mean[name]) / spread if spread > 0 else 0.0


@dataclass(frozen=True)
class Blob:
    """Shape of all cosines of a dictionary."""

    n_features: int
    width: int
    d_eff: float
    mean: float
    mean_floor: float
    """-1 / (n - 1): no mean over all pairs is lower."""

    mean_square: float
    mean_square_se: float
    welch_bound: float
    """(n - d) / (d (n - 1)): no mean square is lower (0 where n <= d)."""

    random_mean_square: float
    """1 / d."""

    matched_mean_square: float
    """Of random directions of the same mean and covariance."""

    kurtosis: float
    """Excess kurtosis about zero; random directions have -6 / (d + 2)."""

    kurtosis_se: float
    random_kurtosis: float
    matched_kurtosis: float
    shape_p: float
    """Of kurtosis and the shares within one and beyond three standard deviations being those of random
    directions of the same mean and covariance."""

    null_mean: float
    null_sd: float
    null_share: float
    """Efron's empirical null: mean, sd and share of the central z-scores, z = Phi^-1 of the cosine's place
    among uniform directions (which have 0, 1 and 1)."""

    within: pd.DataFrame
    """Share of pairs with |cosine| < t / sqrt(d), its error, and the share expected of uniform directions,
    of uniform ones in the effective dimension, and of directions of the same mean and covariance (with the
    spread of that between dictionaries)."""

    def to_results(self) -> dict:
        """The key `blob` of an arm in results.json."""
        numbers = {name: value for name, value in vars(self).items() if name != "within"}
        return numbers | {"within": self.within.to_dict("records")}


def blob(directions: Float[np.ndarray, "n width"], *, null: Null | None = None, seed: int = 0) -> Blob:
    """The shape of the cosines of all pairs, with errors and nulls."""
    unit = unit_directions(directions)
    n, width = unit.shape
    d_eff = effective_dimension(unit)
    null = null or matched_null(unit, seed=seed)
    found = sums_of(unit, min(GROUPS, n), seed).estimates()
    fitted = empirical_null(unit, seed=seed)
    return Blob(
        n_features=n,
        width=width,
        d_eff=d_eff,
        mean=found["mean"][0],
        mean_floor=-1 / (n - 1),
        mean_square=found["mean square"][0],
        mean_square_se=found["mean square"][1],
        welch_bound=max((n - width) / (width * (n - 1)), 0.0),
        random_mean_square=1 / width,
        matched_mean_square=null.mean["mean square"],
        kurtosis=found["kurtosis"][0],
        kurtosis_se=found["kurtosis"][1],
        random_kurtosis=-6 / (width + 2),
        matched_kurtosis=null.mean["kurtosis"],
        shape_p=shape_p({name: value for name, (value, _) in found.items()}, null),
        null_mean=fitted[0],
        null_sd=fitted[1],
        null_share=fitted[2],
        within=shares(found, null, width, d_eff),
    )


def shares(found: dict[str, tuple[float, float]], null: Null, width: int, d_eff: float) -> pd.DataFrame:
    """A row a threshold: Blob.within."""
    bounds = (np.array(MULTIPLES) / width**0.5).clip(max=1.0)
    names = [f"within {t:g}" for t in MULTIPLES]
    return pd.DataFrame(
        {
            "t": MULTIPLES,
            "share": [found[name][0] for name in names],
            "se": [found[name][1] for name in names],
            "expected": 1 - 2 * cosine_cdf(-bounds, float(width)),
            "expected_effective": 1 - 2 * cosine_cdf(-bounds, d_eff),
            "expected_matched": [null.mean[name] for name in names],
            "matched_sd": [null.sd[name] for name in names],
        }
    )


def empirical_null(unit: Float[np.ndarray, "n width"], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean, sd and share of the central z-scores (Efron 2008), fitted to N_SCORES pairs at random; NaN where
    hardly a score is central, as where all directions lean one way.
    """
    from statsmodels.stats.multitest import NullDistribution

    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, len(unit), (2, N_SCORES))
    cosines = row_products(unit, i[i != j], j[i != j]).clip(-1 + 1e-12, 1 - 1e-12)
    scores = stats.norm.ppf(cosine_cdf(cosines, float(unit.shape[1]))).clip(-30, 30)
    if (np.abs(scores) < 1).sum() < CENTRAL_SCORES:
        return np.nan, np.nan, np.nan
    with np.errstate(divide="ignore"):  # where the search comes to a share of 1, it takes log 0
        fitted = NullDistribution(scores, estimate_null_proportion=True)
    return float(fitted.mean), float(fitted.sd), float(fitted.null_proportion)
