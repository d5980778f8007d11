"""A section is on the page where its numbers are, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from example_results import example_results
from matplotlib.figure import Figure

from compare import sections
from compare.sections import SECTIONS, Section, drawings, shown, tables

TEMPLATES = Path(sections.__file__).parent / "templates"


def test_every_section_has_its_template_and_every_template_its_section():
    assert {section.template for section in SECTIONS} == {path.name for path in TEMPLATES.glob("_*.j2")}
    assert len({section.key for section in SECTIONS}) == len(SECTIONS)


def test_a_section_shows_where_results_or_an_arm_have_its_key():
    section = Section("curve", "A curve", "Curve")
    arm = {"name": "arm"}
    assert not section.is_in({"arms": [arm]})
    assert section.is_in({"arms": [arm], "curve": []})
    assert section.is_in({"arms": [arm, arm | {"curve": []}]})
    assert replace(section, always=True).is_in({"arms": [arm]})


def test_a_section_brings_its_own_tables_and_figures(monkeypatch):
    new = Section(
        "curve",
        "A curve",
        "Curve",
        tabulate=lambda results: {"curve": pd.DataFrame(results["curve"])},
        draw=lambda made: iter([("curve", lambda: Figure())]),
    )
    monkeypatch.setattr(sections, "SECTIONS", (new,))
    results = example_results() | {"curve": [{"x": 1.0}]}
    made = tables(results)
    assert made["curve"]["x"].tolist() == [1.0]
    assert [name for name, _ in drawings(results, made)] == ["curve"]
    assert shown(example_results()) == []
