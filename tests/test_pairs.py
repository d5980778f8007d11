import numpy as np
import pytest
import torch
from synthetic import Recorded, planted_system, standardised_pairs

import compare.dyads
import compare.measures
import compare.pairs
from compare.evidence import measure
from compare.measures import COOCCURRENCE, SIMILARITY
from compare.pairs import histogram, pair_map, pair_table
from compare.regress import fit

ASKED = {"cooccurrence": ["phi", "log_odds"], "similarity": ["js", "js_split"]}


@pytest.fixture(scope="module")
def evidence():
    system = planted_system(n=60, width=16, vocab=20, effect=None, n_tokens=2000)
    preactivations = system.preactivations.clone()
    preactivations[:, [7, 30]] = -1.0  # dead
    preactivations[5:, 12] = -1.0
    return measure(Recorded("pairs", system.directions, preactivations, system.outputs))


@pytest.fixture(scope="module")
def whole(evidence):
    return pair_table(evidence, **ASKED)


@pytest.fixture
def tiled(evidence, monkeypatch):
    """The same table as if it did not fit: tiles of 16 features, nothing held."""
    monkeypatch.setattr(compare.dyads, "TILE", 16)
    monkeypatch.setattr(compare.pairs, "WHOLE", 10)
    return pair_table(evidence, **ASKED)


def test_dead_and_rare_features_are_left_out(evidence, whole):
    assert set(range(60)) - set(whole.feature_ids.tolist()) >= {7, 30}
    assert whole.n == evidence.is_alive().sum()
    assert whole.n_pairs == whole.n * (whole.n - 1) // 2
    assert 12 not in pair_table(evidence, min_count=6).feature_ids


def test_arrays_are_the_measures_of_the_features_that_are_left(evidence, whole):
    ids = whole.feature_ids
    unit = evidence.directions[ids] / np.linalg.norm(evidence.directions[ids], axis=1, keepdims=True)
    np.testing.assert_allclose(whole.cosine, unit @ unit.T, atol=1e-6)
    for name in whole.measures:
        one = COOCCURRENCE.get(name) or SIMILARITY[name]
        np.testing.assert_allclose(whole[name], one(evidence, ids, ids), atol=1e-6)
        np.testing.assert_array_equal(whole[name], whole[name].T)


def test_the_mask_leaves_out_the_diagonal_and_what_is_undefined():
    preactivations = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    preactivations[:, 2] = 1.0  # fires always: it has no phi
    found = pair_table(measure(Recorded("always", torch.eye(5), preactivations, torch.full((400, 2), 0.5))))
    expected = ~np.eye(5, dtype=bool)
    expected[2] = expected[:, 2] = False
    np.testing.assert_array_equal(found.mask, expected)


def test_tiles_hold_every_pair_once(tiled, whole):
    seen = np.zeros((whole.n, whole.n), dtype=int)
    for rows, cols, tile in tiled.tiles():
        there = np.isfinite(tile["cosine"])
        seen[rows, cols] += there
        for name in whole.names:
            np.testing.assert_allclose(tile[name][there], whole[name][rows, cols][there], atol=1e-5)
    np.testing.assert_array_equal(seen, np.triu(np.ones_like(seen), 1))


def test_a_table_that_is_not_held_says_so(tiled):
    with pytest.raises(ValueError, match="go through tiles"):
        tiled["phi"]


def test_a_regression_takes_the_tiles_of_what_is_not_held(tiled, whole, monkeypatch):
    monkeypatch.setattr(compare.dyads, "TILE", 16)
    expected = fit(whole.cosine, whole["log_odds"], whole["js"], mask=whole.mask)
    found = fit(tiled.source("log_odds", "js"))
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-4)
    np.testing.assert_allclose(found.se("jackknife"), expected.se("jackknife"), rtol=1e-3)
    assert found.n_pairs == expected.n_pairs


def test_dear_measures_of_a_large_table_are_taken_once(tiled, monkeypatch):
    monkeypatch.setattr(compare.measures, "js_divergence", None)
    for name in ("js", "js_split"):
        np.testing.assert_array_equal(tiled[name], tiled[name].T)
    assert sum(len(tile["js"]) > 0 for _, _, tile in tiled.tiles()) > 3


def test_map_counts_every_pair_and_means_its_cosine(whole, tiled):
    above = np.triu_indices(whole.n, 1)
    for table in (whole, tiled):
        found = pair_map(table, "phi", "js", bins=5)
        x, y = whole["phi"][above], whole["js"][above]
        inside = (
            (x >= found.x_edges[1])
            & (x < found.x_edges[2])
            & (y >= found.y_edges[3])
            & (y < found.y_edges[4])
        )
        assert found.count.sum() == whole.n_pairs
        assert found.count[1, 3] == inside.sum() > 5
        assert found.mean[1, 3] == pytest.approx(whole.cosine[above][inside].mean(), abs=1e-6)
        assert np.isnan(found.mean[found.count == 0]).all()


def test_a_map_of_given_limits_puts_the_rest_into_its_outermost_bins(whole):
    found = pair_map(whole, "phi", "js", bins=2, limits=(0.0, 0.2, 0.0, 2.0))
    above = np.triu_indices(whole.n, 1)
    assert found.count[:, 0].sum() + found.count[:, 1].sum() == whole.n_pairs
    assert found.count[0].sum() == (whole["phi"][above] < 0.1).sum()
    assert found.x_edges.tolist() == [0.0, 0.1, 0.2]


def test_histogram_is_numpys(whole, tiled):
    edges = np.linspace(-1, 1, 21)
    expected = np.histogram(whole.cosine[np.triu_indices(whole.n, 1)], edges)[0]
    for table in (whole, tiled):
        assert histogram(table, edges).tolist() == expected.tolist()


def test_more_features_than_asked_for_are_drawn_by_the_seed(evidence):
    first, again, other = (pair_table(evidence, max_features=20, seed=seed).feature_ids for seed in (0, 0, 1))
    assert len(first) == 20
    assert first.tolist() == again.tolist() == sorted(first)
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"cooccurrence": ["pfi"]}, "expected one of phi, .*, found 'pfi'"),
        ({"similarity": ["phi"]}, "expected one of js, .*, found 'phi'"),
        ({"direction": "sideways"}, "expected one of decoder, .*, found 'sideways'"),
        ({"min_count": 10**6}, "expected 3 features or more that fired 1000000 times, found 0"),
    ],
)
def test_choices_that_are_not_there_are_refused(evidence, choice, message):
    with pytest.raises(ValueError, match=message):
        pair_table(evidence, **choice)


def slopes(table):
    above = np.triu_indices(table.n, 1)
    z = {name: standardised_pairs(torch.from_numpy(table[name])).numpy()[above] for name in ("phi", "js")}
    design = np.stack([np.ones(len(above[0])), z["phi"], z["js"], z["phi"] * z["js"]], axis=1)
    return np.linalg.lstsq(design, table.cosine[above], rcond=None)[0][1:]


def test_a_planted_effect_is_found_and_a_null_is_not():
    found = slopes(pair_table(measure(planted_system())))
    np.testing.assert_allclose(found, [0.1, 0.1, 0.05], rtol=0.1)
    # random directions in 32 dimensions: each of 2,016 cosines has sd 0.18, pairs of a feature go together
    assert np.abs(slopes(pair_table(measure(planted_system(effect=None))))).max() < 0.03
