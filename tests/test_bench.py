from contextlib import nullcontext

import numpy as np
import pytest

from compare.bench import OURS, bench, table, write_bench
from compare.bench_pairs import drawn_table, one_pass
from compare.bench_whole import divergence_to_the_end


def silent_progress(done, total):
    pass


def silent(title):
    return nullcontext(silent_progress)


def test_all_pairs_to_the_end_go_on_where_they_were_stopped(tmp_path):
    whole = divergence_to_the_end(tmp_path, 1100, 30, silent_progress)
    [kept] = tmp_path.iterdir()
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text(lines[0])
    again = divergence_to_the_end(tmp_path, 1100, 30, silent_progress)
    assert kept.read_text().startswith(lines[0])
    assert len(lines) == 3
    timeless = [name for name in whole if name not in ("cpu", "wall")]
    assert [again[name] for name in timeless] == [whole[name] for name in timeless]
    assert whole["pairs"] == 1100 * 1099 / 2
    assert whole["equal_rows"] == 0
    assert whole["error"] < 2e-6


def test_one_pass_sees_every_pair_once():
    table = drawn_table(150, width=8)
    counts, sums, bins, lowest, highest = one_pass(table)
    cosine = table.units @ table.units.T
    np.fill_diagonal(cosine, np.nan)
    assert counts.sum() == bins.sum() == 150 * 149 / 2
    assert sums.sum() == pytest.approx(np.nansum(cosine, dtype=float) / 2, abs=1e-3)
    np.testing.assert_allclose(lowest, np.nanmin(cosine, 1), atol=1e-6)
    np.testing.assert_allclose(highest, np.nanmax(cosine, 1), atol=1e-6)


@pytest.mark.slow
def test_a_quick_bench_is_exact_and_its_ratios_are_those_of_its_seconds(tmp_path):
    (tmp_path / "timings.json").write_text('{"toy: training": [61.0, 50.0], "nothing": [0.1, 0.1]}')
    (tmp_path / "results.json").write_text('{"quick": true}')
    found = bench(True, silent, tmp_path / "tiles", tmp_path)
    assert write_bench(found, tmp_path).read_text() == table(found)
    ours, other = found["rows"][-2:]
    assert other["times_ours"] == other["seconds"] / ours["seconds"]
    errors = {row["case"].split(",")[0]: row["largest_error"] for row in found["rows"] if row["way"] == OURS}
    assert errors["Jensen-Shannon divergence"] < 2e-6
    assert errors["Regression over the pairs of 512 features"] < 1e-9
    assert all(row["seconds"] > 0 for row in [*found["rows"], *found["passes"]])
    assert found["whole"]["pairs"] == 1100 * 1099 / 2
    assert found["whole"]["error"] < 2e-6
    assert found["whole"]["equal_rows"] == 0
    assert "the quick report goes: 1 min 01 s" in table(found)
    assert {row["way"] for row in found["rows"]} >= {"scipy cdist, squared", "statsmodels OLS, HC1 alone"}
