"""Antipodal pairs and the blob, on dictionaries whose geometry is known."""

import numpy as np
import pytest

from compare.blob import blob
from compare.geometry import antipodal, flag, lowest_cosine_p, sign_flip_test, unit_directions
from compare.nulls import matched


def gaussian(n=300, width=32, seed=0, spectrum=None):
    """Random directions, isotropic or with a spectrum."""
    rows = np.random.default_rng(seed).normal(size=(n, width))
    return (rows if spectrum is None else rows * spectrum).astype(np.float32)


def test_planted_antipodal_pairs_are_listed_first_and_flagged_with_their_partner():
    directions = gaussian()
    directions[11], directions[200] = -3 * directions[4], -0.5 * directions[123]
    found = antipodal(directions, n_pairs=3)
    assert {(row.i, row.j) for row in found.pairs.iloc[:2].itertuples()} == {(4, 11), (123, 200)}
    assert found.pairs["cosine"].iloc[0] == pytest.approx(-1, abs=1e-6)
    assert set(np.flatnonzero(found.features["flagged"])) == {4, 11, 123, 200}
    assert found.features["partner"].iloc[11] == 4


def test_random_directions_are_not_flagged():
    found = antipodal(gaussian())
    assert found.features["flagged"].sum() <= 2
    assert found.share == pytest.approx(found.expected_share, abs=2e-3)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_an_anisotropic_dictionary_fools_the_uniform_null_but_not_the_matched_one(power):
    found = antipodal(gaussian(width=64, spectrum=np.arange(1, 65) ** -power))
    assert flag(found.features["p_beta"].to_numpy()).mean() > 0.8
    assert found.features["flagged"].mean() < 0.01
    assert found.share == pytest.approx(found.expected_share, rel=0.2)
    assert found.expected_share_beta < found.expected_share / 100


def test_drawn_directions_have_the_second_moment_they_were_asked_for():
    unit = unit_directions(gaussian(n=500, width=16, spectrum=np.arange(1, 17) ** -1.0))
    rng = np.random.default_rng(0)
    drawn = matched(unit, rng).draw(100_000, rng)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), unit.T @ unit / len(unit), atol=0.01)


def test_p_values_of_uniform_directions_are_uniform():
    p = np.concatenate(
        [antipodal_p(gaussian(n=60, width=12, seed=seed)) for seed in range(30)]
    )  # partners share a cosine, so p-values come in dependent pairs: the tolerance is wide
    assert np.quantile(p, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.06)


def antipodal_p(directions):
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = unit @ unit.T + 2 * np.eye(len(unit))
    return lowest_cosine_p(cosine.min(1), len(unit), float(unit.shape[1]))


def test_the_lowest_of_one_cosine_in_three_dimensions_by_hand():
    assert lowest_cosine_p(np.array([-0.5]), 2, 3.0)[0] == pytest.approx(0.25)  # cosines are uniform there
    assert lowest_cosine_p(np.array([1.0]), 2, 3.0)[0] == 1


def test_sign_flips_find_an_excess_of_opposite_pairs_and_only_that():
    directions = gaussian(n=200)
    directions[100:] = -directions[:100] + 0.3 * directions[100:]
    assert sign_flip_test(directions / np.linalg.norm(directions, axis=1)[:, None])["p"] < 0.01
    directions[100:] *= -1
    assert sign_flip_test(directions / np.linalg.norm(directions, axis=1)[:, None])["p"] > 0.9


def test_every_pair_counts_however_the_rows_are_cut_into_blocks(monkeypatch):
    directions = gaussian(n=90, width=8)
    whole, whole_blob = antipodal(directions, n_pairs=7), blob(directions)
    monkeypatch.setattr("compare.geometry.ROWS", 32)
    cut, cut_blob = antipodal(directions, n_pairs=7), blob(directions)
    assert cut.pairs[["i", "j"]].equals(whole.pairs[["i", "j"]])
    assert cut.share == whole.share
    assert cut.asymmetry == whole.asymmetry
    assert cut_blob.mean_square == pytest.approx(whole_blob.mean_square)


def test_an_orthogonal_basis_with_its_opposite_has_known_moments():
    shape = blob(np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32))
    assert shape.mean == pytest.approx(shape.mean_floor) == pytest.approx(-1 / 7)
    assert shape.mean_square == pytest.approx(shape.welch_bound) == pytest.approx(1 / 7)
    assert shape.d_eff == pytest.approx(4)
    assert shape.within["share"].iloc[0] == pytest.approx(6 / 7)


def test_random_directions_have_the_moments_of_their_null():
    shape = blob(gaussian(n=1000, width=16))
    assert shape.mean_square == pytest.approx(1 / 16, rel=0.02)
    assert shape.kurtosis == pytest.approx(shape.random_kurtosis, abs=0.05)
    np.testing.assert_allclose(shape.within["share"], shape.within["expected"], atol=0.005)
    np.testing.assert_allclose(shape.within["share"], shape.within["expected_matched"], atol=0.005)


def test_a_dead_direction_is_refused():
    directions = gaussian(n=10)
    directions[3] = 0
    with pytest.raises(ValueError, match="found 1 rows of zeros: drop dead features"):
        antipodal(directions)


def test_exact_opposites_have_p_values_though_rounding_takes_their_cosine_beyond_minus_one():
    half = unit_directions(gaussian(n=40, width=16))
    lowest = (half * -half).sum(1)
    assert (lowest < -1).any()
    found = antipodal(np.vstack([half, -half]), flips=9, n_dictionaries=2)
    assert found.features["partner"].tolist() == [*range(40, 80), *range(40)]
    assert found.features[["p_beta", "p_effective"]].to_numpy().max() < 1e-3


def test_directions_far_shorter_than_squares_can_tell_are_made_unit():
    tiny = gaussian() * np.float32(1e-38)
    np.testing.assert_allclose(np.linalg.norm(unit_directions(tiny), axis=1), 1, rtol=1e-4)
