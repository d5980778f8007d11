"""The figure of the specification curve. A table in, a Figure out."""

import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from compare.figures import BAND, GROUP_MARKS, INK
from compare.names import choice_name, term_name

SHADES = LinearSegmentedColormap.from_list("shares", [(0.35, 0.35, 0.35, 0.0), (0.35, 0.35, 0.35, 1.0)])
"""From clear to grey, so that it reads on a light and on a dark page."""


def curve_plot(table: pd.DataFrame) -> Figure:
    """One arm's curve: a column of panels a slope, sorted effects above, who chose what below; own scales.

    Columns: group, term, step, effect, null_low, null_high, and a column "choice: value" with its share of
    the step's specifications for every value of a choice.
    """
    terms = list(table["term"].unique())
    values = [name for name in table.columns if ": " in name]
    figure = Figure(figsize=(3 * len(terms) + 2.2, 2.4 + 0.15 * len(values)), layout="constrained")
    heights = [2.0, 0.15 * len(values)]
    grid = figure.subplots(2, len(terms), sharex=True, squeeze=False, height_ratios=heights)
    style = GROUP_MARKS[table["group"].iloc[0]]
    for above, below, term in zip(*grid, terms, strict=True):
        part = table[table["term"] == term]
        above.fill_between(
            part["step"], part["null_low"], part["null_high"], color=BAND, alpha=0.3, linewidth=0
        )
        above.plot(part["step"], part["effect"], linestyle="none", **style, markersize=3.5)
        above.axhline(0, color=INK, linewidth=0.8)
        above.set_title(f"slope on {term_name(term)}")
        shares = part[values].T
        shares = shares.div(shares.max(axis=1).where(lambda most: most > 0, 1), axis=0)
        edges = (part["step"].min() - 0.5, part["step"].max() + 0.5, len(values) - 0.5, -0.5)
        below.imshow(shares, aspect="auto", cmap=SHADES, vmin=0, vmax=1, extent=edges, interpolation="none")
        for place in range(1, len(values)):
            if values[place].split(": ")[0] != values[place - 1].split(": ")[0]:
                below.axhline(place - 0.5, color=INK, linewidth=0.5)
        below.set_xticks([])
        below.set_yticks([])
        below.set_xlabel("specifications, by effect")
    grid[0, 0].set_ylabel("sd of cosine by sd of regressor")
    grid[1, 0].set_yticks(
        range(len(values)), [choice_name(*name.split(": ", 1)) for name in values], fontsize=7
    )
    return figure
