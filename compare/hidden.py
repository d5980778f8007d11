"""How much alignment the orthogonal blob can hide, at this many features and dimensions.

Pairs are drawn at random and pulled together or pushed apart by a set amount. Two questions, a number each:
how small an alignment would the blob's shape have given away, and how large a share of the pairs can be
aligned that much without the shape contradicting it. Both know nothing of WHICH pairs are aligned; where a
measure says which, as in the cells, far smaller alignments show (`detectable` in each cell).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse, stats

from compare.blob import LEVEL, NULL_DICTIONARIES, TESTED, Blob, Null, standardised, sums_of
from compare.geometry import unit_directions
from compare.nulls import matched
from compare.tiles import row_products

SHARES = (0.0001, 0.001, 0.01, 0.1)
"""Shares of pairs in which an alignment is planted."""

SIZES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Planted alignments, in standard deviations 1 / sqrt(width) of random cosines."""

ROOM = 0.3
"""Planting stops where it would lengthen directions by more than this share: so many do not fit."""

POWER = 0.8
ENOUGH = 0.99


@dataclass(frozen=True)
class Hidden:
    """What the blob would show, and what it can hide."""

    power: pd.DataFrame
    """A row a planted share and size: the alignment that came about, and the power of the test of shape."""

    smallest: pd.DataFrame
    """A row a share: the smallest alignment found with a power of 80 %, and the size to plant for it; NaN
    where none that fits is found."""

    hidden: pd.DataFrame
    """A row a size: the largest share of pairs that may be aligned so much, at 95 % confidence."""

    def to_results(self) -> dict:
        """The key `hidden` of an arm in results.json."""
        return {name: table.to_dict("records") for name, table in vars(self).items()}


def hidden(
    directions: Float[np.ndarray, "n width"], blob: Blob, null: Null, *, n_plants: int = 2, seed: int = 0
) -> Hidden:
    """Power curve and hidden shares of a dictionary of this size, mean and covariance."""
    power = power_curve(unit_directions(directions), null, n_plants=n_plants, seed=seed)
    smallest = [
        {"share": share, "sd": blob.width**-0.5}
        | {name: smallest_found(part[name], part["power"]) for name in ("size", "alignment")}
        for share, part in power.groupby("share")
    ]
    return Hidden(power, pd.DataFrame(smallest), hidden_shares(blob))


def power_curve(
    unit: Float[np.ndarray, "n width"], null: Null, *, n_plants: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Power against alignments of growing size, for each share until it is all but sure.

    Random dictionaries of this mean and covariance are measured with and without the alignment. Planting
    changes the covariance and so the null, which is drawn anew from the same numbers.
    """
    rng = np.random.default_rng(seed)
    directions = matched(unit, np.random.default_rng(seed + 1))
    bases = [directions.draw(len(unit), rng) for _ in range(n_plants)]
    before = [beyond_null(base, seed + 2 + number) for number, base in enumerate(bases)]
    sd, rows = unit.shape[1] ** -0.5, []
    for share in SHARES:
        for size in SIZES:
            if (size * sd) ** 2 * share * len(unit) / 4 > ROOM:
                break
            planted = [plant(base, share, size * sd, rng) for base in bases]
            after = [beyond_null(each, seed + 2 + number) for number, (each, _) in enumerate(planted)]
            power = power_of(np.mean(after, axis=0) - np.mean(before, axis=0), null)
            alignment = float(np.mean([found for _, found in planted]))
            rows.append({"share": share, "size": size * sd, "alignment": alignment, "power": power})
            if power > ENOUGH:
                break
    return pd.DataFrame(rows, columns=["share", "size", "alignment", "power"])


def plant(
    unit: Float[np.ndarray, "n width"], share: float, size: float, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n width"], float]:
    """The same directions with a share of pairs, drawn at random, moved by `size` towards one another or
    apart; and by how much their cosines really moved.

    W + (size / 2) A W, A the signed graph of the pairs, adds size to the cosine of each of them and little to
    others.
    """
    n = len(unit)
    n_pairs = n * (n - 1) // 2
    chosen = rng.choice(n_pairs, max(1, round(share * n_pairs)), replace=False)
    i = np.floor((2 * n - 1 - np.sqrt((2 * n - 1) ** 2 - 8.0 * chosen)) / 2).astype(np.int64)
    j = chosen - i * (2 * n - i - 1) // 2 + i + 1
    signs = rng.choice(np.array([-1.0, 1.0], np.float32), len(chosen))
    graph = sparse.coo_matrix((signs, (i, j)), shape=(n, n)).tocsr()
    planted = unit_directions(unit + size / 2 * ((graph + graph.T) @ unit))
    few = slice(0, 100_000)
    moved = [row_products(side, i[few], j[few]) for side in (planted, unit)]
    return planted, float((signs[few] * (moved[0] - moved[1])).mean())


def beyond_null(unit: Float[np.ndarray, "n width"], seed: int) -> Float[np.ndarray, " tested"]:
    """The tested numbers of a shape, less those of one random dictionary of its mean and covariance."""
    rng = np.random.default_rng(seed)
    drawn = matched(unit, rng).draw(len(unit), rng)
    mine, null = sums_of(unit).numbers, sums_of(drawn).numbers
    return np.array([mine[name][0] - null[name][0] for name in TESTED])


def power_of(shift: Float[np.ndarray, " tested"], null: Null) -> float:
    """Power of the test of shape against these shifts: at least that of the number which shows them best."""
    df = NULL_DICTIONARIES - 1
    limit = stats.t.isf(LEVEL / 2 / len(TESTED), df)
    moved = zip(TESTED, shift, strict=True)
    best = max(abs(standardised(null.mean[name] + by, null, name)) for name, by in moved)
    spread = (1 + limit**2 / (2 * df)) ** 0.5  # of t less the limit, Gaussian to first order
    return float(stats.norm.cdf((best - limit) / spread) + stats.norm.cdf((-best - limit) / spread))


def smallest_found(sizes: pd.Series, power: pd.Series) -> float:
    """Where the power reaches POWER first, on a straight line of its probits; NaN where it never does."""
    reached = np.flatnonzero(power.to_numpy() >= POWER)
    if not len(reached):
        return float("nan")
    last = slice(max(reached[0] - 1, 0), reached[0] + 1)
    probits = stats.norm.ppf(power.iloc[last].clip(upper=1 - 1e-6))
    return float(np.interp(stats.norm.ppf(POWER), probits, sizes.iloc[last]))


def hidden_shares(blob: Blob) -> pd.DataFrame:
    """For each size of alignment the largest share of pairs, at 95 % confidence, that can have it.

    Whatever else moves a pair that is aligned by +-a, if it does so evenly to both sides the pair has
    |cosine| > a in half of all cases or more. So the share is at most twice the share of pairs seen beyond a,
    at its upper limit: by deleting groups of features, and not below what so few pairs allow (Poisson).
    Nothing is assumed of the other pairs.
    """
    n_pairs = blob.n_features * (blob.n_features - 1) / 2
    within = blob.within.set_index("t")
    rows = []
    for size in within.index:
        seen, se = 1 - within["share"][size], within["se"][size]
        limit = max(seen + stats.norm.isf(LEVEL) * se, poisson_limit(seen * n_pairs) / n_pairs)
        rows.append({"alignment": size / blob.width**0.5, "share": float(min(1.0, 2 * limit))})
    return pd.DataFrame(rows)


def poisson_limit(count: float) -> float:
    """Upper 95 % limit of the mean of a Poisson count."""
    return float(stats.chi2.isf(LEVEL, 2 * (count + 1)) / 2)
