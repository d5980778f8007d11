"""The pairs shown of a cell are those of its ends and its middle."""

import numpy as np
from synthetic import planted_system

from compare.cells import CELLS
from compare.evidence import measure
from compare.examples import N_EACH, Levels, ends_and_middle, example_pairs
from compare.pairs import pair_table


def test_ends_and_middle_of_a_long_cell_and_all_of_a_short_one():
    n = 40
    cosine = np.arange(n * n, dtype=np.float32).reshape(n, n)
    cell = np.triu(np.ones((n, n), bool), 1)
    i, j = ends_and_middle(cell, cosine)
    values, all_values = cosine[i, j], np.sort(cosine[cell])
    assert len(values) == 3 * N_EACH
    np.testing.assert_array_equal(values[:N_EACH], all_values[:N_EACH])
    np.testing.assert_array_equal(values[-N_EACH:], all_values[-N_EACH:])
    assert values[N_EACH] <= np.median(all_values) <= values[2 * N_EACH - 1]
    few = np.zeros((n, n), bool)
    few[0, [3, 5]] = True
    assert [list(map(int, one)) for one in ends_and_middle(few, cosine)] == [[0, 0], [3, 5]]
    assert len(ends_and_middle(np.zeros((n, n), bool), cosine)[0]) == 0


def test_each_pair_is_in_the_cell_that_it_stands_for_with_its_own_numbers():
    evidence = measure(planted_system(n=24, n_tokens=2048))
    table = pair_table(evidence, cooccurrence=["preactivation_correlation"], similarity=["js"], min_count=1)
    generator = np.random.default_rng(0)
    co = generator.integers(0, 3, (table.n, table.n)).astype(np.int8)
    sim = generator.integers(0, 3, (table.n, table.n)).astype(np.int8)
    levels = Levels(np.maximum(co, co.T), np.maximum(sim, sim.T))
    rows = example_pairs(table, levels, lambda ids: [[f"token {k}"] for k in ids])
    place = {int(feature): k for k, feature in enumerate(table.feature_ids)}
    names = {name: (k // 2, k % 2) for k, name in enumerate(CELLS)}
    assert rows
    for row in rows:
        i, j = place[row["i"]], place[row["j"]]
        assert i < j
        code = levels.cooccurrence[i, j], levels.similarity[i, j]
        assert code == names[row["cooccurrence"], row["similarity"]]
        assert row["cosine"] == float(table.cosine[i, j])
        assert row["x"] == float(table["preactivation_correlation"][i, j])
        assert row["cofired"] == evidence.cofiring[row["i"], row["j"]]
        assert row["promotes_j"] == [f"token {row['j']}"]
