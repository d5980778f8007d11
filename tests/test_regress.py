"""The regression over pairs: against R and brute force, by laws that hold for all inputs, and at the door."""

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from worlds import World

import compare.dyads
from compare.regress import dyadic_ols, fit

REFERENCE = Path(__file__).parent / "reference"
CASES = ["null_n40", "planted_n40"]


def load(case):
    with np.load(REFERENCE / f"{case}.npz") as stored:
        arrays = dict(stored)
    results = [json.loads((REFERENCE / f"{case}_{by}.json").read_text()) for by in ("R", "py")]
    return arrays, *results


def close(found, expected, tolerance):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=0)


@pytest.fixture(params=CASES)
def case(request):
    arrays, r, py = load(request.param)
    return arrays, r, py, fit(arrays["cos"], arrays["co"], arrays["sim"], mask=arrays["mask"], center=False)


def small_world(n=12, seed=0, missing=False):
    """Symmetric arrays with levels of features, and a mask of pairs i < j."""
    rng = np.random.default_rng(seed)

    def relation(mean):
        values, level = rng.normal(size=(n, n)), rng.normal(size=n)
        return mean + (values + values.T) / 2 + np.add.outer(level, level)

    arrays = [relation(mean) for mean in (0.3, 2.0, 0.5, 0.0)]
    mask = np.triu(rng.random((n, n)) < (0.75 if missing else 1.1), 1)
    return *arrays, mask


def dummy_regression(y, co, sim, extra, mask, without=None):
    """statsmodels on one dummy a feature (sum to zero); regressors centred over all pairs of the mask."""
    i, j = np.nonzero(mask)
    co, sim = co - co[i, j].mean(), sim - sim[i, j].mean()
    kept = (i != without) & (j != without)
    i, j = i[kept], j[kept]
    nodes = [node for node in range(len(y)) if node != without]
    indicator = np.array([(i == node) * 1.0 + (j == node) for node in nodes]).T
    columns = [np.ones(len(i)), co[i, j], sim[i, j], co[i, j] * sim[i, j], extra[i, j]]
    return sm.OLS(y[i, j], np.column_stack([*columns, indicator[:, :-1] - indicator[:, -1:]])).fit()


def test_estimates_and_classical_errors_are_those_of_R(case):
    _, r, py, fitted = case
    close(fitted.params, r["lm"]["coef"], 1e-9)
    close(fitted.params, py["statsmodels"]["coef"], 1e-9)
    close(fitted.se("naive"), r["lm"]["se"], 1e-9)
    for kind in ("hc0", "hc1", "hc2", "hc3"):
        close(fitted.se(kind), r[f"se_{kind.upper()}"], 1e-9)
        close(fitted.se(kind), py["statsmodels"][f"se_{kind.upper()}"], 1e-9)
    assert fitted.df_pairs == py["statsmodels"]["df"]
    close(fitted.r_squared, py["statsmodels"]["r2"], 1e-9)


def test_the_dyadic_covariance_is_that_of_R_and_of_every_pair_of_pairs(case):
    _, r, py, fitted = case
    close(fitted.cov("dyadic"), r["vcov_dyadic_multiway"], 1e-9)
    close(fitted.cov("dyadic"), py["brute_force_dyadic_cov"], 1e-9)
    close(fitted.se("dyadic_floored"), py["se_dyad_floor_HC1"], 1e-9)


def test_the_jackknife_and_the_default_error_are_those_of_leaving_every_feature_out(case):
    _, r, py, fitted = case
    close(fitted.cov("jackknife"), r["vcov_node_jackknife"], 1e-8)
    close(fitted.cov("jackknife"), py["node_jackknife_cov"], 1e-8)
    close(fitted.se(), py["se_default_jackknife_minus_HC1_floor_HC1"], 1e-8)
    close(fitted.se() ** 2, np.diag(fitted.cov("default")), 1e-12)
    assert np.linalg.eigvalsh(fitted.cov("default")).min() > 0


@pytest.mark.parametrize("name", CASES)
def test_additive_feature_effects_are_those_of_R(name):
    arrays, r, py = load(name)
    fitted = fit(arrays["cos"], arrays["co"], arrays["sim"], effects="additive", center=False)
    slopes = ["co", "sim", "co:sim"]
    close(fitted.params[slopes], r["node_fe_coef"], 1e-9)
    close(fitted.params[slopes], py["node_fe"]["coef"], 1e-9)
    close(fitted.se("naive")[slopes], r["node_fe_se_ols"], 1e-9)
    close(fitted.se("hc0")[slopes], r["node_fe_se_HC0"], 1e-9)
    close(fitted.se("dyadic")[slopes], py["node_fe"]["se_dyadic"], 1e-9)


@pytest.mark.parametrize("missing", [False, True])
def test_feature_effects_equal_a_regression_on_dummies(missing):
    y, co, sim, extra, mask = small_world(missing=missing)
    fitted = fit(y, co, sim, mask=mask, covariates={"extra": extra}, effects="additive")
    dummies = dummy_regression(y, co, sim, extra, mask)
    close(fitted.params, dummies.params[:5], 1e-9)
    close(fitted.se("naive"), dummies.bse[:5], 1e-9)
    for kind in ("hc0", "hc1", "hc2", "hc3"):
        close(fitted.se(kind), getattr(dummies, f"{kind.upper()}_se")[:5], 1e-9)


@pytest.mark.parametrize(("missing", "tolerance"), [(False, 1e-8), (True, 0.15)])
def test_the_jackknife_under_feature_effects_is_leaving_features_out(missing, tolerance):
    """Exact where all pairs are used; with a quarter of them missing among 12 features, an approximation."""
    y, co, sim, extra, mask = small_world(missing=missing)
    fitted = fit(y, co, sim, mask=mask, covariates={"extra": extra}, effects="additive")
    without = [dummy_regression(y, co, sim, extra, mask, node).params[:5] for node in range(len(y))]
    close(fitted.se("jackknife"), np.sqrt(11 / 12 * 12 * np.var(without, axis=0)), tolerance)


def test_the_product_effect_is_a_covariate_beside_additive_effects():
    y, co, sim, _, mask = small_world()
    activity = np.random.default_rng(1).normal(size=len(y))
    found = fit(y, co, sim, effects="product", activity=activity)
    expected = fit(
        y, co, sim, effects="additive", covariates={"activity": np.outer(activity, activity)}, mask=mask
    )
    close(found.params[1:], expected.params[1:], 1e-9)
    close(found.se()[1:], expected.se()[1:], 1e-9)
    by_default = fit(y, co, sim, effects="product")
    of_rows = fit(y, co, sim, effects="product", activity=(co.sum(1) - co.diagonal()) / (len(co) - 1))
    close(by_default.params, of_rows.params, 1e-9)


def test_centring_changes_main_slopes_but_neither_the_interaction_nor_what_is_explained():
    y, co, sim, _, _ = small_world()
    centred, raw = fit(y, co, sim), fit(y, co, sim, center=False)
    close(centred.params["co:sim"], raw.params["co:sim"], 1e-9)
    close(centred.se()["co:sim"], raw.se()["co:sim"], 1e-7)
    close(centred.r_squared, raw.r_squared, 1e-9)
    i, j = np.triu_indices(len(y), 1)
    close(centred.params["co"], raw.params["co"] + raw.params["co:sim"] * sim[i, j].mean(), 1e-9)


@pytest.mark.parametrize("effects", ["none", "additive", "product"])
def test_the_order_of_features_and_the_size_of_tiles_do_not_matter(effects, monkeypatch):
    drawn = World(n_features=70).draw(np.random.default_rng(2))
    arrays = [drawn.cosine, drawn.cooccurrence, drawn.similarity]
    mask = np.random.default_rng(3).random((70, 70)) < 0.9
    mask &= mask.T
    order = np.random.default_rng(4).permutation(70)
    whole = fit(*arrays, mask=mask, effects=effects)
    moved = np.ix_(order, order)
    shuffled = fit(*[array[moved] for array in arrays], mask=mask[moved], effects=effects)
    monkeypatch.setattr(compare.dyads, "TILE", 17)
    cut = fit(*arrays, mask=mask, effects=effects)
    for other in (shuffled, cut):
        close(other.params, whole.params, 1e-10)
        for kind in ("naive", "hc3", "dyadic", "jackknife", "default"):
            close(other.se(kind), whole.se(kind), 1e-10)


class Tiles:
    """A tile source that also counts the largest tile that was asked of it."""

    def __init__(self, *arrays, mask=None, covariates=None):
        self.arrays, self.mask, self.covariates = arrays, mask, covariates or {}
        self.n, self.largest = len(arrays[0]), 0

    def tile(self, rows, cols):
        values = [array[rows, cols] for array in self.arrays]
        self.largest = max(self.largest, values[0].size)
        mask = None if self.mask is None else self.mask[rows, cols]
        return *values, mask, {name: array[rows, cols] for name, array in self.covariates.items()}


def test_a_tile_source_gives_what_arrays_give_and_is_never_asked_for_all(monkeypatch):
    y, co, sim, extra, mask = small_world(30, missing=True)
    whole = fit(y, co, sim, mask=mask, covariates={"extra": extra}, effects="additive")
    monkeypatch.setattr(compare.dyads, "TILE", 8)
    source = Tiles(y, co, sim, mask=mask, covariates={"extra": extra})
    streamed = fit(source, effects="additive")
    assert list(streamed.params.index) == ["const", "co", "sim", "co:sim", "extra"]
    close(streamed.params, whole.params, 1e-10)
    close(streamed.se(), whole.se(), 1e-10)
    assert source.largest <= 64


def test_tensors_and_single_precision_are_taken_as_they_are():
    y, co, sim, _, _ = small_world(30)
    exact = fit(y, co, sim)
    single = [array.astype(np.float32) for array in (y, co, sim)]
    close(fit(*single).params, exact.params, 1e-4)
    close(fit(*[torch.from_numpy(array) for array in single]).params, fit(*single).params, 1e-13)


def test_features_without_pairs_change_nothing():
    y, co, sim, _, _ = small_world(12)
    wide = [np.full((15, 15), np.nan) for _ in range(3)]
    keep = np.ix_([0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13], [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13])
    mask = np.zeros((15, 15), dtype=bool)
    mask[keep] = True
    for array, values in zip(wide, (y, co, sim), strict=True):
        array[keep] = values
    for effects in ("none", "additive", "product"):
        alone, among = fit(y, co, sim, effects=effects), fit(*wide, mask=mask, effects=effects)
        close(among.params, alone.params, 1e-10)
        close(among.se(), alone.se(), 1e-10)
        assert among.n_features == 12
        assert among.df == 11


def test_cell_means_and_their_difference_in_differences_come_from_indicators():
    rng = np.random.default_rng(0)
    y = small_world(40)[0]
    cell = np.add.outer(*[rng.integers(0, 2, 40)] * 2)
    indicators = {str(k): (cell == k).astype(float) for k in range(3)}
    found = dyadic_ols(y, indicators, constant=False)
    i, j = np.triu_indices(40, 1)
    for k in range(3):
        close(found.params[str(k)], y[i, j][cell[i, j] == k].mean(), 1e-10)
    estimate, error = found.contrast({"2": 1.0, "1": -2.0, "0": 1.0})
    close(estimate, found.params["2"] - 2 * found.params["1"] + found.params["0"], 1e-12)
    w = np.array([1.0, -2.0, 1.0])
    jackknife, hc1 = (w @ found.cov(kind).to_numpy() @ w for kind in ("jackknife", "hc1"))
    close(error, np.sqrt(max(jackknife - hc1, hc1)), 1e-10)


def test_a_cell_that_hangs_on_one_feature_has_no_jackknife_and_leaves_the_others_theirs():
    y = small_world(20)[0]
    alone = np.zeros((20, 20))
    alone[0, 1:4] = alone[1:4, 0] = 1.0
    found = dyadic_ols(y, {"alone": alone, "rest": 1 - alone}, constant=False)
    assert np.isnan(found.se()["alone"])
    assert found.se()["rest"] > 0
    assert np.isfinite(found.contrast({"rest": 1.0})[1])


def test_the_table_and_the_summary_say_what_the_estimates_say(case):
    fitted = case[3]
    table = fitted.to_frame()
    assert list(table.index) == list(fitted.params.index) == ["const", "co", "sim", "co:sim"]
    close(table["t"], fitted.params / fitted.se(), 1e-12)
    low_and_high = fitted.conf_int(0.95)
    rejected = (low_and_high["low"] > 0) | (low_and_high["high"] < 0)
    assert (rejected == (fitted.pvalues < 0.05)).all()
    close(table["default_over_naive"], fitted.se() / fitted.se("naive"), 1e-12)
    summary = fitted.summary()
    assert "features: 40    pairs: 780" in summary
    assert f"{fitted.params['co:sim']:.4g}" in summary


def test_a_planted_effect_is_found_and_a_null_is_not():
    """30 tests of size 5 %: more than 4 rejections of true nulls would come in 6 % of seeds."""
    rng = np.random.default_rng(5)
    for effect, at_least, at_most in (((0.0, 0.0, 0.0), 0, 4), ((0.5, 0.5, 0.5), 27, 30)):
        rejections = 0
        for _ in range(10):
            drawn = World(n_features=80, effect=effect).draw(rng)
            found = fit(drawn.cosine, drawn.cooccurrence, drawn.similarity)
            rejections += int((found.pvalues[["co", "sim", "co:sim"]] < 0.05).sum())
        assert at_least <= rejections <= at_most


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cosine": np.zeros(12)}, r"expected cosine of shape \[n, n\], found \[12\]"),
        ({"similarity": np.zeros((11, 11))}, "expected sim for 12 features, as cosine has, found 11"),
        ({"cooccurrence": np.arange(144.0).reshape(12, 12)}, "expected a symmetric co, found 1 at"),
        ({"cooccurrence": np.full((12, 12), 0.25)}, "expected co that varies, found 0.25 for all 66 pairs"),
        ({"mask": np.ones((12, 12))}, "expected a mask of booleans, found float64"),
        (
            {"mask": np.zeros((12, 12), dtype=bool)},
            "expected pairs i < j to use, found none among 12 features",
        ),
        ({"effects": "fixed"}, "expected effects 'none', 'additive' or 'product', found 'fixed'"),
        ({"activity": np.zeros(12)}, "expected activity with effects='product' only"),
        (
            {"activity": np.zeros(3), "effects": "product"},
            "expected a finite activity for each of 12 features",
        ),
        ({"covariates": {"co": np.eye(12)}}, "expected covariates with names of their own"),
        ({"covariates": {"co:sim": np.eye(12)}}, "expected different names of columns"),
        ({"similarity": None}, "expected three arrays, found fewer"),
    ],
)
def test_bad_input_is_named_with_what_was_found_and_how_to_mend_it(change, message):
    y, co, sim, _, _ = small_world()
    given = {"cosine": y, "cooccurrence": co, "similarity": sim} | change
    with pytest.raises(ValueError, match=message):
        fit(given.pop("cosine"), given.pop("cooccurrence"), given.pop("similarity"), **given)


def test_a_nan_in_a_used_pair_is_refused_and_elsewhere_ignored():
    y, co, sim, _, mask = small_world()
    expected = fit(y, co, sim, mask=mask & (np.add.outer(np.arange(12), np.arange(12)) != 5))
    sim = np.where(np.add.outer(np.arange(12), np.arange(12)) == 5, np.nan, sim)
    with pytest.raises(ValueError, match=r"expected finite sim for used pairs, found nan for pair \(0, 5\)"):
        fit(y, co, sim)
    close(fit(y, co, sim, mask=mask & np.isfinite(sim)).params, expected.params, 1e-12)


def test_what_cannot_be_told_apart_is_refused_by_name():
    y, co, sim, _, _ = small_world()
    with pytest.raises(ValueError, match="not collinear, found const, co, twice to be so"):
        fit(y, co, sim, covariates={"twice": 2 * co})
    level = np.arange(12.0)
    with pytest.raises(ValueError, match="expected sizes to vary beyond feature effects"):
        fit(y, co, sim, covariates={"sizes": np.add.outer(level, level)}, effects="additive")
    with pytest.raises(
        ValueError, match="expected more pairs than the 4 parameters, found 3 pairs of 3 features"
    ):
        fit(y[:3, :3], co[:3, :3], sim[:3, :3])
    with pytest.raises(ValueError, match="expected 5 features or more for feature effects, found 4"):
        fit(y[:4, :4], co[:4, :4], sim[:4, :4], effects="additive")
    with pytest.raises(ValueError, match="expected a tile source alone"):
        fit(Tiles(y, co, sim), co, sim)
    with pytest.raises(ValueError, match="expected terms of"):
        fit(y, co, sim).contrast({"nothing": 1.0})
    with pytest.raises(ValueError, match="expected an error of kind"):
        fit(y, co, sim).se("robust")
    with pytest.raises(ValueError, match="constant=False"):
        dyadic_ols(y, {"co": co}, constant=False, effects="additive")
