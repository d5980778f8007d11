"""An SAE's rows are matched to the true directions, and what it adds to a cell is found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compare.run import ReportConfig
from compare.sae_bias import (
    bias_rows,
    cells_without_bias,
    match,
    numbers_on_toys,
    over_seeds,
    preactivation_slope,
    sae_bias_sentences,
    unit,
)
from compare.toy_arms import trained_toy
from compare.toy_saes import SAE_ON_TOY, sae_on_toy, sae_toys

PAIRS = {("co-occurring", "same"): torch.tensor([[0, 1], [2, 3]])}


def directions(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


def test_a_shuffled_rescaled_dictionary_is_matched_and_biases_nothing():
    true = directions(6, 16)
    order = np.array([3, 0, 5, 1, 4, 2])
    learned = np.vstack([3 * true[order], directions(4, 16, seed=1)])
    rows, cosines = match(true, learned)
    assert rows.tolist() == np.argsort(order).tolist()
    assert cosines == pytest.approx(1)
    (row,) = bias_rows(true, learned, PAIRS)
    assert row["sae"] == pytest.approx(row["true"])
    assert (row["recovered"], row["n_recovered"]) == (1, 2)


def test_a_planted_bias_is_found_in_its_size():
    true = np.eye(8)[:4]
    learned = true.copy()
    learned[0, 1] = learned[1, 0] = 0.1  # cosine 2 * .1 / 1.01
    (row,) = bias_rows(true, learned, PAIRS)
    assert row["true"] == 0
    assert row["sae"] == pytest.approx(0.2 / 1.01 / 2)  # one of two pairs


def test_no_row_is_matched_twice_though_it_is_the_nearest_of_two():
    true = np.array([[1.0, 0.1], [1.0, -0.1]])
    rows, _ = match(true, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert sorted(rows.tolist()) == [0, 1]


def test_a_dictionary_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="expected a dictionary of 4 rows or more"):
        match(directions(4, 8), directions(3, 8))


def test_over_seeds_has_the_interval_of_the_differences():
    about = {"directions": "given", "decoder": "trained", "k": 2, "l0": 5.1}
    cell = {"cooccurrence": "exclusive", "outputs": "same", "n_pairs": 8, "n_recovered": 8}
    rest = {"true_recovered": 0.0, "sae_recovered": 0.1, "recovered": 1.0, "match": 0.95}
    rows = [about | cell | rest | {"true": 0.0, "sae": sae} for sae in (0.1, 0.2, 0.3)]
    (found,) = over_seeds(rows)
    assert found["bias"] == pytest.approx(0.2)
    assert found["high"] - found["bias"] == pytest.approx(
        4.302653 * 0.1 / 3**0.5
    )  # t of 2 degrees of freedom
    (sentence,) = sae_bias_sentences([found])
    assert "below the truth" in sentence
    assert "+0.200" in sentence
    (sentence,) = sae_bias_sentences([found | {"recovered": 0.1}])
    assert "too few to say" in sentence


def judged(mean: float, verdict: str, claim: str = "> 0") -> dict:
    """A real arm with one cell of this mean, beside SAEs that write .1 to .3 into it."""
    about = {"directions": "given", "decoder": "trained", "recovered": 0.9}
    cell = {"cooccurrence": "co-occurring", "outputs": "same"}
    rows = [about | cell | {"low": 0.1, "high": 0.2}, about | cell | {"low": 0.15, "high": 0.3}]
    rows.append(rows[0] | {"high": 5.0, "recovered": 0.1})  # recovered too little to be read
    rows.append(rows[0] | {"high": 5.0, "decoder": "isotropic"})
    own = {"cooccurrence": "co-occurring", "similarity": "similar", "n_pairs": 50, "margin": 0.01}
    own |= {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "claim": claim, "verdict": verdict}
    empty = own | {"similarity": "different", "n_pairs": 0}
    arms = [{"name": "model", "group": "real", "cells": [own, empty]}, {"group": "control", "cells": [own]}]
    return {"arms": arms, "sae_bias": {"rows": rows}}


@pytest.mark.parametrize(
    ("mean", "verdict", "without"),
    [
        (0.5, "CONFIRMED", "CONFIRMED"),  # [.15, .45] is left
        (0.2, "CONFIRMED", "UNDECIDED"),  # [-.15, .15]
        (0.0, "UNDECIDED", "UNDECIDED"),
        (-0.2, "REFUTED", "REFUTED"),
    ],
)
def test_a_verdict_survives_only_where_it_stands_without_what_an_sae_writes(mean, verdict, without):
    (row,) = cells_without_bias(judged(mean, verdict))
    assert (row["written_low"], row["written_high"]) == (0.1, 0.3)
    assert row["low"] == pytest.approx(mean - 0.05 - 0.3)
    assert row["high"] == pytest.approx(mean + 0.05 - 0.1)
    assert (row["verdict_without"], row["survives"]) == (without, verdict == without)
    assert ("stays" in row["sentence"]) == row["survives"]


@pytest.mark.slow
def test_an_sae_writes_cooccurrence_into_given_directions_and_a_frozen_one_does_not():
    world, found = trained_toy(sae_toys(ReportConfig(quick=True))["given"][0])
    true = found.directions[0]
    gained = {}
    for decoder in ("trained", "isotropic"):
        sae = sae_on_toy(world, true, replace(SAE_ON_TOY, k=2, decoder=decoder))
        rows = bias_rows(true.numpy(), sae.W_dec.numpy(), world.cells())
        gained[decoder] = {(row["cooccurrence"], row["outputs"]): row["sae"] - row["true"] for row in rows}
        if decoder == "trained":
            assert rows[0]["recovered"] > 0.6
    assert gained["trained"]["co-occurring", "different"] > 0.1
    assert abs(gained["isotropic"]["co-occurring", "different"]) < 0.2  # 8 pairs in 64 dimensions: sd .06


def test_tied_rows_that_read_white_inputs_have_correlations_that_are_their_cosines():
    rows = unit(directions(12, 6))
    assert preactivation_slope(rows.T, rows, 3 * np.eye(6)) == pytest.approx(1)
    assert preactivation_slope(rows.T, -rows, np.eye(6)) == pytest.approx(1)  # turned whole, cosines stay


def test_numbers_on_toys_are_contrasts_of_cells_over_seeds():
    about = {"directions": "given", "decoder": "trained", "k": 2, "l0": 5.1, "recovered": 0.8}
    rows = []
    for instance, gain in enumerate((0.1, 0.2, 0.3)):
        for cell, true, sae in (("exclusive", -0.1, -0.2), ("co-occurring", 0.1, gain)):
            for extra in (-0.05, 0.05):  # two outputs, whose mean counts
                cosines = {"true": true, "sae": sae + extra, "cooccurrence": cell}
                rows.append(about | cosines | {"instance": instance, "preactivation_slope": gain / 2})
    own, less, slope = numbers_on_toys(rows)
    assert own["name"] == "given directions, trained decoder, L0 below the truth: co-occurrence"
    assert (own["mean"], less["mean"], slope["mean"]) == pytest.approx((0.4, 0.2, 0.1))
    assert own["df"] == 2
    assert less["se"] == pytest.approx(0.1 / 3**0.5)
    lost = numbers_on_toys([row | {"recovered": 0.2} for row in rows])
    assert [row.get("problem") for row in lost] == [None, "only 20% of the directions were recovered", None]
