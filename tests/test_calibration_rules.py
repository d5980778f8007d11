"""Curve and scores of rules reject a true null as often as they say, and find what is there."""

import numpy as np
import pytest
from synthetic import planted_system

from compare.calibration_rules import above_zero, calibrate_rules, mixed, tied
from compare.evidence import measure
from compare.prediction import held_out, score
from compare.rules import RULES


def symmetric(rng, n=80):
    x = rng.normal(size=(n, n))
    return x + x.T


def test_ties_are_standard_deviations_of_both_measures_and_of_their_product():
    rng = np.random.default_rng(0)
    co, sim = symmetric(rng), 3 + 2 * symmetric(rng)
    ties, above = tied(co, sim), np.triu_indices(80, 1)
    z = [(x[above] - x[above].mean()) / x[above].std() for x in (co, sim)]
    np.testing.assert_allclose(ties[above], z[0] + z[1] + z[0] * z[1])
    np.testing.assert_allclose(ties, ties.T)
    assert not ties.diagonal().any()


def test_mixing_raises_cosines_by_the_effect_that_was_asked_for_and_leaves_other_features_alone():
    rng = np.random.default_rng(1)
    directions, ids = rng.normal(size=(100, 400)), np.arange(10, 90)
    ties = tied(symmetric(rng), symmetric(rng))
    drawn = mixed(directions, ids, ties, effect=0.2)
    others = np.setdiff1d(np.arange(100), ids)
    np.testing.assert_array_equal(drawn[others], directions[others])
    above = np.triu_indices(80, 1)
    cosines = []
    for each in (directions, drawn):
        units = each[ids] / np.linalg.norm(each[ids], axis=1, keepdims=True)
        cosines.append((units @ units.T)[above])
    slope = np.polyfit(ties[above], cosines[1] - cosines[0], 1)[0]
    assert slope == pytest.approx(0.2 * cosines[0].std(), rel=0.05)


@pytest.mark.slow
def test_neither_curve_nor_rules_find_anything_where_nothing_is_and_both_do_where_it_was_planted():
    """20 replicates: a test of 5 % rejects in more than 5 of them with probability .0003."""
    evidence = measure(planted_system(n=32, width=16, n_tokens=1024, effect=None))
    table = calibrate_rules(
        evidence, "log_odds", "js_split", min_count=1, replicates=20, effect=0.5, permutations=39, seed=2
    )
    found = table.set_index(["world", "test", "term"])["rejected"]
    assert found["null"].max() <= 5 / 20
    assert (table["replicates"] == 20).all()
    for term in ("co-occurrence", "similarity", "their product"):
        assert found["planted", "specification curve, median effect", f"slope on {term}"] > 0.5
    assert found["planted", "rule, r2 of unseen features", "regression, co x sim > 0"] > 0.5
    assert found["planted", "rule, r2 of unseen features", "frequency only > 0"] <= 5 / 20


def test_a_curve_of_too_few_features_has_no_rows():
    evidence = measure(planted_system(n=12, width=8, vocab=8, n_tokens=512, effect=None))
    assert calibrate_rules(evidence, "log_odds", "js_split", min_count=1, replicates=1).empty


def test_a_score_less_its_own_is_left_out():
    rng = np.random.default_rng(3)
    names = ("cooccurrence", "similarity", "second_order", "subspace", "rarer", "commoner")
    measures = {name: symmetric(rng, 40) for name in names}
    predicted = held_out(measures, symmetric(rng, 40), ~np.eye(40, dtype=bool))
    rows = list(above_zero(score(predicted, list(RULES)), 40))
    assert len(rows) == 3 * len(RULES) - 2
    assert all(0 <= p <= 1 for _, _, p in rows)
