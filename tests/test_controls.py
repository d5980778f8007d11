import dataclasses
import math

import pytest
import torch
from tiny_models import FAMILIES, tiny_language_model

from compare.system import check_system
from real.config import RealConfig, SAEConfig
from real.control_systems import frozen_system, untrained_system
from real.controls import (
    entropy_matching_scale,
    isotropic_directions,
    matched_directions,
    mean_entropy,
    rerandomise,
)
from real.sae import SAE
from real.sae_files import save_sae
from real.system import RealSystem

SAMPLE = torch.randint(256, (4, 16), generator=torch.Generator().manual_seed(1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_isotropic_directions_are_unit_and_have_no_preferred_direction():
    rows = isotropic_directions(20_000, 8, generator=generator())
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(20_000))
    assert rows.mean(0).abs().max() < 0.01  # standard error .0025
    torch.testing.assert_close(rows.T @ rows / 20_000, torch.eye(8) / 8, rtol=0, atol=0.006)


def test_matched_directions_have_the_same_second_moment_however_skewed():
    spread = torch.tensor([3.0, 0.8, 0.6, 0.6, 0.5, 0.5, 0.4, 0.4])
    like = torch.randn(20_000, 8, generator=generator()) * spread
    rows = matched_directions(like, 20_000, generator=generator(1))
    unit = torch.nn.functional.normalize(like, dim=1)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(20_000))
    # standard errors: .003 of either sample, .005 of the 4,096 draws behind the fixed point
    torch.testing.assert_close(rows.T @ rows / 20_000, unit.T @ unit / 20_000, rtol=0, atol=0.025)
    assert (rows.T @ rows).diagonal().argsort().tolist()[-1] == 0


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_matched_directions_lean_as_far_as_the_ones_they_match(length):
    """A mean along an axis that is not one of the covariance's own; mean cosines of .14 and .72."""
    spread = torch.tensor([1.0, 0.5, 0.4, 0.4, 0.3, 0.3, 0.2, 0.2])
    like = torch.randn(20_000, 8, generator=generator()) * spread + length / 8**0.5
    rows = matched_directions(like, 20_000, generator=generator(1)).double()
    unit = torch.nn.functional.normalize(like, dim=1).double()
    assert unit.mean(0).square().sum() > 0.1
    torch.testing.assert_close(rows.mean(0), unit.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(rows.T.cov(), unit.T.cov(), rtol=0, atol=0.02)


def test_matched_directions_do_not_depend_on_the_lengths_of_the_rows():
    like = torch.randn(50, 4, generator=generator())
    longer = like * torch.linspace(1, 9, 50)[:, None]
    one, other = (matched_directions(rows, 30, generator=generator()) for rows in (like, longer))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rerandomised_model_keeps_each_tensors_moments_and_nothing_else(family):
    trained = tiny_language_model(family)
    random = rerandomise(trained, SAMPLE, seed=0, keep_embeddings=False)
    drawn = dict(random.model.named_parameters())
    for name, tensor in trained.model.named_parameters():
        if tensor.std(correction=0) == 0:
            assert torch.equal(tensor, drawn[name])  # norms of an untrained model: all ones
        else:
            assert not torch.equal(tensor, drawn[name])
        if tensor.numel() > 4000:
            error = tensor.std().item() * 5 / math.sqrt(tensor.numel())
            assert abs(drawn[name].mean() - tensor.mean()) < error
            assert abs(drawn[name].std() - tensor.std()) < error
    assert random.sha256 != trained.sha256
    assert rerandomise(trained, SAMPLE, seed=0, keep_embeddings=False).sha256 == random.sha256
    assert rerandomise(trained, SAMPLE, seed=1, keep_embeddings=False).sha256 != random.sha256


def test_embeddings_may_stay():
    trained = tiny_language_model()
    random = rerandomise(trained, SAMPLE, seed=0, keep_embeddings=True)
    drawn = dict(random.model.named_parameters())
    for name, tensor in trained.model.named_parameters():
        if name == "transformer.wte.weight":
            assert torch.equal(tensor, drawn[name])
    assert not torch.equal(
        drawn["transformer.h.0.mlp.c_fc.weight"], trained.model.transformer.h[0].mlp.c_fc.weight
    )


def test_outputs_of_a_rerandomised_model_are_as_uncertain_as_the_trained_models():
    trained = tiny_language_model()
    random = rerandomise(trained, SAMPLE, seed=0, keep_embeddings=False)

    def entropy(model):
        _, outputs = model.run(SAMPLE, "blocks.0.hook_mlp_out")
        return torch.special.entr(outputs).sum(-1).mean().item()

    assert entropy(random) == pytest.approx(entropy(trained), abs=1e-3)
    assert random.logit_scale != 1.0


@pytest.mark.parametrize("entropy", [0.2, 1.0, 2.0])
def test_the_matching_scale_gives_the_entropy_that_was_asked_for(entropy):
    logits = torch.randn(200, 10, generator=generator())
    scale = entropy_matching_scale(logits, entropy)
    assert mean_entropy(logits * scale) == pytest.approx(entropy, abs=2e-4)


def test_logits_that_say_nothing_cannot_be_scaled():
    with pytest.raises(ValueError, match="hardly differ"):
        entropy_matching_scale(torch.zeros(5, 10), 1.0)


@pytest.fixture
def trained(tmp_path):
    """A language model with an SAE of rows that lean one way and vary more in half of the width."""
    spread = torch.tensor([1.0, 0.25]).repeat_interleave(8)
    weights = torch.randn(24, 16, generator=generator(2)) * spread + 0.5
    zeros = {"b_enc": torch.zeros(24), "b_dec": torch.zeros(16)}
    sae = SAE(architecture="standard", W_enc=weights.T, W_dec=weights, **zeros)
    save_sae(sae, tmp_path / "sae")
    reads = RealConfig(context=SAMPLE.shape[1], batch_tokens=64, sae=str(tmp_path / "sae"))
    return RealSystem(tiny_language_model(), sae, SAMPLE, reads)


OWN = SAEConfig(n_features=24, k=3, n_activations=640, batch=64, part=64)


@pytest.mark.parametrize("kept", [True, False])
def test_a_rerandomised_model_with_its_own_sae_goes_through_the_same_door(kept, trained):
    system = untrained_system(trained, OWN, keep_embeddings=kept)
    check_system(system)
    assert torch.equal(system.blocks, trained.blocks)
    assert len(system.directions) == 24
    assert system.provenance["inputs"]["model"] != trained.provenance["inputs"]["model"]
    assert system.provenance["inputs"]["text"] == trained.provenance["inputs"]["text"]
    assert "24 features, TopK, k = 3" in system.provenance["config"]["sae"]
    again = untrained_system(trained, OWN, keep_embeddings=kept)
    assert torch.equal(again.directions, system.directions)


def test_a_frozen_decoder_has_the_moments_of_the_trained_one_and_only_its_encoder_learns(trained):
    config = dataclasses.replace(OWN, n_features=4000)
    short, long = (frozen_system(trained, dataclasses.replace(config, n_activations=n)) for n in (64, 6400))
    check_system(long)
    inputs = long.provenance["inputs"]
    assert inputs["model"] == trained.provenance["inputs"]["model"]
    assert inputs["matched_to"] == trained.provenance["inputs"]["sae"]
    rows, wanted = (torch.nn.functional.normalize(one.directions) for one in (long, trained))
    torch.testing.assert_close(rows, torch.nn.functional.normalize(short.directions), rtol=0, atol=1e-6)
    torch.testing.assert_close(rows.mean(0), wanted.mean(0), rtol=0, atol=0.02)  # standard error .004
    # entries of the covariance have a standard error of .0025 at most; it goes from .004 to .12
    moments = [
        (some.T - some.mean(0)[:, None]) @ (some - some.mean(0)) / len(some) for some in (rows, wanted)
    ]
    torch.testing.assert_close(*moments, rtol=0, atol=0.0125)
    assert moments[1].diagonal().max() > 4 * moments[1].diagonal().min() > 0
    quality = [one.provenance["sae"]["metadata"]["quality"] for one in (short, long)]
    assert quality[0]["explained_variance"] < quality[1]["explained_variance"] < 1
    assert quality[1]["l0"] == pytest.approx(3)
    assert quality[1]["cosine_with_start"] == pytest.approx(1)


def test_what_a_frozen_decoder_costs_the_model_is_the_loss_with_its_own_reconstruction(trained):
    system = frozen_system(trained, OWN)

    def splice(site):
        read = system.sae.reconstruct(site[:, 1:].flatten(0, 1))
        return torch.cat([site[:, :1], read.view_as(site[:, 1:])], 1)

    _, outputs = trained.language_model.run(SAMPLE, trained.config.site, replace=splice)
    loss = -outputs[:, 1:-1].gather(2, SAMPLE[:, 2:, None]).log().mean().item()
    assert system.provenance["sae"]["metadata"]["quality"]["loss_with_sae"] == pytest.approx(loss, rel=1e-5)
