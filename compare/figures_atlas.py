"""The figures of the atlas: phase diagrams, the deciding cell, two features in one dimension."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from compare.figures import BAND, INK

QUANTITIES = {
    "exclusive, same": "exclusive, same outputs\nclaim: < 0",
    "exclusive, different": "exclusive, different\nclaim: < 0",
    "co-occurring, same": "co-occurring, same\nclaim: > 0",
    "co-occurring, different": "co-occurring, different\nclaim: = 0",
    "difference_mean_exclusive": "difference in differences\nclaim: > 0",
    "antipodal_exclusive": "antipodal share of\nexclusive pairs",
}
COLOURS = ("#2166ac", "#b35806", "#1b7837", "#762a83", "#4d4d4d")


def phase(points: pd.DataFrame) -> Figure:
    """A row for each of the four cells, the difference in differences and the antipodal share.

    Columns are firing rates; in a panel, reconstruction's share of the loss (across) by features per
    dimension (up). Numbers are means over worlds; "?" marks a sign that is not certain. A frame: the post's
    whole table holds there.
    """
    rates = sorted(points["firing_rate"].unique())
    figure = Figure(figsize=(4.2 * len(rates) + 1.6, 1.75 * len(QUANTITIES)), layout="constrained")
    axes = figure.subplots(len(QUANTITIES), len(rates), sharex=True, sharey=True, squeeze=False)
    colours = ScalarMappable(Normalize(-1, 1), "RdBu_r")
    for row, (quantity, label) in zip(axes, QUANTITIES.items(), strict=True):
        for axis, rate in zip(row, rates, strict=True):
            draw_phase(axis, points, rate, quantity, colours)
        row[0].set_ylabel(label)
    for axis, rate in zip(axes[0], rates, strict=True):
        axis.set_title(f"firing rate {rate:g}")
    for axis in axes[-1]:
        axis.set_xlabel("reconstruction's share of the loss")
    figure.supylabel("features per dimension, a panel; what it shows, a row", fontsize=9)
    figure.colorbar(colours, ax=axes, shrink=0.4, aspect=40, label="mean cosine (or share, or difference)")
    return figure


def draw_phase(axis: Axes, points: pd.DataFrame, rate: float, quantity: str, colours: ScalarMappable) -> None:
    """One panel, a tile a point of this firing rate; all panels have the places of all points."""
    shares = sorted(points["reconstruction_share"].unique())
    densities = sorted(points["features_per_dimension"].unique())
    for point in points[points["firing_rate"] == rate].to_dict("records"):
        x, y = shares.index(point["reconstruction_share"]), densities.index(point["features_per_dimension"])
        face = colours.to_rgba(point[quantity])
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white", linewidth=0.5))
        if point["holds_exclusive"]:
            axis.add_patch(Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, fill=False, edgecolor=INK, linewidth=2))
        doubt = "?" if point.get(f"{quantity}: sign") == "?" else ""
        luminance = 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2]
        number = f"{point[quantity]:+.2f}".replace("0.", ".").replace("-", "\N{MINUS SIGN}")
        ink = "white" if luminance < 0.55 else "black"
        axis.text(x, y, number + doubt, ha="center", va="center", fontsize=6.5, color=ink)
    axis.set_xticks(range(len(shares)), [f"{share:g}" for share in shares])
    axis.set_yticks(range(len(densities)), [f"{density:.3g}" for density in densities])
    axis.set_xlim(-0.5, len(shares) - 0.5)
    axis.set_ylim(-0.5, len(densities) - 0.5)


def decay(points: pd.DataFrame) -> Figure:
    """The four cells by weight decay: a panel for each density and share of reconstruction.

    Means over worlds; the zero line is what orthogonal pairs would give.
    """
    places = list(points.groupby(["features_per_dimension", "reconstruction_share"]).groups)
    figure = Figure(figsize=(3.1 * len(places) + 1.6, 3.3), layout="constrained")
    axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    names = [name for name in QUANTITIES if ", " in name]
    for axis, (density, share) in zip(axes, places, strict=True):
        is_here = (points["features_per_dimension"] == density) & (points["reconstruction_share"] == share)
        part = points[is_here].sort_values("weight_decay")
        ticks = range(len(part))
        for name, colour, mark in zip(names, COLOURS, "osD^", strict=False):
            axis.plot(ticks, part[name], color=colour, marker=mark, label=name)
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set_xticks(ticks, [f"{rate:g}" for rate in part["weight_decay"]])
        axis.set(
            title=f"{density:g} features a dimension,\nreconstruction {share:.0%}", xlabel="weight decay"
        )
    axes[0].set_ylabel("mean cosine of the cell")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def deciding(cells: pd.DataFrame) -> Figure:
    """Exclusive pairs by reconstruction's share: a panel a kind of network, a line a share of common votes.

    Means over worlds with 95 % intervals. Dashed: the flip by the equal-length argument for pairs of the same
    output that share one dimension.
    """
    kinds = list(cells["kind"].unique())
    figure = Figure(figsize=(3.3 * len(kinds) + 1.2, 3.4), layout="constrained")
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=True):
        part = cells[cells["kind"] == kind]
        for colour, (overlap, line) in zip(COLOURS, part.groupby("overlap"), strict=False):
            line = line.sort_values("reconstruction_share")
            errors = [line["mean"] - line["low"], line["high"] - line["mean"]]
            share, mark = line["reconstruction_share"], "osD^v"[COLOURS.index(colour)]
            axis.errorbar(
                share, line["mean"], errors, color=colour, marker=mark, label=f"{overlap:g}", capsize=2
            )
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.axvline(part["flip"].iloc[0], color=BAND, linestyle="--", linewidth=1.2)
        axis.set(title=kind, xlabel="reconstruction's share of the loss")
    axes[0].set_ylabel("mean cosine of exclusive pairs")
    axes[-1].legend(
        title="share of outputs\nin common", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
    )
    return figure


def two_in_one(cells: pd.DataFrame) -> Figure:
    """Two exclusive features of one output in one dimension: where each start ended, and the best one.

    Dashed: the flip by the equal-length argument; dotted, where given: with lengths, biases and readout free.
    """
    kinds = list(cells["kind"].unique())
    figure = Figure(figsize=(3.3 * len(kinds), 3.4), layout="constrained")
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=True):
        part = cells[cells["kind"] == kind].sort_values("reconstruction_share")
        share = part["reconstruction_share"]
        axis.plot(share, part["antipodal"], color=COLOURS[0], marker="o", label="starts that end antipodal")
        axis.plot(share, part["parallel"], color=COLOURS[1], marker="s", label="starts that end merged")
        axis.plot(share, part["best"], "k*", markersize=9, label="cosine of the best start")
        axis.axvline(part["flip"].iloc[0], color=BAND, linestyle="--", linewidth=1.2)
        if part["flip_free"].notna().any():
            axis.axvline(part["flip_free"].iloc[0], color=BAND, linestyle=":", linewidth=1.6)
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set(title=kind, xlabel="reconstruction's share of the loss", ylim=(-1.1, 1.1))
    axes[0].set_ylabel("share of starts; cosine")
    axes[0].legend(fontsize=7, loc="lower left", frameon=False)
    return figure
