"""The cost of two features in one dimension: by hand where that can be done, and where the order flips."""

from dataclasses import replace

import numpy as np
import pytest

from toy.atlas import measure_point
from toy.energy import Two, arrangement_loss, flip_of_equal_lengths, flip_share, least_loss
from toy.grid import KINDS, TWO


def test_equal_lengths_flip_at_two_thirds_one_half_and_never():
    assert flip_of_equal_lengths("softmax") == pytest.approx(2 / 3)
    assert flip_of_equal_lengths("relu") == pytest.approx(1 / 2)
    assert flip_of_equal_lengths("mlp") == 0


def test_equal_lengths_cost_what_was_worked_out_by_hand():
    two = Two(firing_rate=0.001, conditional=0.5, vocabulary=32)
    half = 0.5**0.5
    merged = np.array([half, half, *[0.0] * 8])  # lengths, biases, slopes and biases of three kinds of token
    antipodal = np.array([1.0, 1.0, *[0.0] * 8])
    assert arrangement_loss(merged, two, 1.0, 1) == pytest.approx(0.25)  # (1 - q) / 2
    assert arrangement_loss(antipodal, two, 1.0, -1) == pytest.approx(0.5)  # q
    assert arrangement_loss(merged, two, 0.0, 1) == pytest.approx(1, abs=0.01)  # a readout that knows nothing


def test_free_lengths_cost_a_little_less_than_equal_ones():
    two = Two(firing_rate=0.001, conditional=0.0, vocabulary=32)
    assert (
        0.40 < least_loss(two, 0.9, sign=1) <= 0.451
    )  # 0.45: half of reconstruction; lengths tell them apart
    assert least_loss(two, 1.0, sign=-1) == pytest.approx(0, abs=0.005)


@pytest.mark.slow
def test_free_lengths_flip_a_little_before_equal_ones():
    assert 0.6 < flip_share(Two(firing_rate=0.02, vocabulary=32)) < 2 / 3


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "merged_at"), [("softmax, tied", 0.5), ("MLP, tied", None)])
def test_the_best_start_is_on_the_side_that_the_cost_names(kind, merged_at):
    def best(share: float) -> float:
        point = measure_point(replace(TWO, reconstruction_share=share, **KINDS[kind]))
        return point["cells"][0]["by_seed"][point["best"]]

    assert best(0.8) == pytest.approx(-1)
    if merged_at:
        assert best(merged_at) == pytest.approx(1)
