from contextlib import nullcontext

import pytest

from compare.bench import OURS, bench, table, write_bench


def silent(title):
    return nullcontext(lambda done, total: None)


@pytest.mark.slow
def test_a_quick_bench_is_exact_and_its_ratios_are_those_of_its_seconds(tmp_path):
    found = bench(True, silent)
    assert write_bench(found, tmp_path).read_text() == table(found)
    ours, other = found["rows"][-2:]
    assert other["times_ours"] == other["seconds"] / ours["seconds"]
    errors = {row["case"].split(",")[0]: row["largest_error"] for row in found["rows"] if row["way"] == OURS}
    assert errors["Jensen-Shannon divergence"] < 2e-6
    assert errors["Regression over the pairs of 512 features"] < 1e-9
    assert all(row["seconds"] > 0 for row in found["rows"])
    assert {row["way"] for row in found["rows"]} >= {"scipy cdist, squared", "statsmodels OLS, HC1 alone"}
