"""Reliability where the truth is known, and what is compared and what is not."""

import numpy as np
import pytest
from example_results import example_results
from synthetic import planted_system

from compare.evidence import measure
from compare.measures import log_odds
from compare.reliability import LEAST, comparison, counts_reliability, halves_reliability, reliabilities

DEFAULT = ("log_odds", "js_split", "product")


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_the_reliability_of_two_halves_is_that_of_their_mean(noise):
    """Signal of variance 1, noise of variance noise^2 in each half: the mean has 1 / (1 + noise^2 / 2)."""
    rng = np.random.default_rng(0)
    signal = np.triu(rng.normal(size=(120, 120)), 1)
    across = signal + signal.T + noise * rng.normal(size=(120, 120))
    own = rng.random(120)
    across = across + 3 * (own[:, None] + own)  # few tokens raise both halves: no signal
    found = halves_reliability(across, own, np.triu(np.ones((120, 120), bool), 1))
    assert found == pytest.approx(1 / (1 + noise**2 / 2), abs=0.04)  # 7,140 pairs: r is known to .012


def test_pure_noise_has_no_reliability():
    rng = np.random.default_rng(1)
    own = rng.random(100)
    found = halves_reliability(rng.normal(size=(100, 100)), own, np.triu(np.ones((100, 100), bool), 1))
    assert found < 0.06


def test_the_reliability_of_counts_is_what_two_samples_of_tokens_share():
    """Split the tokens into two systems of the same world: their log odds correlate by the reliability."""
    first, second = (measure(halved(planted_system(n=40, effect=None, n_tokens=8192), k)) for k in (0, 1))
    ids, mask = np.arange(40), ~np.eye(40, dtype=bool)
    i, j = np.triu_indices(40, 1)
    shared = np.corrcoef(log_odds(first, ids, ids)[i, j], log_odds(second, ids, ids)[i, j])[0, 1]
    assert counts_reliability(first, ids, mask) == pytest.approx(shared, abs=0.05)


def halved(system, half):
    """The same features on every other run of 8 tokens."""
    rows = np.flatnonzero(np.arange(len(system.outputs)) // 8 % 2 == half)
    system.preactivations, system.outputs = system.preactivations[rows], system.outputs[rows]
    return system


def test_more_tokens_are_more_reliable():
    ids, mask = np.arange(32), ~np.eye(32, dtype=bool)
    systems = [planted_system(n=32, effect=None, n_tokens=n) for n in (512, 8192)]
    few, many = (reliabilities(measure(system), ids, mask) for system in systems)
    assert few["co"] < many["co"] > 0.9
    assert few["sim"] < many["sim"]
    assert few["noise"] > many["noise"]


def world(reliability):
    made = example_results()
    arms = [made["arms"][0], made["arms"][3]]
    for arm in arms:
        arm["reliability"] = {"co": reliability, "sim": 1.0, "noise": 0.1}
        for row in arm["regression"]:
            row |= {"estimate": 0.2, "se": 0.01}
    return arms


def test_slopes_are_divided_by_their_reliability_before_they_are_compared():
    arms = world(0.8)
    arms[1]["reliability"]["co"] = 0.5
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
