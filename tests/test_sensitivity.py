"""The specification curve: a planted effect is found under all choices at once, and a null is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import planted_system

from compare.calibration import cosines
from compare.evidence import measure
from compare.names import SLOPES
from compare.pairs import pair_table
from compare.regress import fit
from compare.sensitivity import Curve, curve_of, curve_results, specification_curve
from compare.specifications import CHOICES, Material, material, standardised, without_levels


def relation(n, rng):
    """Levels of features, latent structure and noise, as measured regressors have them."""
    level, latent, noise = rng.normal(size=n), rng.normal(size=(n, 3)), rng.normal(size=(n, n))
    return 0.7 * np.add.outer(level, level) + latent @ latent.T / 2 + (noise + noise.T) / 2


def world(seed, n=40, effect=0.0):
    rng = np.random.default_rng(seed)
    co, sim = relation(n, rng), relation(n, rng)
    activity = rng.normal(size=n)
    directions = rng.normal(size=(n, 20)) / np.sqrt(np.arange(1, 21)) + rng.normal(size=20) / 4
    cosine = cosines(directions) + effect * co
    counts = np.exp(activity)
    return Material(
        cosines={"as they are": cosine, "moved": cosine + 0.02 * relation(n, rng)},
        cooccurrences={"phi": co, "log_ratio": np.tanh(co) + 0.2 * relation(n, rng)},
        similarities={"js": sim},
        covariates={
            "1/n_i + 1/n_j": np.add.outer(1 / counts, 1 / counts),
            "n_ij / n_i n_j": np.abs(relation(n, rng)),
        },
        activity=activity,
        filters={"all alive": np.ones(n, dtype=bool), "common": activity > -1.0},
    )


def test_under_the_null_the_joint_p_values_are_uniform():
    """40 worlds: the mean of uniform p-values has sd .046 and lies within .16 of a half but once in 2,000;
    a test of 10 % rejects in more than 11 of 40 worlds with probability .001."""
    found = [curve_of(world(seed), permutations=39, seed=seed).joint() for seed in range(40)]
    for name in ("p_median", "p_stouffer", "p_share"):
        p = np.stack([table[name] for table in found])  # [worlds, terms]
        assert ((p <= 0.1).sum(0) <= 11).all(), name
        if name != "p_share":  # specifications alike share a sign by chance: its p-values are large too often
            assert (np.abs(p.mean(0) - 0.5) < 0.16).all(), name


def test_a_planted_effect_is_found_under_all_choices():
    curve = curve_of(world(0, effect=0.1), permutations=99)
    joint = curve.joint().set_index("term")
    assert joint.loc["co", ["p_median", "p_stouffer"]].max() <= 0.05
    assert joint.loc["co", ["sign", "share"]].tolist() == ["+", 1.0]
    assert joint.loc["co", "clear_above"] == 1.0
    assert joint.loc["co:sim", "p_median"] > 0.05


def test_a_sign_that_hangs_on_one_choice_is_traced_to_it():
    given = world(1, effect=0.1)
    turned = replace(
        given, cooccurrences={"phi": given.cooccurrences["phi"], "log_ratio": -given.cooccurrences["phi"]}
    )
    table = curve_of(turned, permutations=19).by_choice()
    co = table[table["term"] == "co"].set_index(["choice", "value"])
    assert co.loc[("cooccurrence", "phi"), "share_above"] == 1.0
    assert co.loc[("cooccurrence", "log_ratio"), "share_above"] == 0.0
    explains = co["explains"].groupby("choice").first()
    assert explains.idxmax() == "cooccurrence"
    assert explains["cooccurrence"] > 0.9


def slope(curve, **chosen):
    at = np.logical_and.reduce([curve.choices[name] == value for name, value in chosen.items()])
    assert at.sum() == 1
    return curve.effects[np.flatnonzero(at)[0]]


@pytest.mark.parametrize("effects", ["none", "additive", "product"])
@pytest.mark.parametrize("kept", ["all alive", "common"])
def test_every_specification_is_the_regression_of_the_library(effects, kept):
    given = world(2, effect=0.05)
    curve = curve_of(given, permutations=19)
    ids = np.flatnonzero(given.filters[kept])
    square = np.ix_(ids, ids)
    arrays = [
        standardised(values[square], ranks=False)
        for values in (given.cosines["moved"], given.cooccurrences["phi"], given.similarities["js"])
    ]
    expected = fit(*arrays, effects=effects, activity=given.activity[ids] if effects == "product" else None)
    found = slope(
        curve,
        cooccurrence="phi",
        similarity="js",
        effects=effects,
        covariates="none",
        features=kept,
        directions="moved",
        estimator="least squares",
    )
    np.testing.assert_allclose(found, expected.params[list(SLOPES)], rtol=1e-4, atol=1e-6)  # float32 sums


def test_a_permutation_moves_all_specifications_at_once_and_keeps_filters():
    """With the cosines of features dealt anew by hand, the null of a draw is the effect of those cosines."""
    given = world(3)
    alike = replace(given, filters={"all alive": given.filters["all alive"]})
    curve = curve_of(alike, permutations=19, seed=5)
    order = np.random.default_rng(5).permuted(np.tile(np.arange(40), (19, 1)), axis=1)[7]
    moved = {name: values[np.ix_(order, order)] for name, values in given.cosines.items()}
    again = curve_of(replace(alike, cosines=moved), permutations=19)
    np.testing.assert_allclose(curve.null[7], again.effects, rtol=1e-4, atol=1e-5)
    both = curve_of(given, permutations=19)
    assert len(both.choices) == 2 * len(curve.choices)
    assert list(both.choices.columns) == list(CHOICES)


def test_without_levels_rows_sum_to_zero():
    rest = without_levels(standardised(world(4).cosines["moved"], ranks=True))
    np.testing.assert_allclose(rest.sum(1), 0, atol=1e-10)


def test_the_curve_of_evidence_has_hundreds_of_specifications_and_repeats_itself():
    table = pair_table(measure(planted_system(n=64, width=24, effect=(0.15, 0.0, 0.0))))
    curve = specification_curve(table, max_features=40, permutations=19)
    assert len(curve.choices) >= 200
    assert curve.n_features == 40
    again = specification_curve(table, max_features=40, permutations=19)
    np.testing.assert_array_equal(curve.null, again.null)
    assert len(curve.to_frame()) == 3 * len(curve.choices)
    steps = curve.to_bins(10)
    assert len(steps) == 30
    assert [step["effect"] for step in steps[:10]] == sorted(step["effect"] for step in steps[:10])


def test_what_has_no_curve_says_why():
    few = pair_table(measure(planted_system(n=12, width=8, vocab=8, n_tokens=512, effect=None)))
    assert "expected 24 features or more, found 12" in curve_results(few)["problem"]
    with pytest.raises(ValueError, match="expected 19 permutations or more, found 3"):
        curve_of(world(5), permutations=3)


def test_of_two_dimensions_no_leading_axes_are_taken_out():
    evidence = measure(planted_system(n=24, width=2, n_tokens=2048))
    assert list(material(evidence, np.arange(24)).cosines) == ["as they are", "mean removed", "whitened"]


def test_each_draw_taken_for_the_data_gives_every_p_value_once():
    """Under the null the data are one draw among the others, so that p is uniform whatever its statistic."""
    draws = np.random.default_rng(4).standard_t(3, size=(41, 11, 3)) + np.arange(11)[:, None]
    names = pd.DataFrame([["a"] * len(CHOICES)] * 11, columns=list(CHOICES))
    p = {"p_median": [], "p_stouffer": []}
    for k in range(41):
        curve = Curve(names, draws[k], np.delete(draws, k, axis=0), n_features=30)
        for name, values in p.items():
            values.append(curve.joint()[name].iloc[0])
    for values in p.values():
        np.testing.assert_allclose(np.sort(values), np.arange(1, 42) / 41)
