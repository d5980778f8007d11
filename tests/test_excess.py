"""Nulls of slopes in closed form agree with directions that are dealt or drawn by hand."""

import numpy as np
import pandas as pd
import pytest
from example_results import LM, example_results
from test_sensitivity import relation

from compare.excess import DEALT, RANDOM, combine_nulls, null_slopes
from compare.regress import fit
from compare.tables import excess_slopes

N = 60
APART = ~np.eye(N, dtype=bool)
LEAN = 0.3 * np.random.default_rng(7).normal(size=24)


def directions(rng):
    """Unit directions of an anisotropic distribution that leans one way."""
    units = rng.normal(size=(N, 24)) / np.sqrt(np.arange(1, 25)) + LEAN
    return units / np.linalg.norm(units, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(0)
    return directions(rng), relation(N, rng), relation(N, rng), rng.normal(size=N)


def slopes(units, co, sim, **given):
    return fit(units @ units.T, co, sim, mask=APART, **given).params[["co", "sim", "co:sim"]].to_numpy()


@pytest.mark.parametrize("effects", ["none", "product"])
def test_both_nulls_are_what_dealing_and_drawing_by_hand_gives(measured, effects):
    """200 draws: a standard deviation is off by 5 %, so that 20 % is four of them. What is drawn is the
    distribution that the directions are of; one dictionary of 60 knows its spread to 10 %, five to 4 %.
    """
    units, co, sim, activity = measured
    given = {"effects": effects, "activity": activity if effects == "product" else None}

    def predicted(units):
        table = null_slopes(units @ units.T, co, sim, mask=APART, units=units, **given)
        return table.set_index(["null", "term"]).loc[(slice(None), ["co", "sim", "co:sim"]), :]

    rng = np.random.default_rng(1)
    dealt = np.array([slopes(units[rng.permutation(N)], co, sim, **given) for _ in range(200)])
    drawn = np.array([slopes(directions(rng), co, sim, **given) for _ in range(200)])
    expected = predicted(units).loc[DEALT]
    np.testing.assert_allclose(dealt.std(0), expected["sd"], rtol=0.2)
    assert (np.abs(dealt.mean(0) - expected["mean"]) < 4 * expected["sd"] / 200**0.5).all()
    spread = np.mean([predicted(directions(rng)).loc[RANDOM, "sd"] for _ in range(5)], axis=0)
    np.testing.assert_allclose(drawn.std(0), spread, rtol=0.2)
    assert (np.abs(drawn.mean(0)) < 4 * spread / 200**0.5).all()


def test_one_rotation_of_all_directions_changes_no_slope(measured):
    units, co, sim, _ = measured
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(24, 24)))[0]
    np.testing.assert_allclose(slopes(units @ turn, co, sim), slopes(units, co, sim), atol=1e-12)


def test_the_mean_of_seeds_varies_less():
    frame = pd.DataFrame({"null": ["a"], "term": ["co"], "mean": [0.1], "sd": [0.2]})
    (row,) = combine_nulls([frame] * 4, {"effects": "none"})
    assert row["sd"] == pytest.approx(0.1)
    assert row["mean"] == pytest.approx(0.1)


def test_the_excess_over_a_control_carries_both_errors():
    results = example_results()
    table = excess_slopes(results)["excess"]
    assert set(table["arm"]) == {arm["name"] for arm in results["arms"] if not arm["control_of"]}
    at = table.set_index(["arm", "effects", "term", "null"])
    real = next(arm for arm in results["arms"] if arm["name"] == LM)["regression"]
    control = next(arm for arm in results["arms"] if arm["name"] == "frozen decoder")["regression"]
    mine, other = (
        next(row for row in rows if row["effects"] == "product" and row["term"] == "sim")
        for rows in (real, control)
    )
    row = at.loc[(LM, "product", "sim", "frozen decoder")]
    assert row["excess"] == pytest.approx(mine["estimate"] - other["estimate"])
    reach = (row["high"] - row["low"]) / 2
    assert reach == pytest.approx(1.97 * np.hypot(mine["se"], other["se"]), rel=0.01)
    exact = at.loc[(LM, "product", "sim", DEALT)]
    assert (exact["high"] - exact["low"]) / 2 == pytest.approx(1.97 * mine["se"], rel=0.01)
