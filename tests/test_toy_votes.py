"""Outputs with any overlaps that distributions can have, trees, and labels with noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from toy.config import ToyConfig
from toy.votes import overlap_blocks
from toy.world import World

TREE = ToyConfig(
    n_features=12, width=6, vocabulary=32, firing_rate=0.1, grouped_share=1.0, group_size=4,
    arrangement="tree", conditionals=(0.25,), overlaps=(0.5,), votes=2,
)  # fmt: skip
LINE = ((1.0, 0.6, 0.2), (0.6, 1.0, 0.6), (0.2, 0.6, 1.0))


def overlap(votes: torch.Tensor, i: int, j: int) -> float:
    return torch.minimum(votes[i], votes[j]).sum().item()


def test_a_matrix_of_overlaps_is_met_exactly_and_so_are_divergences():
    world = World(replace(TREE, group_size=3, arrangement="clique", group_overlaps=LINE))
    for first in range(0, 12, 3):
        for i in range(3):
            for j in range(3):
                assert overlap(world.votes, first + i, first + j) == pytest.approx(LINE[i][j])
    assert world.votes.sum(1).numpy() == pytest.approx(1)
    assert {pair.overlap for pair in world.pairs} == {0.6, 0.2}
    p, q = world.votes[0], world.votes[1]
    entropy = torch.special.entr(torch.stack([(p + q) / 2, p, q])).sum(1)
    assert (entropy[0] - (entropy[1] + entropy[2]) / 2).item() == pytest.approx(0.4 * np.log(2))


def test_overlaps_that_no_distributions_have_are_refused_with_the_triangle():
    with pytest.raises(ValueError, match=r"0 and 1 with 0\.9 in common, .* but 0 and 2 with only 0\.1"):
        overlap_blocks(np.array([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]]))
    with pytest.raises(ValueError, match="expected group_overlaps as 4 rows of 4 numbers"):
        replace(TREE, group_overlaps=LINE)


def test_children_fire_with_their_parent_alone_and_never_with_each_other():
    world = World(TREE)
    assert world.rates.mean().item() == pytest.approx(0.1)
    is_on = world.sample(20_000, torch.Generator().manual_seed(0)).dense()[:, :4] > 0
    parent, children = is_on[:, 0], is_on[:, 1:]
    assert (children.sum(1) <= 1).all()
    assert parent[children.any(1)].all()
    for pair in world.pairs:
        is_parent = pair.i % 4 == 0
        assert pair.conditional == pytest.approx(1.0 if is_parent else 0.0)
        joint = world.joint_rates[pair.i, pair.j].item()
        assert joint == pytest.approx(0.25 * world.rates[pair.i].item() if is_parent else 0)
    with pytest.raises(ValueError, match=r"conditionals in \(0, 0.3333\] in trees of 4"):
        replace(TREE, conditionals=(0.5,))


def test_noise_replaces_labels_by_single_tokens_and_the_truth_knows():
    world = World(replace(TREE, output_noise=0.3))
    quiet = World(TREE)
    sample = world.sample(40_000, torch.Generator().manual_seed(0))
    labels = world.labels(sample.csr(), torch.Generator().manual_seed(1))
    is_noise = (labels != world.labels(sample.csr())).any(1)
    assert is_noise.float().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / 40_000) ** 0.5)
    assert (labels[is_noise].max(1).values == 1).all()
    torch.testing.assert_close(world.mean_outputs, 0.7 * quiet.mean_outputs + 0.3 / 32)
    x = sample.dense().double()
    measured = (x.T @ labels.double()) / x.sum(0)[:, None]
    five_sigma = 5 * (world.mean_outputs * (1 - world.mean_outputs) / x.sum(0)[:, None]).sqrt()
    assert ((measured - world.mean_outputs).abs() <= five_sigma).all()
