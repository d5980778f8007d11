"""How Evidence, pairs and permutations draw themselves for a person at work. A table in, a Figure out."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from compare.figures import BAND, INK, cosine_colours
from compare.names import measure_name, term_name

BLUE = "#2166ac"


def rate_plot(table: pd.DataFrame) -> Figure:
    """Share of tokens at which each feature fires, most frequent first; features that never fired are left
    out. Column: rate.
    """
    rates = table["rate"][table["rate"] > 0].sort_values(ascending=False).to_numpy()
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(np.arange(1, len(rates) + 1), rates, color=BLUE)
    axis.set(xscale="log", yscale="log", xlabel="features, most frequent first", ylabel="share of tokens")
    axis.set_title(f"{len(rates):,} of {len(table):,} features fired")
    return figure


def pair_plot(table: pd.DataFrame, x: str, y: str) -> Figure:
    """Mean cosine of the pairs by two measures, in the report's colours. Columns: cosine, x, y."""
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axis = figure.subplots()
    colours = cosine_colours()
    tiles = axis.hexbin(
        table[x], table[y], C=table["cosine"], gridsize=30, cmap=colours.cmap, norm=colours.norm
    )
    figure.colorbar(tiles, label="mean cosine")
    axis.set(xlabel=measure_name(x), ylabel=measure_name(y), title=f"{len(table):,} pairs")
    return figure


def permutation_plot(table: pd.DataFrame, draws: Float[np.ndarray, "draws slopes"]) -> Figure:
    """Each slope's t (line) among those of permuted features (bars), or within two of their standard
    deviations (grey) where only moments are known. Index: term; columns: t, null_mean, null_sd, p.
    """
    figure = Figure(figsize=(3.2 * len(table), 2.6), layout="constrained")
    for k, (axis, row) in enumerate(
        zip(figure.subplots(1, len(table), squeeze=False)[0], table.itertuples(), strict=True)
    ):
        if len(draws):
            axis.hist(draws[:, k], bins=30, color=BAND)
        else:
            low, high = row.null_mean - 1.96 * row.null_sd, row.null_mean + 1.96 * row.null_sd
            axis.axvspan(low, high, color=BAND, alpha=0.4, linewidth=0)
            axis.set_yticks([])
        axis.axvline(row.t, color=BLUE, linewidth=1.6)
        axis.axvline(0, color=INK, linewidth=0.6)
        axis.set(title=f"slope on {term_name(row.Index)}, p = {row.p:.3g}", xlabel="t")
    return figure
