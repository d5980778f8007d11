import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from synthetic import LinearSystem, Recorded, planted_system

from compare.evidence import Truth, measure
from compare.kernels import js_divergence
from compare.measures import (
    COOCCURRENCE,
    COOCCURRENCE_LEVELS,
    DIRECTIONS,
    SIMILARITY,
    SIMILARITY_LEVELS,
    _poisson_interval,
    cooccurrence_level,
    js_split,
    self_divergence,
    similarity_level,
)
from compare.nulls import effective_dimension
from compare.tiles import row_products

ALL = slice(None)
MEASURED = [name for name in COOCCURRENCE if not name.startswith("true_")]


@pytest.fixture(scope="module")
def system():
    return planted_system(n=20, width=10, vocab=30, effect=None, n_tokens=2000)


@pytest.fixture(scope="module")
def evidence(system):
    return measure(system)


@pytest.fixture(scope="module")
def counted():
    """100 tokens: feature 0 fires in 20, 1 in 10, both in 4; 2 never with 0; 3 never; 4 always."""
    on = torch.zeros(100, 5)
    on[:20, 0] = on[16:26, 1] = on[20:60, 2] = on[:, 4] = 1
    outputs = torch.full((100, 2), 0.5)
    return measure(Recorded("counted", torch.eye(5), on * 2 - 1, outputs))


BY_HAND = {
    "phi": (400 - 200) / math.sqrt(20 * 80 * 10 * 90),
    "log_odds": math.log(4.5 * 74.5 / (16.5 * 6.5)),
    "jaccard": 4 / 26,
    "npmi": math.log(2) / math.log(25),
    "phi_by_sequence": (13 - 6) / math.sqrt(3 * 10 * 2 * 11),  # sequences 0 to 2, and 2 to 3, of 13
    "log_odds_by_sequence": math.log(1.5 * 9.5 / (2.5 * 1.5)),
    "conditional": 0.4,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_cooccurrence_is_as_on_paper(counted, name):
    found = COOCCURRENCE[name](counted, ALL, ALL)
    assert found[0, 1] == pytest.approx(BY_HAND[name])
    assert found[1, 0] == found[0, 1]


@pytest.mark.parametrize(("name", "value"), [("phi", -math.sqrt(1 / 6)), ("jaccard", 0), ("npmi", -1),
                                             ("conditional", 0)])  # fmt: skip
def test_exclusive_features_are_at_the_lower_end(counted, name, value):
    assert COOCCURRENCE[name](counted, ALL, ALL)[0, 2] == pytest.approx(value)


@pytest.mark.parametrize("name", ["phi", "npmi", "conditional", "activation_correlation"])
def test_a_feature_that_never_fires_has_no_cooccurrence(counted, name):
    found = COOCCURRENCE[name](counted, ALL, ALL)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[:, 3]).all()


@pytest.mark.parametrize("name", ["phi", "activation_correlation", "preactivation_correlation"])
def test_a_feature_that_never_varies_has_no_correlation(counted, name):
    assert np.isnan(COOCCURRENCE[name](counted, ALL, ALL)[4]).all()


def test_correlations_are_numpys(system, evidence):
    preactivations = system.preactivations.double().numpy()
    for name, values in (
        ("phi", preactivations > 0),
        ("activation_correlation", preactivations.clip(0)),
        ("preactivation_correlation", preactivations),
    ):
        np.testing.assert_allclose(COOCCURRENCE[name](evidence, ALL, ALL), np.corrcoef(values.T), atol=2e-6)


def test_correlation_of_preactivations_through_an_encoder_is_numpys():
    system = LinearSystem(n=9, width=6, vocab=5, n_tokens=2000)
    values = torch.cat([batch.preactivations for batch in system.stream()]).double().numpy()
    found = COOCCURRENCE["preactivation_correlation"](measure(system), slice(0, 4), ALL)
    np.testing.assert_allclose(found, np.corrcoef(values.T)[:4], atol=1e-6)


@pytest.mark.parametrize("name", [*MEASURED, "js", "js_split"])
def test_a_tile_is_a_part_of_the_whole_and_the_whole_is_symmetric(evidence, name):
    one = COOCCURRENCE.get(name) or SIMILARITY[name]
    whole = one(evidence, ALL, ALL)
    rows, cols = np.array([3, 1, 17]), slice(5, 12)
    np.testing.assert_allclose(one(evidence, rows, cols), whole[rows][:, cols], atol=1e-6)
    np.testing.assert_allclose(one(evidence, rows, rows), whole[rows][:, rows], atol=1e-6)
    np.testing.assert_allclose(whole, whole.T, atol=1e-6)


@pytest.mark.parametrize("name", [*MEASURED, "js", "js_split"])
def test_renaming_features_renames_the_result(system, evidence, name):
    order = np.random.default_rng(0).permutation(20)
    renamed = measure(
        Recorded("renamed", system.directions[order], system.preactivations[:, order], system.outputs)
    )
    one = COOCCURRENCE.get(name) or SIMILARITY[name]
    np.testing.assert_allclose(one(renamed, ALL, ALL), one(evidence, order, order), atol=1e-5)


def test_published_similarity_is_one_less_the_divergence_of_the_means(system, evidence):
    activations = system.preactivations.relu().double()
    means = (activations.T @ system.outputs.double() / activations.sum(0)[:, None]).float().numpy()
    np.testing.assert_allclose(SIMILARITY["js"](evidence, ALL, ALL), 1 - js_divergence(means), atol=2e-6)


def test_split_similarity_is_as_on_paper():
    halves = np.float32([[[1, 0], [1, 0], [0, 0]], [[1, 0], [0, 1], [1, 0]]])
    base = measure(planted_system(n=3, width=2, vocab=2, effect=None, n_tokens=64))
    found = js_split(replace(base, output_halves=halves), ALL, ALL)
    # D(A_0, B_1) = ln 2, D(B_0, A_1) = 0, D(A_0, B_0) = 0, D(A_1, B_1) = ln 2
    assert found[0, 1] == pytest.approx(1 - (math.log(2) / 2 - math.log(2) / 2))
    assert found[0, 0] == 1
    assert np.isnan(found[2]).all()


def test_split_similarity_does_not_measure_sample_size():
    """Outputs that have nothing to do with the features: only the published measure sees the counts."""
    generator = torch.Generator().manual_seed(0)
    rates = torch.logspace(-2.3, -0.5, 40)
    on = (torch.rand(6000, 40, generator=generator) < rates).float()
    outputs = torch.from_numpy(np.random.default_rng(0).dirichlet(np.full(50, 0.1), 6000))
    found = measure(Recorded("null", torch.eye(40), on * 2 - 1, outputs))
    rare, common = np.split(np.argsort(found.counts), 2)
    gap = {
        name: SIMILARITY[name](found, common, common).mean() - SIMILARITY[name](found, rare, rare).mean()
        for name in ("js", "js_split")
    }
    assert gap["js"] > 0.02
    assert abs(gap["js_split"]) < 0.1 * gap["js"]


def test_a_features_divergence_from_itself_is_the_diagonal(evidence):
    even, odd = evidence.output_halves
    expected = js_divergence(even, odd).diagonal()
    np.testing.assert_allclose(self_divergence(evidence, np.array([4, 2])), expected[[4, 2]], atol=1e-7)


def known(evidence, joint):
    n, rates = len(joint), np.diag(joint).copy()
    outputs = np.eye(n, dtype=np.float32) / 2 + np.float32(0.5) * np.eye(n, dtype=np.float32)[0]
    return replace(evidence, truth=Truth(rates, joint, outputs))


def test_truth_is_used_as_it_is(counted):
    joint = np.array([[0.2, 0.04, 0.0, 0, 0], [0.04, 0.1, 0, 0, 0], [0.0, 0, 0.4, 0, 0], [0] * 5, [0] * 5])
    found = known(counted, joint)
    assert COOCCURRENCE["true_phi"](found, ALL, ALL)[0, 1] == pytest.approx(BY_HAND["phi"])
    assert COOCCURRENCE["true_log_odds"](found, ALL, ALL)[0, 1] == pytest.approx(BY_HAND["log_odds"])
    similar = SIMILARITY["true_js"](found, ALL, ALL)
    np.testing.assert_allclose(similar, 1 - js_divergence(found.truth.outputs), atol=1e-7)
    level = cooccurrence_level(found, ALL, ALL, exact=True)
    assert [COOCCURRENCE_LEVELS[code] for code in level[0, :4]] == [
        "co-occurring",
        "independent",
        "exclusive",
        "undetermined",
    ]


@pytest.mark.parametrize("name", ["true_phi", "true_log_odds", "true_js"])
def test_without_truth_the_measures_of_truth_say_so(counted, name):
    with pytest.raises(ValueError, match="found no truth in 'counted'"):
        (COOCCURRENCE.get(name) or SIMILARITY[name])(counted, ALL, ALL)


def level_of(counted, n, both, total=1_000_000):
    cofiring = np.full((5, 5), both, dtype=np.int32)
    found = replace(counted, n_tokens=total, counts=np.full(5, n), cofiring=cofiring)
    return COOCCURRENCE_LEVELS[cooccurrence_level(found, ALL, ALL)[0, 1]]


@pytest.mark.parametrize(
    ("n", "both", "level"),
    [
        # 10,000 of a million tokens each: 100 expected. Garwood's 95 % bounds by table: 0 -> 0 to 3.69,
        # 10 -> 4.80 to 18.39, 100 -> 81.4 to 121.6, 230 -> 201.2 to 261.7, 240 -> 210.6 to 272.4.
        (10_000, 0, "exclusive"),
        (10_000, 10, "exclusive"),
        (10_000, 100, "independent"),
        (10_000, 230, "co-occurring"),
        (10_000, 200, "undetermined"),
        # 1,000 each: one expected, so that nothing is certain but many
        (1_000, 0, "undetermined"),
        (1_000, 1, "undetermined"),
        (1_000, 10, "co-occurring"),
    ],
)
def test_levels_of_cooccurrence_wait_for_enough_tokens(counted, n, both, level):
    assert level_of(counted, n, both) == level


def test_poisson_bounds_are_those_of_the_chi_squared_distribution():
    counts = np.array([[0, 1, 10, 240, 100_000]])
    low, high = _poisson_interval(counts)
    np.testing.assert_allclose(low[0, 1:], scipy.stats.chi2.ppf(0.025, 2 * counts[0, 1:]) / 2)
    np.testing.assert_allclose(high, scipy.stats.chi2.ppf(0.975, 2 * counts + 2) / 2)
    assert low[0, 0] == 0


def test_levels_of_similarity_are_cut_at_the_median_divergence_and_half_of_it():
    similarity = 1 - np.array([[0.0, 0.19, 0.21], [0.39, 0.41, math.nan]])
    level = similarity_level(similarity, median=0.6)
    names = [[SIMILARITY_LEVELS[code] for code in row] for row in level]
    assert names == [["similar", "similar", "between"], ["between", "different", "between"]]


def test_directions_have_unit_length_and_what_was_to_go_is_gone(evidence):
    lopsided = replace(
        evidence, directions=evidence.directions * np.geomspace(9, 1, 10, dtype=np.float32) + 3
    )
    for name in ("decoder", "centred", "whitened"):
        np.testing.assert_allclose(np.linalg.norm(DIRECTIONS[name](lopsided), axis=1), 1, rtol=1e-5)
    before, after = (np.linalg.norm(DIRECTIONS[name](lopsided).mean(0)) for name in ("decoder", "centred"))
    assert after < 0.3 * before
    decoder, whitened = (effective_dimension(DIRECTIONS[name](lopsided)) for name in ("decoder", "whitened"))
    assert decoder < 6
    assert whitened > 9.5  # of 10


def test_a_direction_of_length_zero_has_no_cosine(evidence):
    directions = evidence.directions.copy()
    directions[2] = 0
    unit = DIRECTIONS["decoder"](replace(evidence, directions=directions))
    assert np.isnan(unit[2]).all()
    assert np.isfinite(np.delete(unit, 2, axis=0)).all()


def test_a_direction_of_length_zero_has_no_part_in_the_mean_of_the_others(evidence):
    directions = evidence.directions.copy()
    directions[3] = 0.0
    assert evidence.is_alive()[3]
    for name in ("centred", "whitened"):
        found = DIRECTIONS[name](replace(evidence, directions=directions))
        assert np.isnan(found).any(1).tolist() == [row == 3 for row in range(len(directions))]


def test_the_placebo_needs_an_encoder(evidence):
    with pytest.raises(ValueError, match="expected an encoder in 'random directions', found none"):
        DIRECTIONS["encoder"](evidence)
    tied = measure(LinearSystem(n=6, width=4, n_tokens=100))
    np.testing.assert_allclose(DIRECTIONS["encoder"](tied), tied.directions, rtol=1e-6)


def test_products_of_rows_are_those_of_the_whole_matrix():
    values = np.random.default_rng(0).standard_normal((40, 6), dtype=np.float32)
    i, j = np.random.default_rng(1).integers(0, 40, (2, 1000))
    exact = values.astype(float) @ values.astype(float).T
    np.testing.assert_allclose(row_products(values, i, j), exact[i, j], atol=1e-6)
    assert row_products(values, i[:0], j[:0]).shape == (0,)
