"""The inner loops that numba compiles, on plain arrays and without checks; kernels.py calls them.

Compiled at the first call and cached on disk. They release the lock, so that threads run them side by side.
"""

from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

ROWS = 32
"""Rows of a block in the divergence: two blocks of ROWS x CHUNK floats stay in the second-level cache."""

CHUNK = 2048
"""Vocabulary entries summed in float32 before they join a float64 total."""

PANEL = 128
"""Vocabulary entries of all tokens of a batch that one pass over the mean outputs keeps in cache."""

MOST_RECENT = 2048
"""Firings of a feature that are summed before its row of the co-firing matrix is settled."""

ONE_FIRING = 2.0 * MOST_RECENT
"""Larger than any sum of so many products of numbers from 0 to 1."""

TINY = np.float32(1e-30)
"""Smaller probabilities count as zero: denormal numbers are slow, and a vocabulary of them weighs nothing."""

ONE = np.int32(0x3F800000)  # bits of 1.0f
MANTISSA = np.int32(0x7FFFFF)
SCALE = np.float32(2.0**23)
"""Logarithms come as multiples of 1 / SCALE, so that bits need no scaling one by one."""
# log2(1 + x) - x on [0, 1], minimax of degree 7 with both ends exact; largest error 3.1e-7.
C1, C2, C3, C4, C5, C6, C7 = SCALE * np.float32(
    [0.44266700, -0.72055966, 0.47334457, -0.32517107, 0.19303828, -0.078516425, 0.015197314]
)


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
    """Not inlined, so that equal rows meet the same machine code; full vectors, which LLVM shuns on Intel."""

    def generate(context, builder, signature, arguments):
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _s_log2_s(s):
    """SCALE * s log2 s, in 12 vector operations."""
    bits = _bits(s)
    exponent = np.float32(np.int32(bits - ONE))  # exponent and mantissa as one fixed-point number
    x = _from_bits(np.int32((bits & MANTISSA) | ONE)) - np.float32(1)
    return s * (exponent + x * (C1 + x * (C2 + x * (C3 + x * (C4 + x * (C5 + x * (C6 + x * C7)))))))


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _four(p, i, q, j0, j1, j2, j3, start, stop, totals, row, column):
    """Add the terms of row i of p with four rows of q to totals[row, column : column + 4]."""
    _one_wide_loop()
    sum0 = sum1 = sum2 = sum3 = np.float32(0)
    for offset in range(stop - start):
        v = np.uint64(start) + np.uint64(offset)  # unsigned, so that no index can count from the end
        here = p[i, v]
        sum0 += _s_log2_s(here + q[j0, v])
        sum1 += _s_log2_s(here + q[j1, v])
        sum2 += _s_log2_s(here + q[j2, v])
        sum3 += _s_log2_s(here + q[j3, v])
    totals[row, column] += sum0
    totals[row, column + 1] += sum1
    totals[row, column + 2] += sum2
    totals[row, column + 3] += sum3


@njit(cache=True, nogil=True, fastmath={"reassoc"})
@no_type_check
def _look(p, i, start, stop, found):
    """Add the sum, negative and tiny entries of a stretch of row i to found."""
    _one_wide_loop()
    total = negative = tiny = np.float32(0)
    for offset in range(stop - start):
        value = p[i, np.uint64(start) + np.uint64(offset)]
        total += value
        negative += np.float32(1) if value < 0 else np.float32(0)
        tiny += np.float32(1) if (value > 0) & (value < TINY) else np.float32(0)
    found[0] += total
    found[1] += negative
    found[2] += tiny


@njit(cache=True, nogil=True)
@no_type_check
def check_rows(p, first, last, wrong, tiny):
    """Mark rows that are neither probabilities nor zeros, and rows with entries between 0 and TINY."""
    found = np.empty(3)
    for i in range(first, last):
        found[:] = 0
        for start in range(0, p.shape[1], CHUNK):
            _look(p, i, start, min(start + CHUNK, p.shape[1]), found)
        wrong[i] = found[1] > 0 or not (np.abs(found[0] - 1) < 1e-3 or found[0] == 0)
        tiny[i] = found[2] > 0


@njit(cache=True, nogil=True)
@no_type_check
def own_rows(p, first, last, own):
    totals = np.empty((1, 4))
    for i in range(first, last):
        totals[:] = 0
        for start in range(0, p.shape[1], CHUNK):
            _four(p, i, p, i, i, i, i, start, min(start + CHUNK, p.shape[1]), totals, 0, 0)
        own[i] = totals[0, 0]


@njit(cache=True, nogil=True)
@no_type_check
def divergence_blocks(p, q, own_p, own_q, blocks, mirror, result):
    totals = np.empty((ROWS, ROWS))
    for b in range(len(blocks)):
        first, second = blocks[b, 0], blocks[b, 1]
        n_rows, n_columns = min(ROWS, len(p) - first), min(ROWS, len(q) - second)
        last = second + n_columns - 1
        on_diagonal = mirror and first == second
        totals[:] = 0
        for start in range(0, p.shape[1], CHUNK):
            stop = min(start + CHUNK, p.shape[1])
            for j in range(0, n_columns, 4):  # four rows stay in first-level cache; missing ones repeat
                j0 = second + j
                j1, j2, j3 = min(j0 + 1, last), min(j0 + 2, last), min(j0 + 3, last)
                for i in range(min(n_rows, j + 4) if on_diagonal else n_rows):
                    _four(p, first + i, q, j0, j1, j2, j3, start, stop, totals, i, j)
        for i in range(n_rows):
            for j in range(i if on_diagonal else 0, n_columns):
                own = (own_p[first + i] + own_q[second + j]) / 4
                value = np.float32(max(0.0, np.log(2.0) / SCALE * (own - totals[i, j] / 2)))
                result[first + i, second + j] = value
                if mirror:
                    result[second + j, first + i] = value


@njit(cache=True, nogil=True)
@no_type_check
def bucket(keys, size, n_buckets):
    """Counting sort: where each bucket starts, and the positions of its keys in their old order."""
    starts = np.zeros(n_buckets + 1, dtype=np.int64)
    for key in keys:
        starts[key // size + 1] += 1
    for bucket in range(n_buckets):
        starts[bucket + 1] += starts[bucket]
    free = starts[:-1].copy()
    order = np.empty(len(keys), dtype=np.int32)
    for position in range(len(keys)):
        bucket = keys[position] // size
        order[free[bucket]] = position
        free[bucket] += 1
    return starts, order


@njit(cache=True, nogil=True)
@no_type_check
def sort_within(features, values, offsets):
    """Put every token's features, with their values, into ascending order, in place."""
    for token in range(len(offsets) - 1):
        for event in range(offsets[token] + 1, offsets[token + 1]):
            feature, value, at = features[event], values[event], event
            while at > offsets[token] and features[at - 1] > feature:
                features[at], values[at] = features[at - 1], values[at - 1]
                at -= 1
            features[at], values[at] = feature, value


@njit(cache=True, nogil=True)
@no_type_check
def is_sorted_within(features, offsets):
    for token in range(len(offsets) - 1):
        for event in range(offsets[token] + 1, offsets[token + 1]):
            if features[event - 1] > features[event]:
                return False
    return True


@njit(cache=True, nogil=True)
@no_type_check
def to_the_end(order, offsets):
    """For every event, by its place in order: how many events its token has from it on."""
    left = np.empty(len(order), dtype=np.int32)
    for token in range(len(offsets) - 1):
        for event in range(offsets[token], offsets[token + 1]):
            left[event] = offsets[token + 1] - event
    return left[order]


@njit(cache=True, nogil=True)
@no_type_check
def count_block(features, mine, left, first, counts):
    """Add pairs of a block's features with what follows them to counts; row and column 0 are `first`."""
    for k in range(len(mine)):
        event = np.uint64(mine[k])
        row = counts[np.uint64(features[event] - first)]
        for ahead in range(left[k]):
            row[features[event + np.uint64(ahead)] - first] += 1


@njit(cache=True, nogil=True)
@no_type_check
def weigh_block(features, values, scale, mine, left, first, recent, since, counts, sums):
    """The same for counts and for sums of products of values, which are scale times a number from 0 to 1.

    Both are kept in one float64, count * ONE_FIRING + sum: one memory access where it costs most. Before a
    row has taken in MOST_RECENT events it is settled, so that products are kept to 2^-31 of their largest.
    """
    since[:] = 0
    for k in range(len(mine)):
        event, row = np.uint64(mine[k]), np.uint64(features[mine[k]] - first)
        if since[row] == MOST_RECENT:
            _settle(recent[row], scale, row, counts[row], sums[row])
            since[row] = 0
        since[row] += 1
        value, pairs = np.float64(values[event]), recent[row]
        for ahead in range(left[k]):
            other = event + np.uint64(ahead)
            pairs[np.uint64(features[other] - first)] += ONE_FIRING + value * values[other]
    for row in range(len(recent)):
        if since[row]:
            _settle(recent[row], scale, row, counts[row], sums[row])


@njit(cache=True, nogil=True, fastmath={"contract"})
@no_type_check
def _settle(recent, scale, row, counts, sums):
    """Take counts and sums of a row apart, add them to what is there, and leave zeros."""
    for column in range(len(recent)):
        count = np.floor(recent[column] / ONE_FIRING)
        counts[column] += np.int32(count)
        sums[column] += (recent[column] - count * ONE_FIRING) * (scale[row] * scale[column])
        recent[column] = 0.0


@njit(cache=True, nogil=True)
@no_type_check
def transpose(rows, columns):
    """Write what is above the diagonal of rows below that of columns, in squares that fit a cache."""
    for first in range(0, rows.shape[1], ROWS):
        for top in range(0, min(len(rows), first + ROWS), ROWS):
            for j in range(first, min(first + ROWS, rows.shape[1])):
                for i in range(top, min(top + ROWS, len(rows), j)):
                    columns[j, i] = rows[i, j]


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _add_weighted(total, sums, packed, tokens, weights, first, last):
    """Add weighted rows of packed together, in sums, and then to the total."""
    _one_wide_loop()
    sums[:] = 0
    for event in range(first, last):
        weight, row = weights[event], np.uint64(tokens[event])
        for v in range(PANEL):
            sums[v] += weight * packed[row, np.uint64(v)]
    for v in range(PANEL):
        total[v] += sums[v]


@njit(cache=True, nogil=True)
@no_type_check
def output_panels(present, starts, tokens, weights, outputs, totals, first, last):
    """Panels first to last of add_outputs(): copied together, then every row takes its tokens from it."""
    packed, sums = np.zeros((len(outputs), PANEL), np.float32), np.empty(PANEL, np.float32)
    for panel in range(first, last):
        start = panel * PANEL
        for token in range(len(outputs)):
            for v in range(min(PANEL, outputs.shape[1] - start)):
                packed[token, v] = outputs[token, start + v]
        for row in present:
            _add_weighted(totals[panel, row], sums, packed, tokens, weights, starts[row], starts[row + 1])


@njit(cache=True, nogil=True)
@no_type_check
def count_on(activations, first, last, per_token):
    for token in range(first, last):
        n_on, n_bad = 0, 0
        for feature in range(activations.shape[1]):
            value = activations[token, feature]
            n_on += value > 0
            n_bad += not value >= 0
        per_token[token] = -1 if n_bad else n_on


@njit(cache=True, nogil=True)
@no_type_check
def fill_on(activations, first, last, offsets, features, values):
    for token in range(first, last):
        event = offsets[token]
        for feature in range(activations.shape[1]):
            if activations[token, feature] > 0:
                features[event] = feature
                values[event] = activations[token, feature]
                event += 1


@njit(cache=True, nogil=True)
@no_type_check
def grid(x, y, z, limits, counts, sums):
    x_bins, y_bins = counts.shape
    x_scale, y_scale = x_bins / (limits[1] - limits[0]), y_bins / (limits[3] - limits[2])
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if np.isfinite(x[i, j]) and np.isfinite(y[i, j]) and np.isfinite(z[i, j]):
                a = min(max(int((x[i, j] - limits[0]) * x_scale), 0), x_bins - 1)
                b = min(max(int((y[i, j] - limits[2]) * y_scale), 0), y_bins - 1)
                counts[a, b] += 1
                sums[a, b] += z[i, j]
