import json
from dataclasses import replace

import pytest
import torch

from real import sae_steps
from real.config import SAEConfig
from real.sae_files import load_sae, save_sae
from real.sae_state import State
from real.sae_steps import SPARSE, Weights, add_revival, l1_step, of_positive, topk_step
from real.sae_training import train_sae

WIDTH = 16


@pytest.fixture(autouse=True)
def one_thread():
    """Steps this small take longer to share between threads than to take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def some_weights() -> Weights:
    return Weights(draw(30, WIDTH, seed=1), draw(30, WIDTH, seed=2), draw(30, seed=3), draw(WIDTH, seed=4))


def autograd(inputs, weights, activate, penalty):
    """Loss and gradients of the dense, textbook SAE."""
    leaves = Weights(*(tensor.clone().requires_grad_() for tensor in weights))
    before = (inputs - leaves.b_dec) @ leaves.encoder.T + leaves.b_enc
    activations = activate(before)
    loss = (activations @ leaves.decoder + leaves.b_dec - inputs).square().sum(1).mean()
    loss = loss + penalty * activations.sum(1).mean()
    loss.backward()
    return loss, activations, Weights(*(leaf.grad for leaf in leaves))


def largest(before, k, signed):
    score = before.abs() if signed else before
    kept = torch.zeros_like(before).scatter(1, score.topk(k).indices, 1.0) * before
    return kept if signed else kept.relu()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("k", [1, 5, 25])  # at 25 of 30 some of the largest are negative
def test_sparse_gradients_equal_autograd(signed, k):
    inputs, weights = draw(40, WIDTH), some_weights()
    found = topk_step(inputs, weights, k, signed=signed, frozen=False)
    loss, activations, gradients = autograd(inputs, weights, lambda b: largest(b, k, signed), 0.0)
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert torch.equal(found.firings, (activations != 0).sum(0))
    for name, mine, theirs in zip(Weights._fields, found.gradients, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize(("shift", "is_sparse"), [(0.0, False), (-12.0, True)])
def test_l1_gradients_equal_autograd(shift, is_sparse, monkeypatch):
    """Where half of all activations are on, and where so few are that they are taken one by one."""
    taken = []
    monkeypatch.setattr(sae_steps, "of_positive", lambda *at: taken.append(at) or of_positive(*at))
    inputs, weights = draw(40, WIDTH), some_weights()
    weights.b_enc.add_(shift)
    found = l1_step(inputs, weights, 0.3, frozen=False)
    loss, activations, gradients = autograd(inputs, weights, torch.relu, 0.3)
    assert (0 < (activations > 0).double().mean() <= SPARSE) == is_sparse
    assert bool(taken) == is_sparse
    assert ((activations > 0).sum(1) == 0).any() == is_sparse  # tokens at which nothing fires as well
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert torch.equal(found.firings, (activations != 0).sum(0))
    for name, mine, theirs in zip(Weights._fields, found.gradients, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize("frozen", [False, True])
def test_silent_features_get_the_gradients_of_the_auxk_loss_and_no_others_do(frozen):
    inputs, weights, silent, k = draw(40, WIDTH), some_weights(), torch.tensor([3, 8, 9, 20, 29]), 2
    found = topk_step(inputs, weights, 4, signed=False, frozen=frozen)
    clean = Weights(*(None if part is None else part.clone() for part in found.gradients))
    add_revival(found, inputs, weights, silent, k, weight=0.5)
    leaves = Weights(*(tensor.clone().requires_grad_() for tensor in weights))
    before = (inputs - leaves.b_dec.detach()) @ leaves.encoder[silent].T + leaves.b_enc[silent]
    missing = -found.residual  # what the others left
    wrong = largest(before, k, signed=False) @ leaves.decoder[silent] - missing
    (0.5 * wrong.square().sum(1).mean()).backward()
    for name in ("encoder", "b_enc") if frozen else ("encoder", "b_enc", "decoder"):
        gained = getattr(found.gradients, name) - getattr(clean, name)
        torch.testing.assert_close(gained, getattr(leaves, name).grad, rtol=1e-10, atol=1e-10, msg=name)
        others = [i for i in range(30) if i not in silent.tolist()]
        assert torch.equal(getattr(found.gradients, name)[others], getattr(clean, name)[others])
    assert torch.equal(found.gradients.b_dec, clean.b_dec)


@pytest.mark.parametrize("revival", [0.0, 1 / 32])
def test_only_revival_moves_features_of_a_topk_that_do_not_fire(revival):
    state = State.start(replace(SMALL, silent_steps=1, revival_k=24, revival=revival), planted)
    with torch.no_grad():
        state.weights.encoder[3:6] *= 1e-3  # too faint ever to be among the two largest
    before = state.weights.encoder[3:6].clone()
    fired = sum(state.update(planted(step, 128)).firings[3:6].sum() for step in range(4))
    assert fired == 0
    assert torch.equal(state.weights.encoder[3:6], before) == (revival == 0)


@pytest.mark.parametrize("inputs", ["scaled", "whitened"])
def test_a_frame_is_undone_when_the_sae_is_read_out(inputs):
    """What the weights reconstruct in their frame is what the SAE reconstructs at the site."""
    state = State.start(replace(SMALL, inputs=inputs), skewed)
    for step in range(5):
        state.update(skewed(step, 128))
    site, sae = skewed(99, 200), state.result()
    encoder, decoder, b_enc, b_dec = state.weights
    there = state.frame.inputs(site)
    assert there.norm(dim=1).mean().item() == pytest.approx(WIDTH**0.5, rel=0.05)
    on = largest((there - b_dec) @ encoder.T + b_enc, 2, signed=False)
    expected = (on @ decoder + b_dec) @ state.frame.back + state.frame.origin
    torch.testing.assert_close(sae.reconstruct(site), expected.detach(), rtol=1e-3, atol=1e-2)
    assert sae.W_dec.norm(dim=1).mean().item() == pytest.approx(1.0)


def test_whitened_inputs_vary_alike_in_all_directions_but_those_of_no_variance():
    frame = State.start(replace(SMALL, inputs="whitened"), skewed).frame
    spread = frame.inputs(skewed(0, 8192)).T.cov()
    values = torch.linalg.eigvalsh(spread)
    assert values[0] < 0.02 * values[-1]  # one direction of skewed() is constant
    # v / (v + .01 mean) is .679 for the smallest other variance and .995 for the largest
    assert (values[1] / values[-1]).item() == pytest.approx(0.682, rel=0.06)


def test_a_frozen_decoder_points_where_it_was_asked_to_whatever_the_inputs(tmp_path):
    drawn = [
        State.start(replace(SMALL, inputs=inputs, decoder="isotropic"), skewed).result().W_dec
        for inputs in ("scaled", "whitened")
    ]
    cosines = torch.cosine_similarity(*drawn)
    torch.testing.assert_close(cosines, torch.ones(24), rtol=0, atol=1e-4)


def skewed(part: int, n_rows: int) -> torch.Tensor:
    """Gaussian rows far from zero whose sixteen variances run from 4 to 0."""
    variances = torch.cat([torch.linspace(0.04, 4.0, WIDTH - 1), torch.zeros(1)])
    draws = torch.Generator().manual_seed(part)
    return torch.randn(n_rows, WIDTH, generator=draws) * variances.sqrt() + 5.0


def test_a_frozen_decoder_has_no_gradient_and_the_others_are_the_same():
    inputs, weights = draw(40, WIDTH), some_weights()
    few_on = weights._replace(b_enc=weights.b_enc - 12)
    for free, frozen in [
        [topk_step(inputs, weights, 4, signed=False, frozen=frozen) for frozen in (False, True)],
        [l1_step(inputs, weights, 0.3, frozen=frozen) for frozen in (False, True)],
        [l1_step(inputs, few_on, 0.3, frozen=frozen) for frozen in (False, True)],
    ]:
        assert frozen.gradients.decoder is None
        for name in ("encoder", "b_enc", "b_dec"):
            assert torch.equal(getattr(free.gradients, name), getattr(frozen.gradients, name))


TRUE = torch.nn.functional.normalize(draw(12, WIDTH, seed=11).float(), dim=1)


def planted(part: int, n_rows: int) -> torch.Tensor:
    """Activations made of at most two of twelve known directions, shifted and not of unit scale."""
    draws = torch.Generator().manual_seed(part)
    which = torch.rand(n_rows, len(TRUE), generator=draws).topk(2, dim=1).indices
    amounts = torch.rand(n_rows, 2, generator=draws) + 0.5
    on = torch.zeros(n_rows, len(TRUE)).scatter(1, which, amounts)
    return 7.0 * (on @ TRUE) + 3.0


SMALL = SAEConfig(
    n_features=24, k=2, n_activations=38_400, batch=128, part=1280, learning_rate=1e-2, warmup_steps=10,
    silent_steps=50, checkpoint_every=1000,
)  # fmt: skip


def recovered(sae) -> float:
    """Mean over true directions of the largest cosine with a decoder row."""
    return (TRUE @ torch.nn.functional.normalize(sae.W_dec, dim=1).T).amax(1).mean().item()


@pytest.mark.parametrize("architecture", ["topk", "standard"])
def test_planted_directions_are_found(tmp_path, architecture):
    sae = train_sae(planted, replace(SMALL, architecture=architecture, l1=1.0), tmp_path / "sae")
    before = State.start(SMALL, planted).result()
    assert recovered(before) < 0.6
    assert recovered(sae) > 0.95
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(24), rtol=0, atol=1e-5)
    site = planted(999, 500)
    assert (sae.reconstruct(site) - site).square().sum() < 0.15 * (site - site.mean(0)).square().sum()


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    config = replace(SMALL, n_activations=6400, checkpoint_every=7, silent_steps=20)
    whole = train_sae(planted, config, tmp_path / "whole")

    def dying(part, n_rows):
        if part == 3:
            raise KeyboardInterrupt
        return planted(part, n_rows)

    with pytest.raises(KeyboardInterrupt):
        train_sae(dying, config, tmp_path / "resumed")
    assert not (tmp_path / "resumed").exists()
    seen = []

    def watched(part, n_rows):
        seen.append(part)
        return planted(part, n_rows)

    resumed = train_sae(watched, config, tmp_path / "resumed")
    assert seen[0] == 2  # step 28 is in part 2, of ten steps each
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "resumed"}


def test_going_on_with_another_config_is_refused(tmp_path):
    config = replace(SMALL, n_activations=6400)
    state = State.start(config, planted)
    (tmp_path / "sae.training").mkdir()
    state.save(tmp_path / "sae.training" / "checkpoint.safetensors", {})
    with pytest.raises(ValueError, match="found another k, seed"):
        train_sae(planted, replace(config, k=3, seed=1), tmp_path / "sae")


@pytest.mark.parametrize(
    ("began", "found"),
    [
        ({"site": "a", "model_sha256": "0"}, "of site a, with which .*, found those of b"),
        ({"site": "b", "model_sha256": "1"}, "of model_sha256 1, with which .*, found those of 0"),
        ({}, "of site unknown, with which .*, found those of b"),  # a checkpoint from before
    ],
)
def test_going_on_with_activations_of_something_else_is_refused_naming_both(tmp_path, began, found):
    config = replace(SMALL, n_activations=6400)
    (tmp_path / "sae.training").mkdir()
    State.start(config, planted).save(tmp_path / "sae.training" / "checkpoint.safetensors", began)
    with pytest.raises(ValueError, match=found):
        train_sae(planted, config, tmp_path / "sae", reads={"site": "b", "model_sha256": "0"})


def never(part: int, n_rows: int) -> torch.Tensor:
    raise AssertionError("training has begun")


@pytest.mark.parametrize("name", ["sae", "sae.training"])
def test_what_would_be_lost_is_told_before_training(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("five years of work")
    with pytest.raises(ValueError, match=r"found thesis\.txt"):
        train_sae(never, SMALL, tmp_path / "sae")
    assert [path.name for path in tmp_path.rglob("*")] == [name, "thesis.txt"]


def test_frozen_decoders_stay_where_they_were_drawn(tmp_path):
    config = replace(SMALL, n_activations=6400, decoder="isotropic")
    sae = train_sae(planted, config, tmp_path / "frozen")
    assert torch.equal(sae.W_dec, State.start(config, planted).result().W_dec)
    assert sae.metadata["cosine_with_start"] == pytest.approx(1.0)
    moved = train_sae(planted, replace(SMALL, n_activations=6400), tmp_path / "trained")
    assert moved.metadata["cosine_with_start"] < 0.99


def test_a_matched_decoder_has_the_second_moment_of_the_one_it_is_like(tmp_path):
    flat = State.start(replace(SMALL, n_features=2000), planted).result()
    flat.W_dec[:, 2:] = 0  # all rows lie in a plane
    save_sae(flat, tmp_path / "flat")
    config = replace(SMALL, decoder="matched", matched_to=str(tmp_path / "flat"), n_features=500)
    drawn = State.start(config, planted).result().W_dec
    assert drawn[:, 2:].abs().max() < 1e-5
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(500))


def test_silent_features_are_given_new_starts():
    config = replace(SMALL, architecture="standard", silent_steps=5, warmup_steps=1)
    state = State.start(config, planted)
    with torch.no_grad():
        state.weights.b_enc[3:6] = -1e6
    for _ in range(5):
        state.update(planted(0, 128))
    assert (state.weights.b_enc[3:6] == 0).all()
    assert not state.adam.state[state.weights.encoder]["exp_avg"][3:6].any()
    assert state.update(planted(1, 128)).firings[3:6].sum() > 0


def test_the_log_tells_how_training_went(tmp_path):
    shown = []
    config = replace(SMALL, n_activations=25_600)
    train_sae(planted, config, tmp_path / "sae", progress=lambda *done: shown.append(done))
    lines = [json.loads(line) for line in (tmp_path / "sae" / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [100, 200]
    assert lines[1]["loss"] < lines[0]["loss"]
    assert lines[1]["l0"] <= 2
    assert shown[-1] == (25_600, 25_600)
    assert load_sae(tmp_path / "sae").metadata["training"]["n_activations"] == 25_600


def test_the_rate_rises_stays_and_falls():
    config = replace(SMALL, n_activations=128 * 100, warmup_steps=10, decay_share=0.5)
    assert config.rate(0) == pytest.approx(0.1 * config.learning_rate)
    assert config.rate(20) == config.learning_rate
    assert config.rate(75) == pytest.approx(0.5 * config.learning_rate)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"architecture": "gated"}, "expected architecture among topk, abstopk, standard, found 'gated'"),
        ({"decoder": "matched"}, "expected matched_to with a matched decoder and no other"),
        ({"matched_to": "x"}, "expected matched_to with a matched decoder and no other"),
        ({"k": 25}, "expected k from 1 to n_features, found k=25 and n_features=24"),
        ({"k": 0}, "expected k from 1 to n_features, found k=0 .*: change k"),
        ({"part": 100}, "expected part a multiple of batch"),
        ({"n_activations": 5}, "n_activations of a batch or more, found"),
        ({"silent_steps": 0}, "expected silent_steps of 1 or more, found 0"),
        ({"revival_k": 0}, "expected revival_k of 1 or more, found 0"),
        ({"checkpoint_every": 0}, "expected checkpoint_every of 1 or more, found 0"),
        ({"learning_rate": float("nan")}, "expected learning_rate > 0, found nan"),
        ({"learning_rate": 0.0}, "expected learning_rate > 0, found 0.0"),
        ({"l1": -1.0}, "expected l1 of 0 or more, found -1.0"),
        ({"warmup_steps": -1}, "expected warmup_steps of 0 or more, found -1"),
        ({"seed": -1}, r"expected a seed from 0 to 2\*\*40 - 1, found -1"),
        ({"seed": 2**40}, "expected a seed from 0 .* found 1099511627776"),
    ],
)
def test_configs_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)


def test_activations_of_zero_are_refused(tmp_path):
    with pytest.raises(ValueError, match="finite and not all zero"):
        train_sae(lambda part, n_rows: torch.zeros(n_rows, WIDTH), SMALL, tmp_path / "sae")
    assert not list(tmp_path.iterdir())
