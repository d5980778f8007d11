"""Figures show what their table says."""

from itertools import pairwise

import numpy as np
import pytest
from example_results import example_results
from matplotlib.figure import Figure

from compare import figures
from compare.hypotheses import judge, load
from compare.sections import tables
from compare.tables import MAP_TILES, groups, maps

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def made():
    """Every table of the example."""
    return tables(judge(example_results(), load()))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123, "+.12"), (0.0004, "0"), (1.0, "+1.00"), (0.0996, "+.10"), (-0.0031, f"{MINUS}.003")],
)
def test_cosines_are_short_and_keep_their_sign(value, text):
    assert figures.short_cosine(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (950, "950"), (12_345, "12k"), (1_959_210, "2M"), (134e6, "134M")]
)
def test_counts_are_short(count, text):
    assert figures.short_count(count) == text


def test_the_map_has_a_panel_for_each_arm_in_the_same_colours_with_numbers_in_the_tiles(made):
    table = made["map"]
    figure = figures.post_map(table)
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in panels[::2]] == list(table["arm"][table["group"] == "toy"].unique())
    assert [axis.get_title() for axis in panels[1::2]] == list(table["arm"][table["group"] != "toy"].unique())
    first = table[table["arm"] == table["arm"].iloc[0]]
    assert len(panels[0].texts) == (first["count"] >= figures.FEW).sum()
    best = first.loc[first["count"].idxmax()]
    printed = f"{figures.short_cosine(best['mean'])}\n{figures.short_count(int(best['count']))}"
    assert printed in [text.get_text() for text in panels[0].texts]


def test_toys_stand_left_and_the_others_right():
    assert figures.beside(["a", "b"], ["c"]) == ["a", "c", "b", None]
    assert figures.beside([], ["c", "d", "e"]) == ["c", "d", "e"]


def test_a_coarser_map_keeps_every_pair_and_every_mean(made):
    results = example_results()
    post = results["arms"][3]["map"]
    part = made["map"][made["map"]["arm"] == results["arms"][3]["name"]]
    count = np.array(post["count"])
    mean = np.array([[value or 0.0 for value in row] for row in post["mean"]])
    assert part["count"].sum() == count.sum()
    assert (part["count"] * part["mean"].fillna(0)).sum() == pytest.approx((count * mean).sum())


@pytest.mark.parametrize(
    ("n", "first", "last"), [(40, 0, 40), (40, 3, 5), (40, 1, 39), (14, 0, 14), (7, 6, 7)]
)
def test_tiles_cover_the_filled_bins_evenly(n, first, last):
    counts = np.zeros(n)
    counts[[first, last - 1]] = 1
    tiles = groups(counts, [float(edge) for edge in range(n + 1)])
    assert len(tiles) <= MAP_TILES
    assert tiles[0][0] <= first
    assert tiles[-1][1] >= last
    assert len({high - low for low, high, _ in tiles}) == 1
    assert all(one[1] == other[0] for one, other in pairwise(tiles))


def test_an_arm_without_pairs_has_an_empty_map():
    results = example_results()
    results["arms"] = results["arms"][:1]
    results["arms"][0]["map"]["count"] = np.zeros((40, 40), int).tolist()
    assert maps(results)["count"].sum() == 0
    assert isinstance(figures.post_map(maps(results)), Figure)


def test_cells_are_drawn_at_their_means_with_toy_beside_real(made):
    figure = figures.cell_plot(made["cells"])
    assert [axis.get_title() for axis in figure.axes] == ["toy", "language model and controls"]
    toy = made["cells"][made["cells"]["arm"] == made["cells"]["arm"].iloc[0]]
    drawn = figure.axes[0].containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(np.asarray(drawn, dtype=float), toy["mean"].astype(float))


def test_a_cell_without_an_interval_is_drawn_without_one(made):
    table = made["cells"].copy()
    table.loc[0, ["mean", "low", "high"]] = np.nan
    table.loc[1, ["low", "high"]] = np.nan
    assert isinstance(figures.cell_plot(table[table["group"] == "toy"]), Figure)


def test_cells_without_any_pair_are_drawn_empty(made):
    table = made["cells"].assign(mean=np.nan, low=np.nan, high=np.nan)
    figure = figures.cell_plot(table)
    assert figure.axes[0].get_xlim()[1] == pytest.approx(1.15 * 2 * table["margin"].max(), rel=0.5)


def test_histograms_share_their_axes_and_draw_the_null(made):
    figure = figures.histograms(made["histogram"])
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert len({axis.get_ylim() for axis in panels}) == 1
    assert all(axis.get_yscale() == "log" for axis in panels)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["random directions", "random, same mean, covariance", "measured"]


def test_slopes_stand_beside_their_naive_interval(made):
    table = made["slopes"]
    table = table[(table["cooccurrence"] == "log_odds") & table["term"].isin(["co", "sim"])]
    figure = figures.forest(table)
    assert len(figure.axes) == 4  # toys above, the others below; two terms
    default, naive, point = figure.axes[0].lines[:3]
    row = table.iloc[0]
    np.testing.assert_allclose(default.get_xdata()[:2], [row["low"], row["high"]])
    np.testing.assert_allclose(naive.get_xdata()[:2], [row["naive_low"], row["naive_high"]])
    assert np.isnan(default.get_xdata()[2])
    assert point.get_xdata()[0] == row["estimate"]


def test_the_same_table_gives_the_same_bytes_and_sets_nothing_for_others(made):
    import matplotlib

    before = dict(matplotlib.rcParams)
    first, second = (figures.to_svg(lambda: figures.histograms(made["histogram"])) for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert dict(matplotlib.rcParams) == before
