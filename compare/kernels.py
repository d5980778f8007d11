"""The few loops that must be fast, on plain arrays, shared between as many threads as torch uses.

Each has a plain float64 counterpart in tests/test_kernels.py; the compiled part is in compiled.py.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, Num
from torch import Tensor

from compare import big_arrays, on_device
from compare.compiled import (
    PANEL,
    ROWS,
    TINY,
    bucket,
    check_rows,
    count_block,
    count_on,
    divergence_blocks,
    fill_on,
    grid,
    is_sorted_within,
    output_panels,
    own_rows,
    sort_within,
    to_the_end,
    transpose,
    weigh_block,
)

BLOCK_ENTRIES = 2**20
"""Rows times columns of the co-firing matrix that one thread counts at a time, in 8 MB of cache."""

ROW_ENTRIES = 2**25
"""Rows times columns of the co-firing matrix that are held with their second moments: 400 MB."""


def js_divergence(
    p: Float[np.ndarray, "a vocab"] | Float[Tensor, "a vocab"],
    q: Float[np.ndarray, "b vocab_of_q"] | Float[Tensor, "b vocab_of_q"] | None = None,
) -> Float[np.ndarray, "a b"] | Float[Tensor, "a b"]:
    """Jensen-Shannon divergence of every row of p from every row of q (of p if None), in nats, in [0, ln 2].

    Rows are probabilities and sum to 1; zeros are allowed; a row of zeros only has no distribution and gives
    NaN. Largest error about 5e-7, equal rows give exactly 0, and the result is float32, an array or a tensor
    as p is. JSD = ln 2 [(F(2p) + F(2q)) / 4 - F(p + q) / 2], F(s) = sum s log2 s, with one and the same
    approximate logarithm in the three terms, so that its bias cancels.
    """
    rows = _probabilities(p)
    columns = rows if q is None else _probabilities(q)
    if rows.shape[1] != columns.shape[1]:
        raise ValueError(
            f"expected rows over one vocabulary, found {rows.shape[1]} and {columns.shape[1]} entries: "
            "give p and q the same columns."
        )
    device = on_device.device_of(p)
    if device is not None:
        there = [None if q is None else torch.from_numpy(columns).to(device)]
        result = on_device.divergence(torch.from_numpy(rows).to(device), *there)
        return result if isinstance(p, Tensor) else result.cpu().numpy()
    result = np.zeros((len(rows), len(columns)), dtype=np.float32)
    blocks = _block_pairs(len(rows), len(columns), triangle=q is None)
    own_rows = _own_terms(rows)
    own_columns = own_rows if q is None else _own_terms(columns)

    def work(first: int, last: int) -> None:
        divergence_blocks(rows, columns, own_rows, own_columns, blocks[first:last], q is None, result)

    _share(work, len(blocks))
    result[~rows.any(1)] = np.nan
    result[:, ~columns.any(1)] = np.nan
    return torch.from_numpy(result) if isinstance(p, Tensor) else result


def cofire_counts(
    features: Integer[np.ndarray, " events"] | Integer[Tensor, " events"],
    offsets: Integer[np.ndarray, " tokens_and_one"] | Integer[Tensor, " tokens_and_one"],
    n_features: int,
) -> Int[np.ndarray, "n n"] | Int[Tensor, "n n"]:
    """In how many tokens each pair of features fired together, int32; the diagonal counts single firings.

    Token t fires features[offsets[t]:offsets[t + 1]], each at most once.
    """
    counts = np.zeros((n_features, n_features), dtype=np.int32)
    for first, rows in cofire_blocks(features, offsets, n_features):
        mirror(rows, first, counts)
    return torch.from_numpy(counts) if isinstance(features, Tensor) else counts


def cofire_blocks(
    features: Integer[np.ndarray, " events"] | Integer[Tensor, " events"],
    offsets: Integer[np.ndarray, " tokens_and_one"] | Integer[Tensor, " tokens_and_one"],
    n_features: int,
) -> Iterator[tuple[int, Int[np.ndarray, "rows n_from_first"]]]:
    """The upper triangle of cofire_counts() a block of rows at a time: (first, counts).

    Row 0 and column 0 of a block are feature `first`; nothing of size n x n is held.
    """
    events = Events(features, offsets, n_features)
    for block in range(events.n_blocks):
        rows, (mine, left) = events.rows(block), events.of_block(block)
        counts = np.zeros((len(rows), n_features - rows.start), dtype=np.int32)
        count_block(events.features, mine, left, rows.start, counts)
        yield rows.start, counts


class Events:
    """Which features fired at which token (and how much), bucketed by blocks of features.

    A block of rows of the co-firing matrix then fits the cache while the tokens pass by in order.
    """

    def __init__(self, features, offsets, n_features: int, values=None) -> None:
        self.features = np.ascontiguousarray(_array(features), dtype=np.int32)
        offsets = np.ascontiguousarray(_array(offsets), dtype=np.int64)
        if values is None:
            values = np.ones(len(self.features), dtype=np.float32)
        self.values = np.ascontiguousarray(_array(values), dtype=np.float32)
        self.n_features = n_features
        if offsets[0] != 0 or offsets[-1] != len(self.features) or (np.diff(offsets) < 0).any():
            raise ValueError(
                f"expected offsets that rise from 0 to {len(self.features)} events, found {offsets[0]} "
                f"to {offsets[-1]}: give the start of every token, then the number of events."
            )
        if len(self.features) and not 0 <= self.features.min() <= self.features.max() < n_features:
            raise ValueError(
                f"expected feature ids from 0 to {n_features - 1}, found {self.features.min()} to "
                f"{self.features.max()}: raise n_features or drop these events."
            )
        if not is_sorted_within(self.features, offsets):
            self.features, self.values = self.features.copy(), self.values.copy()
            sort_within(self.features, self.values, offsets)
        largest = np.zeros(n_features, dtype=np.float32)
        np.maximum.at(largest, self.features, self.values)
        self.scale = np.where(largest > 0, 2.0 ** np.frexp(largest)[1], 1.0)
        self.values = self.values / self.scale.astype(np.float32)[self.features]
        self.block_size = int(np.clip(n_features // 16, 1, max(1, BLOCK_ENTRIES // max(n_features, 1))))
        self.n_blocks = -(-n_features // self.block_size)
        self._starts, self._order = bucket(self.features, self.block_size, self.n_blocks)
        self._left = to_the_end(self._order, offsets)

    def rows(self, block: int) -> range:
        """The features of a block."""
        return range(block * self.block_size, min((block + 1) * self.block_size, self.n_features))

    def of_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the events of a block's features, by token, and how many a token has from each on."""
        where = slice(self._starts[block], self._starts[block + 1])
        return self._order[where], self._left[where]

    def put_aside(self) -> "Events":
        """Leave memory for a temporary file."""
        for name in ("features", "values", "_order", "_left"):
            setattr(self, name, big_arrays.put_aside(getattr(self, name)))
        return self


class CofiringRows:
    """Counts and second moments of pairs over all parts: an upper triangle, some rows at a time.

    The two arrays of a step start at its first feature's column and are overwritten by the next step.
    """

    def __init__(self, parts: Sequence[Events]) -> None:
        self._parts, self.n_features = parts, parts[0].n_features
        size = parts[0].block_size
        self.n_rows = size * max(1, ROW_ENTRIES // (size * self.n_features))
        shape = (min(self.n_rows, self.n_features), self.n_features)
        self._counts, self._sums = np.empty(shape, np.int32), np.empty(shape)

    def __iter__(
        self,
    ) -> Iterator[tuple[range, Int[np.ndarray, "rows n_from_first"], Float[np.ndarray, "rows n_from_first"]]]:
        """(rows, tokens in which each pair fired, sums of a_i a_j)."""
        for start in range(0, self.n_features, self.n_rows):
            rows = range(start, min(start + self.n_rows, self.n_features))
            yield rows, *self.rows(rows)

    def rows(self, rows: range) -> tuple[np.ndarray, np.ndarray]:
        """One step; rows are whole blocks of the parts."""
        columns = self.n_features - rows.start
        counts, sums = (
            whole.ravel()[: len(rows) * columns].reshape(len(rows), columns)
            for whole in (self._counts, self._sums)
        )
        counts[:], sums[:] = 0, 0
        size = self._parts[0].block_size
        first_block = rows.start // size

        def work(begin: int, end: int) -> None:
            recent, since = np.zeros(size * columns), np.empty(size, dtype=np.int32)
            for block in range(first_block + begin, first_block + end):
                mine = self._parts[0].rows(block)
                shape = len(mine), self.n_features - mine.start
                here = slice(mine.start - rows.start, mine.stop - rows.start), slice(columns - shape[1], None)
                space = recent[: shape[0] * shape[1]].reshape(shape)
                for events in self._parts:
                    weigh_block(events.features, events.values, events.scale[mine.start :],
                                *events.of_block(block), mine.start, space, since, counts[here],
                                sums[here])  # fmt: skip

        _share(work, -(-len(rows) // size))
        return counts, sums


def mirror(rows: Num[np.ndarray, "rows n_from_first"], first: int, whole: Num[np.ndarray, "n n"]) -> None:
    """Put rows of an upper triangle, known from column `first` on, into a symmetric matrix."""
    whole[first : first + len(rows), first:] = rows
    transpose(rows, whole[first:, first : first + len(rows)])


def add_outputs(
    rows: Int[np.ndarray, " events"],
    tokens: Int[np.ndarray, " events"],
    weights: Float[np.ndarray, " events"],
    outputs: Float[np.ndarray, "tokens vocab"],
    totals: Float[np.ndarray, "panels rows panel"],
) -> None:
    """Add weight times the output of its token to the total of its row, for every event, in place.

    Totals lie as output_totals() makes them.

    Weights of one row are summed over the batch before they join the total, which keeps float32 totals exact
    to about 1e-7 times the square root of the number of batches.
    """
    starts, order = bucket(rows.astype(np.int32), 1, totals.shape[1])
    present = np.flatnonzero(np.diff(starts))

    def work(first: int, last: int) -> None:
        output_panels(present, starts, tokens, weights, outputs, totals, first, last)

    tokens, weights = tokens[order], weights[order]
    _share(work, len(totals))


def output_totals(n_rows: int, vocabulary: int) -> Float[np.ndarray, "panels rows panel"]:
    """Zeros for add_outputs(), so many columns of all rows after one another: what a pass adds to is near."""
    return np.zeros((-(-vocabulary // PANEL), n_rows, PANEL), dtype=np.float32)


def as_rows(
    totals: Float[np.ndarray, "panels rows panel"], scale: Float[np.ndarray, " rows"], vocabulary: int
) -> Float[np.ndarray, "rows vocab"]:
    """Such totals, each row times its scale, a row after another."""
    found = np.empty((totals.shape[1], vocabulary), dtype=np.float32)
    for panel, start in zip(totals, range(0, vocabulary, PANEL), strict=True):
        np.multiply(panel[:, : vocabulary - start], scale[:, None], out=found[:, start : start + PANEL])
    return found


def fired(activations: Float[Tensor, "tokens features"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events of a batch, strided or sparse CSR: feature ids, values (> 0) and the offset of every token."""
    activations = activations.detach().cpu()
    if activations.layout == torch.sparse_csr:
        offsets = activations.crow_indices().numpy().astype(np.int64)
        features = activations.col_indices().numpy().astype(np.int32)
        values = activations.values().float().numpy()
        if (values > 0).all():
            return features, values, offsets
        _refuse_negative(values)
        on = values > 0
        return features[on], values[on], np.concatenate([[0], np.cumsum(on)])[offsets]
    dense = np.ascontiguousarray(activations.float().numpy())
    per_token = np.empty(len(dense), dtype=np.int64)
    _share(lambda first, last: count_on(dense, first, last, per_token), len(dense))
    if (per_token < 0).any():
        _refuse_negative(dense)
    offsets = np.concatenate([[0], np.cumsum(per_token)])
    features, values = np.empty(offsets[-1], dtype=np.int32), np.empty(offsets[-1], dtype=np.float32)
    _share(lambda first, last: fill_on(dense, first, last, offsets, features, values), len(dense))
    return features, values, offsets


def add_to_grid(
    x: Float[np.ndarray, "rows cols"],
    y: Float[np.ndarray, "rows cols"],
    z: Float[np.ndarray, "rows cols"],
    limits: tuple[float, float, float, float],
    counts: Num[np.ndarray, "x_bins y_bins"],
    sums: Float[np.ndarray, "x_bins y_bins"],
) -> None:
    """Add every entry with finite x, y and z to the grid of counts and of sums of z over (x, y), in place.

    limits are the lowest and highest x, then y; what lies outside goes into the outermost bins.
    """
    grid(x, y, z, np.array(limits, dtype=np.float64), counts, sums)


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _probabilities(p) -> np.ndarray:
    rows = np.ascontiguousarray(_array(p), dtype=np.float32)
    wrong, tiny = np.empty((2, len(rows)), dtype=bool)
    _share(lambda first, last: check_rows(rows, first, last, wrong, tiny), len(rows))
    if wrong.any():
        raise ValueError(
            f"expected rows of probabilities that sum to 1, found {int(wrong.sum())} rows that do not or "
            "negative entries: divide every row by its sum."
        )
    return np.where(rows < TINY, np.float32(0), rows) if tiny.any() else rows


def _refuse_negative(values: np.ndarray) -> None:
    if not (values >= 0).all():
        raise ValueError(
            f"expected activations >= 0, found {int((~(values >= 0)).sum())} that are negative or NaN: "
            "give the values after the nonlinearity."
        )


def _share(work: Callable[[int, int], None], n_tasks: int) -> None:
    """Run work(first, last) over all tasks, a few slices for each of torch's threads."""
    n_threads = min(torch.get_num_threads(), n_tasks)
    if n_threads <= 1:
        if n_tasks:
            work(0, n_tasks)
        return
    cuts = np.unique(np.linspace(0, n_tasks, 8 * n_threads + 1).astype(int)).tolist()
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, cuts[:-1], cuts[1:]))


def _block_pairs(n_rows: int, n_columns: int, *, triangle: bool) -> np.ndarray:
    first, second = np.meshgrid(np.arange(0, n_rows, ROWS), np.arange(0, n_columns, ROWS), indexing="ij")
    pairs = np.stack([first.ravel(), second.ravel()], axis=1)
    return pairs[pairs[:, 0] <= pairs[:, 1]] if triangle else pairs


def _own_terms(p: np.ndarray) -> np.ndarray:
    own = np.zeros(len(p))
    _share(lambda first, last: own_rows(p, first, last, own), len(p))
    return own
