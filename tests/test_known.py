"""Anchors measure what they name: directions set by hand, and a run that is made again from its config."""

import math
from dataclasses import replace

import pytest
import torch

from toy.anchors import dimensionalities
from toy.config import ToyConfig
from toy.known import (
    ELHAGE,
    LIU,
    OURS,
    PRIETO,
    RING,
    anchor_runs,
    dimensions_a_feature,
    effective_rank,
    few_features,
    has_antipode,
    largest,
    mean_square_times_width,
    measure_run,
    near_half,
    neighbours,
)
from toy.model import Trained, train
from toy.world import World

WORLD = World(RING)


def found(*directions: torch.Tensor) -> Trained:
    """Networks with these directions, an instance each."""
    stacked = torch.stack(directions).float()
    instances, n, _ = stacked.shape
    nothing = torch.full((instances,), math.nan)
    return Trained(RING, stacked, stacked, torch.zeros(instances, n), (), nothing, nothing)


def ring() -> torch.Tensor:
    angle = torch.arange(12) * math.pi / 6
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_a_ring_pairs_and_an_identity_are_told_apart():
    pairs = torch.eye(6).repeat_interleave(2, 0)
    pairs[1::2] *= -1
    wide = [torch.nn.functional.pad(each, (0, 12 - each.shape[1])) for each in (ring(), pairs, torch.eye(12))]
    networks = found(*wide)
    assert neighbours(WORLD, networks).tolist() == pytest.approx([math.cos(math.pi / 6), -0.5, 0], abs=1e-6)
    assert has_antipode(WORLD, networks).tolist() == [1, 1, 0]
    assert largest(WORLD, networks).tolist() == pytest.approx([1, 1, 0], abs=1e-6)
    assert effective_rank(WORLD, networks).tolist() == pytest.approx([2, 6, 12], abs=1e-4)
    assert near_half(WORLD, networks).tolist() == [0, 1, 0]
    assert dimensions_a_feature(WORLD, networks).tolist() == pytest.approx([1, 1, 1])


def test_random_directions_have_a_mean_square_of_one_over_the_width_whatever_is_not_written():
    rows = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    rows[:100] = 1e-4  # as good as not there, and all alike
    value = mean_square_times_width(WORLD, found(rows)).item()
    assert value == pytest.approx(1, abs=0.05)  # 300 directions: sd of the mean square is .6 % of it


def test_the_runs_cover_what_is_known_and_each_has_a_world():
    runs = anchor_runs(seed=3)
    assert {run.config.seed for run in runs} == {3}
    sources = {anchor.source for run in runs for anchor in run.anchors}
    assert sources == {ELHAGE, LIU, OURS, PRIETO}
    for run in runs:
        assert isinstance(run.config, ToyConfig)
        World(run.config)


def test_a_row_says_what_was_expected_and_asks_the_optimum_of_a_quarter_of_the_starts():
    run = few_features()[0]
    short = replace(run, config=replace(run.config, steps=300, n_seeds=8))
    (row,) = measure_run(short)
    assert (row["low"], row["high"], len(row["values"])) == (-1, -0.95, 2)
    assert row["config"]["steps"] == 300
    assert measure_run(short) == [row]


@pytest.mark.slow
def test_two_sparse_features_end_antipodal_and_dimensionalities_fill_the_width():
    (row,) = measure_run(few_features()[0])
    assert max(row["values"]) < -0.95

    config = ToyConfig(n_features=64, width=32, vocabulary=8, n_seeds=2)  # 3,000 steps: it has to converge
    sums = dimensionalities(train(config, World(config)).directions).sum(1)
    assert sums.tolist() == pytest.approx([32, 32], rel=0.01)
