"""Reliability where the truth is known, and what is compared and what is not."""

from dataclasses import replace

import numpy as np
import pytest
from example_results import example_results
from synthetic import planted_system

from compare.evidence import measure
from compare.measures import log_odds
from compare.regress import fit
from compare.reliability import (
    LEAST,
    Reliability,
    comparison,
    counts_reliability,
    halves_reliability,
    reliabilities,
)

DEFAULT = ("log_odds", "js_split", "product")


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_the_reliability_of_two_halves_is_that_of_their_mean(noise):
    """Signal of variance 1, noise of variance noise^2 in each half: the mean has 1 / (1 + noise^2 / 2)."""
    rng = np.random.default_rng(0)
    signal = np.triu(rng.normal(size=(120, 120)), 1)
    across = signal + signal.T + noise * rng.normal(size=(120, 120))
    own = rng.random(120)
    across = across + 3 * (own[:, None] + own)  # few tokens raise both halves: no signal
    found, variance = halves_reliability(across, own, np.triu(np.ones((120, 120), bool), 1))
    assert found == pytest.approx(1 / (1 + noise**2 / 2), abs=0.04)  # 7,140 pairs: r is known to .012
    assert variance == pytest.approx(noise**2 / 2, abs=0.04 * (1 + noise**2 / 2))


def test_pure_noise_has_no_reliability():
    rng = np.random.default_rng(1)
    own = rng.random(100)
    found, _ = halves_reliability(rng.normal(size=(100, 100)), own, np.triu(np.ones((100, 100), bool), 1))
    assert found < 0.06


def test_the_reliability_of_counts_is_what_two_samples_of_tokens_share():
    """Split the tokens into two systems of the same world: their log odds correlate by the reliability."""
    first, second = (measure(halved(planted_system(n=40, effect=None, n_tokens=8192), k)) for k in (0, 1))
    ids, mask = np.arange(40), ~np.eye(40, dtype=bool)
    i, j = np.triu_indices(40, 1)
    shared = np.corrcoef(log_odds(first, ids, ids)[i, j], log_odds(second, ids, ids)[i, j])[0, 1]
    assert counts_reliability(first, ids, mask)[0] == pytest.approx(shared, abs=0.05)


def halved(system, half):
    """The same features on every other run of 8 tokens."""
    rows = np.flatnonzero(np.arange(len(system.outputs)) // 8 % 2 == half)
    system.preactivations, system.outputs = system.preactivations[rows], system.outputs[rows]
    return system


def test_more_tokens_are_more_reliable():
    ids, mask = np.arange(32), ~np.eye(32, dtype=bool)
    systems = [planted_system(n=32, effect=None, n_tokens=n) for n in (512, 8192)]
    few, many = (reliabilities(measure(system), ids, mask) for system in systems)
    assert few.co < many.co > 0.9
    assert few.sim < many.sim
    assert few.noise > many.noise


def world(reliability):
    made = example_results()
    arms = [made["arms"][0], made["arms"][3]]
    for arm in arms:
        for row in arm["regression"]:
            share = reliability if row["term"] == "co" else 1.0
            row |= {"estimate": 0.2, "se": 0.01, "reliability": share}
    return arms


def test_slopes_are_divided_by_their_reliability_before_they_are_compared():
    arms = world(0.8)
    for row in arms[1]["regression"]:
        row["reliability"] = 0.5 if row["term"] == "co" else 1.0
    co, sim = comparison(arms, DEFAULT)
    assert (co["toy_mean"], co["real_mean"]) == pytest.approx((0.25, 0.4))
    assert co["mean"] == pytest.approx(-0.15)
    assert co["se"] == pytest.approx((0.0125**2 + 0.02**2) ** 0.5)
    assert sim["mean"] == pytest.approx(0)
    assert sim["low"] < 0 < sim["high"]


@pytest.mark.parametrize("reliability", [LEAST - 0.01, 0.0, float("nan")])
def test_slopes_that_the_correction_cannot_carry_are_not_comparable(reliability):
    co, sim = comparison(world(reliability), DEFAULT)
    assert co["problem"].startswith("not comparable: reliability")
    assert "mean" not in co
    assert sim["problem"] is None


@pytest.mark.parametrize(("levels", "tied"), [(0.0, 0.6), (0.6, 0.6), (0.9, 0.5)])
def test_a_slope_with_feature_effects_is_corrected_by_what_these_leave_of_its_measure(levels, tied):
    """A cosine of .1 a unit of true log odds, read off counts: levels of features are signal that feature
    effects take out, so that the reliability of all of the measure would correct too little.
    """
    rng = np.random.default_rng(5)
    n, n_tokens, found = 150, 6000, []
    made = measure(planted_system(n=n, vocab=8, effect=None, n_tokens=256))
    for _ in range(4):
        truth, both, counts = counted(rng, n, n_tokens, levels, tied)
        evidence = replace(made, counts=counts, cofiring=both, n_tokens=n_tokens)
        ids, mask = np.arange(n), ~np.eye(n, dtype=bool)
        whole, variance = counts_reliability(evidence, ids, mask)
        cosine, similarity = 0.1 * truth + 0.02 * symmetric(rng, n), symmetric(rng, n)
        measure_of = log_odds(evidence, ids, ids)
        fitted = fit(cosine, measure_of, similarity, effects="product", activity=np.log(counts))
        known = Reliability(whole, 1.0, 0.0, {"log_odds": variance})
        above = np.triu_indices(n, 1)
        sd = {"co": measure_of[above].std(), "sim": similarity[above].std()}
        share, _ = known.of_slopes("log_odds", "js", dict(fitted.left), sd)
        found.append((fitted.params["co"] / share["co"], fitted.params["co"] / whole))
        assert np.isnan([share["sim"], share["co:sim"]]).all()
    corrected, by_the_whole = np.mean(found, axis=0)
    assert corrected == pytest.approx(0.1, abs=0.008)
    assert (by_the_whole < 0.09) == (levels > 0)


@pytest.mark.parametrize("levels", [0.0, 1.0, 1.5])
def test_the_product_of_noisy_measures_is_corrected_by_its_own_noise(levels):
    """The product is formed before feature effects are taken out: its noise is not what these leave of the
    two. A cosine of .1 a unit of the true product, noise of .6 on both measures.
    """
    rng = np.random.default_rng(0)
    n, found = 150, []
    above, mask = np.triu_indices(n, 1), ~np.eye(n, dtype=bool)
    for _ in range(6):
        co, sim = (leveled(rng, n, levels, above) for _ in range(2))
        cosine = 0.1 * (co + sim + co * sim) + 0.1 * symmetric(rng, n)
        seen = [truth + 0.6 * symmetric(rng, n) for truth in (co, sim)]
        fitted = fit(cosine, *seen, mask=mask, effects="product", activity=rng.normal(size=n))
        sd = {name: one[above].std() for name, one in zip(("co", "sim"), seen, strict=True)}
        known = Reliability(0.0, 0.0, 0.0, {"log_odds": 0.36, "js_split": 0.36})
        share, sd_true = known.of_slopes("log_odds", "js_split", dict(fitted.left), sd)
        found.append([fitted.params[term] / share[term] for term in ("co", "sim", "co:sim")])
        assert sd_true["co"] == pytest.approx(co[above].std(), rel=0.02)
        assert sd_true["co:sim"] == pytest.approx(co[above].std() * sim[above].std(), rel=0.04)
    np.testing.assert_allclose(np.mean(found, axis=0), 0.1, rtol=0.05)


def leveled(rng, n, levels, above):
    """Values of pairs with levels of features, centred."""
    level = levels * rng.normal(size=n)
    values = level[:, None] + level + symmetric(rng, n)
    return values - values[above].mean()


def test_a_known_worlds_own_measure_has_no_noise():
    known = Reliability(0.5, 0.5, 0.0, {"log_odds": 1.0, "js_split": 1.0})
    share, sd_true = known.of_slopes(
        "true_phi", "true_js", {"co": 1.0, "sim": 2.0, "co:sim": 2.0}, {"co": 3.0, "sim": 2.0}
    )
    assert share == {"co": 1.0, "sim": 1.0, "co:sim": 1.0}
    assert sd_true == {"co": 3.0, "sim": 2.0, "co:sim": 6.0}


def counted(rng, n, n_tokens, levels, tied):
    """True log odds ratio of every pair, tokens with both, and tokens with each."""
    rates = np.exp(rng.normal(-3.2, 0.5, size=n)).clip(0.01, 0.2)
    level = levels * rng.normal(size=n)
    truth = level[:, None] + level + tied * symmetric(rng, n)
    odds, p, q = np.exp(truth), rates[:, None], rates[None]
    total = 1 + (p + q) * (odds - 1)
    np.fill_diagonal(odds, 2.0)
    joint = (total - np.sqrt(total**2 - 4 * odds * (odds - 1) * p * q)) / (2 * (odds - 1))
    counts = np.rint(rates * n_tokens).astype(int)
    both = np.triu(rng.binomial(n_tokens, np.triu(joint, 1).clip(0, 1)), 1)
    both = np.minimum(both + both.T, np.minimum.outer(counts, counts))
    np.fill_diagonal(both, counts)
    return truth, both, counts


def symmetric(rng, n):
    """Standard normal values of pairs."""
    values = rng.normal(size=(n, n))
    return np.triu(values, 1) + np.triu(values, 1).T
