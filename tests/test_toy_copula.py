"""A Gaussian copula is set by what is seen, has exact rates, and says what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.special import ndtri
from scipy.stats import multivariate_normal
from torch.nn.functional import normalize

from toy.config import ToyConfig
from toy.copula import Copula, gaussian_joint_rate, joint_of, latent_correlation, phi_of
from toy.world import World

SMALL = ToyConfig(
    n_features=12, width=6, vocabulary=32, firing_rate=0.1, grouped_share=1.0, arrangement="copula",
    conditionals=(0.02, "independent", 0.5),
)  # fmt: skip


@pytest.mark.parametrize(
    ("p", "q", "r"), [(0.05, 0.05, 0.9), (0.3, 0.01, -0.4), (0.5, 0.5, 0.3), (0.6, 0.2, 0.0)]
)
def test_joint_rates_agree_with_scipy(p, q, r):
    expected = multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([ndtri(p), ndtri(q)])
    assert gaussian_joint_rate(np.array(p), np.array(q), np.array(r)) == pytest.approx(expected, abs=1e-6)


def test_a_latent_correlation_is_not_what_is_seen():
    rates = np.array([0.05, 0.05])
    for latent, seen in ((0.9, 0.62), (-0.5, -0.051)):
        joint = np.full((2, 2), gaussian_joint_rate(rates[:1], rates[1:], np.array(latent)))
        assert phi_of(joint, rates)[0, 1] == pytest.approx(seen, abs=0.005)
        assert latent_correlation(rates, joint)[0, 1] == pytest.approx(latent, abs=1e-9)
    assert joint_of(phi_of(joint, rates), rates)[0, 1] == pytest.approx(joint[0, 1])


def test_sampled_rates_and_joint_rates_are_those_stated():
    world, n_rows = World(SMALL), 200_000
    assert world.rates.numpy() == pytest.approx(0.1)
    for pair in world.pairs:
        wanted = {"exclusive": 0.02, "independent": 0.1, "co-occurring": 0.5}[pair.cooccurrence]
        assert pair.conditional == pytest.approx(wanted, abs=1e-6)
    is_on = (world.sample(n_rows, torch.Generator().manual_seed(0)).dense() > 0).double()
    found, expected = is_on.T @ is_on / n_rows, world.joint_rates
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / n_rows).sqrt() + 1e-12).all()


def test_mean_outputs_are_within_their_stated_error():
    copula = World(SMALL)
    exact = World(replace(SMALL, arrangement="clique"))  # groups of two: the same joint law of each pair
    error = 5 * copula.truth_error
    assert 0 < copula.truth_error < 0.005
    assert exact.truth_error == 0
    torch.testing.assert_close(copula.mean_outputs, exact.mean_outputs, atol=error, rtol=0)
    torch.testing.assert_close(copula.base_output, exact.base_output, atol=error, rtol=0)


def test_a_dense_graph_is_worn_from_a_file(tmp_path):
    rng = np.random.default_rng(0)
    n = 20
    rates = rng.uniform(0.02, 0.2, n)
    loadings = normalize(torch.from_numpy(rng.normal(size=(n, 3))), dim=1).numpy() * 0.8
    latent = loadings @ loadings.T
    np.fill_diagonal(latent, 1)
    joint = gaussian_joint_rate(rates[:, None], rates[None, :], latent)
    np.fill_diagonal(joint, rates)
    np.savez(tmp_path / "seen.npz", rates=rates, joint_rates=joint)
    np.savez(tmp_path / "phi.npz", rates=rates, phi=phi_of(joint, rates))
    for name in ("seen.npz", "phi.npz"):
        config = replace(SMALL, n_features=n, statistics=str(tmp_path / name))
        world = World(config)
        assert world.firing.phi_error < 1e-6
        assert world.joint_rates.numpy() == pytest.approx(joint, abs=1e-6)
    with pytest.raises(ValueError, match=r"expected rates \[12\] .* found .*20.* set n_features"):
        World(replace(SMALL, statistics=str(tmp_path / "phi.npz")))
    with pytest.raises(ValueError, match="found nothing at"):
        World(replace(SMALL, statistics=str(tmp_path / "none.npz")))


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        ((3, 5), np.nan, r"found nan at \[3, 5\] and 0.01 at \[5, 3\]"),
        ((4, 4), np.inf, r"found inf at \[4, 4\]"),
        ((5, 3), 0.04, r"found 0.01 at \[3, 5\] and 0.04 at \[5, 3\]"),  # the lower triangle as the upper
        ((3, 5), 0.04, r"found 0.04 at \[3, 5\] and 0.01 at \[5, 3\]"),
    ],
)
def test_joint_rates_of_a_file_have_to_be_finite_and_symmetric(tmp_path, place, value, found):
    joint = np.full((12, 12), 0.01)
    joint[place] = value
    np.savez(tmp_path / "seen.npz", rates=np.full(12, 0.1), joint_rates=joint)
    with pytest.raises(
        ValueError, match=f"expected joint_rates or phi that are finite and symmetric.*{found}"
    ):
        World(replace(SMALL, statistics=str(tmp_path / "seen.npz")))


def test_float32_rounding_does_not_count_as_asymmetry(tmp_path):
    phi = np.full((12, 12), 0.3, np.float32)
    phi[3, 5] = np.nextafter(phi[5, 3], np.float32(1))
    save_file({"rates": np.full(12, 0.1, np.float32), "phi": phi}, tmp_path / "phi.safetensors")
    world = World(replace(SMALL, statistics=str(tmp_path / "phi.safetensors")))
    assert phi_of(world.joint_rates.numpy(), world.rates.numpy())[5, 3] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["text.npz", "empty.npz", "cut.npz", "one.npz", "text.safetensors", "empty.safetensors"]
)
def test_a_file_that_is_neither_npz_nor_safetensors_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    np.savez(tmp_path / "cut", rates=np.full(12, 0.1))
    with path.open("r+b" if name == "cut.npz" else "wb") as file:
        if name == "cut.npz":
            file.truncate(100)
        elif name == "one.npz":
            np.save(file, np.full(12, 0.1))
        elif name.startswith("text"):
            file.write(b"rates = 0.1\n" * 10)
    with pytest.raises(
        ValueError, match=r"^expected a .npz or safetensors file .* found .*: save it again.*$"
    ):
        World(replace(SMALL, statistics=str(path)))


def test_arrays_of_words_count_as_not_there(tmp_path):
    np.savez(tmp_path / "words.npz", rates=np.array(["a"] * 12), joint_rates=np.full((12, 12), 0.01))
    with pytest.raises(ValueError, match=r"expected rates \[12\] .* found {'joint_rates': \[12, 12\]}"):
        World(replace(SMALL, statistics=str(tmp_path / "words.npz")))
    np.savez(tmp_path / "never.npz", rates=np.arange(12) / 100, joint_rates=np.full((12, 12), 0.0))
    with pytest.raises(
        ValueError, match=r"expected rates in \(0, 1\) .* found 0 to 0.11: leave out features"
    ):
        World(replace(SMALL, statistics=str(tmp_path / "never.npz")))


def test_what_a_copula_cannot_do_is_refused_with_the_range():
    rates = np.array([0.1, 0.2])
    with pytest.raises(ValueError, match=r"P\(i, j\) from 0 to 0.1 \(phi from -0.167 to 0.667\)"):
        Copula(rates, np.array([[0.1, 0.15], [0.15, 0.2]]), seed=0)
    all_exclusive = np.zeros((6, 6)) + 0.3 * np.eye(6)
    with pytest.raises(ValueError, match="that a Gaussian copula can have together"):
        Copula(np.full(6, 0.3), all_exclusive, seed=0)


def test_a_designed_pair_that_would_end_at_another_level_is_refused_with_what_is_reachable():
    exclusive = replace(
        SMALL, n_features=64, vocabulary=64, group_size=8, firing_rate=0.05, conditionals=(0.0,)
    )
    # eight Gaussians correlate at -1/7 at the least, all alike: P(j | i) = .0252, a lift above 1/2
    nearest = gaussian_joint_rate(np.array(0.05), np.array(0.05), np.array(-1 / 7)) / 0.05
    assert 0.5 < nearest / 0.05 < 0.51
    with pytest.raises(
        ValueError, match=f"exclusive with a conditional of 0, found {nearest:.4g}, which is independent"
    ):
        World(exclusive)
    assert {pair.cooccurrence for pair in World(replace(exclusive, group_size=4)).pairs} == {"exclusive"}
    asked = replace(exclusive, conditionals=(0.1,))  # a lift of 2 to rounding is no other level
    assert World(asked).pairs[0].conditional == pytest.approx(0.1)
