"""The sections of the page, in order: a key, a title, and what to tabulate and draw.

To add one: put its numbers under `key` in results, or in an arm of results; write
templates/_<key>.html.j2; add a Section here. It appears where its numbers are, and nowhere else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from compare import (
    figures,
    figures_calibration,
    figures_curve,
    figures_excess,
    figures_geometry,
    figures_rules,
    figures_seeds,
)
from compare.atlas import drawings as atlas_drawings
from compare.beside import atlas_tables, calibration_tables
from compare.names import SLOPES, pair_name
from compare.sae_bias import bias_table
from compare.scored import score_table
from compare.seeds import seed_tables
from compare.tables import centred_cells, curve, effects, examples, excess_slopes, main_tables, rules
from compare.tables_geometry import blob_tables, comparison_tables, equivalence_tables

Tables = dict[str, pd.DataFrame]
"""Every table of a report by the name of its CSV."""

Drawing = tuple[str, Callable[[], Figure]]
"""A figure's name, and how to draw it."""


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own."""

    key: str
    """Its place in the page (#key), its template's name, and the key of results or of an arm it shows."""

    title: str
    link: str
    """The title in a word or three, for the list of sections."""

    tabulate: Callable[[dict], Tables] | None = None
    """Results in, a table for each CSV out; None where the main tables hold all that it shows."""

    draw: Callable[[Tables], Iterator[Drawing]] | None = None
    """Tables in, figures out by name; a template shows them with drawing(name, label)."""

    always: bool = False
    """Shown whatever keys results have."""

    @property
    def template(self) -> str:
        """The file in templates/."""
        return f"_{self.key}.html.j2"

    def is_in(self, results: dict) -> bool:
        """Whether these results have the numbers that it shows."""
        return self.always or self.key in results or any(self.key in arm for arm in results["arms"])


def draw_map(made: Tables) -> Iterator[Drawing]:
    """The post's figure, two rows of panels at a time, as they fit on a page."""
    arms = figures.toys_beside_others(made["map"])
    for first in range(0, len(arms), 4):
        part = made["map"][made["map"]["arm"].isin(arms[first : first + 4])]
        yield f"map: {first // 4 + 1}", partial(figures.post_map, part)


def draw_cells(made: Tables) -> Iterator[Drawing]:
    """The six cells."""
    yield "cells", lambda: figures.cell_plot(made["cells"])


def draw_centred(made: Tables) -> Iterator[Drawing]:
    """The six cells with the mean direction taken out."""
    if len(made["cells_centred"]):
        yield "centred", lambda: figures.cell_plot(made["cells_centred"])


def draw_slopes(made: Tables) -> Iterator[Drawing]:
    """A forest plot for each pair of measures."""
    slopes = made["slopes"][made["slopes"]["term"].isin(SLOPES)]
    for measures, part in slopes.groupby(["cooccurrence", "similarity"], sort=False):
        yield f"slopes: {pair_name(*measures)}", partial(figures.forest, part)


def draw_histograms(made: Tables) -> Iterator[Drawing]:
    """All cosines."""
    yield "histogram", lambda: figures.histograms(made["histogram"])


def draw_rules(made: Tables) -> Iterator[Drawing]:
    """How well each rule predicts."""
    if len(made["rules"]):
        yield "rules", lambda: figures_rules.rule_plot(made["rules"])


def draw_excess(made: Tables) -> Iterator[Drawing]:
    """Slopes beyond every null, a figure for each measured arm."""
    for arm in made["excess"]["arm"].unique() if len(made["excess"]) else []:
        part = made["excess"][made["excess"]["arm"] == arm]
        yield f"excess: {arm}", partial(figures_excess.excess_plot, part)


def draw_curve(made: Tables) -> Iterator[Drawing]:
    """A specification curve for each arm."""
    steps = made["curve_steps"]
    for arm in steps["arm"].unique() if len(steps) else []:
        part = steps[steps["arm"] == arm].dropna(axis=1, how="all")
        yield f"curve: {arm}", partial(figures_curve.curve_plot, part)


def draw_seeds(made: Tables) -> Iterator[Drawing]:
    """Cells seed by seed."""
    yield "seeds", lambda: figures_seeds.seed_plot(made["seeds"], made["seeds_together"])


def draw_calibration(made: Tables) -> Iterator[Drawing]:
    """Sizes of the tests, where nothing was planted."""
    slopes = made["calibration"][made["calibration"]["term"].isin(SLOPES)]
    null = slopes[~slopes["world"].str.startswith("planted")]
    null = null.assign(world=null["table"].str.replace("-", " ") + ": " + null["world"])
    if len(null):
        yield "calibration", lambda: figures_calibration.size_plot(null)


def draw_atlas(made: Tables) -> Iterator[Drawing]:
    """Phase diagrams and the deciding cell."""
    for name, draw in atlas_drawings(made["atlas_points"], made["atlas_cells"]):
        yield f"atlas: {name}", draw


def draw_equivalence(made: Tables) -> Iterator[Drawing]:
    """Curves of equivalence."""
    if len(made["equivalence"]):
        yield "equivalence", lambda: figures_geometry.equivalence_plot(made["equivalence"])


def draw_hidden(made: Tables) -> Iterator[Drawing]:
    """What the blob would show and what it can hide."""
    if len(made["power"]):
        yield "power", lambda: figures_geometry.power_plot(made["power"])
    yield "hidden", lambda: figures_geometry.hidden_plot(made["hidden"])


SECTIONS = (
    Section("explore", "Look closer", "Look closer", always=True),
    Section("map", "The post's figure, with every pair counted", "The post's figure", draw=draw_map),
    Section("cells", "The cells, exclusive and independent kept apart", "Cells", draw=draw_cells),
    Section(
        "centred",
        "The cells once more, with the direction that all features share taken out",
        "Shared direction taken out",
        tabulate=centred_cells,
        draw=draw_centred,
    ),
    Section(
        "equivalence",
        "Equivalence: how near to zero each mean is known to be",
        "Equivalence",
        tabulate=equivalence_tables,
        draw=draw_equivalence,
        always=True,
    ),
    Section("controls", "Controls: what method and geometry give by themselves", "Controls", always=True),
    Section(
        "sae_bias",
        "What an SAE writes by itself, where the truth is known",
        "SAEs on toys",
        tabulate=bias_table,
    ),
    Section(
        "measures",
        "How well each measure recovers what is true",
        "Measures",
        tabulate=score_table,
    ),
    Section(
        "slopes",
        "Slopes of the regression: cosine on co-occurrence x similarity",
        "Slopes",
        draw=draw_slopes,
        always=True,
    ),
    Section(
        "nulls",
        "Excess: the slopes beyond every null and control",
        "Excess",
        tabulate=excess_slopes,
        draw=draw_excess,
    ),
    Section(
        "specification_curve",
        "The specification curve: the slopes under every defensible choice",
        "Every choice",
        tabulate=curve,
        draw=draw_curve,
    ),
    Section(
        "rules",
        "Rules side by side: the cosine of features never seen",
        "Rules",
        tabulate=rules,
        draw=draw_rules,
    ),
    Section(
        "causal", "Causal effects: each feature added, and taken away", "Causal effects", tabulate=effects
    ),
    Section(
        "comparison",
        "Toys beside language models, corrected for reliability",
        "Reliability",
        tabulate=comparison_tables,
    ),
    Section(
        "by_seed",
        "Seeds: the same again, trained anew",
        "Seeds",
        tabulate=seed_tables,
        draw=draw_seeds,
    ),
    Section(
        "calibration",
        "Calibration: whether the tests keep their word",
        "Calibration",
        tabulate=calibration_tables,
        draw=draw_calibration,
    ),
    Section("histogram", "All cosines, and the orthogonal blob", "All cosines", draw=draw_histograms),
    Section(
        "hidden",
        "How much alignment the blob can hide",
        "Hidden alignment",
        tabulate=blob_tables,
        draw=draw_hidden,
    ),
    Section("antipodal", "Antipodal pairs", "Antipodal pairs"),
    Section("examples", "Pairs of every cell", "Pairs", tabulate=examples),
    Section(
        "atlas",
        "The atlas: where in the toys the table holds",
        "Atlas of toys",
        tabulate=atlas_tables,
        draw=draw_atlas,
    ),
    Section("reasons", "Every verdict with its reason", "Reasons", always=True),
    Section("methods", "Methods and limits", "Methods and limits", always=True),
    Section("again", "Make it again", "Make it again", always=True),
)


def shown(results: dict) -> list[Section]:
    """The sections whose numbers these results have, in order."""
    return [section for section in SECTIONS if section.is_in(results)]


def tables(results: dict) -> Tables:
    """Every table of the report."""
    made = main_tables(results)
    for section in shown(results):
        if section.tabulate:
            made |= section.tabulate(results)
    return made


def drawings(results: dict, made: Tables) -> Iterator[Drawing]:
    """Each figure of the report by name, and how to draw it."""
    for section in shown(results):
        if section.draw:
            yield from section.draw(made)
