"""The figure of rules side by side. A table in, a Figure out."""

import pandas as pd
from matplotlib.figure import Figure

from compare.figures import BAND, GROUP_MARKS, INK, wrapped


def rule_plot(table: pd.DataFrame) -> Figure:
    """Share of held-out cosines' variation that each rule predicts: a panel an arm, a dot a rule.

    Columns: arm, group, rule, r2, r2_low, r2_high, ceiling. 0 is the training mean; dashed, the ceiling that
    the agreement of seeds sets, where it lies within the panel.
    """
    arms, rules = list(table["arm"].unique()), list(table["rule"].unique())
    columns = min(4, len(arms))
    rows = -(-len(arms) // columns)
    height = 0.7 + 0.21 * len(rules)
    figure = Figure(figsize=(2.5 * columns + 2.2, height * rows + 0.2), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, arm in zip(grid.flat, arms, strict=False):
        part = table[table["arm"] == arm]
        places = [rules.index(rule) for rule in part["rule"]]
        errors = [(part["r2"] - part["r2_low"]).fillna(0), (part["r2_high"] - part["r2"]).fillna(0)]
        style = GROUP_MARKS[part["group"].iloc[0]]
        axis.errorbar(part["r2"], places, xerr=errors, linestyle="none", markersize=5, capsize=2, **style)
        axis.axvline(0, color=INK, linewidth=0.8)
        ceiling = part["ceiling"].iloc[0]
        if ceiling <= 1.5 * axis.get_xlim()[1]:
            axis.axvline(ceiling, color=BAND, linestyle="--", linewidth=1)
        axis.set_title(wrapped(arm, 28), fontsize=9)
        axis.locator_params(axis="x", nbins=4)
        axis.tick_params(axis="y", length=0)
        for place in range(len(rules)):
            axis.axhline(place, color=BAND, linewidth=0.4, alpha=0.5, zorder=0)
        axis.set_xlabel("r² on held-out features")
    grid[0, 0].set_yticks(range(len(rules)), rules)
    grid[0, 0].set_ylim(len(rules) - 0.5, -0.5)
    for axis in list(grid.flat)[len(arms) :]:
        axis.set_axis_off()
    return figure
