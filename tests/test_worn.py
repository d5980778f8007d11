"""A toy wears what was measured of another system: its rates, its co-firing, pairs of every level."""

import numpy as np
import pytest

from compare.evidence import measure
from compare.progress import step
from compare.run import ReportConfig
from compare.toy_arms import toy_systems, worn_arm
from compare.worn import paired_order, worn_statistics
from toy.config import ToyConfig
from toy.world import World

WORLD = ToyConfig(
    n_features=24, width=8, firing_rate=0.1, vocabulary=32, steps=5, n_seeds=1, n_samples=30_000, batch=64,
    overlaps=(0.0,), grouped_share=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def evidence():
    (system,) = toy_systems("worn", WORLD, World(WORLD), lambda label: step(label, quiet=True))
    return measure(system)


def test_rates_and_joint_rates_are_those_of_the_system_within_sampling_error(evidence):
    seen = worn_statistics(evidence, 24, seed=0)
    truth = World(WORLD)
    expected = truth.joint_rates.numpy().copy()
    np.fill_diagonal(expected, truth.rates.numpy())
    expected = expected[np.ix_(seen.features, seen.features)]
    error = np.abs(seen.joint_rates - expected)
    prior = 1 / WORLD.n_samples  # one firing's worth
    assert (error <= 5 * np.sqrt(expected / WORLD.n_samples) + 2 * prior).all()
    assert np.diag(seen.joint_rates) == pytest.approx(seen.rates)


def test_pairs_come_in_turn_from_above_below_and_at_chance(evidence):
    seen = worn_statistics(evidence, 24, seed=0)
    truth = World(WORLD)
    lift = (truth.joint_rates / (truth.rates[:, None] * truth.rates)).numpy()
    pairs = seen.features.reshape(-1, 2)
    found = [lift[i, j] for i, j in pairs[:6]]
    assert found == pytest.approx([5, 0, 1, 5, 0, 1])
    assert sorted(seen.features.tolist()) == list(range(24))


def test_an_odd_or_too_large_number_is_refused(evidence):
    for wrong in (7, 26):
        with pytest.raises(ValueError, match=f"found n_features={wrong}"):
            worn_statistics(evidence, wrong, seed=0)


def test_no_feature_is_in_two_pairs():
    value = np.random.default_rng(0).normal(size=(10, 10))
    assert sorted(paired_order(value + value.T).tolist()) == list(range(10))


def test_the_arm_has_the_measured_rates_and_outputs_shared_by_every_other_pair(evidence):
    arm = worn_arm("worn", ReportConfig(quick=True))
    systems = arm.systems({"worn": [evidence]}, lambda label: step(label, quiet=True))
    system = next(iter(systems))
    assert np.sort(system.true_rates.numpy()) == pytest.approx(np.sort(evidence.counts / 30_000), abs=1e-6)
    shared = [bool((system.true_outputs[k] == system.true_outputs[k + 1]).all()) for k in range(0, 24, 2)]
    assert shared == [False, True] * 6
