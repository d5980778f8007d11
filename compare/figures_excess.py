"""The forest of slopes beyond their nulls. A table in, a Figure out."""

import pandas as pd
from matplotlib.figure import Figure

from compare.figures import BAND, GROUP_MARKS, INK
from compare.names import effects_name, pair_name, term_name


def excess_plot(table: pd.DataFrame) -> Figure:
    """One arm: a panel a specification and slope, a row a null; mark and line are excess and interval.

    Columns: group, cooccurrence, similarity, effects, term, null, slope, null_mean, null_sd, excess, low,
    high. Grey: 1.96 standard deviations of the null about zero. Stroke: the slope itself.
    """
    names = ["cooccurrence", "similarity", "effects"]
    specifications = list(table.groupby(names, sort=False).groups)
    terms, nulls = list(table["term"].unique()), list(table["null"].unique())
    size = (3 * len(terms) + 2.4, len(specifications) * (0.9 + 0.24 * len(nulls)))
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(specifications), 1, squeeze=False)[:, 0]
    grid = [part.subplots(1, len(terms), squeeze=False)[0] for part in parts]
    style = GROUP_MARKS[table["group"].iloc[0]]
    for part, axes, specification in zip(parts, grid, specifications, strict=True):
        name = f"{pair_name(*specification[:2])} · {effects_name(specification[2])}"
        part.suptitle(name, fontsize=8, weight="bold")
        chosen = table[(table[names] == list(specification)).all(axis=1)]
        for axis, term in zip(axes, terms, strict=True):
            rows = chosen[chosen["term"] == term]
            places, reach = [nulls.index(null) for null in rows["null"]], 1.96 * rows["null_sd"]
            axis.hlines(places, -reach, reach, color=BAND, alpha=0.3, linewidth=9)
            axis.hlines(places, rows["low"], rows["high"], color=style["color"], linewidth=1.4)
            axis.plot(rows["excess"], places, **style, markersize=5, linestyle="none")
            axis.plot(rows["slope"], places, marker="|", color=INK, markersize=9, linestyle="none")
            axis.axvline(0, color=INK, linewidth=0.8)
            axis.set_ylim(len(nulls) - 0.5, -0.5)
            axis.set_yticks(range(len(nulls)), nulls if axis is axes[0] else [""] * len(nulls))
            axis.tick_params(axis="y", length=0)
            axis.locator_params(axis="x", nbins=4)
            axis.set_title(f"slope on {term_name(term)}", fontsize=8)
    return figure
