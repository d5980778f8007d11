from contextlib import nullcontext

import pytest

from compare.bench import OURS, Case, bench, table, write_bench


def silent(title):
    return nullcontext(lambda done, total: None)


@pytest.mark.slow
def test_a_quick_bench_is_exact_and_its_ratios_are_those_of_its_seconds(tmp_path):
    given = Case("training", "step", {OURS: 2.0, "another way": 3.0})
    found = bench(True, silent, lambda: iter([given]))
    assert write_bench(found, tmp_path).read_text() == table(found)
    assert found["rows"][-1]["times_ours"] == 1.5
    errors = {row["case"].split(",")[0]: row["largest_error"] for row in found["rows"] if row["way"] == OURS}
    assert errors["Jensen-Shannon divergence"] < 2e-6
    assert errors["Regression over the pairs of 512 features"] < 1e-9
    assert all(row["seconds"] > 0 for row in found["rows"])
    assert {row["way"] for row in found["rows"]} >= {"scipy cdist, squared", "statsmodels OLS, HC1 alone"}
