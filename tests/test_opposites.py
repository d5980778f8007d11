"""Antipodal pairs where it is known what makes them, and the words that name a feature."""

from dataclasses import replace

import numpy as np
import pytest
from example_results import example_results
from synthetic import planted_system

from compare.cells import estimate
from compare.contexts import BEFORE, NONE
from compare.evidence import measure
from compare.geometry import antipodal, flag, unit_directions
from compare.hypotheses import CONFIRMED, REFUTED, judge, load
from compare.opposites import (
    beyond_parallel,
    dense_excess,
    firing_contexts,
    flagged_share,
    one_of_each_split,
    variants,
)


def gaussian(n=200, width=24, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def dense_world(*, dense: bool):
    """Twelve antipodal pairs, among features that fire on 40 % of tokens or among ordinary ones."""
    directions, rates = gaussian(), np.full(200, 0.01)
    directions[12:24] = -directions[:12] + 0.05 * directions[12:24]
    rates[:24] = 0.4 if dense else 0.01
    rates[100:124] = 0.01 if dense else 0.4
    return directions, rates


def row_of(rows, part):
    return next(row for row in rows if part in row["variant"])


def test_pairs_among_dense_features_go_with_them_and_others_stay():
    for dense, least, most in ((True, 0, 1), (False, 24, 30)):  # a false discovery brings its partner
        row = row_of(variants(*dense_world(dense=dense)), "more than 30%")
        assert row["n_features"] == 176
        assert least <= row["features_flagged"] <= most
        assert row["features_flagged_by"] <= row["features_flagged"]


def test_one_side_of_a_split_signed_feature_is_the_commoner_one():
    directions, rates = dense_world(dense=False)
    rates[:12] = 0.02
    stays = one_of_each_split(unit_directions(directions), rates)
    assert stays.sum() == 188
    assert stays[:12].all()
    assert row_of(variants(directions, rates), "split signed")["features_flagged"] <= 1


def test_a_strong_common_axis_with_both_signs_makes_pairs_that_go_with_the_top_components():
    rng = np.random.default_rng(3)
    directions = gaussian() + 8 * rng.choice([-1, 1], (200, 1)) * np.eye(24)[0]
    rows = variants(directions.astype(np.float32), np.full(200, 0.01))
    assert antipodal(directions.astype(np.float32)).share > 0.1
    assert row_of(rows, "top 5")["share"] < 0.02
    assert not [row for row in rows if "fire on" in row["variant"]]  # none is dense: nothing to leave out


def test_a_discovery_under_any_dependence_is_a_discovery():
    p = np.random.default_rng(0).random(300) ** 3
    assert (flag(p, "by") <= flag(p)).all()
    assert flag(p).sum() > flag(p, "by").sum()


@pytest.mark.parametrize(("dense", "said"), [(True, CONFIRMED), (False, REFUTED)])
def test_whether_antipodal_pairs_concentrate_in_dense_features_is_judged(dense, said):
    directions, rates = dense_world(dense=dense)
    excess, error, df = dense_excess(antipodal(directions).features["flagged"].to_numpy(), rates)
    assert df == 23
    made = example_results()
    arm = next(arm for arm in made["arms"] if arm["group"] == "real")
    arm["shape"][2] |= estimate(excess, error, df)
    row = next(row for row in judge(made, load())["verdicts"] if row["id"] == "L6")
    assert row["verdict"] == said


def test_few_dense_features_or_no_flagged_one_decide_nothing():
    rates = np.full(100, 0.01)
    rates[:3] = 0.5
    assert np.isnan(dense_excess(np.ones(100, bool), rates)[1])
    rates[:20] = 0.5
    excess, error, _ = dense_excess(np.zeros(100, bool), rates)
    assert excess == 0  # and not a little above it, seed for seed, because dense features are few
    assert error > 0


def test_a_context_is_cut_into_before_token_and_after_and_padding_is_left_out():
    tokens = np.full((8, 5, BEFORE + 4), NONE)
    tokens[1, 0, BEFORE - 1 : BEFORE + 2] = [2, 0, 1]
    values = np.zeros((8, 5))
    values[1, 0] = 3.0
    evidence = replace(
        measure(planted_system(n=8, vocab=9, effect=None, n_tokens=64)),
        vocabulary=[" cat", " sat", "the"],
        context_tokens=tokens,
        context_values=values,
    )
    assert firing_contexts(evidence, np.array([1, 0])) == [
        [{"before": "the", "token": " cat", "after": " sat"}],
        [],
    ]
    assert firing_contexts(replace(evidence, context_tokens=None), np.array([0])) == [[]]


def test_the_share_of_flagged_features_has_an_error_even_where_none_is():
    share, error, df = flagged_share(np.zeros(98, bool))
    assert (share, df) == (0, 97)
    assert error == pytest.approx((2 * 0.01 * 0.99 / 100) ** 0.5)
    assert flagged_share(np.arange(100) < 25)[0] == 0.25


def test_opposite_less_parallel_is_the_paired_difference_of_agresti_and_min():
    opposite, parallel = np.arange(100) < 30, (np.arange(100) >= 20) & (np.arange(100) < 25)
    share, error, df = beyond_parallel(opposite, parallel)  # 25 only opposite, none only parallel
    assert (share, df) == (0.25, 99)
    more, fewer = 25.5 / 102, 0.5 / 102
    assert error == pytest.approx((2 * (more + fewer - (more - fewer) ** 2) / 102) ** 0.5)


def test_signs_that_are_arbitrary_leave_as_many_parallel_as_opposite_twins():
    """Fifty twins among 200 features: all opposite as made; of either sort where signs are drawn anew."""
    directions = gaussian()
    directions[50:100] = -directions[:50] + 0.05 * directions[50:100]
    signs = np.random.default_rng(5).choice(np.float32([-1, 1]), (200, 1))
    for drawn, low, high in ((directions, 0.45, 0.55), (directions * signs, -0.2, 0.2)):
        features = antipodal(drawn).features
        share, error, _ = beyond_parallel(
            *(features[f"flagged{one}"].to_numpy() for one in ("", "_parallel"))
        )
        assert low < share < high
        assert (share > 4 * error) == (low > 0)
