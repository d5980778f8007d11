"""The world's dials are exact: what it claims, a million sampled rows show."""

import math
from dataclasses import replace

import pytest
import torch

from toy.config import ToyConfig
from toy.groups import clique_states, ring_states
from toy.world import World

SMALL = ToyConfig(
    n_features=24,
    width=8,
    firing_rate=0.1,
    conditionals=(0.0, "independent", 0.5, 1.0),
    overlaps=(0.0, 0.5, 1.0),
    grouped_share=1.0,
    vocabulary=32,
)
ZIPF = replace(SMALL, rates="zipf", firing_rate=0.05)
TRIPLES = replace(SMALL, n_features=30, group_size=3, grouped_share=0.9, overlaps=(0.0, 1.0))
RING = replace(
    SMALL,
    n_features=12,
    group_size=12,
    arrangement="ring",
    conditionals=(0.7,),
    overlaps=(0.0,),
    vocabulary=48,
)
FULL_RING = replace(RING, firing_rate=1 / (12 * 0.3))
WORLDS = {"equal": SMALL, "zipf": ZIPF, "triples": TRIPLES, "ring": RING, "never silent": FULL_RING}
every_world = pytest.mark.parametrize("config", WORLDS.values(), ids=WORLDS.keys())


def drawn(world: World, n_rows: int, seed: int = 0) -> torch.Tensor:
    return world.sample(n_rows, torch.Generator().manual_seed(seed)).dense()


@every_world
def test_a_million_rows_show_the_exact_rates_and_joint_rates(config):
    world, n_rows = World(config), 200_000 if config is FULL_RING else 1_000_000
    counts = torch.zeros(config.n_features, config.n_features, dtype=torch.float64)
    for part in range(4):
        is_on = (drawn(world, n_rows // 4, seed=part) > 0).float()
        counts += (is_on.T @ is_on).double()
    expected = world.joint_rates.clone()
    expected.diagonal().copy_(world.rates)
    error = (counts / n_rows - expected).abs()
    five_sigma = 5 * (expected * (1 - expected) / n_rows).sqrt()  # binomial; 0 where a pair is exclusive
    assert (error <= five_sigma + 1e-12).all()


@every_world
def test_every_pair_has_the_conditional_it_was_given(config):
    world = World(config)
    cells = [(q, s) for q in config.conditionals for s in config.overlaps]
    n_pairs = math.comb(config.group_size, 2)
    assert len(world.pairs) == config.n_groups * n_pairs
    assert world.rates.mean().item() == pytest.approx(config.firing_rate)
    for k, pair in enumerate(world.pairs):
        q, s = cells[k // n_pairs % len(cells)]
        rarer, frequent = sorted(world.rates[[pair.i, pair.j]].tolist())
        if config.arrangement == "ring":
            apart = min(pair.j - pair.i, 12 - pair.j + pair.i)
            assert pair.conditional == pytest.approx(max(0.0, 1 - 0.3 * apart))
        else:
            assert pair.conditional == pytest.approx(frequent if q == "independent" else q)
            joint = world.joint_rates[pair.i, pair.j].item()
            assert joint == pytest.approx(rarer * pair.conditional)
        assert pair.overlap == s


@pytest.mark.parametrize("config", [SMALL, TRIPLES], ids=["pairs", "triples"])
def test_votes_have_fixed_entropy_and_diverge_by_one_minus_overlap_times_ln_2(config):
    world = World(config)
    assert torch.special.entr(world.votes).sum(1).numpy() == pytest.approx(math.log(config.votes))
    for pair in world.pairs:
        p, q = world.votes[pair.i], world.votes[pair.j]
        entropy = torch.special.entr(torch.stack([(p + q) / 2, p, q])).sum(1)
        divergence = (entropy[0] - (entropy[1] + entropy[2]) / 2).item()
        assert divergence == pytest.approx((1 - pair.overlap) * math.log(2), abs=1e-12)


def test_features_of_different_groups_are_independent():
    world = World(ZIPF)
    assert world.joint_rates[0, 2].item() == pytest.approx((world.rates[0] * world.rates[2]).item())


@pytest.mark.parametrize("magnitudes", ["binary", "uniform", "lognormal"])
@every_world
def test_mean_outputs_are_what_weighted_means_of_sampled_labels_converge_to(config, magnitudes):
    world = World(replace(config, magnitudes=magnitudes))
    x = drawn(world, 50_000).double()
    labels = world.labels(x)
    mass = x.sum(0)
    measured = (x.T @ labels) / mass[:, None]
    # Kish's effective count of firings; an entry lies in [0, 1]: its variance is at most mean (1 - mean)
    effective = mass**2 / (x**2).sum(0)
    five_sigma = 5 * (world.mean_outputs * (1 - world.mean_outputs) / effective[:, None]).sqrt()
    assert ((measured - world.mean_outputs).abs() <= five_sigma + 1e-9).all()
    torch.testing.assert_close(labels.mean(0), world.base_output, atol=5 * 0.5 / math.sqrt(len(x)), rtol=0)
    assert world.mean_outputs.sum(1).numpy() == pytest.approx(1, abs=1e-9)
    assert world.base_output.sum().item() == pytest.approx(1, abs=1e-9)


def test_two_features_alone_have_the_mean_output_worked_out_by_hand():
    alone = replace(SMALL, n_features=2, width=1, conditionals=(0.5,), overlaps=(0.0,))
    world = World(alone)
    # i fires: half the time alone (its votes), half with j (the mean of both)
    expected = 0.75 * world.votes[0] + 0.25 * world.votes[1]
    torch.testing.assert_close(world.mean_outputs[0], expected)
    silent = 1 - 0.15
    base = 0.075 * (world.votes[0] + world.votes[1]) + silent / 32
    torch.testing.assert_close(world.base_output, base)


def test_labels_are_weighted_votes_and_uniform_where_nothing_fires():
    world = World(SMALL)
    x = torch.zeros(2, 24)
    x[1, 0], x[1, 5] = 1.0, 3.0
    labels = world.labels(x)
    torch.testing.assert_close(labels[0], torch.full((32,), 1 / 32))
    torch.testing.assert_close(labels[1], (world.votes[0] / 4 + world.votes[5] * 3 / 4).float())


def test_sparse_and_dense_forms_of_a_sample_agree():
    world = World(replace(SMALL, magnitudes="uniform"))
    sample = world.sample(101, torch.Generator().manual_seed(1))
    x = sample.dense()
    assert ((x == 0) | ((x > 0) & (x <= 1))).all()
    torch.testing.assert_close(sample.csr().to_dense(), x)
    torch.testing.assert_close(sample.transposed_csr().to_dense(), x.T)
    parts = sample.split(25)
    assert [part.n_rows for part in parts] == [25, 25, 25, 25, 1]
    torch.testing.assert_close(torch.cat([part.dense() for part in parts]), x)
    torch.testing.assert_close(world.labels(sample.csr()), world.labels(x))


def test_the_same_seed_draws_the_same_sample_and_another_another():
    world = World(SMALL)
    torch.testing.assert_close(drawn(world, 100), drawn(World(SMALL), 100), rtol=0, atol=0)
    assert not torch.equal(drawn(world, 100), drawn(world, 100, seed=1))


def test_features_that_fire_too_often_cannot_avoid_each_other():
    with pytest.raises(ValueError, match=r"expected a conditional from 0.5 to 1 .* 0.8, 0.4, found 0.2"):
        clique_states([0.8, 0.4], 0.2)
    assert sum(probability for _, probability in clique_states([0.8, 0.4], 0.5)) == pytest.approx(1)
    with pytest.raises(
        ValueError, match=r"with Zipf rates and 24 features firing_rate has to be below 0.157"
    ):
        World(replace(ZIPF, firing_rate=0.2))


def test_a_ring_spends_its_circle_once():
    states = ring_states(12, 0.02, 0.5)
    assert sum(probability for _, probability in states) == pytest.approx(12 * 0.02 * 0.5)
    assert {len(members) for members, _ in states} == {2}


@pytest.mark.parametrize(("size", "highest"), [(2, 0.0), (3, 1 / 2), (4, 2 / 3), (12, 10 / 11)])
def test_neighbours_in_a_ring_fire_together_as_often_as_asked_up_to_the_highest_conditional(size, highest):
    config = replace(
        RING, n_features=size, width=2, group_size=size, firing_rate=0.2, votes=1, conditionals=(highest,)
    )
    is_on = drawn(World(config), 100_000) > 0
    for k in range(size):
        after = is_on[is_on[:, k], (k + 1) % size].double()
        assert after.mean().item() == pytest.approx(highest, abs=5 * 0.5 / len(after) ** 0.5)
    with pytest.raises(ValueError, match=f"to {highest:.4g} in a ring of {size} features"):
        replace(config, conditionals=(highest + 0.05,))  # arcs would meet round the back as well
