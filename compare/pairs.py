"""All pairs of features that fire: whole where they fit, tile by tile where they do not."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from compare import big_arrays, ranks
from compare.dyads import TILE, above_diagonal, slices, squares, tiles
from compare.evidence import Evidence
from compare.kernels import add_to_grid
from compare.measures import COOCCURRENCE, DIRECTIONS, SIMILARITY, Measure
from compare.portrait import pair_frame, pair_summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHOLE = 8192
"""Up to so many features the arrays [n, n] are held; beyond, all but similarities are made tile by tile."""


@dataclass(eq=False)
class PairTable:
    """Cosine and measures of every pair of the features feature_ids; row i of each array is feature_ids[i].

    table["cosine"], table["phi"], ... are symmetric [n, n] float32 arrays, NaN where undefined and of no
    meaning on the diagonal. Tables too large to be held keep similarities in files, and make the rest in
    tile(), tiles() and source().
    """

    evidence: Evidence
    feature_ids: Int[np.ndarray, " n"]
    measures: tuple[str, ...]
    units: Float[np.ndarray, "n width"]
    whole: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.feature_ids)

    @property
    def n_pairs(self) -> int:
        return self.n * (self.n - 1) // 2

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that table[...] and the tiles hold."""
        return ("cosine", *self.measures)

    @property
    def cosine(self) -> Float[np.ndarray, "n n"]:
        """Between the directions, in [-1, 1]."""
        return self["cosine"]

    @cached_property
    def mask(self) -> Bool[np.ndarray, "n n"]:
        """True for i != j where every measure is defined."""
        mask = ~np.eye(self.n, dtype=bool)
        for name in self.names:
            mask &= np.isfinite(self[name])
        return mask

    def __getitem__(self, name: str) -> Float[np.ndarray, "n n"]:
        if name not in self.names:
            raise ValueError(
                f"expected one of {', '.join(self.names)}, found {name!r}: ask pair_table for it."
            )
        if name not in self.whole:
            raise ValueError(
                f"expected at most {WHOLE} features for whole arrays, found {self.n}: go through tiles() or "
                "raise min_count."
            )
        return self.whole[name]

    def tile(self, rows: slice, cols: slice) -> dict[str, np.ndarray]:
        """Every array for rows x cols (positions in feature_ids), float32; NaN on and below the table's
        diagonal is up to the caller: see tiles().
        """
        ids = self.feature_ids[rows], self.feature_ids[cols]
        missing = [name for name in self.measures if name not in self.whole]
        tile = {name: self.whole[name][rows, cols] for name in self.names if name in self.whole}
        tile |= {name: _measure(name)(self.evidence, *ids).astype(np.float32) for name in missing}
        return tile if "cosine" in tile else {"cosine": self.units[rows] @ self.units[cols].T} | tile

    def to_frame(self) -> pd.DataFrame:
        """A row a pair at which every measure is defined: features i < j, cosine, and each measure."""
        return pair_frame(self)

    def summary(self) -> str:
        """Mean, spread and correlation with the cosine of each measure, a line each."""
        return pair_summary(self)

    def plot(self, cooccurrence: str | None = None, similarity: str | None = None) -> "Figure":
        """Mean cosine by two measures: the first and the last that were asked for, unless named."""
        from compare.figures_library import pair_plot

        return pair_plot(self.to_frame(), cooccurrence or self.names[1], similarity or self.names[-1])

    def _repr_html_(self) -> str:
        """The summary, as a notebook shows it."""
        return f"<pre>{html.escape(self.summary())}</pre>"

    def source(self, cooccurrence: str, similarity: str) -> "PairSource":
        """What compare.fit takes in place of arrays where these are not held."""
        return PairSource(self, cooccurrence, similarity)

    def tiles(self) -> Iterator[tuple[slice, slice, dict[str, np.ndarray]]]:
        """Every pair once: tiles on and above the diagonal, cosine NaN where i >= j.

        Processes that torchrun started share them.
        """
        for rows, cols in ranks.share(tiles(self.n)):
            tile = self.tile(rows, cols)
            if cols.start < rows.stop:
                tile["cosine"] = np.where(above_diagonal(rows, cols), tile["cosine"], np.float32(np.nan))
            yield rows, cols, tile


class PairSource:
    """Two measures of a table as a TileSource: a pair is used where every measure of the table is defined."""

    def __init__(self, table: PairTable, cooccurrence: str, similarity: str) -> None:
        self.n, self._table, self._chosen = table.n, table, ("cosine", cooccurrence, similarity)

    def tile(self, rows: slice, cols: slice) -> tuple:
        """(cosine, co-occurrence, similarity, mask), each [rows, cols]."""
        tile = self._table.tile(rows, cols)
        return *(tile[name] for name in self._chosen), np.isfinite(list(tile.values())).all(0)


def pair_table(
    evidence: Evidence,
    *,
    cooccurrence: Sequence[str] = ("phi",),
    similarity: Sequence[str] = ("js",),
    direction: str = "decoder",
    min_count: int = 1,
    max_features: int | None = None,
    seed: int = 0,
) -> PairTable:
    """The pairs of all features that fired min_count times or more (and in both halves of the tokens).

    Names are those of compare.measures, where each says its units and range.
    Where more than max_features fired, so many of them are drawn at random by `seed`. Up to WHOLE features
    everything is held as arrays; beyond, measures of co-occurrence come tile by tile. ValueError for a name
    that is none, or fewer than 3 features.
    """
    for asked, registry in (
        (cooccurrence, COOCCURRENCE),
        (similarity, SIMILARITY),
        ([direction], DIRECTIONS),
    ):
        for name in asked:
            if name not in registry:
                raise ValueError(
                    f"expected one of {', '.join(registry)}, found {name!r}: take a name that is there."
                )
    alive = evidence.sample(min_count=min_count, max_features=max_features, seed=seed)
    units = DIRECTIONS[direction](evidence)
    if len(alive) < 3:
        raise ValueError(
            f"expected 3 features or more that fired {min_count} times, found {len(alive)} in "
            f"{evidence.name!r}: lower min_count or read more tokens."
        )
    table = PairTable(evidence, alive, (*cooccurrence, *similarity), units[alive])
    is_held = table.n <= WHOLE
    table.whole = _symmetric(table, [name for name in table.measures if is_held or name in SIMILARITY])
    if is_held:
        table.whole = {"cosine": table.units @ table.units.T} | table.whole
    return table


def _symmetric(table: PairTable, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Measures of all pairs, taken once, in arrays that lie in files where they are large."""
    arrays = {name: big_arrays.zeros((table.n, table.n), np.float32) for name in names}
    for rows, cols in ranks.share(squares(table.n)):
        ids = table.feature_ids[rows], table.feature_ids[cols]
        for name, array in arrays.items():
            array[rows, cols] = _measure(name)(table.evidence, *ids)
            array[cols, rows] = array[rows, cols].T
            big_arrays.release(array)
    for array in arrays.values():
        for rows in slices(0, table.n, TILE):
            ranks.total(array[rows])
    return arrays


def _measure(name: str) -> Measure:
    return COOCCURRENCE.get(name) or SIMILARITY[name]


Limits = tuple[float, float, float, float]
"""Lowest and highest x, lowest and highest y."""


class PairMap(NamedTuple):
    """Pairs on a grid of two measures: how many, and the mean cosine (NaN where there are none)."""

    x_edges: Float[np.ndarray, " x_bins_and_one"]
    y_edges: Float[np.ndarray, " y_bins_and_one"]
    count: Int[np.ndarray, "x_bins y_bins"]  # type: ignore[assignment]  # hides tuple.count
    mean: Float[np.ndarray, "x_bins y_bins"]


def pair_map(table: PairTable, x: str, y: str, *, bins: int = 64, limits: Limits | None = None) -> PairMap:
    """The post's figure as numbers: count and mean cosine over a grid of measure x by measure y.

    limits are the grid's lowest and highest x, then y; by default, those of the pairs.
    """
    x_low, x_high, y_low, y_high = limits = limits or (*_range(table, x), *_range(table, y))
    count, total = np.zeros((bins, bins), dtype=np.int64), np.zeros((bins, bins))
    for _, _, tile in table.tiles():
        add_to_grid(tile[x], tile[y], tile["cosine"], limits, count, total)
    ranks.total(count, total)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return PairMap(np.linspace(x_low, x_high, bins + 1), np.linspace(y_low, y_high, bins + 1), count, mean)


def histogram(
    table: PairTable, edges: Float[np.ndarray, " bins_and_one"], name: str = "cosine"
) -> Int[np.ndarray, " bins"]:
    """How many pairs lie in each bin of a measure; what lies outside the edges is not counted."""
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    for _, _, tile in table.tiles():
        counts += np.histogram(tile[name][np.isfinite(tile["cosine"])], edges)[0]
    ranks.total(counts)
    return counts


def _range(table: PairTable, name: str) -> tuple[float, float]:
    """Lowest and highest finite value of a measure over all pairs; an empty range is widened."""
    low, high = np.inf, -np.inf
    for _, _, tile in table.tiles():
        values = tile[name][np.isfinite(tile["cosine"]) & np.isfinite(tile[name])]
        if len(values):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    low, high = (float(v) for v in ranks.gathered(np.array([low, -high])).min(0) * [1, -1])
    return (low, high) if low < high else (low - 0.5, low + 0.5)
