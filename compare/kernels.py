"""The few compiled inner loops. Each has a plain float64 counterpart in tests/test_kernels.py.

Compiled at the first call and cached on disk; work is shared between as many threads as torch uses.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

ROWS = 32
"""Rows of a block in the divergence: two blocks of ROWS x CHUNK floats stay in the second-level cache."""

CHUNK = 2048
"""Vocabulary entries summed in float32 before they join a float64 total."""

COLUMNS = 64
"""Vocabulary entries of all tokens of a batch that one pass over the mean outputs keeps in cache."""

TINY = 1e-30
"""Smaller probabilities count as zero: denormal numbers are slow, and a whole vocabulary of them weighs nothing."""

ONE = np.int32(0x3F800000)  # bits of 1.0f
MANTISSA = np.int32(0x7FFFFF)
STEP = np.float32(2.0**-23)
# log2(1 + x) - x on [0, 1], minimax of degree 7 with both ends exact; largest error 3.1e-7.
C1, C2, C3, C4, C5, C6, C7 = np.float32(
    [0.44266700, -0.72055966, 0.47334457, -0.32517107, 0.19303828, -0.078516425, 0.015197314]
)


def js_divergence(
    p: Float[np.ndarray, "a vocab"] | Float[Tensor, "a vocab"],
    q: Float[np.ndarray, "b vocab"] | Float[Tensor, "b vocab"] | None = None,
) -> Float[np.ndarray, "a b"] | Float[Tensor, "a b"]:
    """Jensen-Shannon divergence of every row of p from every row of q (of p if None), in nats, in [0, ln 2].

    Rows are probabilities and sum to 1; zeros are allowed; a row of zeros only has no distribution and gives
    NaN. Largest error about 5e-7, equal rows give exactly 0, and the result is float32, an array or a tensor as p is.
    JSD = ln 2 [(F(2p) + F(2q)) / 4 - F(p + q) / 2], F(s) = sum s log2 s, with one and the same approximate
    logarithm in the three terms, so that its bias cancels.
    """
    rows = _probabilities(p)
    columns = rows if q is None else _probabilities(q)
    if rows.shape[1] != columns.shape[1]:
        raise ValueError(
            f"expected rows over one vocabulary, found {rows.shape[1]} and {columns.shape[1]} entries: "
            "give p and q the same columns."
        )
    result = np.zeros((len(rows), len(columns)), dtype=np.float32)
    blocks = _block_pairs(len(rows), len(columns), triangle=q is None)
    own_rows = _own_terms(rows)
    own_columns = own_rows if q is None else _own_terms(columns)

    def work(first: int, last: int) -> None:
        _divergence_blocks(rows, columns, own_rows, own_columns, blocks[first:last], q is None, result)

    _share(work, len(blocks))
    result[~rows.any(1)] = np.nan
    result[:, ~columns.any(1)] = np.nan
    return torch.from_numpy(result) if isinstance(p, Tensor) else result


def cofire_counts(
    features: Int[np.ndarray, "events"] | Int[Tensor, "events"],
    offsets: Int[np.ndarray, "tokens_and_one"] | Int[Tensor, "tokens_and_one"],
    n_features: int,
) -> Int[np.ndarray, "n n"] | Int[Tensor, "n n"]:
    """In how many tokens each pair of features fired together, int32; the diagonal counts single firings.

    Token t fires features[offsets[t]:offsets[t + 1]], each at most once.
    """
    events = Events(features, offsets, n_features)
    counts = np.zeros((n_features, n_features), dtype=np.int32)
    add_cofiring(events, counts)
    return torch.from_numpy(counts) if isinstance(features, Tensor) else counts


def cofire_blocks(
    features: Int[np.ndarray, "events"] | Int[Tensor, "events"],
    offsets: Int[np.ndarray, "tokens_and_one"] | Int[Tensor, "tokens_and_one"],
    n_features: int,
) -> Iterator[tuple[int, Int[np.ndarray, "rows n"]]]:
    """cofire_counts() a block of rows at a time, as (first row, counts): nothing of size n x n is held."""
    events = Events(features, offsets, n_features)
    for block in range(events.n_blocks):
        counts = np.zeros((len(events.rows(block)), n_features), dtype=np.int32)
        _count_block(events.features, events.tokens, events.offsets, events.of_block(block),
                     events.rows(block).start, counts)  # fmt: skip
        yield events.rows(block).start, counts


class Events:
    """Which features fired at which token (and how much), bucketed by blocks of features.

    A block of rows of the co-firing matrix then fits the cache while the tokens pass by in order.
    """

    def __init__(self, features, offsets, n_features: int, values=None) -> None:
        self.features = np.ascontiguousarray(_array(features), dtype=np.int32)
        self.offsets = np.ascontiguousarray(_array(offsets), dtype=np.int64)
        self.values = None if values is None else np.ascontiguousarray(_array(values), dtype=np.float32)
        self.n_features = n_features
        if (
            self.offsets[0] != 0
            or self.offsets[-1] != len(self.features)
            or (np.diff(self.offsets) < 0).any()
        ):
            raise ValueError(
                f"expected offsets that rise from 0 to {len(self.features)} events, found {self.offsets[0]} to "
                f"{self.offsets[-1]}: give the start of every token, then the number of events."
            )
        if len(self.features) and not 0 <= self.features.min() <= self.features.max() < n_features:
            raise ValueError(
                f"expected feature ids from 0 to {n_features - 1}, found {self.features.min()} to "
                f"{self.features.max()}: raise n_features or drop these events."
            )
        self.tokens = np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))
        self.block_size = int(np.clip(n_features // 16, 1, max(1, 2**19 // max(n_features, 1))))
        self.n_blocks = -(-n_features // self.block_size)
        self._starts, self._order = _bucket(self.features, self.block_size, self.n_blocks)

    def rows(self, block: int) -> range:
        """The features of a block."""
        return range(block * self.block_size, min((block + 1) * self.block_size, self.n_features))

    def of_block(self, block: int) -> np.ndarray:
        """Positions of the events of a block's features, in the order of the tokens."""
        return self._order[self._starts[block] : self._starts[block + 1]]


def add_cofiring(
    events: Events,
    counts: Int[np.ndarray, "n n"],
    second_moments: Float[np.ndarray, "n n"] | None = None,
) -> None:
    """Add to counts the tokens in which each pair fired, and to second_moments the sum of a_i a_j, in place."""

    def work(first: int, last: int) -> None:
        for block in range(first, last):
            rows, mine = events.rows(block), events.of_block(block)
            there = slice(rows.start, rows.stop)
            if second_moments is None:
                _count_block(events.features, events.tokens, events.offsets, mine, rows.start, counts[there])
                continue
            sums = np.zeros((len(rows), events.n_features))
            _weigh_block(events.features, events.tokens, events.offsets, events.values, mine, rows.start,
                         counts[there], sums)  # fmt: skip
            second_moments[there] += sums

    _share(work, events.n_blocks)


def add_outputs(
    rows: Int[np.ndarray, "events"],
    tokens: Int[np.ndarray, "events"],
    weights: Float[np.ndarray, "events"],
    outputs: Float[np.ndarray, "tokens vocab"],
    totals: Float[np.ndarray, "rows vocab"],
) -> None:
    """Add weight times the output of its token to the total of its row, for every event, in place.

    Weights of one row are summed over the batch before they join the total, which keeps float32 totals exact
    to about 1e-7 times the square root of the number of batches.
    """
    starts, order = _bucket(rows.astype(np.int32), 1, len(totals))
    present = np.flatnonzero(np.diff(starts))

    def work(first: int, last: int) -> None:
        _output_columns(present, starts, tokens[order], weights[order], outputs, totals, first * COLUMNS,
                        min(last * COLUMNS, outputs.shape[1]))  # fmt: skip

    _share(work, -(-outputs.shape[1] // COLUMNS))


def fired(activations: Float[Tensor, "tokens features"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events of a batch, strided or sparse CSR: feature ids, values (> 0) and the offset of every token."""
    if activations.layout == torch.sparse_csr:
        offsets = activations.crow_indices().numpy().astype(np.int64)
        features = activations.col_indices().numpy().astype(np.int32)
        values = activations.values().float().numpy()
        if (values > 0).all():
            return features, values, offsets
        _refuse_negative(values)
        on = values > 0
        return features[on], values[on], np.concatenate([[0], np.cumsum(on)])[offsets]
    dense = np.ascontiguousarray(activations.detach().float().cpu().numpy())
    per_token = np.empty(len(dense), dtype=np.int64)
    _share(lambda first, last: _count_on(dense[first:last], per_token[first:last]), len(dense))
    if (per_token < 0).any():
        _refuse_negative(dense)
    offsets = np.concatenate([[0], np.cumsum(per_token)])
    features, values = np.empty(offsets[-1], dtype=np.int32), np.empty(offsets[-1], dtype=np.float32)
    _share(lambda first, last: _fill_on(dense, first, last, offsets, features, values), len(dense))
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
    _grid(x, y, z, np.array(limits, dtype=np.float64), counts, sums)


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _probabilities(p) -> np.ndarray:
    rows = np.ascontiguousarray(_array(p), dtype=np.float32)
    total = rows.sum(1, dtype=np.float64)
    wrong = ~((np.abs(total - 1) < 1e-3) | (total == 0))
    if wrong.any() or (rows.size and rows.min() < 0):
        raise ValueError(
            f"expected rows of probabilities that sum to 1, found {int(wrong.sum())} rows that do not or negative "
            "entries: divide every row by its sum."
        )
    tiny = (rows > 0) & (rows < TINY)
    return np.where(tiny, np.float32(0), rows) if tiny.any() else rows


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
    _share(lambda first, last: _own_rows(p[first:last], own[first:last]), len(p))
    return own


@intrinsic
@no_type_check
def _bits(typing_context, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
@no_type_check
def _from_bits(typing_context, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
@no_type_check
def _one_wide_loop(typing_context):
    """Never inlined, so that equal rows meet the same machine code; full vectors, which LLVM avoids on Intel."""

    def generate(context, builder, signature, arguments):
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _s_log2_s(s):
    bits = _bits(s)
    exponent = np.float32(np.int32(bits - ONE)) * STEP  # exponent and mantissa as one fixed-point number
    x = _from_bits(np.int32((bits & MANTISSA) | ONE)) - np.float32(1)
    return s * (exponent + x * (C1 + x * (C2 + x * (C3 + x * (C4 + x * (C5 + x * (C6 + x * C7)))))))


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _four(p, q0, q1, q2, q3, totals):
    _one_wide_loop()
    sum0 = sum1 = sum2 = sum3 = np.float32(0)
    for v in range(p.size):
        here = p[v]
        sum0 += _s_log2_s(here + q0[v])
        sum1 += _s_log2_s(here + q1[v])
        sum2 += _s_log2_s(here + q2[v])
        sum3 += _s_log2_s(here + q3[v])
    totals[0] += sum0
    totals[1] += sum1
    totals[2] += sum2
    totals[3] += sum3


@njit(cache=True, nogil=True)
@no_type_check
def _own_rows(p, own):
    totals = np.empty(4)
    for i in range(len(p)):
        totals[:] = 0
        for start in range(0, p.shape[1], CHUNK):
            row = p[i, start : start + CHUNK]
            _four(row, row, row, row, row, totals)
        own[i] = totals[0]


@njit(cache=True, nogil=True)
@no_type_check
def _divergence_blocks(p, q, own_p, own_q, blocks, mirror, result):
    totals = np.empty((ROWS, ROWS))
    for b in range(len(blocks)):
        first, second = blocks[b]
        n_rows, n_columns = min(ROWS, len(p) - first), min(ROWS, len(q) - second)
        totals[:] = 0
        for start in range(0, p.shape[1], CHUNK):
            stop = min(start + CHUNK, p.shape[1])
            for i in range(n_rows):
                for j in range(0, n_columns, 4):
                    last = second + n_columns - 1  # the last rows stand in where four are not left
                    j0 = second + j
                    _four(
                        p[first + i, start:stop],
                        q[j0, start:stop],
                        q[min(j0 + 1, last), start:stop],
                        q[min(j0 + 2, last), start:stop],
                        q[min(j0 + 3, last), start:stop],
                        totals[i, j : j + 4],
                    )
        for i in range(n_rows):
            for j in range(n_columns):
                own = (own_p[first + i] + own_q[second + j]) / 4
                value = np.float32(max(0.0, np.log(2.0) * (own - totals[i, j] / 2)))
                result[first + i, second + j] = value
                if mirror:
                    result[second + j, first + i] = value


@njit(cache=True, nogil=True)
@no_type_check
def _bucket(keys, size, n_buckets):
    """Counting sort: where each bucket starts, and the positions of its keys in their old order."""
    starts = np.zeros(n_buckets + 1, dtype=np.int64)
    for key in keys:
        starts[key // size + 1] += 1
    for bucket in range(n_buckets):
        starts[bucket + 1] += starts[bucket]
    free = starts[:-1].copy()
    order = np.empty(len(keys), dtype=np.int64)
    for position in range(len(keys)):
        bucket = keys[position] // size
        order[free[bucket]] = position
        free[bucket] += 1
    return starts, order


@njit(cache=True, nogil=True)
@no_type_check
def _count_block(features, tokens, offsets, mine, first, counts):
    for event in mine:
        row = counts[features[event] - first]
        token = tokens[event]
        for other in range(offsets[token], offsets[token + 1]):
            row[features[other]] += 1


@njit(cache=True, nogil=True)
@no_type_check
def _weigh_block(features, tokens, offsets, values, mine, first, counts, sums):
    for event in mine:
        row, weighted = counts[features[event] - first], sums[features[event] - first]
        token, value = tokens[event], np.float64(values[event])
        for other in range(offsets[token], offsets[token + 1]):
            row[features[other]] += 1
            weighted[features[other]] += value * values[other]


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _output_columns(present, starts, tokens, weights, outputs, totals, first, last):
    sums = np.empty(COLUMNS, dtype=np.float32)
    for start in range(first, last, COLUMNS):
        width = min(COLUMNS, last - start)
        for row in present:
            sums[:] = 0
            for event in range(starts[row], starts[row + 1]):
                output, weight = outputs[tokens[event], start : start + width], weights[event]
                for v in range(width):
                    sums[v] += weight * output[v]
            for v in range(width):
                totals[row, start + v] += sums[v]


@njit(cache=True, nogil=True)
@no_type_check
def _count_on(activations, per_token):
    for token in range(len(activations)):
        n_on, n_bad = 0, 0
        for value in activations[token]:
            n_on += value > 0
            n_bad += not value >= 0
        per_token[token] = -1 if n_bad else n_on


@njit(cache=True, nogil=True)
@no_type_check
def _fill_on(activations, first, last, offsets, features, values):
    for token in range(first, last):
        event = offsets[token]
        for feature in range(activations.shape[1]):
            if activations[token, feature] > 0:
                features[event] = feature
                values[event] = activations[token, feature]
                event += 1


@njit(cache=True, nogil=True)
@no_type_check
def _grid(x, y, z, limits, counts, sums):
    x_bins, y_bins = counts.shape
    x_scale, y_scale = x_bins / (limits[1] - limits[0]), y_bins / (limits[3] - limits[2])
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if np.isfinite(x[i, j]) and np.isfinite(y[i, j]) and np.isfinite(z[i, j]):
                a = min(max(int((x[i, j] - limits[0]) * x_scale), 0), x_bins - 1)
                b = min(max(int((y[i, j] - limits[2]) * y_scale), 0), y_bins - 1)
                counts[a, b] += 1
                sums[a, b] += z[i, j]
