"""A trained toy as a system: the seam fits, the truth is the world's, the site can be replaced."""

from dataclasses import replace

import pytest
import torch

from compare.system import HasEncoder, HasProvenance, HasSite, HasTruth, check_system
from toy.config import ToyConfig
from toy.model import train
from toy.system import ToySystem
from toy.world import World

CONFIG = ToyConfig(
    n_features=24, width=8, firing_rate=0.1, vocabulary=32, steps=5, n_seeds=2, n_samples=5000, batch=64
)


@pytest.fixture(params=[(0.0, "softmax"), (0.5, "mlp"), (0.5, "relu"), (1.0, "softmax")])
def toy(request) -> ToySystem:
    share, readout = request.param
    config = replace(CONFIG, reconstruction_share=share, readout=readout, tied=readout != "mlp")
    world = World(config)
    return ToySystem("toy", world, train(config, world), instance=1)


def test_it_fits_the_seam(toy):
    check_system(toy)
    for ability in (HasEncoder, HasSite, HasTruth, HasProvenance):
        assert isinstance(toy, ability)
    assert toy.provenance["config"]["n_features"] == 24
    assert toy.provenance["instance"] == 1


def test_the_stream_starts_afresh_and_counts_sequences_on(toy):
    first, second = list(toy.stream()), list(toy.stream())
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.activations, other.activations, rtol=0, atol=0)
        torch.testing.assert_close(one.outputs, other.outputs, rtol=0, atol=0)
    assert torch.equal(torch.cat([batch.sequences for batch in first]), torch.arange(5000))


def test_activations_are_the_worlds_and_preactivations_read_the_hidden_vectors(toy):
    batch = next(iter(toy.stream()))
    assert set(batch.activations.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(batch.inputs, batch.activations @ toy.directions)
    offset = batch.preactivations - batch.inputs @ toy.encoder.T
    torch.testing.assert_close(offset, offset[:1].expand_as(offset), atol=1e-5, rtol=0)  # the bias


def test_replaced_hidden_vectors_carry_through_to_activations_and_outputs(toy):
    same = next(iter(toy.stream_with(lambda hidden: hidden)))
    plain = next(iter(toy.stream()))
    torch.testing.assert_close(same.preactivations, plain.preactivations)
    torch.testing.assert_close(same.activations, plain.preactivations.relu())
    zeroed = next(iter(toy.stream_with(torch.zeros_like)))
    assert (zeroed.preactivations == zeroed.preactivations[0]).all()
    assert torch.allclose(zeroed.outputs, zeroed.outputs[:1].expand_as(zeroed.outputs))


def test_the_truth_is_the_worlds():
    world = World(CONFIG)
    toy = ToySystem("toy", world, train(CONFIG, world))
    torch.testing.assert_close(toy.true_rates, torch.full((24,), 0.1))
    torch.testing.assert_close(toy.true_joint_rates, world.joint_rates.float())
    torch.testing.assert_close(toy.true_outputs, world.votes.float())
    total = sum(batch.activations.T @ batch.outputs for batch in toy.stream())
    mean = total / total.sum(1, keepdim=True)
    torch.testing.assert_close(
        mean, toy.true_mean_outputs, atol=0.05, rtol=0
    )  # 500 firings: 5 sigma is < .05


def test_an_instance_that_was_not_trained_is_refused():
    world = World(CONFIG)
    with pytest.raises(ValueError, match="expected an instance from 0 to 1, found 2"):
        ToySystem("toy", world, train(CONFIG, world), instance=2)
