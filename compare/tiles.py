"""A tile of all pairs: how features are selected, and arithmetic that is NaN where it is undefined."""

import numpy as np
from jaxtyping import Float

Select = slice | np.ndarray
Tile = Float[np.ndarray, "rows cols"]


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient; NaN where the divisor is 0 or undefined."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def unit_rows(directions: np.ndarray) -> np.ndarray:
    """Each row at unit length; NaN where its length is 0."""
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.divide(directions, length, out=np.full(directions.shape, np.nan, np.float32), where=length > 0)


def same(rows: Select, cols: Select) -> bool:
    """Whether two selections are the same features in the same order."""
    if isinstance(rows, slice) or isinstance(cols, slice):
        return isinstance(rows, slice) and isinstance(cols, slice) and rows == cols
    return np.array_equal(rows, cols)
