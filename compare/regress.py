"""The one regression, cosine on co-occurrence x similarity over pairs of features, and its errors.

Pairs that share a feature are not independent, so the default error deletes features, never pairs.
"""

from collections.abc import Mapping
from typing import no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float
from numba import njit

from compare import ranks
from compare.design import Activity, Design, Effects, Prepared, interaction, prepare
from compare.dyads import ArrayColumns, Matrix, TileSource, survey, tiles
from compare.effects import Projection
from compare.fitted import Fit

COLLINEAR = 1e-11
"""Smallest eigenvalue of the regressors' Gram matrix, scaled to a diagonal of 1, that is still solved."""


def fit(
    cosine: Matrix | TileSource,
    cooccurrence: Matrix | None = None,
    similarity: Matrix | None = None,
    *,
    mask: Matrix | None = None,
    covariates: Mapping[str, Matrix] | None = None,
    effects: Effects = "none",
    center: bool = True,
    activity: Activity | None = None,
) -> Fit:
    """Least squares of cosine on 1, co, sim, co:sim [, covariates] over the pairs i < j where mask is True.

    Arrays are symmetric [n, n], whose diagonal plays no part; or `cosine` is a TileSource that gives all of
    them. Without a mask all pairs count. Slopes are cosines per unit of their measure (for js_split, a nat).
    `center` takes the means over pairs out of co and sim before their product. `effects`: "additive" gives
    every feature its own level (then `const` is the level of a pair of average features); "product" also
    regresses on f_i f_j, f an activity of features (log firing rate, say; by default the mean co-occurrence
    of a feature), reported as `activity`. Errors: compare.fitted.Fit.cov. ValueError where arrays differ in
    shape, are not symmetric or not finite in the mask, columns are collinear, or pairs are too few.
    """
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
    return _estimate(prepared)


def dyadic_ols(
    y: Matrix,
    columns: Mapping[str, Matrix],
    *,
    mask: Matrix | None = None,
    constant: bool = True,
    effects: Effects = "none",
) -> Fit:
    """Least squares of any value of pairs on any named columns, [n, n] each, with the same errors as `fit`.

    `constant` puts `const` first; leave it out where columns sum to one already, such as indicators of cells.
    """
    if effects not in ("none", "additive"):
        raise ValueError(f"expected effects 'none' or 'additive', found {effects!r}: choose one.")
    if effects != "none" and not constant:
        raise ValueError(
            "expected a constant with feature effects, found constant=False: effects contain one; leave a "
            "column out."
        )
    base = ArrayColumns({"y": y, **columns}, mask)
    base.check_symmetry()
    design = Design(base, np.zeros(len(base.names)), constant=constant)
    return _estimate(prepare(design, survey(base), effects))


def _estimate(prepared: Prepared) -> Fit:
    design, projection, grams, terms = prepared.design, prepared.projection, prepared.grams, prepared.terms
    n, n_pairs, df_pairs = int(prepared.is_alive.sum()), prepared.found.n_pairs, prepared.df_pairs
    total = grams.sum(0) / 2
    x, y = slice(0, len(terms)), len(terms)
    inverse = inverse_of(total[x, x], terms)
    beta = inverse @ total[x, y]
    meats, rest, squares = _second_look(design, projection, beta, inverse)
    beta = beta + inverse @ rest  # one step of refinement: digits that the Gram matrix lost
    scores = grams[:, x, y] - grams[:, x, x] @ beta
    meats["dyadic"] = scores.T @ scores - meats["hc0"]
    covariances = {kind: inverse @ meat @ inverse for kind, meat in meats.items()}
    covariances["hc1"] = covariances["hc0"] * n_pairs / df_pairs
    covariances["naive"] = inverse * squares / df_pairs
    without = _delete_one(grams, total, projection, prepared.found.degree)[prepared.is_alive]
    spread = without - without.mean(0)
    covariances["jackknife"] = (n - 1) / n * spread.T @ spread
    level = total[0, y] ** 2 / total[0, 0] if "const" in terms else 0.0
    return Fit(
        params=pd.Series(beta, index=terms, name="estimate"),
        n_features=n,
        n_pairs=n_pairs,
        effects=prepared.effects,
        df_pairs=df_pairs,
        r_squared=float(1 - squares / (total[y, y] - level)) if total[y, y] > level else float("nan"),
        left=pd.Series(1 / (n_pairs * inverse.diagonal()), index=terms, name="left"),
        covariances={kind: pd.DataFrame(v, terms, terms) for kind, v in covariances.items()},
    )


def inverse_of(gram: Float[np.ndarray, "k k"], terms: list[str]) -> Float[np.ndarray, "k k"]:
    """Inverse of the regressors' Gram matrix, or ValueError naming the columns that depend on one another."""
    scale = np.sqrt(gram.diagonal())
    for name, size in zip(terms, scale, strict=True):
        if size == 0:
            raise ValueError(
                f"expected {name} to differ from 0 for some pair, found 0 for all: leave it out."
            )
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    if values[0] < COLLINEAR:
        together = [name for name, weight in zip(terms, vectors[:, 0], strict=True) if abs(weight) > 0.1]
        raise ValueError(
            f"expected regressors that are not collinear, found {', '.join(together)} to be so "
            f"(smallest scaled eigenvalue {values[0]:.1g}): leave one of them out."
        )
    return (vectors / values) @ vectors.T / np.outer(scale, scale)


def _delete_one(
    grams: np.ndarray, total: np.ndarray, projection: Projection, degree: np.ndarray
) -> Float[np.ndarray, "n terms"]:
    """Coefficients without feature i, for every i; NaN where that leaves nothing to estimate one from.

    With feature effects the pairs that remain are projected anew: deleting i leaves row sums -u_ij behind,
    whose projection takes a further 1/(m - 3) of the sums of i, m = degree + 1, and it moves the levels.
    Exact where all pairs are used; with missing pairs an approximation.
    """
    rest = total - grams
    if projection.n_absorbed:
        level, n_pairs, n = total[0] / total[0, 0], total[0, 0], projection.n_absorbed + 1
        common = np.outer(level, level)
        own = (grams - degree[:, None, None] * common) * ((degree - 1) / np.maximum(degree - 2, 1))[
            :, None, None
        ]
        levels = level - 2 / (n - 1) * projection.shifts.T
        levels[:, 0] = 1.0
        kept = (n_pairs - degree)[:, None, None]
        rest = total - n_pairs * common - own + kept * levels[:, :, None] * levels[:, None, :]
    k = total.shape[0] - 1
    diagonal = np.einsum("iaa->ia", rest)[:, :k]
    left = diagonal > 1e-12 * total.diagonal()[:k]
    scale = np.sqrt(np.where(left, diagonal, np.inf))
    values, vectors = np.linalg.eigh(rest[:, :k, :k] / (scale[:, :, None] * scale[:, None, :]))
    good = values > COLLINEAR
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=good)
    along = np.einsum("iab,ia->ib", vectors, rest[:, :k, k] / scale) * inverse
    without = np.einsum("iab,ib->ia", vectors, along) / scale
    lost = np.einsum("iab,ib->ia", vectors**2, ~good) > 1e-6
    return np.where(lost, np.nan, without)


def _second_look(
    design: Design, projection: Projection, beta: np.ndarray, inverse: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Over pairs: sums of w e^2 x x' (w = 1, 1/(1-h), 1/(1-h)^2), of x e, of e^2; e residual, h leverage."""
    k = len(beta)
    root = np.linalg.cholesky(inverse).T.copy()  # h = |root x|^2
    meat, rest, squares = np.zeros((3, k, k)), np.zeros(k), np.zeros(1)
    for rows, cols in ranks.share(tiles(design.n)):
        block, used = design.tile(rows, cols)
        here, there = (np.ascontiguousarray(projection.shifts[:, where]) for where in (rows, cols))
        _add_squares(
            block, used, here, there, beta, root, projection.leverage(rows, cols), meat, rest, squares
        )
    ranks.total(meat, rest, squares)
    return dict(zip(("hc0", "hc2", "hc3"), meat, strict=True)), rest, float(squares[0])


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
@no_type_check
def _add_squares(block, used, row_shift, col_shift, beta, root, leverage, meat, rest, squares):
    k = len(beta)
    n_rows, n_cols = used.shape
    x = np.empty((k, n_cols))
    e, h, w, once, twice = np.empty((5, n_cols))
    for i in range(n_rows):
        for j in range(n_cols):
            e[j] = block[k, i, j] - row_shift[k, i] - col_shift[k, j] if used[i, j] else 0.0
            h[j] = 1.0 - leverage[i, j]
        for a in range(k):
            for j in range(n_cols):
                x[a, j] = block[a, i, j] - row_shift[a, i] - col_shift[a, j] if used[i, j] else 0.0
                e[j] -= beta[a] * x[a, j]
        for a in range(k):
            w[:] = 0.0
            for b in range(k):
                for j in range(n_cols):
                    w[j] += root[a, b] * x[b, j]
            for j in range(n_cols):
                h[j] -= w[j] * w[j]
        total = 0.0
        for j in range(n_cols):
            w[j] = e[j] * e[j]
            total += w[j]
            once[j] = w[j] / h[j] if used[i, j] else 0.0
            twice[j] = once[j] / h[j] if used[i, j] else 0.0
        squares[0] += total
        for a in range(k):
            total = 0.0
            for j in range(n_cols):
                total += x[a, j] * e[j]
            rest[a] += total
            for b in range(a + 1):
                plain, single, double = 0.0, 0.0, 0.0
                for j in range(n_cols):
                    product = x[a, j] * x[b, j]
                    plain += w[j] * product
                    single += once[j] * product
                    double += twice[j] * product
                meat[0, a, b] += plain
                meat[1, a, b] += single
                meat[2, a, b] += double
    for a in range(k):
        for b in range(a):
            for kind in range(3):
                meat[kind, b, a] = meat[kind, a, b]
