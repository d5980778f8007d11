"""Node permutations: is a slope larger than it would be had the features of one side been dealt anew?

The null hypothesis: what the other regressors leave of one has nothing to do with the cosines (independence,
not merely a slope of 0). A permutation moves rows and columns together, so pairs keep sharing features; but
it breaks any tie between attributes of a feature on both sides: use feature effects where one, such as its
firing rate, could drive both. Where families of features share an axis with random signs, it rejects too
often.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer
from numba import njit, prange
from scipy import stats

from compare.design import Activity, Effects, Prepared, interaction
from compare.dyads import Matrix, TileSource, tiles
from compare.portrait import PermutationPortrait
from compare.regress import inverse_of

DOUBLE_LIMIT = 1024
"""Features up to which permutations run in float64; above, in float32 (t moves by about 1e-4)."""

PERMUTED_LIMIT = 8192
"""Features up to which permutations are drawn: their columns are held whole."""


@dataclass(frozen=True, eq=False)
class Permutation(PermutationPortrait):
    """Two-sided p-values by coefficient, and the null's t statistics in short."""

    tvalues: pd.Series
    """Estimate over its naive error: the statistic that is permuted."""

    pvalues: pd.Series
    null_mean: pd.Series
    """Mean of t under the null."""

    null_sd: pd.Series
    """Standard deviation of t under the null: 1 if pairs were independent."""

    estimates: pd.Series
    null_se: pd.Series
    """Standard deviation of the coefficient under the null."""

    method: str
    n_features: int
    n_permutations: int
    """0 where the moments over all permutations were computed."""

    draws: Float[np.ndarray, "draws slopes"]
    """t of every permutation; no rows where moments were computed."""


def permute(
    cosine: Matrix | TileSource,
    cooccurrence: Matrix | None = None,
    similarity: Matrix | None = None,
    *,
    permutations: int | Integer[np.ndarray, "draws n"] = 999,
    seed: int = 0,
    mask: Matrix | None = None,
    method: str = "dsp",
    covariates: Mapping[str, Matrix] | None = None,
    effects: Effects = "none",
    center: bool = True,
    activity: Activity | None = None,
) -> Permutation:
    """Permutation test of every slope of `compare.fit`, called with the same arrays.

    "dsp": double semi-partialling (Dekker, Krackhardt & Snijders 2007). What the other regressors leave of
    one is permuted and the regression done again, in closed form; p = (1 + draws with |t| as large) /
    (1 + draws).
    `permutations` may be an array of permutations to use (E[perm, perm] is the permuted residual).
    "moments": mean and variance of the numerator over all n! permutations, exactly (Mantel 1967), and p from
    the normal distribution; any number of features, no draws. In both, a missing pair counts as a residual
    of 0, and features without pairs stay out.
    """
    if method not in ("dsp", "moments"):
        raise ValueError(f"expected method 'dsp' or 'moments', found {method!r}: choose one.")
    prepared = interaction(
        cosine,
        cooccurrence,
        similarity,
        mask=mask,
        covariates=covariates,
        effects=effects,
        center=center,
        activity=activity,
    )
    if method == "moments":
        return moments(prepared)
    alive = _alive(prepared)
    if len(alive) > PERMUTED_LIMIT:
        raise ValueError(
            f"expected {PERMUTED_LIMIT} features or fewer to permute, found {len(alive)}: "
            "use method='moments'."
        )
    if isinstance(permutations, int):
        if permutations < 1:
            raise ValueError(f"expected 1 permutation or more, found {permutations}: ask for 999.")
        rng = np.random.default_rng(seed)
        orders = rng.permuted(np.tile(np.arange(len(alive)), (permutations, 1)), axis=1)
    else:
        orders = np.asarray(permutations)
        if orders.ndim != 2 or (np.sort(orders, axis=1) != np.arange(len(alive))).any():
            raise ValueError(
                f"expected permutations of the {len(alive)} features with pairs, a row each, found others: "
                "each row holds every number from 0 once."
            )
    return _permuted(prepared, alive, orders.astype(np.uint32))


def _permuted(prepared: Prepared, alive: np.ndarray, orders: Integer[np.ndarray, "draws n"]) -> Permutation:
    gram = prepared.grams.sum(0) / 2
    residuals = _residual_weights(gram, prepared.terms)
    columns = _whole(prepared, alive)
    k = len(prepared.terms)
    moved = np.tensordot(residuals.astype(columns.dtype), columns[:k], 1)  # [slopes, n, n]
    for matrix in moved:
        matrix += matrix.T
    has_missing = prepared.found.n_pairs < len(alive) * (len(alive) - 1) // 2
    left = columns if has_missing else columns[1:]  # the constant's sum is 0 for all orders of complete pairs
    cross = np.zeros((len(orders), k + 1, k - 1))
    squares = np.zeros((len(orders), k - 1))
    _cross_sums(left, moved, orders, has_missing, cross[:, k + 1 - len(left) :], squares)
    own = np.einsum("ka,ab,kb->k", residuals, gram[:k, :k], residuals)
    draws = _t_statistics(
        gram, cross, squares if has_missing else np.tile(own, (len(orders), 1)), prepared.df_pairs
    )
    observed = _t_statistics(gram, (gram[:, :k] @ residuals.T)[None], own[None], prepared.df_pairs)[0]
    as_large = (np.abs(draws) >= np.abs(observed) * (1 - 1e-12)).sum(0)
    spread = draws.std(0, ddof=1) if len(draws) > 1 else np.full(k - 1, np.nan)
    p = (1 + as_large) / (1 + len(draws))
    return _result(prepared, observed, p, null_mean=draws.mean(0), null_sd=spread, method="dsp", draws=draws)


def moments(prepared: Prepared) -> Permutation:
    """The test of `permute(method="moments")` on regressors and sums that were prepared before."""
    alive = _alive(prepared)
    gram = prepared.grams.sum(0) / 2
    k, n = len(prepared.terms), len(alive)
    residuals = _residual_weights(gram, prepared.terms)
    row_sums = prepared.grams[alive, 0]  # of every column; feature effects leave none
    own = np.einsum("ka,ab,kb->k", residuals, gram[:k, :k], residuals)
    observed = _t_statistics(gram, (gram[:, :k] @ residuals.T)[None], own[None], prepared.df_pairs)[0]
    mean, spread, z = np.empty((3, k - 1))
    for a in range(k - 1):
        others = [b for b in range(k) if b != a + 1]
        response = np.zeros(k + 1)
        response[k] = 1.0
        response[others] = -np.linalg.solve(gram[np.ix_(others, others)], gram[others, k])
        moved = np.append(residuals[a], 0.0)
        first, second = (_sums(weights, gram, row_sums, prepared.effects) for weights in (response, moved))
        centre, variance = mantel_moments(first, second, n)
        found = response @ gram @ moved
        z[a] = (found - centre) / np.sqrt(variance)
        unit = observed[a] / found  # from the numerator to t, as if the denominator did not vary
        mean[a], spread[a] = centre * unit, np.sqrt(variance) * abs(unit)
    p, draws = 2 * stats.norm.sf(np.abs(z)), np.empty((0, k - 1))
    return _result(prepared, observed, p, null_mean=mean, null_sd=spread, method="moments", draws=draws)


def mantel_moments(
    first: tuple[float, float, float], second: tuple[float, float, float], n: int
) -> tuple[float, float]:
    """Mean and variance of sum over i < j of A[i, j] B[p_i, p_j] over all permutations p of n features.

    Of A and B, symmetric with diagonals of 0: the sum of the full matrix, of its squares, and of the
    squares of its row sums (Mantel 1967).
    """
    (a, a1, a2), (b, b1, b2) = first, second
    pairs, triples = n * (n - 1), n * (n - 1) * (n - 2)
    mean = a * b / pairs
    second_moment = (
        2 * a1 * b1 / pairs
        + 4 * (a2 - a1) * (b2 - b1) / triples
        + (a**2 + 2 * a1 - 4 * a2) * (b**2 + 2 * b1 - 4 * b2) / (triples * (n - 3))
    )
    return mean / 2, (second_moment - mean**2) / 4


def _alive(prepared: Prepared) -> np.ndarray:
    """Features with pairs, or ValueError where they are too few."""
    alive = np.flatnonzero(prepared.is_alive)
    if len(alive) < 4:
        raise ValueError(
            f"expected 4 features or more with pairs, found {len(alive)}: widen the mask or lower min_count."
        )
    return alive


def _sums(
    weights: np.ndarray, gram: np.ndarray, row_sums: np.ndarray, effects: str
) -> tuple[float, float, float]:
    """Of a weighted sum of columns as a full matrix: sum, sum of squares, of squared row sums."""
    rows = row_sums @ weights if effects == "none" else np.zeros(len(row_sums))
    return float(rows.sum()), float(2 * weights @ gram @ weights), float(rows @ rows)


def _residual_weights(gram: np.ndarray, terms: list[str]) -> Float[np.ndarray, "slopes k"]:
    """Weights of the regressors whose sum is what the others leave of each slope's regressor."""
    k = len(terms)
    inverse = inverse_of(gram[:k, :k], terms)
    return (inverse / inverse.diagonal()[:, None])[1:]


def _t_statistics(
    gram: np.ndarray, cross: np.ndarray, squares: np.ndarray, df: int
) -> Float[np.ndarray, "draws slopes"]:
    """t of a moved residual in its regressor's place, from its sums with all columns and its square."""
    k = len(gram) - 1
    t = np.empty(squares.shape)
    for a in range(k - 1):
        others = [b for b in range(k) if b != a + 1]
        normal, y = gram[np.ix_(others, others)], gram[others, k]
        sums = cross[:, others, a]
        along = np.linalg.solve(normal, sums.T).T
        numerator = cross[:, k, a] - along @ y
        size = squares[:, a] - (sums * along).sum(1)
        rest = gram[k, k] - y @ np.linalg.solve(normal, y) - numerator**2 / size
        t[:, a] = numerator / np.sqrt(size * rest / df)
    return t


def _result(prepared: Prepared, observed: np.ndarray, p: np.ndarray, **null: Any) -> Permutation:
    terms = prepared.terms
    k = len(terms)
    gram = prepared.grams.sum(0) / 2
    inverse = inverse_of(gram[:k, :k], terms)
    estimates = pd.Series(inverse @ gram[:k, k], terms)[1:]
    null = {name: pd.Series(v, terms[1:]) if np.ndim(v) == 1 else v for name, v in null.items()}
    return Permutation(
        tvalues=pd.Series(observed, terms[1:]),
        pvalues=pd.Series(p, terms[1:]),
        estimates=estimates,
        null_se=null["null_sd"] * (estimates / observed).abs(),
        n_features=int(prepared.is_alive.sum()),
        n_permutations=len(null["draws"]),
        **null,
    )


def _whole(prepared: Prepared, alive: np.ndarray) -> Float[np.ndarray, "k n n"]:
    """Columns of the pairs i < j of features with pairs, what effects explain taken out; 0 elsewhere."""
    design, shifts = prepared.design, prepared.projection.shifts
    dtype = np.float64 if len(alive) <= DOUBLE_LIMIT else np.float32
    columns = np.zeros((len(design.names), len(alive), len(alive)), dtype)
    for rows, cols in tiles(design.n):
        block, used = design.tile(rows, cols)
        block -= shifts[:, rows, None] + shifts[:, None, cols]
        block[:, ~used] = 0.0
        here, there = (alive[(alive >= where.start) & (alive < where.stop)] for where in (rows, cols))
        kept = block[:, here[:, None] - rows.start, there - cols.start]
        columns[:, np.searchsorted(alive, here)[:, None], np.searchsorted(alive, there)] = kept
    return columns


@njit(cache=True, parallel=True, fastmath={"reassoc", "contract", "nsz"})
@no_type_check
def _cross_sums(left, moved, orders, with_squares, cross, squares):
    """For every order: sums over i < j of left[i, j] moved[order i, order j], and of the latter's squares.

    `left` is 0 for pairs that are not used; its first column is then which pairs are (with_squares).
    """
    n_left, n = left.shape[:2]
    zero = left.dtype.type(0)  # sums along a row stay in the columns' own precision
    for draw in prange(len(orders)):
        row = np.empty(n, left.dtype)
        for i in range(n - 1):
            order, first = orders[draw, i + 1 :], orders[draw, i]
            for b in range(len(moved)):
                source = moved[b, first]
                for j in range(len(order)):
                    row[j] = source[order[j]]
                for a in range(n_left):
                    here, total = left[a, i, i + 1 :], zero
                    for j in range(len(here)):
                        total += here[j] * row[j]
                    cross[draw, a, b] += total
                if with_squares:
                    here, total = left[0, i, i + 1 :], zero
                    for j in range(len(here)):
                        total += row[j] * row[j] if here[j] != zero else zero
                    squares[draw, b] += total
