"""Gradients against autograd, determinism, the loss's shares, and anchors known from the literature."""

import math
from dataclasses import replace

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from toy.anchors import cell_cosines, dimensionalities, is_regular_polygon
from toy.config import ToyConfig, default_arms
from toy.model import Trained, train, trained
from toy.network import LossScales, Network
from toy.readout import output_loss, scores
from toy.world import World

SMALL = ToyConfig(n_features=24, width=8, firing_rate=0.1, vocabulary=32, n_seeds=3, batch=64, steps=40)
ALONE = ToyConfig(grouped_share=0.0, magnitudes="uniform", vocabulary=8, batch=256, n_samples=1000)


def loss_by_definition(network: Network, world: World, scales: LossScales, sample) -> torch.Tensor:
    """The sum of the instances' losses, as the config states it, for autograd."""
    config, x = network.config, sample.dense().double()
    labels = world.labels(x)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(config.n_seeds):
        hidden = x @ network.directions[:, k]
        output = torch.relu(hidden @ network.encoder[:, k].T + network.bias[k])
        error = ((output - x) ** 2 * scales.importance).sum(1).mean() / scales.reconstruction
        total = total + config.reconstruction_share * error
        if network.readout:
            divergence = output_loss(scores(hidden, network.readout, k), labels, config.readout)
            total = total + (1 - config.reconstruction_share) * divergence / scales.output
    return total


def test_training_takes_one_thread_whatever_multiplies():
    found = set()

    def look(done: int, total: int) -> None:
        found.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        found.add(torch.get_num_threads())

    with threadpool_limits(2, user_api="blas"):
        train(replace(SMALL, steps=2), World(SMALL), look)
    assert found == {1}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("magnitudes", "readout"), [("binary", "softmax"), ("uniform", "relu"), ("lognormal", "mlp")]
)
def test_gradients_agree_with_autograd(share, tied, magnitudes, readout):
    config = replace(
        SMALL, reconstruction_share=share, tied=tied, magnitudes=magnitudes, importance_decay=0.9
    )
    config = replace(config, readout=readout, readout_width=7)
    world = World(config)
    scales = LossScales(world)
    network = Network(config, scales, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    parameters = network.parameters()
    for parameter in parameters[1:]:
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    sample = world.sample(64, generator)
    network.backward(sample, world.labels(sample.csr().double()))
    by_hand = [parameter.grad.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_()
    loss = loss_by_definition(network, world, scales, sample)
    by_autograd = torch.autograd.grad(loss, parameters, allow_unused=True)
    for ours, oracle in zip(by_hand, by_autograd, strict=True):
        expected = torch.zeros_like(ours) if oracle is None else oracle
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)


def test_chunks_of_instances_change_nothing(monkeypatch):
    config = replace(SMALL, reconstruction_share=0.5)
    whole = train(config, World(config))
    monkeypatch.setattr("toy.network.CHUNK", 1)
    torch.testing.assert_close(
        train(config, World(config)).directions, whole.directions, atol=1e-4, rtol=1e-3
    )


def test_a_network_that_knows_nothing_has_a_loss_of_one_in_each_term():
    config = replace(SMALL, reconstruction_share=0.5)
    world = World(config)
    scales = LossScales(world)
    network = Network(config, scales)
    network.directions.zero_()
    network.readout[-1].bias.add_(world.base_output.log().float())
    found = trained(network, scales)
    sampled = 5 * 3 / math.sqrt(scales.sample.n_rows)  # |x|^2 and -log base have sd < 3 of their means
    assert found.reconstruction_losses.numpy() == pytest.approx(1, abs=sampled)
    assert found.output_losses.numpy() == pytest.approx(1, abs=sampled)
    assert found.losses.numpy() == pytest.approx(1, abs=sampled)


def test_the_same_config_gives_the_same_weights_and_another_seed_others():
    config = replace(SMALL, reconstruction_share=0.5)
    one, two = train(config, World(config)), train(config, World(config))
    assert torch.equal(one.directions, two.directions)
    assert torch.equal(one.readout[-1].weight, two.readout[-1].weight)
    other = replace(config, seed=1)
    assert not torch.equal(train(other, World(other)).directions, one.directions)
    assert not torch.equal(one.directions[0], one.directions[1])


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_a_diverged_start_is_not_the_best_but_refused(share):
    config = replace(SMALL, reconstruction_share=share, learning_rate=1.0, weight_decay=3.0, steps=300)
    with pytest.raises(ValueError, match=r"3 of 3 starts diverged at learning_rate=1 and weight_decay=3"):
        train(config, World(config))


def test_one_diverged_start_of_three_is_counted(monkeypatch):
    def spoilt(network, scales):
        network.bias[1, 5] = math.inf
        return trained(network, scales)

    monkeypatch.setattr("toy.model.trained", spoilt)
    with pytest.raises(ValueError, match="found that 1 of 3 starts diverged"):
        train(SMALL, World(SMALL))


@pytest.mark.parametrize(("share", "loss"), [(0.0, 0.4), (0.25, 0.35), (1.0, 0.2)])
def test_a_term_without_a_share_counts_for_nothing_and_one_that_is_not_finite_shows(share, loss):
    config, nothing = replace(SMALL, reconstruction_share=share, n_seeds=1), torch.full((1,), math.nan)
    reconstruction, output = torch.tensor([0.2]), torch.tensor([0.4])
    weights = (torch.zeros(1, 24, 8), torch.zeros(1, 24, 8), torch.zeros(1, 24), ())
    whole = Trained(config, *weights, reconstruction, output)
    assert whole.losses.tolist() == pytest.approx([loss])
    assert replace(whole, reconstruction_losses=nothing).losses.isnan().item() == (share > 0)
    assert replace(whole, output_losses=nothing).losses.isnan().item() == (share < 1)


@pytest.mark.parametrize("readout", ["softmax", "relu", "mlp"])
def test_outputs_that_tell_nothing_are_refused_unless_they_are_no_part_of_the_loss(readout):
    config = replace(SMALL, vocabulary=4, votes=4, overlaps=(1.0,), readout=readout)  # uniform, whoever fires
    world = World(config)
    assert math.isnan(LossScales(world).output)
    assert (train(config, world).losses < 1).all()
    both = replace(config, reconstruction_share=0.5)
    with pytest.raises(ValueError, match="expected outputs that tell features apart, found a loss of"):
        train(both, World(both))


def test_training_reports_its_progress_to_the_last_step():
    seen = []
    train(SMALL, World(SMALL), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(16, 40), (32, 40), (40, 40)]


@pytest.mark.parametrize("readout", ["softmax", "relu", "mlp"])
@pytest.mark.parametrize("tied", [True, False])
def test_training_lowers_both_losses_below_knowing_nothing(readout, tied):
    config = replace(SMALL, reconstruction_share=0.5, steps=100, readout=readout, tied=tied)
    found = train(config, World(config))
    assert (found.reconstruction_losses < 0.8).all()
    assert (found.output_losses < 0.8).all()


def test_given_directions_stay_and_know_nothing_of_cooccurrence():
    config = replace(SMALL, n_features=192, width=16, firing_rate=0.05, n_seeds=20, directions="given")
    world = World(config)
    found = train(config, world)
    assert found.directions.norm(dim=2).numpy() == pytest.approx(1, abs=1e-5)
    assert not torch.equal(found.bias, torch.zeros_like(found.bias))
    for cosines in cell_cosines(world, found).values():
        assert abs(cosines.mean().item()) < 5 / math.sqrt(
            16 * cosines.numel()
        )  # sd of a cosine: 1 / sqrt(16)


def test_weight_decay_shortens_directions():
    config = replace(SMALL, steps=100)
    decayed = replace(config, weight_decay=3.0)
    plain = train(config, World(config)).directions.norm()
    assert train(decayed, World(decayed)).directions.norm() < 0.8 * plain


def test_dimensionalities_of_known_figures():
    angle = torch.arange(5) * 2 * torch.pi / 5
    pentagon = torch.stack([angle.cos(), angle.sin()], 1)
    pairs = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0], [0.0, 0.0]])
    found = dimensionalities(torch.stack([pentagon, pairs]))
    torch.testing.assert_close(found[0], torch.full((5,), 0.4))
    torch.testing.assert_close(found[1], torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0]))
    assert is_regular_polygon(torch.stack([pentagon, pairs])).tolist() == [True, False]


@pytest.mark.slow
def test_two_features_in_one_dimension_point_opposite_ways_where_they_are_sparse():
    config = replace(ALONE, n_features=2, width=1, firing_rate=0.05, n_seeds=20, steps=2000)
    directions = train(config, World(config)).directions[..., 0]
    is_antipodal = (directions[:, 0] * directions[:, 1] < -0.5).float().mean()
    assert is_antipodal >= 0.5  # from the other starts one feature alone takes the dimension, a local minimum
    dense = replace(config, firing_rate=0.9, importance_decay=0.7)
    directions = train(dense, World(dense)).directions[..., 0]
    assert (directions[:, 1].abs() < 0.1).all()  # the more important one alone


@pytest.mark.slow
@pytest.mark.parametrize("firing_rate", [0.02, 0.05])
def test_five_features_in_two_dimensions_make_a_pentagon(firing_rate):
    config = replace(
        ALONE, n_features=5, width=2, firing_rate=firing_rate, n_seeds=40, steps=5000, batch=1024
    )
    assert is_regular_polygon(train(config, World(config)).directions).float().mean() >= 0.95


@pytest.mark.slow
def test_always_together_pairs_are_orthogonal_where_there_is_room():
    config = replace(ALONE, n_features=4, width=2, firing_rate=0.05, n_seeds=20, steps=4000)
    config = replace(config, grouped_share=1.0, conditionals=(1.0,), overlaps=(0.0,))
    world = World(config)
    found = train(config, world)
    (cosines,) = cell_cosines(world, found).values()
    best_half = found.losses.argsort()[:10]  # from some starts a feature is lost for good
    assert (cosines[best_half].abs() < 0.05).all()


@pytest.mark.slow
def test_always_together_features_without_magnitudes_are_one_feature():
    config = replace(
        SMALL, n_features=16, grouped_share=1.0, conditionals=(1.0,), overlaps=(0.0,), steps=1000
    )
    world = World(config)
    found = train(config, world)
    (cosines,) = cell_cosines(world, found).values()
    assert (cosines[found.losses.argmin()] > 0.95).all()  # the best of three starts


@pytest.mark.slow
def test_cells_of_the_tied_autoencoder_with_room():
    config = replace(default_arms(quick=False)["tied autoencoder, room"], n_seeds=3)
    world = World(config)
    found = train(config, world)
    assert dimensionalities(found.directions).sum(1).numpy() == pytest.approx(128, rel=0.01)
    cells = cell_cosines(world, found)
    antipodal = {cell: (cosines < -0.9).float().mean().item() for cell, cosines in cells.items()}
    for outputs in ("same", "different"):
        assert antipodal["exclusive", outputs] >= 0.35
        assert antipodal["independent", outputs] <= 0.03
        assert abs(cells["co-occurring", outputs].mean().item()) < 0.1


@pytest.mark.slow
def test_cells_without_room_and_with_outputs_only():
    arms = {name: replace(arm, n_seeds=2, steps=1500) for name, arm in default_arms(quick=False).items()}
    world = World(arms["outputs only"])
    tied = cell_cosines(world, train(arms["tied autoencoder, no room"], world))
    outputs = cell_cosines(world, train(arms["outputs only"], world))
    assert tied["co-occurring", "same"].mean() > 0.9
    assert tied["co-occurring", "different"].mean() > 0.9
    for cooccurrence in ("exclusive", "independent", "co-occurring"):
        assert outputs[cooccurrence, "same"].mean() > 0.95
        assert abs(outputs[cooccurrence, "different"].mean()) < 0.3
