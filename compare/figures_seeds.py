"""The figure of seeds. Two tables in, a Figure out."""

import pandas as pd
from matplotlib.figure import Figure

from compare.figures import BAND, GROUP_MARKS, INK, wrapped


def seed_plot(apart: pd.DataFrame, together: pd.DataFrame) -> Figure:
    """The six cells of each arm: a small mark a seed with its own interval, a bar for all seeds together.

    Columns of `apart`: arm, group, quantity, mean, low, high; of `together`: the same over seeds. Zero is
    what random directions give on average.
    """
    apart, together = (table[~table["quantity"].str.startswith("slope")] for table in (apart, together))
    arms, names = list(apart["arm"].unique()), list(apart["quantity"].unique())
    columns = min(3, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(2.9 * columns + 2, (0.7 + 0.33 * len(names)) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, arm in zip(grid.flat, arms, strict=False):
        style = GROUP_MARKS[apart.loc[apart["arm"] == arm, "group"].iloc[0]]
        for place, name in enumerate(names):
            seeds = apart[(apart["arm"] == arm) & (apart["quantity"] == name)].dropna(subset="mean")
            whole = together[(together["arm"] == arm) & (together["quantity"] == name)]
            heights = [place - 0.3 + 0.45 * k / max(len(seeds) - 1, 1) for k in range(len(seeds))]
            errors = [(seeds["mean"] - seeds["low"]).fillna(0), (seeds["high"] - seeds["mean"]).fillna(0)]
            axis.errorbar(
                seeds["mean"], heights, xerr=errors, linestyle="none", markersize=3, linewidth=0.8, **style
            )
            axis.plot(
                whole[["low", "high"]].to_numpy().T, [place + 0.36] * 2, color=INK, linewidth=2.5, alpha=0.7
            )
            axis.plot(whole["mean"], [place + 0.36], marker="|", color=INK, markersize=8)
            axis.axhline(place + 0.5, color=BAND, linewidth=0.4, alpha=0.6)
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.locator_params(axis="x", nbins=5)
        axis.set_title(wrapped(arm, 32), fontsize=9)
        axis.set_xlabel("mean cosine")
        axis.tick_params(axis="y", length=0)
    grid[0, 0].set_yticks(range(len(names)), [name.removesuffix(" outputs") for name in names])
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    for axis in list(grid.flat)[len(arms) :]:
        axis.set_axis_off()
    return figure
