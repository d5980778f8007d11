"""What a slope would be if nothing tied directions to measures: two nulls that need no system of their own.

"features dealt anew": the features' directions are exchanged, over all orders (Mantel's exact moments).
"random directions": every direction is drawn anew with the mean and covariance of the measured ones. This is
what rotating directions comes to: one rotation of them all leaves every cosine as it is, so that only turning
each feature by itself says something, and then nothing is left but their common moments.

Controls that are measured (Gaussian surrogate, frozen decoder, re-randomised model) are arms of their own.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from compare.design import Prepared, interaction
from compare.nulls import shared_moments
from compare.permutation import moments
from compare.regress import inverse_of

DEALT, RANDOM = "features dealt anew", "random directions"


def null_slopes(
    cosine: Float[np.ndarray, "n n"],
    cooccurrence: Float[np.ndarray, "n n"],
    similarity: Float[np.ndarray, "n n"],
    *,
    mask: Bool[np.ndarray, "n n"],
    units: Float[np.ndarray, "n width"],
    effects: str = "none",
    activity: Float[np.ndarray, " n"] | None = None,
    covariates: Mapping[str, Float[np.ndarray, "n n"]] | None = None,
) -> pd.DataFrame:
    """Mean and standard deviation of every slope of `compare.fit` under both nulls: columns null, term, mean,
    sd. `units` are the directions at unit length, the rest as for fit.
    """
    prepared = interaction(
        cosine,
        cooccurrence,
        similarity,
        mask=mask,
        covariates=covariates,
        effects=effects,
        center=True,
        activity=activity,
    )
    dealt = moments(prepared)
    frame = pd.DataFrame({"mean": dealt.null_mean * (dealt.estimates / dealt.tvalues), "sd": dealt.null_se})
    spread = random_direction_sd(prepared, units)
    random = pd.DataFrame({"mean": 0.0, "sd": spread}, index=frame.index)
    return pd.concat({DEALT: frame, RANDOM: random}, names=["null", "term"]).reset_index()


def random_direction_sd(
    prepared: Prepared, units: Float[np.ndarray, "n width"]
) -> Float[np.ndarray, " slopes"]:
    """Standard deviation of the slopes if directions were independent draws m + v, Cov(v) = C; mean 0.

    A slope is a sum of M_ij cos_ij over pairs whose weights M sum to 0. With cos_ij = (m + v_i)'(m + v_j)
    its variance is tr(C^2) sum of M_ij^2 over pairs + m'Cm sum over features of (sum_j M_ij)^2: exact for
    draws whose length is 1 on average. m and C are those of the distribution behind the measured directions.
    """
    k = len(prepared.terms)
    gram = prepared.grams.sum(0) / 2
    weights = inverse_of(gram[:k, :k], prepared.terms)
    squares = np.einsum("ka,ab,kb->k", weights, gram[:k, :k], weights)
    rows = prepared.grams[:, 0, :k] @ weights if prepared.effects == "none" else np.zeros((1, k))
    alive = units[prepared.is_alive].astype(np.float64)
    mean, values, _ = shared_moments(alive)
    variance = (values**2).sum() * squares + np.var(alive @ mean) * (rows**2).sum(0)
    return np.sqrt(variance)[1:]


def combine_nulls(seeds: Sequence[pd.DataFrame], about: Mapping[str, str]) -> list[dict]:
    """Rows for results: mean and sd averaged over seeds, the latter for the mean slope of so many seeds."""
    mean = sum(frame["mean"].to_numpy() for frame in seeds) / len(seeds)
    sd = sum(frame["sd"].to_numpy() ** 2 for frame in seeds) ** 0.5 / len(seeds)
    table = seeds[0][["null", "term"]].assign(mean=mean, sd=sd)
    return [dict(about) | row for row in table.to_dict("records")]
