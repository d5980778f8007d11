"""Rules that predict cosines: each wins in a world made by it, none predicts where there is nothing."""

from copy import copy

import numpy as np
import pandas as pd
import pytest
from synthetic import planted_system

from compare.evidence import measure
from compare.measures import log_ratio, second_order
from compare.pairs import pair_table
from compare.prediction import ceiling, combine, found_again, held_out, ratio, rule_results, score
from compare.predictors import leading_axes
from compare.rules import POST, REFERENCE, RULES, held, rising, table

ALL = slice(None)
N = 120
APART = ~np.eye(N, dtype=bool)
"""Every pair of two different features."""


def symmetric(rng, n=N):
    values = rng.normal(size=(n, n))
    return (values + values.T) / 2**0.5


@pytest.fixture(scope="module")
def measures():
    rng = np.random.default_rng(0)
    rates = rng.normal(size=N)
    return {
        "cooccurrence": symmetric(rng),
        "similarity": symmetric(rng),
        "second_order": symmetric(rng),
        "subspace": symmetric(rng),
        "rarer": np.minimum.outer(rates, rates),
        "commoner": np.maximum.outer(rates, rates),
    }


def post_world(m):
    co, similar = m["cooccurrence"] > 0.5, m["similarity"] > 0.0
    return np.where(co, np.where(similar, 1.0, 0.0), -0.6)


def toy_world(m):
    return np.where(m["cooccurrence"] < -1.0, -1.0, np.where(m["cooccurrence"] > 1.0, 1.0, 0.0))


WORLDS = {
    "the post's table": (post_world, {"the post's cells, any levels"}),
    "the post's cells, any levels": (
        lambda m: np.where((m["cooccurrence"] > 0) == (m["similarity"] > 0), -1.0, 1.0),
        set(),
    ),
    "Toy Models": (toy_world, {"first-order co-occurrence"}),
    "outputs decide": (lambda m: np.tanh(m["similarity"]), set()),
    "first-order co-occurrence": (lambda m: np.tanh(m["cooccurrence"]), set()),
    "second-order co-occurrence": (lambda m: m["second_order"], set()),
    "covariance, leading axes": (lambda m: m["subspace"], set()),
    "regression, co x sim": (
        lambda m: 0.3 * m["cooccurrence"] - m["similarity"] + m["cooccurrence"] * m["similarity"],
        set(),
    ),
    "frequency only": (lambda m: np.sin(3 * (m["rarer"] + m["commoner"])), set()),
}
"""What the cosine is made of where a rule is true, and other rules that can say the same."""


@pytest.mark.parametrize("name", WORLDS)
def test_a_rule_wins_in_the_world_that_is_made_by_it(name, measures):
    truth, likewise = WORLDS[name]
    cosine = truth(measures) + 0.5 * symmetric(np.random.default_rng(1))
    rules = {
        other: rule for other, rule in RULES.items() if other not in {REFERENCE, "frequency only"} - {name}
    }
    r2 = score(held_out(measures, cosine, APART, rules=rules), list(rules)).set_index("rule")["r2"]
    assert r2[name] > r2.drop([name, *likewise]).max() + 0.03
    assert all(abs(r2[name] - r2[other]) < 0.03 for other in likewise)


def test_the_flexible_learner_comes_near_the_rule_that_is_true(measures):
    cosine = post_world(measures) + 0.5 * symmetric(np.random.default_rng(1))
    rules = {name: RULES[name] for name in (POST, REFERENCE)}
    r2 = score(held_out(measures, cosine, APART, rules=rules), list(rules)).set_index("rule")["r2"]
    assert 0.9 * r2[POST] < r2[REFERENCE] < r2[POST] + 0.03


@pytest.mark.parametrize("seed", range(2))
def test_no_rule_predicts_directions_that_owe_nothing_to_the_measures(measures, seed):
    """Without an effect r2 is at most 0 in expectation, with an error of about 2 / pairs scored."""
    directions = np.random.default_rng(seed).normal(size=(N, 30)) * np.arange(1, 31) ** -0.5
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    predicted = held_out(measures, directions @ directions.T, APART, seed=seed)
    scores = score(predicted, list(RULES)).set_index("rule")
    assert scores["r2"].max() < 0.005
    assert scores["r2"].min() > -0.05
    assert not (scores["r2"] - 2.5 * scores["r2_se"] > 0).any()


def test_no_training_pair_has_a_held_out_feature():
    ids = np.arange(40.0)
    measures = {"rarer": np.minimum.outer(ids, ids), "commoner": np.maximum.outer(ids, ids)}
    seen = []

    def spy(train, cosine, test):
        features = [set(pairs.to_numpy().ravel()) for pairs in (train, test)]
        assert not features[0] & features[1]
        assert len(cosine) == len(train)
        seen.append(features[1])
        return np.zeros(len(test))

    cosine = symmetric(np.random.default_rng(0), 40)
    predicted = held_out(measures, cosine, ~np.eye(40, dtype=bool), rules={"spy": spy})
    assert set().union(*seen) == set(ids)
    assert sum(map(len, seen)) == 40
    assert len(predicted) == 4 * 45
    np.testing.assert_array_equal(predicted["cosine"], cosine[predicted["i"], predicted["j"]])


def test_a_pair_outside_the_mask_is_neither_learnt_from_nor_scored(measures):
    cosine, mask = symmetric(np.random.default_rng(2)), APART.copy()
    mask[3], mask[:, 3] = False, False
    spoilt = cosine.copy()
    spoilt[3], spoilt[:, 3] = np.nan, np.nan
    names = ["outputs decide", POST]
    rules = {name: RULES[name] for name in names}
    first, again = (held_out(measures, one, mask, rules=rules) for one in (cosine, spoilt))
    pd.testing.assert_frame_equal(first, again)
    assert 3 not in {*first["i"], *first["j"]}


def test_perfect_prediction_scores_1_and_the_mean_scores_0():
    rng = np.random.default_rng(3)
    i, j = np.triu_indices(20, 1)
    predicted = pd.DataFrame({"i": i, "j": j, "fold": 0, "cosine": rng.normal(size=len(i)), "mean": 0.1})
    predicted["oracle"], predicted[POST] = predicted["cosine"], 0.1
    scores = score(predicted, ["oracle", POST]).set_index("rule")
    assert scores.loc["oracle", ["r2", "rank", "over_post"]].tolist() == pytest.approx([1, 1, 1])
    assert scores.loc[POST, ["r2", "over_post"]].tolist() == [0, 0]
    assert np.isnan(scores.loc[POST, "rank"])


def test_the_error_of_a_ratio_is_the_jackknife_less_independent_pairs():
    rng = np.random.default_rng(4)
    n = 60
    i, j = np.triu_indices(n, 1)
    levels = rng.normal(size=n)
    below = rng.uniform(1, 2, size=len(i))
    above = levels[i] + levels[j] + rng.normal(size=len(i))
    value, error = ratio(above, below, i, j)
    without = []
    for feature in range(n):
        left = (i != feature) & (j != feature)
        without.append(above[left].sum() / below[left].sum())
    jackknife = (n - 1) / n * np.sum((np.array(without) - np.mean(without)) ** 2)
    influence = (above - value * below) / below.sum()
    assert error**2 == pytest.approx(jackknife - influence @ influence, rel=0.1)  # linear against exact


def test_a_wrong_sign_is_held_at_zero():
    assert held(0.3, 1) == 0.3
    assert held(-0.3, 1) == 0.0
    assert held(0.3, 0) == 0.0
    assert held(-0.3, None) == -0.3
    pairs = pd.DataFrame({"x": [0.0, 1.0, 0.0, 1.0]})
    cosine = np.array([0.2, -0.4, 0.4, -0.2])

    def cell(pairs, cuts):
        return (pairs["x"] > cuts[0]).to_numpy().astype(int)

    given = (pairs, cosine, pairs, cell, [(0.5, 0.5)])
    np.testing.assert_allclose(table(*given, signs=(None, None)), [0.3, -0.3, 0.3, -0.3])
    np.testing.assert_allclose(table(*given, signs=(1, 1)), [0.3, 0.0, 0.3, 0.0])


def test_a_curve_only_rises():
    x = pd.Series([0.0, 1.0, 2.0])
    np.testing.assert_allclose(rising(x, np.array([3.0, 2.0, 1.0]), x), [2, 2, 2])
    np.testing.assert_allclose(rising(x, np.array([1.0, 2.0, 3.0]), pd.Series([-9.0, 9.0])), [1, 3])


def test_seeds_are_replicates():
    frames = [
        pd.DataFrame({"rule": ["a"], "r2": [r2], "rank": [0.5], "over_post": [0.0], "over_first": [0.0]})
        for r2 in (0.1, 0.3)
    ]
    row = combine(frames, 99)[0]
    assert row["r2"]["mean"] == pytest.approx(0.2)
    assert row["r2"]["se"] == pytest.approx(np.std([0.1, 0.3], ddof=1) / 2**0.5)


def test_second_order_is_the_cosine_of_profiles_without_the_pair():
    evidence = measure(planted_system(n=12, width=8, vocab=8, n_tokens=2048, effect=None))
    found, first = second_order(evidence, ALL, ALL), log_ratio(evidence, ALL, ALL)
    for i, j in ((0, 1), (3, 9)):
        others = [k for k in range(12) if k not in (i, j)]
        a, b = first[i, others], first[j, others]
        assert found[i, j] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), rel=1e-5)
    ids = np.array([1, 3, 9])
    np.testing.assert_allclose(second_order(evidence, ids, slice(4, 12)), found[ids, 4:], rtol=1e-5)


def test_all_axes_give_the_correlation_and_one_gives_signs():
    root = np.random.default_rng(5).normal(size=(5, 9))
    covariance = root @ root.T
    np.testing.assert_allclose(leading_axes(covariance, 9), correlation(covariance))
    np.testing.assert_allclose(np.abs(leading_axes(covariance, 1)), 1.0)


def correlation(covariance):
    spread = np.sqrt(covariance.diagonal())
    return covariance / np.outer(spread, spread)


def test_an_arm_is_scored_from_its_evidence_and_too_few_features_are_named():
    evidence = measure(planted_system(n=64, width=24, effect=(0.15, 0.05, 0.0)))
    pairs = pair_table(evidence, similarity=["js"])
    found = rule_results([(evidence, pairs, "js")])
    assert found["problem"] is None
    assert [row["rule"] for row in found["scores"]] == list(RULES)
    assert (
        found["best"]
        == max(
            (row for row in found["scores"] if row["rule"] != REFERENCE), key=lambda row: row["r2"]["mean"]
        )["rule"]
    )
    assert np.isnan(found["ceiling"])
    few = measure(planted_system(n=12, width=8, vocab=8, n_tokens=512, effect=None))
    assert "12 features are too few" in rule_results([(few, pair_table(few), "js")])["problem"]


def test_seeds_that_agree_set_a_ceiling_of_1():
    pairs = pair_table(measure(planted_system(n=40, width=8, n_tokens=1024, effect=None)))
    for same in (True, False):
        assert ceiling([pairs, pairs], same=same) == pytest.approx(1)
        assert np.isnan(ceiling([pairs], same=same))


def test_features_of_two_dictionaries_are_matched_by_direction_and_only_where_they_are_near():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(30, 64))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    order = rng.permutation(30)
    second = np.concatenate([first[order[:25]], -first[order[25:]]])  # five were not found again
    i, j = found_again(first, second)
    assert sorted(order[:25].tolist()) == i.tolist()
    np.testing.assert_array_equal(order[j], i)


def test_the_ceiling_of_matched_seeds_is_what_their_cosines_share():
    """Cosines c + e in one seed and c + f in the other, all of one variance: they correlate at 1/2."""
    rng = np.random.default_rng(1)
    pairs = pair_table(measure(planted_system(n=40, width=8, n_tokens=1024, effect=None)))
    shared, *own = (rng.normal(size=(pairs.n, pairs.n)) for _ in range(3))
    seeds = [copy(pairs), copy(pairs)]
    for seed, noise in zip(seeds, own, strict=True):
        seed.whole = pairs.whole | {"cosine": shared + noise}
    n_pairs = pairs.n * (pairs.n - 1) / 2
    assert ceiling(seeds, same=False) == pytest.approx(0.5, abs=4 * 0.75 / n_pairs**0.5)


def test_too_few_features_for_the_folds_are_named():
    square = np.zeros((6, 6))
    with pytest.raises(ValueError, match="expected 16 features or more for 4 folds, found 6"):
        held_out({}, square, ~np.eye(6, dtype=bool))
