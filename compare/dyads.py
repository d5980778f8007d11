"""Pairs of features as rows of a regression, tile by tile: their columns, and sums of these by feature."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, no_type_check, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numba import njit
from torch import Tensor

from compare import ranks

TILE = 1024
"""Features on the longer side of a tile."""

STRIP = 64
"""Features on its shorter side: a column of a tile, 512 KB in float64, stays in second-level cache."""

Matrix = Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]
"""A value for every pair of features, [n, n]; shapes are checked by hand, with messages that help."""


@runtime_checkable
class TileSource(Protocol):
    """Pairs that are computed when they are needed, for dictionaries whose [n, n] arrays do not fit."""

    n: int
    """How many features."""

    def tile(self, rows: slice, cols: slice) -> tuple:
        """(cosine, co-occurrence, similarity, mask or None[, {covariate: values}]), each [rows, cols]."""
        ...


@runtime_checkable
class Columns(Protocol):
    """Named values for every pair; only pairs i < j that are used count."""

    n: int
    names: tuple[str, ...]

    def tile(self, rows: slice, cols: slice) -> tuple[Float[np.ndarray, "k r c"], Bool[np.ndarray, "r c"]]:
        """Values of all columns in float64, and which of these pairs are used."""
        ...


class ArrayColumns:
    """Columns held whole as symmetric [n, n] arrays; the diagonal never counts."""

    def __init__(self, arrays: Mapping[str, Matrix], mask: Matrix | None) -> None:
        self.names = tuple(arrays)
        self._arrays = [as_square(array, name) for name, array in arrays.items()]
        self.n = len(self._arrays[0])
        self._mask = None if mask is None else as_square(mask, "mask")
        for name, array in [*zip(self.names, self._arrays, strict=True), ("mask", self._mask)]:
            if array is not None and len(array) != self.n:
                raise ValueError(
                    f"expected {name} for {self.n} features, as {self.names[0]} has, found {len(array)}: "
                    "give all arrays the same features in the same order."
                )
        if self._mask is not None and self._mask.dtype != bool:
            raise ValueError(
                f"expected a mask of booleans, found {self._mask.dtype}: pass mask != 0, True where a "
                "pair is used."
            )

    def tile(self, rows: slice, cols: slice) -> tuple[Float[np.ndarray, "k r c"], Bool[np.ndarray, "r c"]]:
        block = np.stack([array[rows, cols] for array in self._arrays], dtype=np.float64)
        return block, above_diagonal(rows, cols, None if self._mask is None else self._mask[rows, cols])

    def check_symmetry(self) -> None:
        """Raise ValueError where [i, j] and [j, i] of a used pair differ by more than rounding."""
        for rows, cols in tiles(self.n):
            used = above_diagonal(rows, cols, None if self._mask is None else self._mask[rows, cols])
            for name, array in zip(self.names, self._arrays, strict=True):
                here, there = array[rows, cols][used], array[cols, rows].T[used]
                scale = 1e-5 * np.abs(here).max(initial=1e-30)
                bad = np.flatnonzero(np.abs(here - there) > scale)
                if len(bad):
                    i, j = (index[bad[0]] for index in np.nonzero(used))
                    raise ValueError(
                        f"expected a symmetric {name}, found {here[bad[0]]:.6g} at [{rows.start + i}, "
                        f"{cols.start + j}] and {there[bad[0]]:.6g} at its mirror: a pair has no order; "
                        "pass (x + x.T) / 2 if both values mean the same pair."
                    )


class SourceColumns:
    """Columns of a TileSource: cosine, co, sim, then its covariates."""

    def __init__(self, source: TileSource) -> None:
        self._source = source
        self.n = source.n
        first = source.tile(slice(0, min(2, self.n)), slice(0, min(2, self.n)))
        self._covariates = tuple(first[4]) if len(first) > 4 else ()
        self.names = ("cosine", "co", "sim", *self._covariates)

    def tile(self, rows: slice, cols: slice) -> tuple[Float[np.ndarray, "k r c"], Bool[np.ndarray, "r c"]]:
        values = self._source.tile(rows, cols)
        extra = [values[4][name] for name in self._covariates]
        block = np.stack([_as_numpy(value) for value in [*values[:3], *extra]], dtype=np.float64)
        mask = None if values[3] is None else _as_numpy(values[3])
        return block, above_diagonal(rows, cols, mask)


@dataclass(frozen=True)
class Survey:
    """What a first look at columns finds, over used pairs."""

    degree: Int[np.ndarray, "n"]
    """Used pairs of every feature."""

    sums: Float[np.ndarray, "k n"]
    """Sum of every column over the pairs of every feature."""

    squares: Float[np.ndarray, "k"]
    """Sum of squares of every column over pairs."""

    low: Float[np.ndarray, "k"]
    high: Float[np.ndarray, "k"]

    @property
    def n_pairs(self) -> int:
        return int(self.degree.sum()) // 2

    @property
    def means(self) -> Float[np.ndarray, "k"]:
        """Mean of every column over pairs."""
        return self.sums.sum(1) / (2 * self.n_pairs)


def survey(columns: Columns) -> Survey:
    """Degrees, sums and ranges; raises ValueError where a used pair is not finite or no pair is used.

    Here as in all sums over pairs, processes that torchrun started share the tiles.
    """
    k = len(columns.names)
    degree, sums, squares = np.zeros(columns.n, np.int64), np.zeros((k, columns.n)), np.zeros(k)
    low, high = np.full(k, np.inf), np.full(k, -np.inf)
    for rows, cols in ranks.share(tiles(columns.n)):
        block, used = columns.tile(rows, cols)
        across, down = np.zeros(block.shape[:2]), np.zeros((k, block.shape[2]))
        bad = _add_sums(block, used, across, down, squares, low, high)
        if bad >= 0:
            a, i, j = np.unravel_index(bad, block.shape)
            raise ValueError(
                f"expected finite {columns.names[a]} for used pairs, found {block[a, i, j]} for pair "
                f"({rows.start + i}, {cols.start + j}): mask out pairs that have no value."
            )
        degree[rows] += used.sum(1)
        degree[cols] += used.sum(0)
        sums[:, rows] += across
        sums[:, cols] += down
    ranks.total(degree, sums, squares)
    low, high = ranks.gathered(low).min(0), ranks.gathered(high).max(0)
    if not degree.any():
        raise ValueError(
            f"expected pairs i < j to use, found none among {columns.n} features: the mask is True above "
            "its diagonal where a pair counts."
        )
    return Survey(degree, sums, squares, low, high)


def node_grams(columns: Columns, shifts: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "n k k"]:
    """G_i = sum over the pairs of feature i of u u', where u = the columns less shifts of both features."""
    k, n = len(columns.names), columns.n
    packed = np.zeros((k * (k + 1) // 2, n))
    for rows, cols in ranks.share(tiles(n)):
        block, used = columns.tile(rows, cols)
        into_rows = np.zeros((packed.shape[0], block.shape[1]))
        into_cols = np.zeros((packed.shape[0], block.shape[2]))
        _add_products(block, used, _part(shifts, rows), _part(shifts, cols), into_rows, into_cols)
        packed[:, rows] += into_rows
        packed[:, cols] += into_cols
    ranks.total(packed)
    grams = np.empty((n, k, k))
    for row, (a, b) in zip(packed, _lower(k), strict=True):
        grams[:, a, b] = grams[:, b, a] = row
    return grams


def tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns that cover the pairs i < j of n features, each once; i >= j where they overlap."""
    for rows in slices(0, n, min(STRIP, TILE)):
        for cols in slices(rows.start, n, TILE):
            yield rows, cols


def squares(n: int) -> Iterator[tuple[slice, slice]]:
    """The same in fewer and larger tiles, for what costs by row and column as well as by pair."""
    for rows in slices(0, n, TILE):
        for cols in slices(rows.start, n, TILE):
            yield rows, cols


def slices(start: int, stop: int, size: int) -> Iterator[slice]:
    """Consecutive slices of one size, the last one what is left."""
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def as_square(array: Matrix, name: str) -> Shaped[np.ndarray, "n n"]:
    """The same values as a numpy array, or ValueError where it is not square."""
    array = _as_numpy(array)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(
            f"expected {name} of shape [n, n], found {list(array.shape)}: give a value for every pair of "
            "features."
        )
    return array


def _as_numpy(array: Matrix) -> np.ndarray:
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        return (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    return np.asarray(array)


def above_diagonal(rows: slice, cols: slice, mask: np.ndarray | None = None) -> Bool[np.ndarray, "r c"]:
    """Where i < j, and the mask is True if there is one."""
    i, j = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    above = i[:, None] < j[None, :]
    return above if mask is None else above & mask


def _part(shifts: np.ndarray, where: slice) -> np.ndarray:
    return np.ascontiguousarray(shifts[:, where])


def _lower(k: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(k) for b in range(a + 1)]


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
@no_type_check
def _add_sums(block, used, across, down, squares, low, high):
    """Sums along rows and columns, of squares, and ranges of every column; where the first value that is not
    finite lies, or -1.
    """
    k, n_rows, n_cols = block.shape
    for a in range(k):
        for i in range(n_rows):
            total = square = 0.0
            lowest, highest, strange = np.inf, -np.inf, False
            for j in range(n_cols):
                value = block[a, i, j] if used[i, j] else 0.0
                down[a, j] += value
                total += value
                square += value * value
                lowest = min(lowest, block[a, i, j] if used[i, j] else np.inf)
                highest = max(highest, block[a, i, j] if used[i, j] else -np.inf)
                strange |= not np.isfinite(value)
            if strange:
                for j in range(n_cols):
                    if used[i, j] and not np.isfinite(block[a, i, j]):
                        return (a * n_rows + i) * n_cols + j
            across[a, i] += total
            squares[a] += square
            low[a], high[a] = min(low[a], lowest), max(high[a], highest)
    return -1


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
@no_type_check
def _add_products(block, used, row_shift, col_shift, into_rows, into_cols):
    """Products of every two columns, summed along rows into into_rows and along columns into into_cols."""
    k, n_rows, n_cols = block.shape
    z = np.empty((k, n_cols))
    for i in range(n_rows):
        for a in range(k):
            for j in range(n_cols):
                z[a, j] = block[a, i, j] - row_shift[a, i] - col_shift[a, j] if used[i, j] else 0.0
        at = 0
        for a in range(k):
            for b in range(a + 1):
                total = 0.0
                for j in range(n_cols):
                    product = z[a, j] * z[b, j]
                    into_cols[at, j] += product
                    total += product
                into_rows[at, i] += total
                at += 1
