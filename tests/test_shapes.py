"""Splines and factors of co-occurrence."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from worlds import World

from compare.regress import dyadic_ols, fit
from compare.shapes import levels, spline, times


def world(effect=(0.0, 0.0, 0.0), n=60, seed=0):
    drawn = World(n_features=n, effect=effect).draw(np.random.default_rng(seed))
    return drawn.cosine, drawn.cooccurrence, drawn.similarity


def test_a_spline_holds_every_natural_cubic_spline_through_its_knots():
    _, co, _ = world()
    knots = np.quantile(co[np.triu_indices(60, 1)], (0.05, 0.35, 0.65, 0.95))
    natural = CubicSpline(knots, [1.0, -2.0, 0.5, 3.0], bc_type="natural")
    inside = np.triu((co >= knots[0]) & (co <= knots[-1]), 1)
    found = dyadic_ols(natural(co), spline(co), mask=inside | inside.T)
    # knots move with the mask, so the spline is made from all pairs and fitted to those inside
    assert found.r_squared == pytest.approx(1.0, abs=1e-9)


def test_a_line_has_no_curvature_and_a_bend_has():
    cosine, co, sim = world(effect=(0.5, 0.0, 0.0))
    bends = ["co~1", "co~2"]
    straight = dyadic_ols(cosine, times(spline(co), sim))
    bent = dyadic_ols(cosine + 0.05 * np.maximum(co, 0) ** 2, times(spline(co), sim))
    assert straight.wald(bends)[1] > 0.05
    assert bent.wald(bends)[1] < 1e-4


def test_one_column_times_similarity_is_the_ordinary_regression():
    cosine, co, sim = world()
    found, expected = dyadic_ols(cosine, times({"co": co}, sim)), fit(cosine, co, sim)
    np.testing.assert_allclose(found.params[expected.params.index], expected.params, rtol=1e-9)
    np.testing.assert_allclose(found.se()[expected.params.index], expected.se(), rtol=1e-9)
    statistic, p = found.wald(["co"])
    assert statistic == pytest.approx(found.tvalues["co"] ** 2)
    assert p == pytest.approx(found.pvalues["co"])


def test_slopes_of_levels_are_differences_of_means():
    cosine, co, _ = world()
    codes = np.digitize(co, [-0.5, 0.5])
    names = {0: "exclusive", 1: "independent", 2: "co-occurring"}
    found = dyadic_ols(cosine, levels(codes, names, base="independent"))
    pairs = np.triu_indices(60, 1)
    means = [cosine[pairs][codes[pairs] == code].mean() for code in range(3)]
    np.testing.assert_allclose(found.params["exclusive"], means[0] - means[1], rtol=1e-9)
    np.testing.assert_allclose(found.params["co-occurring"], means[2] - means[1], rtol=1e-9)


def test_bad_input_is_named():
    values = np.zeros((5, 5))
    with pytest.raises(ValueError, match=r"expected \[3, 4, 5\] knots, found 9"):
        spline(values, n_knots=9)
    with pytest.raises(ValueError, match="expected 4 different knots, found"):
        spline(values)
    with pytest.raises(ValueError, match="expected a base among"):
        levels(values, {0: "never", 1: "ever"}, base="often")
