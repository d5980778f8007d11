"""The one regression, cosine on co-occurrence x similarity over pairs of features, and its errors.

Pairs that share a feature are not independent, so the default error deletes features, never pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from numba import njit
from torch import Tensor

from compare.dyads import (
    ArrayColumns,
    Columns,
    Matrix,
    SourceColumns,
    Survey,
    TileSource,
    node_grams,
    survey,
    tiles,
)
from compare.effects import Projection, additive_effects, no_effects
from compare.fitted import Fit

Effects = Literal["none", "additive", "product"]
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
    activity: Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."] | None = None,
) -> Fit:
    """Least squares of cosine on 1, co, sim, co:sim [, covariates] over the pairs i < j where mask is True.

    Arrays are symmetric [n, n]; or `cosine` is a TileSource that gives all of them. `center` takes the means
    over pairs out of co and sim before their product. `effects`: "additive" gives every feature its own level
    (then `const` is the level of a pair of average features); "product" also regresses on f_i f_j, f an
    activity of features (log firing rate, say; by default the mean co-occurrence of a feature), reported as
    `activity`.
    """
    if effects not in ("none", "additive", "product"):
        raise ValueError(f"expected effects 'none', 'additive' or 'product', found {effects!r}: choose one.")
    if effects != "product" and activity is not None:
        raise ValueError(
            f"expected activity with effects='product' only, found effects={effects!r}: drop one of the two."
        )
    base = _base_columns(cosine, cooccurrence, similarity, mask, covariates)
    found = survey(base)
    for name, low, high in zip(base.names[1:3], found.low[1:], found.high[1:], strict=False):
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            raise ValueError(
                f"expected {name} that varies, found {low:.6g} for all {found.n_pairs} pairs: "
                "there is no slope to estimate; use another measure or a wider mask."
            )
    centres = np.zeros(len(base.names))
    if center:
        centres[1:3] = found.means[1:3]
    driver = _activity(activity, found) if effects == "product" else None
    return _estimate(_Design(base, centres, product=True, activity=driver), found, effects)


def dyadic_ols(
    y: Matrix,
    columns: Mapping[str, Matrix],
    *,
    mask: Matrix | None = None,
    constant: bool = True,
    effects: Literal["none", "additive"] = "none",
) -> Fit:
    """Least squares of any value of pairs on any named columns, [n, n] each, with the same errors as `fit`.

    `constant` puts `const` first; leave it out where columns sum to one already, such as indicators of cells.
    """
    if effects != "none" and not constant:
        raise ValueError(
            "expected a constant with feature effects, found constant=False: effects contain one; leave a "
            "column out."
        )
    base = ArrayColumns({"y": y, **columns}, mask)
    base.check_symmetry()
    design = _Design(base, np.zeros(len(base.names)), constant=constant)
    return _estimate(design, survey(base), effects)


@dataclass(frozen=True, eq=False)
class _Design:
    """Regressors and, last, the response, made from base columns of which the first is the response."""

    base: Columns
    centres: Float[np.ndarray, "q"]
    constant: bool = True
    product: bool = False
    activity: Float[np.ndarray, "n"] | None = None
    n: int = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        response, *names = self.base.names
        if self.product:
            names.insert(2, "co:sim")
        if self.activity is not None:
            names.append("activity")
        if self.constant:
            names.insert(0, "const")
        if len(set(names)) < len(names):
            raise ValueError(f"expected different names of columns, found {names}: rename the covariates.")
        object.__setattr__(self, "n", self.base.n)
        object.__setattr__(self, "names", (*names, response))

    def tile(self, rows: slice, cols: slice) -> tuple[Float[np.ndarray, "k r c"], np.ndarray]:
        base, used = self.base.tile(rows, cols)
        base -= self.centres[:, None, None]
        block = np.empty((len(self.names), *used.shape))
        parts = list(base[1:])
        if self.product:
            parts.insert(2, base[1] * base[2])
        if self.activity is not None:
            parts.append(np.outer(self.activity[rows], self.activity[cols]))
        if self.constant:
            parts.insert(0, np.ones(used.shape))
        for column, part in zip(block, [*parts, base[0]], strict=True):
            column[:] = part
        return block, used


def _estimate(design: _Design, found: Survey, effects: str) -> Fit:
    alive = found.degree > 0
    n, n_pairs, terms = int(alive.sum()), found.n_pairs, design.names[:-1]
    seen = None if effects == "none" else survey(design)
    projection = no_effects(design) if seen is None else additive_effects(design, seen)
    n_parameters = len(terms) + projection.n_absorbed
    if n_pairs <= n_parameters:
        raise ValueError(
            f"expected more pairs than the {n_parameters} parameters, found {n_pairs} pairs of {n} features: "
            "use more features or fewer columns."
        )
    grams = node_grams(design, projection.shifts)
    total = grams.sum(0) / 2
    if seen is not None:
        _check_left(total, seen, terms)
    x, y = slice(0, len(terms)), len(terms)
    inverse = _inverse(total[x, x], terms)
    beta = inverse @ total[x, y]
    meats, rest, squares = _second_look(design, projection, beta, inverse)
    beta = beta + inverse @ rest  # one step of refinement: digits that the Gram matrix lost
    scores = grams[:, x, y] - grams[:, x, x] @ beta
    meats["dyadic"] = scores.T @ scores - meats["hc0"]
    covariances = {kind: inverse @ meat @ inverse for kind, meat in meats.items()}
    covariances["hc1"] = covariances["hc0"] * n_pairs / (n_pairs - n_parameters)
    covariances["naive"] = inverse * squares / (n_pairs - n_parameters)
    without = _delete_one(grams, total, projection, found.degree)[alive]
    spread = without - without.mean(0)
    covariances["jackknife"] = (n - 1) / n * spread.T @ spread
    level = total[0, y] ** 2 / total[0, 0] if "const" in terms else 0.0
    return Fit(
        params=pd.Series(beta, index=list(terms), name="estimate"),
        n_features=n,
        n_pairs=n_pairs,
        effects=effects,
        df_pairs=n_pairs - n_parameters,
        r_squared=float(1 - squares / (total[y, y] - level)),
        covariances={kind: pd.DataFrame(v, terms, terms) for kind, v in covariances.items()},
    )


def _inverse(gram: Float[np.ndarray, "k k"], terms: tuple[str, ...]) -> Float[np.ndarray, "k k"]:
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
            f"expected regressors that are not collinear, found {', '.join(together)} to be so (smallest "
            "scaled "
            f"eigenvalue {values[0]:.1g}): leave one of them out."
        )
    return (vectors / values) @ vectors.T / np.outer(scale, scale)


def _check_left(total: np.ndarray, seen: Survey, terms: tuple[str, ...]) -> None:
    left = total.diagonal() - total[0] ** 2 / total[0, 0]
    before = seen.squares - seen.n_pairs * seen.means**2
    for name, now, then in list(zip(terms, left, before, strict=False))[1:]:
        if now <= 1e-12 * then:
            raise ValueError(
                f"expected {name} to vary beyond feature effects, found it to be a sum of two features' "
                "levels: "
                "leave it out, or use effects='none'."
            )


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
    design: _Design, projection: Projection, beta: np.ndarray, inverse: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Over pairs: sums of w e^2 x x' (w = 1, 1/(1-h), 1/(1-h)^2), of x e, of e^2; e residual, h leverage."""
    k = len(beta)
    root = np.linalg.cholesky(inverse).T.copy()  # h = |root x|^2
    meat, rest, squares = np.zeros((3, k, k)), np.zeros(k), np.zeros(1)
    for rows, cols in tiles(design.n):
        block, used = design.tile(rows, cols)
        here, there = (np.ascontiguousarray(projection.shifts[:, where]) for where in (rows, cols))
        _add_squares(
            block, used, here, there, beta, root, projection.leverage(rows, cols), meat, rest, squares
        )
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


def _base_columns(
    cosine: Matrix | TileSource,
    cooccurrence: Matrix | None,
    similarity: Matrix | None,
    mask: Matrix | None,
    covariates: Mapping[str, Matrix] | None,
) -> Columns:
    if isinstance(cosine, TileSource):
        if any(given is not None for given in (cooccurrence, similarity, mask, covariates)):
            raise ValueError("expected a tile source alone, found arrays beside it: let its tiles give them.")
        return SourceColumns(cosine)
    if cooccurrence is None or similarity is None:
        raise ValueError(
            "expected three arrays, found fewer: give co-occurrence and similarity, or a tile source."
        )
    arrays = {"cosine": cosine, "co": cooccurrence, "sim": similarity, **(covariates or {})}
    base = ArrayColumns(arrays, mask)
    base.check_symmetry()
    return base


def _activity(activity: np.ndarray | Tensor | None, found: Survey) -> Float[np.ndarray, "n"]:
    """Activity of features less its mean over those with pairs, which feature effects take out anyway."""
    alive = found.degree > 0
    if activity is None:
        values = found.sums[1] / np.maximum(found.degree, 1)
    else:
        values = np.asarray(activity, dtype=np.float64)
        if values.shape != alive.shape or not np.isfinite(values[alive]).all():
            raise ValueError(
                f"expected a finite activity for each of {len(alive)} features, found shape "
                f"{list(values.shape)} with "
                f"{int((~np.isfinite(values)).sum())} values that are not: give log firing rates of live "
                "features."
            )
    return np.where(alive, values - values[alive].mean(), 0.0)
