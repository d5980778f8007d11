import math

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from synthetic import csr

from compare.compiled import MOST_RECENT
from compare.kernels import (
    CofiringRows,
    Events,
    add_outputs,
    add_to_grid,
    as_rows,
    cofire_blocks,
    cofire_counts,
    fired,
    js_divergence,
    mirror,
    output_totals,
)

RNG = np.random.default_rng(0)
TOLERANCE = (
    2e-6  # nats; the logarithm is within 3.1e-7, the rest is float32 rounding of the entries themselves
)


def distributions(n, vocab, concentration=0.1, rng=RNG):
    return rng.dirichlet(np.full(vocab, concentration), n).astype(np.float32)


def entropy(p):
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def js_oracle(p, q):
    p, q = p.astype(np.float64)[:, None], q.astype(np.float64)[None]
    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def random_events(n_tokens, n_features, rate=0.1, rng=RNG):
    on = rng.random((n_tokens, n_features)) < rate
    dense = np.where(on, rng.random(on.shape) + 0.1, 0).astype(np.float32)
    return dense, *fired(torch.from_numpy(dense))


def test_divergence_of_disjoint_distributions_is_ln_2():
    found = js_divergence(np.eye(5, dtype=np.float32))
    expected = math.log(2) * (1 - np.eye(5))
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_divergence_of_a_coin_from_a_certainty_is_as_on_paper():
    found = js_divergence(np.float32([[0.5, 0.5]]), np.float32([[1.0, 0.0]]))
    by_hand = 1.5 * math.log(2) - 0.75 * math.log(3)  # H(3/4, 1/4) - H(1/2, 1/2) / 2
    assert found[0, 0] == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "m", "vocab"), [(1, 1, 1), (3, 5, 2), (33, 66, 100), (7, 70, 5000), (40, 4, 4097)]
)
@pytest.mark.parametrize("concentration", [0.01, 0.3, 30.0])
def test_divergence_agrees_with_float64_and_scipy(n, m, vocab, concentration):
    p, q = distributions(n, vocab, concentration), distributions(m, vocab, concentration)
    found = js_divergence(p, q)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, js_oracle(p, q), atol=TOLERANCE)
    np.testing.assert_allclose(found, np.nan_to_num(cdist(p, q, "jensenshannon")) ** 2, atol=TOLERANCE)


def test_divergence_within_one_set_is_symmetric_and_the_same_as_between_two():
    p = distributions(77, 3000)
    within, between = js_divergence(p), js_divergence(p, p.copy())
    np.testing.assert_array_equal(within, within.T)
    np.testing.assert_array_equal(within, between)


@pytest.mark.parametrize("vocab", [3, 64, 2048, 5001])
def test_equal_rows_are_exactly_zero_apart_wherever_they_stand(vocab):
    p = np.repeat(distributions(1, vocab), 71, axis=0)
    assert not js_divergence(p).any()
    assert not js_divergence(p, p[:9]).any()


def test_permuting_rows_and_vocabulary_permutes_the_result():
    p = distributions(50, 700)
    rows, columns = RNG.permutation(50), RNG.permutation(700)
    found = js_divergence(np.ascontiguousarray(p[rows][:, columns]))
    np.testing.assert_allclose(found, js_divergence(p)[np.ix_(rows, rows)], atol=TOLERANCE)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.floats(0.01, 10.0))
def test_divergence_keeps_between_its_bounds(seed, vocab, concentration):
    p = distributions(12, vocab, concentration, np.random.default_rng(seed))
    overlap = np.sqrt(p.astype(np.float64)) @ np.sqrt(p.astype(np.float64)).T  # Bhattacharyya
    found = js_divergence(p)
    assert (found >= math.log(2) * (1 - overlap) - TOLERANCE).all()
    assert (found <= np.minimum(1 - overlap, math.log(2)) + TOLERANCE).all()


def test_tiny_probabilities_cost_no_precision():
    p = np.full((2, 1000), 1e-40, dtype=np.float32)
    p[0, 0] = p[1, 1] = 1
    assert js_divergence(p)[0, 1] == pytest.approx(math.log(2), abs=1e-6)


def test_a_row_without_a_distribution_has_no_divergence():
    p = np.float32([[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    found = js_divergence(p)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[1:, 1:]).all()


def test_tensors_give_tensors():
    p = torch.from_numpy(distributions(4, 10))
    torch.testing.assert_close(js_divergence(p), torch.from_numpy(js_divergence(p.numpy())))
    counts = cofire_counts(torch.tensor([0, 1]), torch.tensor([0, 2]), 2)
    torch.testing.assert_close(counts, torch.ones(2, 2, dtype=torch.int32))


@pytest.mark.parametrize("p", [[[0.5, 0.6]], [[1.5, -0.5]], [[math.nan, 1.0]], [[0.0, 0.1]]])
def test_rows_that_are_no_distributions_are_refused(p):
    with pytest.raises(ValueError, match="expected rows of probabilities"):
        js_divergence(np.float32(p))


def test_rows_over_different_vocabularies_are_refused():
    with pytest.raises(ValueError, match="found 3 and 4 entries"):
        js_divergence(distributions(2, 3), distributions(2, 4))


def test_cofiring_of_three_tokens_is_as_counted_by_hand():
    features, offsets = np.array([0, 2, 2, 0, 1, 2]), np.array([0, 2, 3, 3, 6])
    assert cofire_counts(features, offsets, 4).tolist() == [[2, 1, 2, 0], [1, 1, 1, 0], [2, 1, 3, 0], [0] * 4]


@pytest.mark.parametrize(("n_tokens", "n_features"), [(0, 3), (1, 1), (300, 37), (500, 700)])
def test_cofiring_agrees_with_a_sparse_product(n_tokens, n_features):
    dense, features, values, offsets = random_events(n_tokens, n_features)
    on = scipy.sparse.csr_matrix((dense > 0).astype(np.int64))
    [(_, counts, second)] = CofiringRows([Events(features, offsets, n_features, values)])
    expected = (on.T @ on).toarray()
    np.testing.assert_array_equal(cofire_counts(features, offsets, n_features), expected)
    np.testing.assert_array_equal(counts, np.triu(expected))
    np.testing.assert_allclose(second, np.triu(dense.T.astype(float) @ dense), rtol=1e-6)


def test_blocks_of_cofiring_put_together_are_the_whole():
    dense, features, _, offsets = random_events(200, 130)
    found, next_row = np.zeros((130, 130), dtype=np.int32), 0
    for first, rows in cofire_blocks(features, offsets, 130):
        assert first == next_row
        mirror(rows, first, found)
        next_row = first + len(rows)
    assert next_row == 130 > 2 * len(rows)
    np.testing.assert_array_equal(found, (dense > 0).T.astype(int) @ (dense > 0))


@pytest.mark.parametrize("n_parts", [1, 3])
def test_second_moments_of_a_feature_that_always_fires_keep_six_digits(n_parts):
    n_tokens = 3 * MOST_RECENT + 5
    features = np.tile(np.array([0, 2], dtype=np.int32), n_tokens)
    values = np.full(len(features), 0.3, dtype=np.float32)
    events = Events(features, np.arange(0, len(features) + 1, 2), 3, values)
    [(_, counts, sums)] = CofiringRows([events] * n_parts)
    assert counts.tolist() == (n_parts * n_tokens * np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]])).tolist()
    assert sums[0, 2] == pytest.approx(n_parts * n_tokens * float(np.float32(0.3)) ** 2, rel=1e-6)


def test_the_order_of_features_within_a_token_does_not_matter():
    _, features, _, offsets = random_events(100, 20, rate=0.4)
    shuffled = np.concatenate([RNG.permutation(part) for part in np.split(features, offsets[1:-1])])
    np.testing.assert_array_equal(cofire_counts(shuffled, offsets, 20), cofire_counts(features, offsets, 20))


def test_narrow_feature_ids_do_not_overflow():
    features, offsets = np.array([65535, 3], dtype=np.uint16), np.array([0, 2])
    first, block = next(cofire_blocks(features, offsets, 65536))
    assert first == 0
    assert np.argwhere(block).tolist() == [[3, 3], [3, 65535]]


@pytest.mark.parametrize(
    ("features", "offsets", "message"),
    [([0, 5], [0, 2], "feature ids from 0 to 4"), ([0, 1], [0, 1], "offsets that rise from 0 to 2 events"),
     ([0, 1], [0, 2, 1, 2], "offsets that rise")],
)  # fmt: skip
def test_events_that_do_not_fit_are_refused(features, offsets, message):
    with pytest.raises(ValueError, match=message):
        cofire_counts(np.array(features), np.array(offsets), 5)


@pytest.mark.parametrize("vocab", [1, 64, 200])
def test_outputs_add_up_as_in_a_dense_product(vocab):
    dense, features, values, offsets = random_events(150, 30)
    outputs = distributions(150, vocab)
    tokens = np.repeat(np.arange(150, dtype=np.int32), np.diff(offsets))
    totals = output_totals(30, vocab) + np.float32(1)
    add_outputs(features, tokens, values, outputs, totals)
    found = as_rows(totals, np.full(30, 2, dtype=np.float32), vocab)
    np.testing.assert_allclose(found, 2 * (1 + dense.T.astype(float) @ outputs), rtol=1e-6)


def test_events_of_a_sparse_batch_are_those_of_the_dense_one():
    dense, *expected = random_events(40, 60)
    sparse = csr(torch.from_numpy(dense))
    with_zeros = csr(torch.from_numpy(dense + (RNG.random(dense.shape) < 0.1)))
    with_zeros.values()[:] = torch.from_numpy(dense)[with_zeros.to_dense() > 0]
    assert (with_zeros.values() == 0).any()
    for one in (sparse, with_zeros):
        for found, wanted in zip(fired(one), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_activations_below_zero_are_refused(bad):
    dense = torch.tensor([[0.0, 1.0], [bad, 0.0]])
    with pytest.raises(ValueError, match="found 1 that are negative or NaN"):
        fired(dense)
    with pytest.raises(ValueError, match="found 1 that are negative or NaN"):
        fired(csr(dense))


def test_a_grid_counts_and_sums_and_leaves_out_what_is_undefined():
    x, y = np.float32([[0.1, 0.9], [5.0, math.nan]]), np.float32([[0.9, 0.9], [-5.0, 0.0]])
    z = np.float32([[1.0, 2.0], [4.0, 8.0]])
    counts, sums = np.zeros((2, 2), dtype=np.int64), np.zeros((2, 2))
    add_to_grid(x, y, z, (0.0, 1.0, 0.0, 1.0), counts, sums)
    assert counts.tolist() == [[0, 1], [1, 1]]
    assert sums.tolist() == [[0, 1], [4, 2]]
