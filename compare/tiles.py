"""A tile of all pairs: how features are selected, and arithmetic that is NaN where it is undefined."""

import numpy as np
from jaxtyping import Float, Int

Select = slice | np.ndarray
Tile = Float[np.ndarray, "rows cols"]


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient; NaN where the divisor is 0 or undefined."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def unit_rows(directions: np.ndarray) -> np.ndarray:
    """Each row at unit length; NaN where its length is 0."""
    length = row_lengths(directions)
    return np.divide(directions, length, out=np.full(directions.shape, np.nan, np.float32), where=length > 0)


def row_lengths(rows: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n 1"]:
    """Euclidean lengths, summed in float64: squares of small float32 numbers would vanish."""
    return np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]


def row_products(
    values: Float[np.ndarray, "n width"], i: Int[np.ndarray, " pairs"], j: Int[np.ndarray, " pairs"]
) -> Float[np.ndarray, " pairs"]:
    """Inner products of rows i with rows j in float64, so many at a time as fit a cache."""
    parts = [slice(first, first + 256) for first in range(0, len(i), 256)]
    return np.concatenate([(values[i[p]] * values[j[p]]).sum(1, dtype=np.float64) for p in parts] or [[]])


def same(rows: Select, cols: Select) -> bool:
    """Whether two selections are the same features in the same order."""
    if isinstance(rows, slice) or isinstance(cols, slice):
        return isinstance(rows, slice) and isinstance(cols, slice) and rows == cols
    return np.array_equal(rows, cols)
