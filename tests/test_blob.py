"""The shape of all cosines and what it can hide, where the answer is planted."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from compare.blob import LEVEL, blob, matched_null, shape_p, sums_of
from compare.cells import estimate
from compare.geometry import unit_directions
from compare.hidden import hidden, hidden_shares, plant, poisson_limit, smallest_found


def gaussian(n=200, width=32, seed=0, spectrum=None):
    """Random unit directions, isotropic or with a spectrum."""
    rows = np.random.default_rng(seed).normal(size=(n, width))
    return unit_directions((rows if spectrum is None else rows * spectrum).astype(np.float32))


def rejects(unit, seed=0) -> bool:
    """Whether the test of shape finds something."""
    numbers = sums_of(unit).numbers
    null = matched_null(unit, seed=seed)
    return shape_p({name: float(value[0]) for name, value in numbers.items()}, null) < LEVEL


def test_sums_with_and_without_a_group_are_those_of_the_pairs_that_are_left(monkeypatch):
    monkeypatch.setattr("compare.geometry.ROWS", 16)
    unit = gaussian(n=41, width=6)
    found = sums_of(unit, groups=4, seed=3).numbers
    member = np.random.default_rng(3).permutation(41) % 4
    for k in range(5):
        left = unit[member != k - 1]
        cosines = (left.astype(np.float64) @ left.T)[np.triu_indices(len(left), 1)]
        assert found["mean"][k] == pytest.approx(cosines.mean(), abs=1e-6)
        assert found["kurtosis"][k] == pytest.approx(
            (cosines**4).mean() / (cosines**2).mean() ** 2 - 3, abs=1e-5
        )
        assert found["within 1"][k] == pytest.approx((np.abs(cosines) < 6**-0.5).mean(), abs=2e-3)


def test_errors_from_deleting_groups_are_the_spread_between_dictionaries():
    found = [sums_of(gaussian(seed=seed), 20).estimates() for seed in range(60)]
    for name in ("within 1", "kurtosis"):
        values, errors = np.array([one[name] for one in found]).T
        assert 0.6 < errors.mean() / values.std(ddof=1) < 1.6  # 60 draws: the sd is known to 9 %


def test_the_matched_null_of_few_random_directions_is_no_wider_than_they_are():
    """Unless sampling is taken off, 150 directions in 75 dimensions look a third too wide."""
    unit = gaussian(n=150, width=75)
    assert matched_null(unit).mean["mean square"] == pytest.approx(1 / 75, rel=0.03)
    lopsided = gaussian(n=150, width=75, spectrum=np.geomspace(1, 0.2, 75))
    square = sums_of(lopsided).numbers["mean square"][0]
    assert matched_null(lopsided).mean["mean square"] == pytest.approx(square, rel=0.06)


@pytest.mark.parametrize("length", [0.0, 0.4, 0.8])
def test_a_shared_mean_direction_is_not_taken_for_a_shape(length):
    """Rows of one mean and covariance, drawn at random, are what the null is: 5 % of 40 may be rejected."""
    spectrum = np.geomspace(1, 0.2, 40)
    found = []
    for seed in range(40):
        rows = np.random.default_rng(seed).normal(size=(150, 40)) * spectrum / np.linalg.norm(spectrum)
        rows[:, 5] += length
        found.append(rejects(unit_directions(rows.astype(np.float32)), seed))
    assert sum(found) <= 7  # more than 7 of 40 at 5 %: probability .001


def test_efrons_empirical_null_of_random_directions_is_standard_and_a_plant_lowers_its_share():
    unit = gaussian(n=600, width=64)
    plain, planted = blob(unit), blob(plant(unit, 0.02, 0.4, np.random.default_rng(0))[0])
    assert plain.null_mean == pytest.approx(0, abs=0.03)
    assert plain.null_sd == pytest.approx(1, abs=0.03)
    assert plain.null_share > 0.98
    assert planted.shape_p < 0.001 < plain.shape_p


def test_directions_that_all_but_share_one_have_no_empirical_null_and_a_shape_all_the_same():
    leaning = unit_directions(gaussian(n=200, width=64) + np.float32(0.2))
    found = blob(leaning)
    assert np.isnan([found.null_mean, found.null_sd, found.null_share]).all()
    assert found.mean > 0.6
    assert np.isfinite(found.shape_p)


@pytest.mark.parametrize("size", [0.1, 0.3])
def test_what_is_planted_comes_about(size):
    unit = gaussian(n=300, width=100)
    planted, found = plant(unit, 0.01, size, np.random.default_rng(1))
    assert found == pytest.approx(size, rel=0.1)
    assert (np.abs((planted - unit) @ unit.T).max(1) > size / 2).mean() > 0.5


def test_the_hidden_share_is_never_below_what_was_planted_and_far_tails_hide_little():
    for seed in range(2):
        for share, size in ((0.01, 0.3), (0.05, 0.2)):
            planted, found = plant(gaussian(seed=seed), share, size, np.random.default_rng(seed))
            rows = hidden_shares(blob(planted))
            near = rows[rows["alignment"] <= found].iloc[-1]
            assert near["share"] >= share
    nothing = hidden_shares(blob(gaussian(n=400, width=32)))
    assert nothing["share"].is_monotonic_decreasing
    assert nothing["share"].iloc[0] == 1
    assert nothing["share"].iloc[-1] < 1e-4


def test_no_pair_seen_still_leaves_room_for_three():
    assert poisson_limit(0.0) == pytest.approx(-np.log(0.05))


def test_the_smallest_that_is_found_lies_where_the_probit_of_the_power_crosses():
    half = stats.norm.ppf(0.8)
    sizes, power = pd.Series([0.1, 0.2, 0.4]), pd.Series(stats.norm.cdf([half - 2, half - 1, half + 1]))
    assert smallest_found(sizes, power) == pytest.approx(0.3)
    assert np.isnan(smallest_found(sizes, power / 2))
    assert smallest_found(sizes, power.clip(lower=0.9)) == 0.1


@pytest.mark.parametrize("df", [4, 200])
def test_a_detectable_mean_is_found_four_times_in_five(df):
    found = estimate(0.0, 0.5, df, margin=1.0)["detectable"]
    assert stats.nct.sf(stats.t.ppf(0.975, df), df, found / 0.5) == pytest.approx(0.8, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("spectrum", [None, np.geomspace(1, 0.3, 48)])
def test_random_directions_are_taken_for_shaped_in_one_run_of_twenty(spectrum):
    """200 dictionaries; 2.8 % to 8.5 % are within three standard errors of 5 %, Bonferroni may be lower."""
    found = np.mean([rejects(gaussian(n=256, width=48, seed=seed, spectrum=spectrum)) for seed in range(200)])
    assert found < 0.096


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.001, 0.01])
def test_the_smallest_alignment_said_to_be_found_is_found_at_the_stated_rate(share):
    """80 % of 100 dictionaries, within three standard errors: .68 or more."""
    unit = gaussian(n=256, width=48)
    smallest = hidden(unit, blob(unit), matched_null(unit), n_plants=8).smallest.set_index("share")
    size = float(smallest["size"][share])
    found = []
    for seed in range(100):
        planted, _ = plant(
            gaussian(n=256, width=48, seed=1000 + seed), share, size, np.random.default_rng(seed)
        )
        found.append(rejects(planted, seed))
    assert np.mean(found) >= 0.68
