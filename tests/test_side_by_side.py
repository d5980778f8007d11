"""Two reports beside each other: differences that were put in are found, and nothing else is."""

import json

import pandas as pd
import pytest
from example_results import example_results

from compare.hypotheses import judge, load
from compare.results_file import to_json
from compare.side_by_side import compare_reports


def saved(results, folder):
    """A report's folder as far as it is read."""
    folder.mkdir()
    (folder / "results.json").write_text(to_json(judge(results, load())), encoding="utf-8")
    return folder


@pytest.fixture
def reports(tmp_path):
    """Two that differ in one cell, one setting, and one arm that the second lacks."""
    second = example_results()
    second["arms"][0]["cells"][0] |= {
        "mean": 0.46,
        "low": 0.44,
        "high": 0.48,
        "p_below": 0.999,
        "p_above": 0.001,
    }
    second["run"]["config"]["min_count"] = 60
    del second["arms"][2]
    return saved(example_results(), tmp_path / "one"), saved(second, tmp_path / "two")


def test_what_differs_is_shown_and_nothing_else(reports, tmp_path):
    page = compare_reports(*reports, tmp_path / "both")
    cells = pd.read_csv(page.parent / "cells.csv")
    assert len(cells) == 6 * 5
    moved = cells[cells["difference"] != 0]
    assert len(moved) == 1
    row = moved.iloc[0]
    assert (row["cooccurrence"], row["similarity"], row["arm"]) == (
        "exclusive",
        "similar",
        "tied autoencoder, room",
    )
    assert row["difference"] == pytest.approx(0.92)  # from -0.46 to +0.46
    assert row["low"] < 0.92 < row["high"]
    assert (row["verdict_1"], row["verdict_2"]) == ("CONFIRMED", "REFUTED")
    settings = pd.read_csv(page.parent / "settings.csv")
    assert settings["setting"].tolist() == ["arms", "config: min_count"]
    text = page.read_text(encoding="utf-8")
    assert "1 verdict changed" in text
    assert "(changed)" in text
    assert "nan" not in text.lower().replace("nance", "")


def test_a_report_beside_itself_does_not_differ(reports, tmp_path):
    page = compare_reports(reports[0], reports[0], tmp_path / "same")
    assert (pd.read_csv(page.parent / "cells.csv")["difference"] == 0).all()
    assert "Nothing: command, config" in page.read_text(encoding="utf-8")


def test_the_page_can_be_made_again_in_its_place_but_not_over_something_else(reports, tmp_path):
    out = tmp_path / "both"
    assert compare_reports(*reports, out) == compare_reports(*reports, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="found something else"):
        compare_reports(*reports, tmp_path / "mine")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (None, "found no results.json"),
        ({"format": 2}, "expected results of format 1"),
        ({"arms": []}, "expected an arm that both"),
    ],
)
def test_what_is_no_report_is_refused(reports, tmp_path, change, error):
    other = tmp_path / "other"
    other.mkdir()
    if change is not None:
        results = json.loads((reports[0] / "results.json").read_text()) | change
        (other / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=error):
        compare_reports(reports[0], other, tmp_path / "new")
    assert not (tmp_path / "new").exists()
