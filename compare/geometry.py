"""Antipodal pairs: directions by themselves, against random directions.

Three nulls, from weak to strong: uniform directions (Beta(d)), uniform in the effective dimension
(Beta(d_eff)), and random directions of the dictionary's own mean and covariance ("covariance", the default):
an anisotropic dictionary has many nearly opposite pairs without any feature having been put opposite another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import sparse, special, stats

from compare.nulls import cosine_cdf, effective_dimension, matched
from compare.tiles import row_lengths

ROWS = 1024
"""Rows of cosines held at a time."""

THRESHOLD = -0.5
"""Cosine below which a pair counts as antipodal."""

NEAREST_NULLS = 20
"""Random dictionaries behind the covariance null. The smallest p-value is 1 / (20 n + 1): Benjamini-Hochberg
can flag one feature alone, Benjamini-Yekutieli no fewer than about log(n)."""

FALSE_DISCOVERY_RATE = 0.05
FLIPS = 999


def unit_directions(directions: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n width"]:
    """Directions at unit length, in float32; a zero row is refused."""
    length = row_lengths(directions)
    if not (length > 0).all():
        raise ValueError(
            f"expected directions of length > 0, found {(length == 0).sum()} rows of zeros: "
            "drop dead features."
        )
    return (directions / length).astype(np.float32)


def cosine_blocks(
    unit: Float[np.ndarray, "n width"], *, with_itself: float = np.nan
) -> Iterator[tuple[int, Float[np.ndarray, "rows n"]]]:
    """Cosines of a block of features with all: (first row, block); `with_itself` on the diagonal."""
    for first in range(0, len(unit), ROWS):
        block = unit[first : first + ROWS] @ unit.T
        block[np.arange(len(block)), first + np.arange(len(block))] = with_itself
        yield first, block


@dataclass(frozen=True)
class Antipodal:
    """How many directions lie opposite another, and how many would by chance."""

    share: float
    """Share of pairs with a cosine below THRESHOLD."""

    expected_share: float
    """The same under the covariance null."""

    expected_share_beta: float
    """The same for uniform directions in `width` dimensions."""

    expected_share_effective: float
    """The same for uniform directions in the effective dimension."""

    features: pd.DataFrame
    """A row a feature: nearest opposite `partner`, its `cosine`, p-values p_covariance, p_beta,
    p_effective, and `flagged` (Benjamini-Hochberg over features at 5 %, by p_covariance); of its highest
    cosine p_parallel and `flagged_parallel`, in the same way."""

    pairs: pd.DataFrame
    """The most antipodal pairs: rows i < j of the dictionary, cosine; lowest first."""

    asymmetry: dict[str, float]
    """Sign-flip test: `excess` of pairs below -tau over pairs above +tau, `tau`, one-sided `p`."""

    def to_results(self) -> dict:
        """The key `antipodal` of an arm in results.json, but for its pairs and variants."""
        return {
            "threshold": THRESHOLD,
            "share": self.share,
            "expected_share": self.expected_share,
            "expected_share_beta": self.expected_share_beta,
            "expected_share_effective": self.expected_share_effective,
            "features_flagged": int(self.features["flagged"].sum()),
            "features_flagged_by": int(flag(self.features["p_covariance"].to_numpy(), method="by").sum()),
            "features_flagged_parallel": int(self.features["flagged_parallel"].sum()),
            "asymmetry_excess": self.asymmetry["excess"],
            "asymmetry_p": self.asymmetry["p"],
        }


def antipodal(
    directions: Float[np.ndarray, "n width"],
    *,
    n_pairs: int = 100,
    seed: int = 0,
    n_dictionaries: int = NEAREST_NULLS,
    flips: int = FLIPS,
) -> Antipodal:
    """Opposite pairs of a dictionary of alive features, against its nulls."""
    unit = unit_directions(directions)
    n, width = unit.shape
    d_eff = effective_dimension(unit)
    found = extremes(unit)
    null = covariance_null(unit, np.random.default_rng(seed), n_dictionaries)
    features = pd.DataFrame({"partner": found.partner, "cosine": found.lowest})
    features["p_covariance"] = lower_tail_p(found.lowest, null.lowest)
    features["p_beta"] = lowest_cosine_p(found.lowest, n, float(width))
    features["p_effective"] = lowest_cosine_p(found.lowest, n, d_eff)
    features["flagged"] = flag(features["p_covariance"].to_numpy())
    features["p_parallel"] = lower_tail_p(-found.highest, -null.highest)
    features["flagged_parallel"] = flag(features["p_parallel"].to_numpy())
    return Antipodal(
        share=found.share,
        expected_share=null.share,
        expected_share_beta=chance_below(float(width)),
        expected_share_effective=chance_below(d_eff),
        features=features,
        pairs=most_antipodal(unit, n_pairs),
        asymmetry=sign_flip_test(unit, seed=seed, flips=flips),
    )


class Extremes(NamedTuple):
    """The two ends of each feature's cosines with the others."""

    lowest: Float[np.ndarray, " n"]
    partner: Int[np.ndarray, " n"]
    """With which feature the lowest is."""

    highest: Float[np.ndarray, " n"]
    share: float
    """Of pairs below THRESHOLD."""


def extremes(unit: Float[np.ndarray, "n width"]) -> Extremes:
    """Lowest and highest cosine of each feature, and the share of pairs below THRESHOLD."""
    n = len(unit)
    lowest, highest, partner = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int64)
    count = 0
    for first, block in cosine_blocks(unit, with_itself=np.inf):
        rows = slice(first, first + len(block))
        each = np.arange(len(block))
        partner[rows] = block.argmin(axis=1)
        lowest[rows] = block[each, partner[rows]]
        count += int((block < THRESHOLD).sum())
        block[each, first + each] = -np.inf
        highest[rows] = block.max(axis=1)
    return Extremes(lowest, partner, highest, count / (n * (n - 1)))


def covariance_null(
    unit: Float[np.ndarray, "n width"], rng: np.random.Generator, n_dictionaries: int
) -> Extremes:
    """The same of random dictionaries of this mean and covariance, one behind the other."""
    directions = matched(unit, rng)
    drawn = [extremes(directions.draw(len(unit), rng)) for _ in range(n_dictionaries)]
    lowest, partner, highest, share = zip(*drawn, strict=True)
    return Extremes(*map(np.concatenate, (lowest, partner, highest)), float(np.mean(share)))


def lower_tail_p(values: Float[np.ndarray, " n"], null: Float[np.ndarray, " draws"]) -> np.ndarray:
    """P-value of each value by the draws of its null that are as low."""
    return (1 + np.searchsorted(np.sort(null), values, side="right")) / (1 + len(null))


def chance_below(dimension: float) -> float:
    """Share of pairs of random directions with a cosine below THRESHOLD."""
    return float(cosine_cdf(np.float64([THRESHOLD]), dimension)[0])


def lowest_cosine_p(
    lowest: Float[np.ndarray, " n"], n_features: int, dimension: float
) -> Float[np.ndarray, " n"]:
    """P(the lowest of n - 1 cosines of random directions is this low), exact for uniform directions."""
    return -np.expm1(special.xlog1py(n_features - 1, -cosine_cdf(lowest.astype(np.float64), dimension)))


def flag(p: Float[np.ndarray, " n"], method: Literal["bh", "by"] = "bh") -> np.ndarray:
    """Which p-values are discoveries at a false discovery rate of 5 %: Benjamini-Hochberg, or with
    Benjamini-Yekutieli's factor, which holds however they depend on one another.
    """
    return stats.false_discovery_control(p, method=method) <= FALSE_DISCOVERY_RATE


def most_antipodal(unit: Float[np.ndarray, "n width"], n_pairs: int) -> pd.DataFrame:
    """The n_pairs lowest cosines with their rows i < j, lowest first."""
    kept = pd.DataFrame({"i": [], "j": [], "cosine": []}).astype({"i": int, "j": int, "cosine": np.float32})
    for first, block in cosine_blocks(unit):
        block[np.tri(len(block), len(unit), first, dtype=bool)] = np.nan
        take = min(n_pairs, block.size) - 1
        places = np.argpartition(block, take, axis=None)[: take + 1]
        i, j = np.unravel_index(places, block.shape)
        found = pd.DataFrame({"i": i + first, "j": j, "cosine": block[i, j]}).dropna()
        kept = pd.concat([kept, found]).sort_values(["cosine", "i", "j"]).head(n_pairs)
    return kept.reset_index(drop=True)


def sign_flip_test(
    unit: Float[np.ndarray, "n width"], *, seed: int = 0, flips: int = FLIPS
) -> dict[str, float]:
    """Are there more pairs below -tau than above +tau (tau = 2.5 / sqrt(d)) than random signs of features
    give?

    Under the null each direction might as well be its opposite: flip signs of features, `flips` times. `p` is
    one-sided, small where antipodal pairs are in excess.
    """
    n, width = unit.shape
    tau = 2.5 / width**0.5
    blocks = []
    for _, block in cosine_blocks(unit):
        blocks.append(sparse.csr_matrix((block < -tau).astype(np.float32) - (block > tau)))
    balance = sparse.vstack(blocks, format="csr")
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), size=(n, flips))
    excess = float(balance.sum() / 2)
    flipped = ((balance @ signs) * signs).sum(0, dtype=np.float64) / 2
    return {"excess": excess, "tau": tau, "p": float((1 + (flipped >= excess).sum()) / (1 + flips))}
