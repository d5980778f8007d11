"""The post's table: mean cosine in six cells, {exclusive, independent, co-occurring} x {similar, different}.

A cell mean is a coefficient of the regression of the cosine on cell indicators, so its error is the
regression's default: pairs share features and are not independent. Beside the mean stand shares and
quantiles, because a mean of zero also comes from opposite and parallel pairs in equal parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int8, Shaped
from scipy import stats
from scipy.sparse.linalg import eigsh

from compare.measures import COOCCURRENCE_LEVELS, SIMILARITY_LEVELS
from compare.names import CELLS
from compare.nulls import cosine_quantile
from compare.regress import dyadic_ols
from compare.replicates import over_replicates

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
NULL_SHARE = 0.01
"""Share of random directions' cosines beyond each of the two null quantiles that cells are held against."""

MARGIN = 0.1
"""Half-width of what counts as zero, in units of the noise floor 1 / sqrt(effective dimension)."""

P_VALUES = {"< 0": "p_below", "> 0": "p_above", "= 0": "p_equivalence"}
"""Claim -> the p-value of `estimate` that goes with it."""

CONFIDENCE = 0.95
POWER = 0.8
"""Of finding a mean as large as `detectable`."""


@dataclass(frozen=True)
class Cells:
    """The six cells of one dictionary, or their average over seeds."""

    table: pd.DataFrame
    """One row a cell; columns as in the schema of compare/page.py, NaN with a `problem` where undefined."""

    differences: pd.DataFrame
    """[co-occurring same - different] - [base same - different], a row for each base (`against`)."""

    d_eff: float
    """Effective dimension that null quantiles and the margin come from."""

    seeds: int = 1

    def to_results(self) -> dict[str, list[dict]]:
        """The keys `cells` and `difference_in_differences` of an arm in results.json."""
        cells = self.table.to_dict("records")
        for cell in cells:  # pandas turns None beside strings into NaN
            cell["problem"] = cell["problem"] if isinstance(cell["problem"], str) else None
        return {"cells": cells, "difference_in_differences": self.differences.to_dict("records")}


def measure_cells(
    cosine: Float[np.ndarray, "n n"],
    cooccurrence: Int8[np.ndarray, "n n"],
    similarity: Int8[np.ndarray, "n n"],
    mask: Bool[np.ndarray, "n n"],
    *,
    d_eff: float,
) -> Cells:
    """Means, default errors, shares, quantiles and bounds of the six cells; symmetric arrays, pairs i < j
    in mask.

    `cooccurrence` and `similarity` hold codes: positions in COOCCURRENCE_LEVELS and SIMILARITY_LEVELS.
    Pairs at a level that names no cell (undetermined, between) belong to none.
    """
    members = [
        np.triu(
            mask
            & (cooccurrence == COOCCURRENCE_LEVELS.index(co))
            & (similarity == SIMILARITY_LEVELS.index(sim)),
            1,
        )
        for co, sim in CELLS
    ]
    problems = [problem_of(cell) for cell in members]
    fitted = [k for k, problem in enumerate(problems) if problem is None]
    means = np.array([cosine[cell].mean(dtype=np.float64) if cell.any() else np.nan for cell in members])
    low, high = cosine_quantile(NULL_SHARE, d_eff), cosine_quantile(1 - NULL_SHARE, d_eff)
    covariance, below, above = (
        covariance_of_means(values, members, fitted) for values in (cosine, cosine < low, cosine > high)
    )
    freedom = np.array([degrees_of_freedom(cell) for cell in members])
    rows = [
        {"n_pairs": int(cell.sum()), "n_features": n_taking_part(cell)}
        | estimate(means[k], covariance[k, k] ** 0.5, int(freedom[k]), margin=MARGIN / d_eff**0.5)
        | describe(cosine[cell], d_eff)
        | {"share_below_se": float(below[k, k] ** 0.5), "share_above_se": float(above[k, k] ** 0.5)}
        | {"feasible_from": least_feasible_mean(cell), "problem": problems[k]}
        for k, cell in enumerate(members)
    ]
    names = [{"cooccurrence": co, "similarity": sim} for co, sim in CELLS]
    differences = [
        {"against": base} | contrast(base, means, covariance, freedom)
        for base in ("exclusive", "independent")
    ]
    table = pd.DataFrame([name | row for name, row in zip(names, rows, strict=True)])
    return Cells(table, pd.DataFrame(differences), d_eff)


def beside_the_average(
    cosine: Float[np.ndarray, "n n"], mask: Bool[np.ndarray, "n n"]
) -> Float[np.ndarray, "n n"]:
    """Cosines less their mean over pairs: without their mean direction, n directions of no meaning have
    -1 / (n - 1).
    """
    return cosine - cosine[mask].mean(dtype=np.float64)


def covariance_of_means(
    values: Shaped[np.ndarray, "n n"], members: Sequence[Bool[np.ndarray, "n n"]], fitted: Sequence[int]
) -> Float[np.ndarray, "cells cells"]:
    """Default covariance of the means of values in the cells (upper triangles); NaN but for `fitted`."""
    covariance = np.full((len(members), len(members)), np.nan)
    covariance[np.ix_(fitted, fitted)] = 0.0
    varies = [k for k in fitted if np.ptp(values[members[k]].astype(np.float32)) > 0]
    if varies:
        whole = {str(k): members[k] | members[k].T for k in varies}
        columns = {name: cell.view(np.int8) for name, cell in whole.items()}
        mask = np.logical_or.reduce(list(whole.values()))
        fit = dyadic_ols(np.asarray(values, float), columns, mask=mask, constant=False)
        covariance[np.ix_(varies, varies)] = fit.cov("default")
    return covariance


def problem_of(cell: Bool[np.ndarray, "n n"]) -> str | None:
    """Why a cell (upper triangle) has no error, in words; None where it has one."""
    if not cell.any():
        return "no pair falls into this cell"
    if degrees_of_freedom(cell) < 1:
        return "one feature has all pairs of this cell, or nearly all"
    return None


def n_taking_part(cell: Bool[np.ndarray, "n n"]) -> int:
    """How many features have a pair in the cell."""
    return int((cell.any(0) | cell.any(1)).sum())


def degrees_of_freedom(cell: Bool[np.ndarray, "n n"]) -> int:
    """Features that take part less one, weighted by what they contribute, and at most the pairs less one.

    Were cosines sums of levels of features, a feature of k pairs would add k^2 to the variance of the mean,
    and the variance be known to (sum k^2)^2 / sum k^4 terms (Satterthwaite 1946): all features where each has
    as many pairs, two where two hubs have nearly all.
    """
    squares = (cell.sum(0) + cell.sum(1)).astype(np.float64) ** 2
    terms = squares.sum() ** 2 / max((squares**2).sum(), 1.0)
    return max(min(int(terms + 1e-9), int(cell.sum())) - 1, 0)


def describe(values: Float[np.ndarray, " pairs"], d_eff: float) -> dict:
    """Spread, quantiles and shares beyond the null's quantiles; NaN where there is no pair."""
    low, high = cosine_quantile(NULL_SHARE, d_eff), cosine_quantile(1 - NULL_SHARE, d_eff)
    some = len(values) > 0
    points = np.quantile(values, QUANTILES) if some else np.full(len(QUANTILES), np.nan)
    return {
        "sd": float(values.std(dtype=np.float64)) if some else np.nan,
        "null_sd": d_eff**-0.5,
        "quantiles": {str(q): float(point) for q, point in zip(QUANTILES, points, strict=True)},
        "share_below": float((values < low).mean()) if some else np.nan,
        "share_above": float((values > high).mean()) if some else np.nan,
        "null_share": NULL_SHARE,
    }


def estimate(mean: float, se: float, df: int, margin: float | None = None) -> dict:
    """Interval, one-sided tests and, with a margin, two one-sided tests of |mean| < margin; NaN without an
    error.

    p_below is the p-value of "the mean is < 0" (small where that is shown), p_above of "> 0", p_equivalence
    of "within the margin". smallest_bound is the smallest margin that would hold the whole interval.
    """
    t = stats.t(df) if df > 0 and se > 0 else None
    half = t.ppf((1 + CONFIDENCE) / 2) * se if t else np.nan
    found = {
        "mean": float(mean),
        "se": float(se),
        "low": float(mean - half),
        "high": float(mean + half),
        "df": df,
        "p_below": float(t.cdf(mean / se)) if t else np.nan,
        "p_above": float(t.sf(mean / se)) if t else np.nan,
    }
    if margin is not None:
        found["margin"] = float(margin)
        found["p_equivalence"] = (
            float(max(t.sf((margin + mean) / se), t.sf((margin - mean) / se))) if t else np.nan
        )
        found["smallest_bound"] = float(max(abs(mean - half), abs(mean + half)))
        found["detectable"] = float(half + t.ppf(POWER) * se) if t else np.nan
    return found


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict:
    """One number less another, both with the keys of `estimate`: independent errors, the fewer degrees of
    freedom.
    """
    error = (one["se"] ** 2 + other["se"] ** 2) ** 0.5
    return estimate(one["mean"] - other["mean"], error, min(one["df"], other["df"]))


def p_of(number: dict, claim: str) -> float | None:
    """The p-value that goes with a claim; None where there is none."""
    if claim in P_VALUES:
        return number.get(P_VALUES[claim])
    sides = [number.get("p_below"), number.get("p_above")]
    return None if None in sides else 2 * min(sides)


def p_against(number: dict, claim: str) -> float | None:
    """The one-sided p-value of what would refute a claim: REFUTED is where it is below 2.5 %.

    That is the other sign or, where there is a margin, a place within it; of "= 0" a place beyond it.
    """
    if number.get("problem"):
        return None
    within = number.get("p_equivalence", np.inf)
    if claim == "= 0":
        beyond = (abs(number["mean"]) - number["margin"]) / number["se"] if number["se"] > 0 else np.nan
        return float(stats.t.sf(beyond, number["df"]))
    found = within if claim == "!= 0" else min(number["p_above" if claim == "< 0" else "p_below"], within)
    return None if np.isinf(found) else found


def find_cell(part: Mapping[str, Any], name: tuple[str, str]) -> dict:
    """The cell of an arm, or of its centred part, by co-occurrence and similarity."""
    return next(cell for cell in part["cells"] if (cell["cooccurrence"], cell["similarity"]) == name)


def contrast(base: str, means, covariance, freedom) -> dict:
    """The difference in differences against one base level; NaN where a cell is missing."""
    weights = np.zeros(len(CELLS))
    for level, sign in (("co-occurring", 1), (base, -1)):
        weights[CELLS.index((level, "similar"))] = sign
        weights[CELLS.index((level, "different"))] = -sign
    used = weights != 0
    variance = weights[used] @ covariance[np.ix_(used, used)] @ weights[used]
    return estimate(weights[used] @ means[used], variance**0.5, int(freedom[used].min()))


def least_feasible_mean(cell: Bool[np.ndarray, "n n"]) -> float:
    """A bound that no unit vectors in any dimension can pass: mean cosine >= lambda_min(A) m / (2 M), NaN
    if empty.

    A is the adjacency of the cell's M pairs among the m features that take part. Valid and, for most cells,
    loose.
    """
    n_pairs = cell.sum()
    if n_pairs == 0:
        return np.nan
    part = cell.any(0) | cell.any(1)
    adjacency = cell[np.ix_(part, part)].astype(np.float32)
    adjacency += adjacency.T
    m = len(adjacency)
    if m <= 256:
        lowest = np.linalg.eigvalsh(adjacency)[0]
    else:
        start = np.random.default_rng(0).normal(size=m).astype(np.float32)
        value, vector = eigsh(adjacency, k=1, which="SA", tol=1e-3, v0=start)
        lowest = value[0] - np.linalg.norm(adjacency @ vector[:, 0] - value[0] * vector[:, 0])
    return float(max(lowest * m / (2 * n_pairs), -1.0))


def combine_seeds(seeds: Sequence[Cells]) -> Cells:
    """Cells averaged over seeds: the spread between seeds is the error, with t on (seeds - 1) degrees of
    freedom.

    One seed comes back as it is. A cell that is missing in a seed is averaged over the others; `n_pairs` and
    `n_features` are the fewest that a seed has; `seed_sd` is the spread of the cell's mean between seeds.
    """
    if not seeds:
        raise ValueError("expected the cells of 1 seed or more, found none: measure a seed first.")
    if len(seeds) == 1:
        return seeds[0]
    d_eff = float(np.mean([seed.d_eff for seed in seeds]))
    table = [
        combine_rows([seed.table.iloc[k] for seed in seeds], MARGIN / d_eff**0.5) for k in range(len(CELLS))
    ]
    bases = [combine_rows([seed.differences.iloc[k] for seed in seeds], None) for k in range(2)]
    return replace(
        seeds[0],
        table=pd.DataFrame(table)[[*seeds[0].table.columns, "seed_sd"]],
        differences=pd.DataFrame(bases)[[*seeds[0].differences.columns, "seed_sd"]],
        d_eff=d_eff,
        seeds=len(seeds),
    )


def combine_rows(rows: Sequence[pd.Series], margin: float | None) -> dict:
    """One cell, or one contrast, over seeds."""
    there = [row for row in rows if np.isfinite(row["mean"])]
    found = over_replicates([row["mean"] for row in there])
    combined = dict(rows[0]) | estimate(found.mean, found.se, found.df, margin) | {"seed_sd": found.spread}
    if margin is None:
        return combined
    for name in ("sd", "null_sd", "share_below", "share_above", "feasible_from"):
        combined[name] = float(np.mean([row[name] for row in there])) if there else np.nan
    for name in ("share_below", "share_above"):
        combined[f"{name}_se"] = over_replicates([row[name] for row in there]).se
    for name in ("n_pairs", "n_features"):
        combined[name] = int(min(row[name] for row in rows))
    combined["quantiles"] = {
        q: float(np.mean([row["quantiles"][q] for row in there])) if there else np.nan
        for q in rows[0]["quantiles"]
    }
    if len(there) < 2:
        combined["problem"] = f"only {len(there)} of {len(rows)} seeds have pairs in this cell"
    else:
        combined["problem"] = None
    return combined
