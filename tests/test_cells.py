"""Six cells of the post's table, on arrays whose means, errors and bounds are known."""

import numpy as np
import pytest
from example_results import example_results
from statsmodels.stats.meta_analysis import combine_effects

from compare.cells import (
    CELLS,
    beside_the_average,
    combine_seeds,
    degrees_of_freedom,
    estimate,
    least_feasible_mean,
    measure_cells,
    problem_of,
)
from compare.geometry import unit_directions
from compare.hypotheses import judge, load
from compare.measures import COOCCURRENCE_LEVELS, SIMILARITY_LEVELS

MEANS = (-0.3, -0.2, 0.05, 0.0, 0.4, 0.1)
"""Of the six cells, in the order of CELLS."""


def levels(n, seed=0, n_levels=(4, 3)):
    """Random symmetric codes of co-occurrence and similarity."""
    rng = np.random.default_rng(seed)
    upper = [np.triu(rng.integers(0, most, (n, n)), 1).astype(np.int8) for most in n_levels]
    return [codes + codes.T for codes in upper]


def planted(n=60, seed=0, noise=0.1):
    """Cosines that have MEANS by cell and independent noise, with the codes of the cells and a mask."""
    rng = np.random.default_rng(seed + 1)
    cooccurrence, similarity = levels(n, seed)
    cosine = np.triu(rng.normal(0, noise, (n, n)), 1)
    for mean, (co, sim) in zip(MEANS, CELLS, strict=True):
        inside = (cooccurrence == COOCCURRENCE_LEVELS.index(co)) & (
            similarity == SIMILARITY_LEVELS.index(sim)
        )
        cosine += mean * np.triu(inside, 1)
    return cosine + cosine.T, cooccurrence, similarity, ~np.eye(n, dtype=bool)


def test_means_counts_and_quantiles_are_those_of_the_pairs_of_a_cell():
    cosine, cooccurrence, similarity, mask = planted()
    mask[:, 7] = mask[7, :] = False
    table = measure_cells(cosine, cooccurrence, similarity, mask, d_eff=30.0).table
    i, j = np.nonzero(np.triu(mask, 1))
    for row in table.itertuples():
        co, sim = COOCCURRENCE_LEVELS.index(row.cooccurrence), SIMILARITY_LEVELS.index(row.similarity)
        values = np.array(
            [
                cosine[a, b]
                for a, b in zip(i, j, strict=True)
                if (cooccurrence[a, b], similarity[a, b]) == (co, sim)
            ]
        )
        assert row.n_pairs == len(values)
        assert row.mean == pytest.approx(values.mean())
        assert row.sd == pytest.approx(values.std())
        assert row.quantiles["0.25"] == pytest.approx(np.quantile(values, 0.25))


def test_undetermined_pairs_are_in_no_cell():
    cosine, cooccurrence, similarity, mask = planted()
    cooccurrence[:] = COOCCURRENCE_LEVELS.index("undetermined")
    assert measure_cells(cosine, cooccurrence, similarity, mask, d_eff=30.0).table["n_pairs"].sum() == 0


def test_the_error_of_a_cell_of_pairs_that_share_no_feature_is_the_ordinary_one():
    n_pairs = 30
    n = 2 * n_pairs
    cooccurrence = np.full((n, n), 3, np.int8)
    values = np.random.default_rng(0).normal(0.2, 0.1, n_pairs)
    cosine = np.zeros((n, n))
    for k, value in enumerate(values):
        i, j = 2 * k, 2 * k + 1
        cosine[i, j] = cosine[j, i] = value
        cooccurrence[i, j] = cooccurrence[j, i] = 0
    cells = measure_cells(cosine, cooccurrence, np.zeros((n, n), np.int8), ~np.eye(n, dtype=bool), d_eff=30.0)
    row = cells.table.iloc[0]
    assert row["se"] == pytest.approx(values.std(ddof=1) / n_pairs**0.5, rel=0.02)
    assert row["df"] == n_pairs - 1
    assert row["feasible_from"] == pytest.approx(-1)


def test_planted_means_are_within_their_intervals_and_the_claimed_signs_are_found():
    cells = measure_cells(*planted(), d_eff=30.0)
    for row, mean in zip(cells.table.itertuples(), MEANS, strict=True):
        assert row.low - 0.02 < mean < row.high + 0.02
        if mean:
            assert (row.p_below < 0.001) == (mean < 0)
            assert (row.p_above < 0.001) == (mean > 0)
    against_exclusive = cells.differences.iloc[0]
    assert against_exclusive["mean"] == pytest.approx((0.4 - 0.1) - (-0.3 + 0.2), abs=0.05)
    assert against_exclusive["p_above"] < 0.001


def test_features_that_sway_all_their_pairs_widen_the_interval():
    _, cooccurrence, similarity, mask = planted()
    rng = np.random.default_rng(3)
    alone = np.triu(rng.normal(0, 0.1, mask.shape), 1)
    sway = rng.normal(0, 0.07, len(mask))
    widths = []
    for cosine in (alone + alone.T, sway[:, None] + sway[None, :]):
        table = measure_cells(cosine, cooccurrence, similarity, mask, d_eff=30.0).table
        widths.append((table["se"] / table["sd"]).mean())
    assert widths[1] > 2 * widths[0]


def test_the_difference_in_differences_uses_the_covariance_between_cells():
    _, cooccurrence, similarity, mask = planted()
    sway = np.random.default_rng(3).normal(0, 0.1, len(mask))
    cells = measure_cells(sway[:, None] + sway[None, :], cooccurrence, similarity, mask, d_eff=30.0)
    independent_errors = (cells.table["se"].iloc[[0, 1, 4, 5]] ** 2).sum() ** 0.5
    assert cells.differences["se"].iloc[0] < 0.75 * independent_errors


def test_an_empty_cell_and_a_star_have_no_error_and_say_why():
    cosine, cooccurrence, similarity, mask = planted()
    cooccurrence[cooccurrence == 0] = 3
    similarity[cooccurrence == 2] = 2
    cooccurrence[0, 1:] = cooccurrence[1:, 0] = 2
    similarity[0, 1:] = similarity[1:, 0] = 0
    cells = measure_cells(cosine, cooccurrence, similarity, mask, d_eff=30.0)
    exclusive, star = cells.table.iloc[0], cells.table.iloc[4]
    assert exclusive["n_pairs"] == 0
    assert np.isnan(exclusive["mean"])
    assert exclusive["problem"] == "no pair falls into this cell"
    assert star["n_pairs"] == len(mask) - 1
    assert np.isnan(star["low"])
    assert star["problem"] == "one feature has all pairs of this cell, or nearly all"
    assert four_cell_p(cells) is None
    problems = [cell["problem"] for cell in cells.to_results()["cells"]]
    assert problems[0] == exclusive["problem"]
    assert problems[2] is None


def test_the_order_of_features_does_not_matter():
    arrays = planted()
    order = np.random.default_rng(5).permutation(len(arrays[0]))
    shuffled = [array[np.ix_(order, order)] for array in arrays]
    numbers = ["mean", "se", "low", "high", "share_below", "feasible_from"]
    first, second = (measure_cells(*given, d_eff=30.0).table[numbers] for given in (arrays, shuffled))
    np.testing.assert_allclose(first.to_numpy(), second.to_numpy(), rtol=1e-10, atol=1e-12)


def test_estimate_by_hand():
    found = estimate(0.02, 0.01, 10**6, margin=0.05)
    assert found["low"] == pytest.approx(0.0004, abs=1e-4)
    assert found["high"] == pytest.approx(0.0396, abs=1e-4)
    assert found["p_above"] == pytest.approx(0.02275, abs=1e-4)
    assert found["p_equivalence"] == pytest.approx(0.00135, abs=1e-4)  # the nearer bound is 3 errors away
    assert found["smallest_bound"] == pytest.approx(0.0396, abs=1e-4)


def test_an_estimate_without_an_error_has_no_interval():
    found = estimate(0.5, np.nan, 10, margin=0.1)
    assert all(np.isnan(found[name]) for name in ("low", "high", "p_below", "p_above", "p_equivalence"))


def four_cell_p(cells, apart="exclusive"):
    """The p-value that the verdicts give the whole table."""
    made = example_results()
    made["arms"] = [made["arms"][0] | cells.to_results() | {"d_eff": cells.d_eff}]
    rows = judge(made, load())["verdicts"]
    return next(row["p"] for row in rows if row["id"] == f"table-{apart}")


def test_the_four_cell_claim_holds_only_where_all_four_cells_do():
    as_claimed, cooccurrence, similarity, mask = planted(n=120)
    together_different = (cooccurrence == 2) & (similarity == 1)
    as_claimed[together_different] -= as_claimed[together_different].mean()
    wide = 4.0  # effective dimension: the margin is .05
    holds = measure_cells(as_claimed, cooccurrence, similarity, mask, d_eff=wide)
    assert four_cell_p(holds) < 0.001
    assert four_cell_p(holds, apart="independent") > 0.9  # planted at +.05
    as_claimed[together_different] += 0.1
    assert four_cell_p(measure_cells(as_claimed, cooccurrence, similarity, mask, d_eff=wide)) > 0.9


@pytest.mark.parametrize("n", [20, 300])
def test_no_unit_vectors_pass_the_feasibility_bound(n):
    rng = np.random.default_rng(n)
    cell = np.triu(rng.random((n, n)) < 0.3, 1)
    bound = least_feasible_mean(cell)
    adjacency = (cell | cell.T).astype(float)
    vectors = np.linalg.eigh(adjacency)[1][:, : n // 2]  # pushes members of the cell apart
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert -1 <= bound < (unit @ unit.T)[cell].mean() < 0


def test_a_clique_can_reach_its_bound():
    simplex = np.eye(5) - 1 / 5
    simplex /= np.linalg.norm(simplex, axis=1, keepdims=True)
    cell = np.triu(np.ones((5, 5), bool), 1)
    assert least_feasible_mean(cell) == pytest.approx((simplex @ simplex.T)[cell].mean())


def test_seeds_are_averaged_with_an_interval_from_their_spread():
    seeds = [measure_cells(*planted(seed=seed), d_eff=30.0) for seed in range(4)]
    combined = combine_seeds(seeds)
    means = np.array([seed.table["mean"].iloc[0] for seed in seeds])
    row = combined.table.iloc[0]
    assert combined.seeds == 4
    assert row["mean"] == pytest.approx(means.mean())
    assert row["high"] - row["mean"] == pytest.approx(3.182 * means.std(ddof=1) / 2, rel=1e-3)  # t of 3 df
    assert row["df"] == 3
    assert combined.differences["seed_sd"].iloc[0] > 0


def test_the_interval_over_seeds_is_that_of_random_effects_with_seeds_of_one_precision():
    """Hartung, Knapp, Sidik and Jonkman's, by statsmodels: t over seeds, whatever each seed's own error."""
    seeds = [measure_cells(*planted(seed=seed), d_eff=30.0) for seed in range(5)]
    row = combine_seeds(seeds).table.iloc[4]
    means = np.array([seed.table["mean"].iloc[4] for seed in seeds])
    for own_error in (0.001, 0.1):
        found = combine_effects(means, np.full(5, own_error**2), method_re="iterated", use_t=True)
        assert row["mean"] == pytest.approx(found.mean_effect_re)
        assert row["se"] == pytest.approx(found.sd_eff_w_re_hksj)


def test_one_seed_keeps_its_own_error_and_none_is_refused():
    one = measure_cells(*planted(), d_eff=30.0)
    assert combine_seeds([one]) is one
    with pytest.raises(ValueError, match="expected the cells of 1 seed or more, found none"):
        combine_seeds([])


def test_a_cell_that_only_one_seed_has_says_so():
    cosine, cooccurrence, similarity, mask = planted()
    empty = np.where(cooccurrence == 0, 3, cooccurrence).astype(np.int8)
    seeds = [measure_cells(cosine, codes, similarity, mask, d_eff=30.0) for codes in (cooccurrence, empty)]
    row = combine_seeds(seeds).table.iloc[0]
    assert row["problem"] == "only 1 of 2 seeds have pairs in this cell"
    assert row["n_pairs"] == row["n_features"] == 0  # the fewest that a seed has
    assert np.isnan(row["low"])


def test_a_hub_beside_a_few_other_pairs_leaves_no_degree_of_freedom_and_the_cell_says_so():
    cell = np.zeros((201, 201), bool)
    cell[0, 1:121] = True
    cell[np.arange(121, 201, 2), np.arange(122, 202, 2)] = True
    assert cell.sum() == 160
    assert degrees_of_freedom(cell) == 0  # 1 of sum k^2 squared over sum k^4 is the hub's
    assert problem_of(cell) == "one feature has all pairs of this cell, or nearly all"
    two = np.zeros((201, 201), bool)
    two[0, 2:90] = two[1, 90:180] = True
    assert degrees_of_freedom(two) == 1
    assert problem_of(two) is None


def test_directions_of_no_meaning_have_no_mean_cosine_once_their_mean_is_out():
    rng = np.random.default_rng(0)
    units = unit_directions(rng.normal(size=(60, 512)))
    centred = unit_directions(units - units.mean(0))
    mask = ~np.eye(60, dtype=bool)
    assert (centred @ centred.T)[mask].mean() == pytest.approx(-1 / 59, abs=1e-4)
    assert beside_the_average(centred @ centred.T, mask)[mask].mean() == pytest.approx(0, abs=1e-12)
