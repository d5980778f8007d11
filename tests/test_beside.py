"""What lies beside a report is on its page, with its hash; what does not is not."""

from pathlib import Path

import pandas as pd
import pytest
from example_results import calibration_rows, example_results
from matplotlib.figure import Figure

from compare import figures_calibration
from compare.beside import by_test, by_world, found_beside
from compare.hypotheses import judge, load
from compare.page import render
from compare.provenance import file_sha256
from compare.sections import drawings, tables

REPORTS = Path(__file__).parent.parent / "reports"


def test_nothing_beside_adds_nothing(tmp_path):
    assert found_beside(tmp_path / "mine") == {}


def test_the_committed_atlas_is_on_the_page_of_a_report_beside_it(monkeypatch):
    found = found_beside(REPORTS / "mine")
    assert found["atlas"]["sha256"] == file_sha256(REPORTS / "atlas/results.json")
    results = judge(example_results() | {"atlas": found["atlas"]}, load())
    made = tables(results)
    committed = pd.read_csv(REPORTS / "atlas/points.csv")
    assert made["atlas_points"]["exclusive, same"].tolist() == committed["exclusive, same"].tolist()
    monkeypatch.setattr("compare.page.inline", lambda draw: "<svg></svg>")
    page = render(results, made)
    assert found["atlas"]["summary"][0].split("table ")[1] in page  # hold at so many of so many points
    tried = committed[committed["reconstruction_share"] < 1]
    assert f"tries {len(tried)} others in which outputs are part of the loss" in page
    assert f"The whole table holds in {tried['holds_exclusive'].sum()} of them read as exclusive" in page
    drawn = dict(drawings(results, made))
    assert {"atlas: phase", "atlas: deciding-cell", "atlas: two-in-one"} < drawn.keys()
    assert isinstance(drawn["atlas: two-in-one"](), Figure)


def test_calibrations_are_read_with_their_hashes_and_put_by_test(tmp_path):
    place = tmp_path / "calibration"
    place.mkdir()
    table = pd.DataFrame(calibration_rows()).drop(columns="table")
    table.drop(columns="effects").to_csv(place / "null.csv", index=False)
    found = found_beside(tmp_path / "mine")["calibration"]
    assert found["files"] == {"null.csv": file_sha256(place / "null.csv")}
    assert {row["effects"] for row in found["rows"]} == {"none"}
    assert {row["world"] for row in found["rows"]} == {"null", "planted"}  # which pandas takes for missing
    rows = by_test(calibration_rows())
    assert [(row["test"], row["co"], row["co:sim"]) for row in rows[:2]] == [
        ("naive", 0.4, 0.42),
        ("default", 0.05, 0.07),
    ]
    (cell,) = by_world(calibration_rows())
    assert (cell["test"], cell["null"], cell["planted"]) == ("cell mean", 0.04, 0.6)


def test_a_table_of_something_else_is_refused_by_name(tmp_path):
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration/mine.csv").write_text("world,rejected\nnull,0.05\n")
    with pytest.raises(ValueError, match="found no test, term, error, replicates"):
        found_beside(tmp_path / "report")


def test_sizes_are_drawn_at_their_shares_test_by_test():
    figure = figures_calibration.size_plot(pd.DataFrame(calibration_rows()).query("world == 'null'"))
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["naive", "default (jackknife less HC1)"]
    assert axis.containers[0].lines[0].get_xdata().tolist() == [0.4, 0.05]
