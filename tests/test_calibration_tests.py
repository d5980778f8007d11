"""Tests of cells and directions reject a true null as often as they say, and naive ones do not."""

import numpy as np
import pytest

from compare.calibration_tests import calibrate_tests, expected_cosine, of_cells, redrawn, with_opposites
from compare.cells import measure_cells

N, WIDTH = 48, 16


def levels(n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Every cell holds a twelfth of the pairs or more, in no relation to any direction."""
    rng = np.random.default_rng(0)
    co, sim = (rng.integers(0, top, (n, n)).astype(np.int8) for top in (3, 2))
    return np.triu(co, 1) + np.triu(co, 1).T, np.triu(sim, 1) + np.triu(sim, 1).T


def crowd(mean: float, n: int = N) -> np.ndarray:
    """Directions around a common one of this length."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(n, WIDTH)) / WIDTH**0.5
    directions[:, 0] += mean
    return directions


def test_redrawn_directions_have_the_mean_and_the_covariance_of_the_given_ones():
    directions = crowd(0.5)
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    rng = np.random.default_rng(2)
    fresh = np.concatenate([redrawn(directions, rng) for _ in range(400)])
    np.testing.assert_allclose(fresh.mean(0), units.mean(0), atol=0.01)
    np.testing.assert_allclose(np.cov(fresh.T), np.cov(units.T), atol=0.01)


def test_the_expected_cosine_is_the_mean_over_many_draws():
    directions = crowd(0.5)
    rng = np.random.default_rng(3)
    pairs = [redrawn(directions, rng)[:2] for _ in range(4000)]
    cosines = [(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    error = np.std(cosines) / 4000**0.5
    assert expected_cosine(directions, rng) == pytest.approx(np.mean(cosines), abs=4 * error)
    both_sides = np.concatenate([directions, -directions])
    assert expected_cosine(both_sides, rng) == pytest.approx(0.0, abs=0.005)


def test_planted_opposites_are_the_densest_features_and_no_others():
    directions, rates = crowd(0.0), np.linspace(0, 1, N)
    planted = with_opposites(directions, rates, np.random.default_rng(4))
    moved = np.flatnonzero((planted != directions).any(1))
    assert moved.tolist() == [44, 46]  # opposite 45 and 47: a tenth of 48 features makes two pairs
    unit = planted / np.linalg.norm(planted, axis=1, keepdims=True)
    assert ((unit[moved] * unit[moved + 1]).sum(1) < -0.9).all()


def test_a_shift_by_the_centre_decides_each_claim_about_a_mean():
    co, sim = levels()
    rng = np.random.default_rng(5)
    cosine = rng.normal(size=(N, N)) * 0.01
    cosine = 0.3 + (cosine + cosine.T) / 2
    cells = measure_cells(cosine, co, sim, ~np.eye(N, dtype=bool), d_eff=float(WIDTH))
    found = dict(of_cells(cells, 0.3, 0.1))
    name = "exclusive, similar"
    assert found["planted", "cell mean", f"{name} < 0"]
    assert found["planted", "cell mean", f"{name} > 0"]
    assert found["planted", "cell mean", f"{name} = 0"]
    far = dict(of_cells(cells, 0.0, 0.1))  # every mean is .3 then
    assert far["null", "cell mean", f"{name} > 0"]
    assert not far["planted", "cell mean", f"{name} = 0"]
    assert not far["planted", "cell mean", "the post's table, every mean 0"]
    assert found["planted", "cell mean", "the post's table, every mean 0"]


def test_a_table_too_near_zero_is_found_once_it_is_planted_farther():
    co, sim = levels()
    cosine = np.random.default_rng(9).normal(size=(N, N)) * 0.05
    cells = measure_cells((cosine + cosine.T) / 2, co, sim, ~np.eye(N, dtype=bool), d_eff=float(WIDTH))
    errors = [row["se"] for row in cells.to_results()["cells"]]
    size = max(errors)  # one effect is one error of the least certain cell: no test of 5 % finds all at that
    found = dict(of_cells(cells, 0.0, size))
    table = "the post's table, signs at"
    assert not found["planted", "cell mean", f"{table} 1 effect, one at 0"]
    assert found["planted", "cell mean", f"{table} 10 effects, one at 0"]
    assert not found["null", "cell mean", f"{table} 10 effects, one at 0"]
    assert not found["null", "cell mean", f"{table} 10 effects, the zero at its margin"]


def test_sizes_are_kept_and_naive_ones_are_not_where_cosines_have_levels(monkeypatch):
    """30 replicates: a test of 5 % rejects in more than 6 of them with probability .0003 each."""
    monkeypatch.setattr("compare.calibration_tests.EVERY", 1)
    co, sim = levels()
    rates = np.concatenate([np.linspace(0.01, 0.09, N - 6), np.linspace(0.2, 0.4, 6)])  # 4 of 6 dense planted
    table = calibrate_tests(crowd(0.6), co, sim, rates, replicates=30, effect=0.5, seed=6)
    shares = table.set_index(["world", "test", "term"])["rejected"]
    null, planted = shares["null"], shares["planted"]
    is_naive = null.index.get_level_values("test").str.contains("naive")
    assert (null[~is_naive] <= 0.2).all()
    naive = null["cell mean, naive"]
    assert naive[[term for term in naive.index if term.endswith(("< 0", "> 0"))]].max() > 0.25
    assert planted["antipodal, matched covariance", "any feature flagged"] > 0.8
    dense = "antipodal, dense less others", "> 0"
    assert planted[dense] > null[dense] + 0.5
    assert planted["difference in differences", "against exclusive > 0"] > 0.5
    one = table.iloc[0]
    assert one["error"] == pytest.approx((one["rejected"] * (1 - one["rejected"]) / 30) ** 0.5)
    assert set(table["replicates"]) == {30}


def test_a_cell_without_pairs_has_no_row():
    co, sim = levels()
    co[co == 0] = 1
    table = calibrate_tests(crowd(0.0), co, sim, np.full(N, 0.01), replicates=5, seed=7)
    terms = set(table["term"])
    assert not [term for term in terms if term.startswith(("exclusive", "the post's", "against exclusive"))]
    assert "independent, similar < 0" in terms
    assert "antipodal, dense less others" not in set(table["test"])  # no feature is dense
    counts = table.groupby("test")["replicates"].unique()
    assert (counts["cell mean"].tolist(), counts["blob"].tolist()) == ([5], [2])
