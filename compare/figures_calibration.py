"""The figure of calibration. A table in, a Figure out."""

import pandas as pd
from matplotlib.figure import Figure

from compare.figures import BAND, INK, wrapped
from compare.names import HELD, TESTS, effects_name, term_name

MARKS = {"co": ("o", "#2166ac"), "sim": ("s", "#b35806"), "co:sim": ("D", "#1b7837")}


def size_plot(table: pd.DataFrame) -> Figure:
    """How often each test rejects a true null: a panel a world, a row a test, a mark a slope.

    Columns: world, effects, test, term, rejected, error. Grey: where a test of 5 % is taken to keep its size.
    """
    panels = list(table[["world", "effects"]].drop_duplicates().itertuples(index=False, name=None))
    tests = [test for test in TESTS if test in set(table["test"])]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.9 * columns + 1.6, (0.9 + 0.24 * len(tests)) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis, (world, effects) in zip(grid.flat, panels, strict=False):
        part = table[(table["world"] == world) & (table["effects"] == effects)]
        axis.axvspan(*HELD, color=BAND, alpha=0.3, linewidth=0)
        axis.axvline(0.05, color=INK, linewidth=0.6)
        for k, (term, (marker, colour)) in enumerate(MARKS.items()):
            own = part[(part["term"] == term) & part["test"].isin(tests)]
            places = [tests.index(test) + 0.22 * (k - 1) for test in own["test"]]
            axis.errorbar(
                own["rejected"],
                places,
                xerr=1.96 * own["error"],
                linestyle="none",
                marker=marker,
                markersize=4,
                color=colour,
                label=f"slope on {term_name(term)}",
            )
        axis.set_title(wrapped(f"{world} · {effects_name(effects)}", 34), fontsize=8)
        axis.tick_params(axis="y", length=0)
    for axis in list(grid.flat)[len(panels) :]:
        axis.set_axis_off()
    for axis in grid[-1]:
        axis.set_xlabel("share of runs that reject at 5 %")
    grid[0, 0].set_yticks(range(len(tests)), [TESTS[test] for test in tests])
    grid[0, 0].set_ylim(len(tests) - 0.5, -0.5)
    grid[0, 0].set_xlim(0, max(0.2, 1.05 * table["rejected"].max()))
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
