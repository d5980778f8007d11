"""Feature effects: what is left of columns of pairs once every feature has had its own level taken out."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from compare.dyads import Columns, Survey, tiles

EXACT_LEVERAGE_LIMIT = 1024
"""Features up to which leverages are known where pairs are missing: they need an n x n inverse."""


@dataclass(frozen=True)
class Projection:
    """Column u becomes u - shift_i - shift_j; the shifts of a column sum to 0 over features.

    Taking out effects that sum to zero (and leaving the general level in) makes a regression on the projected
    columns, the constant among them, the dummy regression by Frisch-Waugh-Lovell, constant included.
    """

    shifts: Float[np.ndarray, "k n"]
    n_absorbed: int
    """Parameters that the effects use up."""

    leverages: Float[np.ndarray, "n n"] | float
    """Leverage of a pair in the effects' columns: one number where it is the same for all; NaN if unknown."""

    def leverage(self, rows: slice, cols: slice) -> Float[np.ndarray, "r c"]:
        """Leverage of the pairs of a tile."""
        if isinstance(self.leverages, float):
            return np.full((rows.stop - rows.start, cols.stop - cols.start), self.leverages)
        return np.ascontiguousarray(self.leverages[rows, cols])


def no_effects(columns: Columns) -> Projection:
    """Leaves columns as they are."""
    return Projection(np.zeros((len(columns.names), columns.n)), 0, 0.0)


def additive_effects(columns: Columns, found: Survey) -> Projection:
    """Least-squares effects of every column: u_ij = level + a_i + a_j + rest, sum of a over features 0.

    Where all pairs are used, a_i = (n-1)/(n-2) (mean of the row less the grand mean). With missing pairs the
    normal equations (degrees + mask) alpha = row sums are solved by conjugate gradients to a residual of
    1e-13.
    """
    alive = found.degree > 0
    n = int(alive.sum())
    if n < 5:
        raise ValueError(
            f"expected 5 features or more for feature effects, found {n} with pairs: use effects='none' "
            "for so few."
        )
    shifts = np.zeros_like(found.sums)
    if found.n_pairs == n * (n - 1) // 2:
        means = found.sums[:, alive] / (n - 1)
        shifts[:, alive] = (n - 1) / (n - 2) * (means - means.mean(1, keepdims=True))
        return Projection(shifts, n - 1, 2 / (n - 1) - 2 / (n * (n - 1)))
    mask = _PackedMask(columns)
    alpha = _solve(mask, found.degree, np.vstack([found.sums, alive.astype(np.float64)]))
    v = 2 / n * alpha[-1]
    scale = 2 / n * v.sum()
    levels = 2 * alpha[:-1].sum(1) / n
    shifts = alpha[:-1] - levels[:, None] * v / scale
    return Projection(shifts, n - 1, _dummy_leverages(mask, found.degree, v, scale))


class _PackedMask:
    """Which pairs are used, one bit a pair, so that a solve does not ask for the columns again."""

    def __init__(self, columns: Columns) -> None:
        self.n = columns.n
        self._bits = [
            (rows, cols, np.packbits(columns.tile(rows, cols)[1], axis=1)) for rows, cols in tiles(self.n)
        ]

    def used(self):
        for rows, cols, bits in self._bits:
            yield rows, cols, np.unpackbits(bits, axis=1, count=cols.stop - cols.start)

    def times(self, x: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
        """The symmetric mask times every row of x."""
        out = np.zeros_like(x)
        for rows, cols, used in self.used():
            _add_neighbours(used, rows.start, cols.start, x, out)
        return out


def _solve(mask: _PackedMask, degree: np.ndarray, right: np.ndarray, limit: int = 500) -> np.ndarray:
    """Rows x with (diag(degree) + mask) x = right, 0 for features without pairs; degrees precondition."""
    weight = np.divide(1.0, degree, out=np.zeros(len(degree)), where=degree > 0)
    x = right * weight / 2
    rest = right - degree * x - mask.times(x)
    step = weight * rest
    direction, gain = step, (rest * step).sum(1)
    enough = 1e-13 * np.linalg.norm(right, axis=1) + 1e-300
    for _ in range(limit):
        if (np.linalg.norm(rest, axis=1) <= enough).all():
            return x
        image = degree * direction + mask.times(direction)
        along = np.divide(gain, (direction * image).sum(1), out=np.zeros_like(gain), where=gain > 0)[:, None]
        x, rest = x + along * direction, rest - along * image
        step = weight * rest
        gain, before = (rest * step).sum(1), gain
        ratio = np.divide(gain, before, out=np.zeros_like(gain), where=before > 0)[:, None]
        direction = step + ratio * direction
    raise ValueError(
        f"expected feature effects within {limit} steps, found a residual of "
        f"{np.max(np.linalg.norm(rest, axis=1) / enough) * 1e-13:.1g}: some features have almost no "
        "pairs; mask them out."
    )


def _dummy_leverages(
    mask: _PackedMask, degree: np.ndarray, v: np.ndarray, scale: float
) -> np.ndarray | float:
    if mask.n > EXACT_LEVERAGE_LIMIT:
        return float("nan")
    normal = np.diag(degree.astype(np.float64))
    for rows, cols, used in mask.used():
        normal[rows, cols] += used
        normal[cols, rows] += used.T
    inverse = np.linalg.pinv(normal, hermitian=True)
    own = inverse.diagonal()
    return own[:, None] + own[None, :] + 2 * inverse - (v[:, None] + v[None, :]) ** 2 / scale


@njit(cache=True)
@no_type_check
def _add_neighbours(used, first_row, first_col, x, out):
    n_rows, n_cols = used.shape
    for k in range(x.shape[0]):
        for i in range(n_rows):
            total = 0.0
            own = x[k, first_row + i]
            for j in range(n_cols):
                if used[i, j]:
                    total += x[k, first_col + j]
                    out[k, first_col + j] += own
            out[k, first_row + i] += total
