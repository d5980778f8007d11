"""A toy's config refuses what no world can be, and says what would do."""

import pytest
import torch

from toy.config import ToyConfig, default_arms
from toy.seeds import PURPOSES, seed_of


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"firing_rate": 0.0}, r"expected firing_rate in \(0, 1\), found firing_rate=0.0"),
        ({"width": 257}, "expected width from 1 to n_features=256, found width=257"),
        ({"reconstruction_share": 1.5}, r"expected reconstruction_share in \[0, 1\]"),
        ({"conditionals": (0.0, 1.2)}, 'expected conditionals each in .* or "independent"'),
        ({"conditionals": ()}, "expected conditionals"),
        ({"overlaps": (-0.5,)}, "expected overlaps each in"),
        ({"n_features": 8, "width": 2}, "expected a group for each of 6 cells .* found 3 groups"),
        ({"overlaps": (0.3,)}, r"whole number of tokens, found 0.3 x 4 = 1.2: use multiples of 1/4"),
        ({"vocabulary": 7}, "expected a vocabulary of 8 tokens or more"),
        ({"steps": 0}, "expected steps of 1 or more, found steps=0"),
        ({"seed": 2**62}, r"expected seed from 0 to 2\*\*60 - 1, found seed=4611686018427387904"),
    ],
)
def test_an_impossible_toy_is_refused_with_the_numbers(changes, message):
    with pytest.raises(ValueError, match=message):
        ToyConfig(**changes)


@pytest.mark.parametrize(("q", "is_possible"), [(-0.0, True), (10 / 11, True), (0.915, False)])
def test_a_ring_has_a_reachable_range_of_conditionals(q, is_possible):
    ring = {"n_features": 12, "width": 6, "grouped_share": 1.0, "group_size": 12, "arrangement": "ring"}
    ring |= {"overlaps": (0.0,), "conditionals": (q,), "firing_rate": 0.05}
    if is_possible:
        assert ToyConfig(**ring).n_groups == 1
    else:
        with pytest.raises(ValueError, match=r"expected conditionals from 0 to 0.9091 in a ring of 12"):
            ToyConfig(**ring)


def test_the_largest_seed_gives_every_draw_one():
    config = ToyConfig(seed=2**60 - 1)
    for purpose in PURPOSES:
        torch.Generator().manual_seed(seed_of(config, purpose))


@pytest.mark.parametrize("quick", [True, False])
def test_the_default_arms_cross_three_levels_of_cooccurrence_with_same_and_different_outputs(quick):
    arms = default_arms(quick)
    assert [(arm.width, arm.reconstruction_share) for arm in arms.values()] == [
        (128, 1.0),
        (32, 1.0),
        (32, 0.0),
        (128, 0.95),
    ]
    for arm in arms.values():
        assert arm.conditionals == (0.0, "independent", 0.5)
        assert arm.overlaps == (0.0, 1.0)
        assert quick or arm.n_seeds >= 5
