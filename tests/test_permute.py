"""Node permutations: against R, refits and all permutations there are."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from worlds import World

from compare.permutation import mantel_moments, permute

REFERENCE = Path(__file__).parent / "reference"
SLOPES = ["co", "sim", "co:sim"]


@pytest.fixture(params=["null_n40", "planted_n40"])
def case(request):
    with np.load(REFERENCE / f"{request.param}.npz") as stored:
        arrays = dict(stored)
    results = [json.loads((REFERENCE / f"{request.param}_{by}.json").read_text()) for by in ("R", "py")]
    return (arrays["cos"], arrays["co"], arrays["sim"]), arrays["mask"], *results


def world(n=40, seed=0, **settings):
    drawn = World(n_features=n, **settings).draw(np.random.default_rng(seed))
    return drawn.cosine, drawn.cooccurrence, drawn.similarity


def refitted_t(arrays, mask, order, term):
    """t of one permuted residual from two statsmodels regressions; missing pairs have a residual of 0."""
    y, co, sim = arrays
    i, j = np.nonzero(np.triu(mask, 1))
    co, sim = co - co[i, j].mean(), sim - sim[i, j].mean()
    x = np.column_stack([np.ones(len(i)), co[i, j], sim[i, j], (co * sim)[i, j]])
    others = np.delete(x, 1 + SLOPES.index(term), axis=1)
    residual = np.zeros_like(y)
    residual[i, j] = residual[j, i] = sm.OLS(x[:, 1 + SLOPES.index(term)], others).fit().resid
    moved = residual[np.ix_(order, order)][i, j]
    return sm.OLS(y[i, j], np.column_stack([others, moved])).fit().tvalues[-1]


def test_given_permutations_give_the_t_of_refits(case):
    arrays, mask, _, py = case
    fixed = py["fixed_permutations"]
    found = permute(*arrays, mask=mask, center=False, permutations=np.array(fixed["perms"]))
    np.testing.assert_allclose(found.draws, fixed["dsp_t"], rtol=1e-9)
    np.testing.assert_allclose(found.tvalues, py["mrqap_20000"]["t_obs"], rtol=1e-9)


def test_p_values_are_those_of_sna_and_of_20_000_refits_within_their_monte_carlo_error(case):
    arrays, mask, r, py = case
    found = permute(*arrays, mask=mask, center=False, permutations=3000)
    for reference in (py["mrqap_20000"]["dsp_p_two"], r["netlm_qapspp_t"]["p_two"][1:]):
        p = np.array(reference)
        assert (np.abs(found.pvalues - p) <= 4 * np.sqrt(2 * p * (1 - p) / 3000) + 0.002).all()
    np.testing.assert_allclose(found.null_sd, py["mrqap_20000"]["dsp_null_sd_t"], rtol=0.08)


def test_mantel_moments_are_those_of_the_reference(case):
    arrays, mask, _, py = case
    found = permute(*arrays, mask=mask, center=False, method="moments")
    np.testing.assert_allclose(found.pvalues, py["mantel_moments"]["p_normal"], rtol=1e-7)
    assert (np.abs(found.pvalues - py["mrqap_20000"]["dsp_p_two"]) < 0.02).all()
    np.testing.assert_allclose(found.null_sd, py["mrqap_20000"]["dsp_null_sd_t"], rtol=0.06)


def test_mantel_moments_are_exact_over_all_permutations_of_six_features():
    a, b = np.random.default_rng(0).normal(1.0, 1.0, size=(2, 6, 6))
    a, b = (np.triu(x, 1) + np.triu(x, 1).T for x in (a, b))
    every = [np.triu(a * b[np.ix_(p, p)]).sum() for p in itertools.permutations(range(6))]
    sums = [(x.sum(), (x**2).sum(), (x.sum(0) ** 2).sum()) for x in (a, b)]
    np.testing.assert_allclose(mantel_moments(*sums, 6), (np.mean(every), np.var(every)), rtol=1e-10)


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_the_closed_form_equals_refits_also_with_missing_pairs(share):
    arrays, rng = world(25), np.random.default_rng(1)
    mask = np.triu(rng.random((25, 25)) < share, 1)
    orders = np.array([rng.permutation(25) for _ in range(3)])
    found = permute(*arrays, mask=mask | mask.T, permutations=orders)
    for draw, order in zip(found.draws, orders, strict=True):
        expected = [refitted_t(arrays, mask, order, term) for term in SLOPES]
        np.testing.assert_allclose(draw, expected, rtol=1e-8)


def test_single_precision_above_1024_features_moves_t_by_little(monkeypatch):
    arrays, orders = world(60), np.array([np.random.default_rng(seed).permutation(60) for seed in range(20)])
    exact = permute(*arrays, permutations=orders)
    monkeypatch.setattr("compare.permutation.DOUBLE_LIMIT", 10)
    single = permute(*arrays, permutations=orders)
    np.testing.assert_allclose(single.draws, exact.draws, atol=1e-4)


def test_under_feature_effects_levels_of_features_make_no_difference():
    cosine, co, sim = world(30)
    level = np.random.default_rng(2).normal(size=30)
    orders = np.array([np.random.default_rng(seed).permutation(30) for seed in range(5)])
    found = permute(cosine, co, sim, effects="additive", permutations=orders)
    shifted = permute(cosine + np.add.outer(level, level), co, sim, effects="additive", permutations=orders)
    np.testing.assert_allclose(shifted.draws, found.draws, rtol=1e-8)
    moments = permute(cosine, co, sim, effects="additive", method="moments")
    many = permute(cosine, co, sim, effects="additive", permutations=2000)
    np.testing.assert_allclose(moments.null_sd, many.null_sd, rtol=0.1)


def test_features_without_pairs_are_left_out_of_the_deal():
    arrays = world(20)
    orders = np.array([np.random.default_rng(seed).permutation(20) for seed in range(4)])
    wide = [np.pad(array, (0, 3), constant_values=np.nan) for array in arrays]
    mask = np.pad(np.ones((20, 20), dtype=bool), (0, 3))
    for given in ({"permutations": orders}, {"method": "moments"}):
        alone, among = permute(*arrays, **given), permute(*wide, mask=mask, **given)
        np.testing.assert_allclose(among.pvalues, alone.pvalues, rtol=1e-9)
        np.testing.assert_allclose(among.null_sd, alone.null_sd, rtol=1e-9)


def test_the_same_seed_gives_the_same_draws():
    arrays = world(20)
    first, again, other = (permute(*arrays, permutations=19, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.draws, again.draws)
    assert not np.array_equal(first.draws, other.draws)


def test_a_planted_interaction_is_found_by_both_methods_and_a_null_is_not():
    """Seeds are fixed; nulls pass .01 in 99 % of seeds each."""
    for effect, is_found in ((0.0, False), (0.4, True)):
        arrays = world(60, seed=3, effect=(0.0, 0.0, effect))
        for given in ({"permutations": 499}, {"method": "moments"}):
            assert (permute(*arrays, **given).pvalues["co:sim"] < 0.01) == is_found


def test_the_table_has_a_row_a_slope():
    table = permute(*world(20), permutations=9, covariates={"extra": world(20, seed=9)[1]}).to_frame()
    assert list(table.index) == [*SLOPES, "extra"]
    np.testing.assert_allclose(table["null_se"], table["null_sd"] * (table["estimate"] / table["t"]).abs())
    assert (table["p"] * 10 % 1).round(9).isin([0.0, 1.0]).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "qap"}, "expected method 'dsp' or 'moments', found 'qap'"),
        ({"permutations": 0}, "expected 1 permutation or more, found 0"),
        ({"permutations": np.zeros((2, 20), dtype=int)}, "expected permutations of the 20 features"),
    ],
)
def test_bad_input_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        permute(*world(20), **given)


def test_too_many_features_to_hold_are_sent_to_the_moments(monkeypatch):
    monkeypatch.setattr("compare.permutation.PERMUTED_LIMIT", 10)
    with pytest.raises(
        ValueError, match="expected 10 features or fewer to permute, found 20: use method='moments'"
    ):
        permute(*world(20))
    assert permute(*world(20), method="moments").n_permutations == 0
