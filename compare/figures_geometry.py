"""Figures of the blob and of equivalence. A table in, a Figure out."""

import pandas as pd
from matplotlib.figure import Figure

from compare.figures import BAND, INK, wrapped

COLOURS = ("#2166ac", "#b35806", "#1b7837", "#762a83", "#767676", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
"""Lines are told apart by dash as well as by colour."""


def power_plot(table: pd.DataFrame) -> Figure:
    """Power of the test of the blob's shape against planted alignments: a panel an arm, a line a share.

    Columns: arm, share of pairs, alignment, power, sd (of random cosines). Grey: smaller than that sd.
    """
    figure, axes = panels(table, "power")
    for axis, (_, part) in zip(axes, table.groupby("arm", sort=False), strict=True):
        for k, (share, line) in enumerate(part.groupby("share")):
            axis.plot(line["alignment"], line["power"], DASHES[k], color=COLOURS[k], marker="o",
                      markersize=3, label=f"{100 * share:g} % of pairs")  # fmt: skip
        axis.axvspan(0, part["sd"].iloc[0], color=BAND, alpha=0.25, linewidth=0)
        axis.axhline(0.8, color=INK, linewidth=0.6)
        axis.set_xlim(0)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("planted alignment (|cosine|)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False,
                  fontsize=8)  # fmt: skip
    return figure


def hidden_plot(table: pd.DataFrame) -> Figure:
    """The largest share of pairs that can be aligned by each amount: a panel an arm, log scale.

    Columns: arm, alignment, share, sd (of random cosines). Grey: smaller than that sd.
    """
    figure, axes = panels(table, "at most so many pairs")
    for axis, (_, part) in zip(axes, table.groupby("arm", sort=False), strict=True):
        axis.plot(part["alignment"], part["share"], color=COLOURS[0], marker="o", markersize=3)
        axis.axvspan(0, part["sd"].iloc[0], color=BAND, alpha=0.25, linewidth=0)
        axis.set_yscale("log")
        axis.set_xlim(0)
        axis.set_xlabel("alignment (|cosine|)")
    return figure


def equivalence_plot(table: pd.DataFrame) -> Figure:
    """p-value of "the cell's mean is zero within the bound", for bounds of every size: a panel an arm.

    Columns: arm, cell, bound (in noise floors), p. A cell passes a bound where its line is below 5 %.
    """
    figure, axes = panels(table, "p of equivalence")
    cells = list(table["cell"].unique())
    for axis, (_, part) in zip(axes, table.groupby("arm", sort=False), strict=True):
        for cell, line in part.groupby("cell", sort=False):
            k = cells.index(cell)
            axis.plot(line["bound"], line["p"], linestyle=DASHES[k], color=COLOURS[k], label=cell)
        axis.axhline(0.05, color=INK, linewidth=0.6)
        axis.axvline(table["margin"].iloc[0], color=BAND, linewidth=1)
        axis.set_xscale("log")
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("bound (noise floors)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False,
                  fontsize=7)  # fmt: skip
    return figure


def panels(table: pd.DataFrame, label: str) -> tuple[Figure, list]:
    """A panel for each arm, titled, four a row."""
    arms = list(table["arm"].unique())
    columns = min(4, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(2.5 * columns + 0.7, 2.2 * rows + 0.3), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axis, arm in zip(grid, arms, strict=False):
        axis.set_title(wrapped(arm, 28), fontsize=9)
    for axis in grid[::columns]:
        axis.set_ylabel(label)
    for axis in grid[len(arms) :]:
        axis.set_axis_off()
    return figure, grid[: len(arms)]
