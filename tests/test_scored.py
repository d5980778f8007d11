"""Measures are scored by known answers: an exact estimate has no bias, a frequency meter is found out."""

from dataclasses import replace

import numpy as np
import pytest

from compare.evidence import measure
from compare.measures import COOCCURRENCE
from compare.run import ReportConfig
from compare.scored import OWN_TRUTH, exactly, portions, score_measures, score_sentences, scored_lines, scores
from compare.toy_arms import known_toys, trained_toy
from toy.config import ToyConfig
from toy.system import ToySystem

SMALL = ToyConfig(
    n_features=24, width=12, group_size=4, grouped_share=1.0, firing_rate=0.05, conditionals=(0.0, 0.5),
    rates="zipf", overlaps=(0.0, 0.5, 1.0), vocabulary=32, directions="given", steps=1, n_seeds=1,
    n_samples=16_384,
)  # fmt: skip


@pytest.fixture(scope="module")
def system():
    return ToySystem("known", *trained_toy(SMALL))


def test_portions_hold_every_batch_once(system):
    parts = portions(system, 2)
    assert [len(list(part.stream())) for part in parts] == [2, 2]
    whole, cut = measure(system), [measure(part) for part in parts]
    np.testing.assert_array_equal(np.asarray(whole.cofiring), sum(np.asarray(part.cofiring) for part in cut))


def test_exact_counts_give_the_worlds_own_phi(system):
    evidence = measure(system)
    every = slice(0, 24)
    found = COOCCURRENCE["phi"](exactly(evidence), every, every)
    assert found == pytest.approx(COOCCURRENCE["true_phi"](evidence, every, every), abs=1e-6)


def test_an_exact_estimate_is_perfect_and_a_frequency_meter_is_found_out():
    rng = np.random.default_rng(0)
    truth = np.concatenate([np.zeros(500), rng.normal(size=500)])
    rarer, is_null = rng.uniform(size=1000), np.arange(1000) < 500
    perfect = scores(np.stack([truth, truth]), truth, truth, rarer, is_null | (truth == 0))
    assert (perfect["recovery"], perfect["bias"], perfect["noise"]) == (pytest.approx(1), 0, 0)
    assert np.isnan(perfect["frequency"])  # constant over null pairs
    shifted = scores(np.stack([truth + 1 + 0.01 * rarer] * 2), truth, truth, rarer, is_null)
    assert shifted["bias"] == pytest.approx(1 / truth.std(), rel=0.02)
    assert shifted["frequency"] == pytest.approx(1)
    noisy = scores(truth + rng.normal(size=(2, 1000)), truth, truth, rarer, is_null)
    assert noisy["noise"] == pytest.approx(1 / truth.std(), rel=0.15)  # 1,000 variances of two: 4.5 %


def test_phi_follows_the_truth_and_pre_activations_of_random_directions_do_not(system):
    other = ToySystem("other", *trained_toy(replace(SMALL, seed=1)))
    rows = score_measures([system, other], (4, 2))
    assert {row["measure"] for row in rows} == set(OWN_TRUTH)
    few = {row["measure"]: row for row in rows if row["n_tokens"] == 4096}
    assert few["phi"]["recovery"] > 0.8
    assert abs(few["phi"]["bias"]) < 0.1
    assert few["preactivation_correlation"]["recovery"] < 0.5
    best = max(few.values(), key=lambda row: row["recovery"] * (row["kind"] == "co-occurrence"))
    for row in few.values():
        if row["kind"] == "co-occurrence":  # the same two worlds for both, so their difference is paired
            assert row["gap"] == pytest.approx(best["recovery"] - row["recovery"])
            assert row["gap_low"] <= row["gap"] <= row["gap_high"]
    assert best["gap_low"] == best["gap_high"] == 0
    assert len(score_sentences(rows)) == 2
    assert (
        sum(line.startswith("| ") for line in scored_lines({"rows": rows, "sentences": []})) == len(rows) + 1
    )


def test_only_what_is_surely_behind_is_told_apart_from_the_best():
    rows = [
        {
            "kind": "outputs",
            "measure": name,
            "n_tokens": 10,
            "recovery": recovery,
            "frequency": 0.0,
            "gap_low": low,
        }
        for name, recovery, low in (("one", 0.9, 0.0), ("two", 0.8, -0.01), ("three", 0.7, 0.01))
    ]
    (sentence,) = score_sentences(rows)
    assert (
        "one follows the truth best (rank correlation 0.90; not told apart from it: two), three" in sentence
    )


@pytest.mark.slow
def test_what_the_report_says_of_js_and_log_odds_holds_in_its_own_worlds():
    rows = score_measures(known_toys(ReportConfig()))
    few = {row["measure"]: row for row in rows if row["n_tokens"] == 4096}
    assert abs(few["phi"]["bias"]) < 0.05
    assert few["js"]["frequency"] > few["js_split"]["frequency"]  # halves take sampling off
    assert abs(few["js_split"]["drift"]) < abs(few["js"]["drift"])
    assert few["phi"]["recovery"] > few["preactivation_correlation"]["high"]
