"""The specification curve: the slopes under every defensible choice, and whether all of them together could
be chance (Simonsohn, Simmons & Nelson 2020).

One permutation of features is applied to all specifications at once. Only features that every filter treats
alike change places, so that each specification keeps its features. The null: given the filters, directions
have nothing to do with co-occurrence, outputs and frequency.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from compare.names import SLOPES
from compare.pairs import PairTable
from compare.specifications import (
    CHOICES,
    ESTIMATORS,
    FEWEST,
    Material,
    designs,
    material,
    standardised,
    without_levels,
)

COLLINEAR = 0.01
"""Regressors whose scaled Gram matrix has a smaller eigenvalue are too alike: that is no specification."""

CLEAR = 1.96
"""A specification is clear of its own null if it lies so many of the null's standard deviations away."""

N_BINS = 50
"""Steps that a curve of thousands of specifications is drawn in."""

CHUNK = 16
"""Permutations that go through one product of matrices."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Slopes of every specification, in sd of the cosine by sd of the regressor, and under permutations."""

    choices: pd.DataFrame
    """A row a specification: what it chose."""

    effects: Float[np.ndarray, "specifications terms"]
    null: Float[np.ndarray, "draws specifications terms"]
    n_features: int

    @property
    def null_mean(self) -> Float[np.ndarray, "specifications terms"]:
        """Mean over permutations."""
        return self.null.mean(0)

    @property
    def null_sd(self) -> Float[np.ndarray, "specifications terms"]:
        """Standard deviation over permutations."""
        return self.null.std(0, ddof=1)

    @property
    def z(self) -> Float[np.ndarray, "specifications terms"]:
        """Distance from the null's mean in the null's standard deviations."""
        return (self.effects - self.null_mean) / self.null_sd

    def joint(self) -> pd.DataFrame:
        """A row a term: median effect, share of the dominant sign, Stouffer's z, each with its p-value.

        p = (1 + permutations with as extreme a value) / (1 + permutations), two-sided. Stouffer's z sums the
        specifications' z; it is not normal, as specifications share data, so that only its p counts.
        """
        rows = []
        # the data are one draw of the null among the others, so they share in its mean and spread: p is exact
        draws = np.concatenate([self.effects[None], self.null])
        draws_z = (draws - draws.mean(0)) / draws.std(0, ddof=1)
        for k, term in enumerate(SLOPES):
            median, *null_median = np.median(draws[:, :, k], axis=1)
            positive, *null_positive = (draws[:, :, k] > 0).mean(1)
            total, *null_total = draws_z[:, :, k].sum(1) / len(self.effects) ** 0.5
            middle = float(np.median([median, *null_median]))
            rows.append(
                {
                    "term": term,
                    "specifications": len(self.effects),
                    "median": float(median),
                    "null_low": float(np.quantile(null_median, 0.025)),
                    "null_high": float(np.quantile(null_median, 0.975)),
                    "p_median": _p(abs(median - middle), np.abs(np.array(null_median) - middle)),
                    "sign": "+" if positive >= 0.5 else "-",
                    "share": float(max(positive, 1 - positive)),
                    "p_share": _p(abs(positive - 0.5) + 0.5, np.abs(np.array(null_positive) - 0.5) + 0.5),
                    "stouffer": float(total),
                    "p_stouffer": _p(abs(total), np.abs(null_total)),
                    "clear_above": float((self.z[:, k] > CLEAR).mean()),
                    "clear_below": float((self.z[:, k] < -CLEAR).mean()),
                }
            )
        return pd.DataFrame(rows)

    def by_choice(self) -> pd.DataFrame:
        """A row a term and value of a choice: its specifications' median, signs, and how many are clear.

        `explains` is the share of the variation of effects between specifications that the choice's values
        account for by themselves.
        """
        rows = []
        for k, term in enumerate(SLOPES):
            effects, z = self.effects[:, k], self.z[:, k]
            for choice in CHOICES:
                groups = self.choices.groupby(choice, sort=False).indices
                between = sum(len(at) * (effects[at].mean() - effects.mean()) ** 2 for at in groups.values())
                explains = float(between / max(((effects - effects.mean()) ** 2).sum(), 1e-300))
                rows += [
                    {
                        "term": term,
                        "choice": choice,
                        "value": value,
                        "specifications": len(at),
                        "median": float(np.median(effects[at])),
                        "share_above": float((effects[at] > 0).mean()),
                        "clear_above": float((z[at] > CLEAR).mean()),
                        "clear_below": float((z[at] < -CLEAR).mean()),
                        "explains": explains,
                    }
                    for value, at in groups.items()
                ]
        return pd.DataFrame(rows)

    def to_frame(self) -> pd.DataFrame:
        """A row a specification and term, lowest effect first within a term."""
        parts = []
        for k, term in enumerate(SLOPES):
            numbers = {
                "effect": self.effects[:, k],
                "null_mean": self.null_mean[:, k],
                "null_sd": self.null_sd[:, k],
            }
            part = self.choices.assign(term=term, **numbers)
            parts.append(part.sort_values("effect", kind="stable"))
        return pd.concat(parts, ignore_index=True)

    def to_bins(self, n_bins: int = N_BINS) -> list[dict]:
        """The curve in so many steps a term: mean effect, the null's middle 95 %, and who chose what there.

        `shares` has for each value of a choice its share of the step's specifications.
        """
        steps = []
        for term, part in self.to_frame().groupby("term", sort=False):
            for number, at in enumerate(np.array_split(np.arange(len(part)), min(n_bins, len(part)))):
                step = part.iloc[at]
                reach = CLEAR * step["null_sd"]
                steps.append(
                    {
                        "term": term,
                        "step": number,
                        "effect": float(step["effect"].mean()),
                        "null_low": float((step["null_mean"] - reach).mean()),
                        "null_high": float((step["null_mean"] + reach).mean()),
                        "shares": {
                            f"{choice}: {value}": float((step[choice] == value).mean())
                            for choice in CHOICES
                            for value in self.choices[choice].unique()
                        },
                    }
                )
        return steps


class Columns(NamedTuple):
    """Regressors of pairs i < j on one set of features: raw ones centred, then what feature effects leave."""

    values: Float[np.ndarray, "columns pairs"]
    places: dict[tuple[str, bool], int]
    """Row of a regressor by its name and whether feature effects were taken out."""


def curve_results(table: PairTable, **given: int) -> dict:
    """The curve of one dictionary as in compare/page.py; `problem` says why there is none."""
    try:
        curve = specification_curve(table, **given)
    except ValueError as error:
        return {"problem": str(error), "joint": [], "by_choice": [], "steps": []}
    return {
        "problem": None,
        "n_features": curve.n_features,
        "n_specifications": len(curve.choices),
        "permutations": len(curve.null),
        "joint": curve.joint().to_dict("records"),
        "by_choice": curve.by_choice().to_dict("records"),
        "steps": curve.to_bins(),
    }


def specification_curve(
    table: PairTable, *, max_features: int = 400, permutations: int = 199, seed: int = 0
) -> Curve:
    """Every specification on at most max_features of the table's features, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    chosen = np.arange(table.n)
    if table.n > max_features:
        chosen = np.sort(rng.choice(table.n, max_features, replace=False))
    given = material(table.evidence, table.feature_ids[chosen])
    return curve_of(given, permutations=permutations, seed=seed)


def curve_of(given: Material, *, permutations: int = 199, seed: int = 0) -> Curve:
    """The curve from measures at hand; ValueError where they are too few or undefined for some pair."""
    n = len(given.activity)
    if n < FEWEST:
        raise ValueError(
            f"expected {FEWEST} features or more, found {n}: lower min_count or read more tokens."
        )
    if permutations < 19:
        raise ValueError(f"expected 19 permutations or more, found {permutations}: ask for 199.")
    measures = {**given.cosines, **given.cooccurrences, **given.similarities, **given.covariates}
    above = np.triu_indices(n, 1)
    for name, values in measures.items():
        if not np.isfinite(values[above]).all():
            raise ValueError(
                f"expected {name} for every pair, found undefined ones: leave these features out."
            )
    orders = _orders(given.strata, permutations, np.random.default_rng(seed))
    names = designs(given)
    found: dict[tuple[str, ...], np.ndarray] = {}
    for kept in given.filters:
        for estimator in ESTIMATORS:
            chosen = [name for name in names if (name[4], name[6]) == (kept, estimator)]
            found |= _estimates(given, chosen, kept, estimator == "ranks", orders)
    names = [name for name in names if name in found]
    slopes = np.stack([found[name] for name in names], axis=1)  # [draws + 1, specifications, terms]
    return Curve(pd.DataFrame(names, columns=list(CHOICES)), slopes[0], slopes[1:], n)


def _estimates(
    given: Material,
    names: Sequence[tuple[str, ...]],
    kept: str,
    ranks: bool,
    orders: Int[np.ndarray, "draws n"],
) -> dict[tuple[str, ...], np.ndarray]:
    """Slopes [draws, terms] of the specifications of one set of features and one estimator."""
    ids = np.flatnonzero(given.filters[kept])
    orders = np.searchsorted(ids, orders[:, ids])  # a filter's features stay among themselves
    columns = _columns(given, ids, ranks)
    gram = columns.values @ columns.values.T
    cosines = np.stack([standardised(c[np.ix_(ids, ids)], ranks) for c in given.cosines.values()], axis=-1)
    cross = _cross(columns.values.astype(np.float32), cosines.astype(np.float32), orders)
    found, solved = {}, {}
    for name in names:
        key = name[:4]
        if key not in solved:
            solved[key] = _solve(gram, cross, columns.places, key)
        if solved[key] is not None:
            found[name] = solved[key][:, list(given.cosines).index(name[5])]
    return found


def _columns(given: Material, ids: Int[np.ndarray, " k"], ranks: bool) -> Columns:
    """Every regressor of these features, with and without what feature effects explain."""
    square, above = np.ix_(ids, ids), np.triu_indices(len(ids), 1)
    ready = {
        name: standardised(values[square], ranks)
        for part in (given.cooccurrences, given.similarities, given.covariates)
        for name, values in part.items()
    }
    activity = given.activity[ids] - given.activity[ids].mean()
    ready["activity"] = standardised(np.outer(activity, activity), ranks=False)
    for co in given.cooccurrences:
        for sim in given.similarities:
            ready[f"{co} x {sim}"] = ready[co] * ready[sim]
    rows, places = [], {}
    for name, values in ready.items():
        pairs = values[above]
        for bare, column in ((False, pairs - pairs.mean()), (True, without_levels(values)[above])):
            places[name, bare] = len(rows)
            rows.append(column)
    return Columns(np.stack(rows), places)


def _cross(
    columns: Float[np.ndarray, "c pairs"],
    cosines: Float[np.ndarray, "n n k"],
    orders: Int[np.ndarray, "draws n"],
) -> Float[np.ndarray, "c draws k"]:
    """Sums over pairs of every column with every version of the cosines, their features put in each order."""
    n, k = cosines.shape[0], cosines.shape[2]
    i, j = np.triu_indices(n, 1)
    flat = cosines.reshape(n * n, k)
    found = np.empty((len(columns), len(orders), k))
    for start in range(0, len(orders), CHUNK):
        part = orders[start : start + CHUNK]
        moved = np.concatenate([flat[order[i] * n + order[j]] for order in part], axis=1)
        found[:, start : start + CHUNK] = (columns @ moved).reshape(len(columns), len(part), k)
    return found


def _solve(
    gram: np.ndarray, cross: np.ndarray, places: dict, key: Sequence[str]
) -> Float[np.ndarray, "draws k terms"] | None:
    """Slopes of one set of regressors for every order and version; None where they are collinear."""
    co, sim, effects, covariates = key
    bare = effects != "none"
    names = [co, sim, f"{co} x {sim}"]
    if covariates != "none":  # feature effects take 1/n_i + 1/n_j out by themselves
        names += ["n_ij / n_i n_j"] if bare else ["1/n_i + 1/n_j", "n_ij / n_i n_j"]
    names += ["activity"] if effects == "product" else []
    at = [places[name, bare] for name in names]
    own = gram[np.ix_(at, at)]
    scale = np.sqrt(own.diagonal())
    if (scale <= 1e-9 * np.sqrt(gram.diagonal().max())).any():
        return None
    scaled = own / np.outer(scale, scale)
    if np.linalg.eigvalsh(scaled)[0] < COLLINEAR:
        return None
    sums = cross[at].reshape(len(at), -1)
    slopes = np.linalg.solve(scaled, sums / scale[:, None]) / scale[:, None]
    return np.moveaxis(slopes[:3].reshape(3, *cross.shape[1:]), 0, -1)


def _orders(
    strata: Int[np.ndarray, " n"], draws: int, rng: np.random.Generator
) -> Int[np.ndarray, "draws_and_one n"]:
    """The features as they are, then permutations within strata."""
    orders = np.tile(np.arange(len(strata)), (draws + 1, 1))
    for stratum in np.unique(strata):
        at = np.flatnonzero(strata == stratum)
        orders[1:, at] = rng.permuted(np.tile(at, (draws, 1)), axis=1)
    return orders


def _p(value: float, null: Float[np.ndarray, " draws"]) -> float:
    return float((1 + (null >= value * (1 - 1e-9)).sum()) / (1 + len(null)))
