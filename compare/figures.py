"""A table in, a Figure out. Nothing is computed here, and no pyplot state is touched.

Each function takes the same table that is written to CSV beside the figure. Sign is always readable without
colour: from printed numbers, marks or position. Text and axes are drawn in INK, which the report turns into
the page's own ink.
"""

import io
import textwrap
from collections.abc import Callable
from itertools import zip_longest

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from compare.names import CELLS, CLAIMS, effects_name, term_name

INK = "#1a1b1c"
"""Colour of text and lines; the report replaces it by the colour of the page's text."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "cofire",
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
GROUP_MARKS = {
    "toy": {"marker": "o", "color": "#b35806"},
    "real": {"marker": "s", "color": "#2166ac"},
    "control": {"marker": "D", "color": "#767676", "markerfacecolor": "none"},
}
BAND = "#8c8c8c"
COSINE_TICKS = (-1, -0.3, -0.1, -0.03, 0, 0.03, 0.1, 0.3, 1)
NOTABLE = 0.0005
"""Mean cosines nearer to zero are printed as 0."""


FEW = 10
"""Pairs below which a mean is not worth printing."""


def to_svg(draw: Callable[[], Figure]) -> str:
    """The figure as SVG, the same bytes every time."""
    with rc_context(STYLE):
        buffer = io.StringIO()
        figure = draw()
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        # savefig would draw twice, and lay out each time
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def to_png(draw: Callable[[], Figure]) -> bytes:
    """The figure as PNG on white, for a README or a slide."""
    with rc_context(STYLE):
        buffer = io.BytesIO()
        draw().savefig(buffer, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def wrapped(name: str, width: int) -> str:
    """A name on as many lines as it takes, so that titles of neighbouring panels do not meet."""
    return textwrap.fill(name, width)


def short_cosine(value: float) -> str:
    """A signed cosine in few characters: +.12, -.003, 0."""
    if abs(value) < NOTABLE:
        return "0"
    text = f"{value:+.2f}" if abs(value) >= 0.0995 else f"{value:+.3f}"
    return text.replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")


def short_count(count: int | float) -> str:
    """A count in few characters: 950, 12k, 3.4M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.2g}{unit}" if count < 99.5 * size else f"{count / size:.0f}{unit}"
    return f"{count:.0f}"


def post_map(table: pd.DataFrame) -> Figure:
    """The post's figure: a tile for each range of co-occurrence x similarity, its mean cosine and its count.

    Toys on the left, the others on the right, the same colours in all. Columns: arm, group, x_label, y_label,
    x_low, x_high, y_low, y_high, count, mean.
    """
    arms = toys_beside_others(table)
    columns = min(2, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(5.6 * columns + 0.6, 4.1 * rows), layout="constrained")
    colours = cosine_colours()
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, arm in zip(axes, arms, strict=False):
        if arm is None:
            axis.set_axis_off()
            continue
        draw_map(axis, table[table["arm"] == arm], colours)
        axis.set_title(arm)
    for axis in list(axes)[len(arms) :]:
        axis.set_axis_off()
    bar = figure.colorbar(
        colours, ax=figure.axes[: rows * columns], shrink=0.8, aspect=30, label="mean cosine"
    )
    bar.set_ticks(COSINE_TICKS, labels=[f"{tick:+g}" if tick else "0" for tick in COSINE_TICKS])
    bar.minorticks_off()
    return figure


def toys_beside_others(table: pd.DataFrame) -> list[str | None]:
    """Names of arms in rows of two, toys on the left, the others on the right."""
    is_toy = table["group"] == "toy"
    return beside(list(table["arm"][is_toy].unique()), list(table["arm"][~is_toy].unique()))


def beside(left: list[str], right: list[str]) -> list[str | None]:
    """Names in rows of two, a list on each side, None where the shorter ran out; a lone list as it is."""
    if not (left and right):
        return [*left, *right]
    return [name for row in zip_longest(left, right) for name in row]


def cosine_colours() -> ScalarMappable:
    """Colours of mean cosines, the same wherever they are shown."""
    return ScalarMappable(SymLogNorm(0.03, vmin=-1, vmax=1), "RdBu_r")


def draw_map(axis: Axes, table: pd.DataFrame, colours: ScalarMappable) -> None:
    """Tiles of one arm; a range with few pairs is a small square without numbers."""
    filled = table[table["count"] > 0]
    corners = []
    for r in filled.itertuples():
        trim = 0.0 if r.count >= FEW else 0.32
        x, y = trim * (r.x_high - r.x_low), trim * (r.y_high - r.y_low)
        left, right, low, high = r.x_low + x, r.x_high - x, r.y_low + y, r.y_high - y
        corners.append([(left, low), (right, low), (right, high), (left, high)])
    faces = colours.to_rgba(filled["mean"].to_numpy())
    axis.add_collection(PolyCollection(corners, facecolors=faces, edgecolors="white", linewidths=0.5))
    for r, face in zip(filled.itertuples(), faces, strict=True):
        if r.count < FEW:
            continue
        luminance = 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2]
        text = axis.text(
            (r.x_low + r.x_high) / 2,
            (r.y_low + r.y_high) / 2,
            f"{short_cosine(r.mean)}\n{short_count(r.count)}",
            ha="center",
            va="center",
            fontsize=6,
            linespacing=1.05,
            color="white" if luminance < 0.55 else "black",
        )
        text.set_in_layout(False)
    axis.set(xlabel=table["x_label"].iloc[0], ylabel=table["y_label"].iloc[0])
    axis.set_xlim(table["x_low"].min(), table["x_high"].max())
    axis.set_ylim(table["y_low"].min(), table["y_high"].max())


def cell_plot(table: pd.DataFrame) -> Figure:
    """The 2 x 2 table with exclusive and independent apart: a dot and an interval for each arm, toy beside
    real.

    Columns: arm, group, cooccurrence, similarity, mean, low, high, margin. Shaded: the side that the post
    claims.
    """
    panels = [("toy", ["toy"]), ("language model and controls", ["real", "control"])]
    panels = [panel for panel in panels if table["group"].isin(panel[1]).any()]
    most = max(table[table["group"].isin(groups)]["arm"].nunique() for _, groups in panels)
    figure = Figure(figsize=(5.4 * len(panels) + 1.2, 1.4 + 6 * (0.3 + 0.17 * most)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, groups) in zip(axes, panels, strict=True):
        chosen = table[table["group"].isin(groups)]
        draw_cells(axis, chosen)
        axis.set_title(title)
        arms = axis.get_legend_handles_labels()
        axis.legend(*arms, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False, fontsize=8)
    axes[0].set_yticks(
        range(len(CELLS)), [f"{co}\n{sim} outputs\nclaim: {claim}" for (co, sim), claim in CLAIMS.items()]
    )
    axes[0].set_ylim(len(CELLS) - 0.5, -0.5)
    return figure


def draw_cells(axis: Axes, table: pd.DataFrame) -> None:
    """Six rows of dots and intervals."""
    arms = list(table["arm"].unique())
    reach = 1.15 * np.fmax(table[["mean", "low", "high"]].abs().max().max(), 2 * table["margin"].max())
    marks = {"toy": "os^vP", "real": "s^vP", "control": "Do^x"}
    used = {group: 0 for group in marks}
    for position, arm in enumerate(arms):
        rows = table[table["arm"] == arm]
        group = rows["group"].iloc[0]
        style = GROUP_MARKS[group] | {"marker": marks[group][used[group] % len(marks[group])]}
        used[group] += 1
        shift = (position - (len(arms) - 1) / 2) * 0.72 / max(len(arms), 1)
        places = [
            CELLS.index(name) + shift for name in zip(rows["cooccurrence"], rows["similarity"], strict=True)
        ]
        errors = [(rows["mean"] - rows["low"]).fillna(0), (rows["high"] - rows["mean"]).fillna(0)]
        axis.errorbar(
            rows["mean"], places, xerr=errors, linestyle="none", markersize=5, capsize=2, label=arm, **style
        )
    margin = table["margin"].max()
    for place, name in enumerate(CELLS):
        span = {"< 0": (-reach, 0), "> 0": (0, reach), "= 0": (-margin, margin)}[CLAIMS[name]]
        axis.fill_betweenx([place - 0.45, place + 0.45], *span, color=BAND, alpha=0.18, linewidth=0)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_xlim(-reach, reach)
    axis.set_xlabel("mean cosine, 95 % interval")
    axis.tick_params(axis="y", length=0)


def histograms(table: pd.DataFrame) -> Figure:
    """Density of cosines on a log scale, with random directions drawn in.

    Columns: arm, group, low, high, density, null_density, matched_density (NaN where not known).
    """
    arms = list(table["arm"].unique())
    columns = min(3, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.5 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    positive = table["density"][table["density"] > 0]
    floor = positive.min() / 2
    for axis, arm in zip(grid.flat, arms, strict=False):
        part = table[table["arm"] == arm]
        colour = GROUP_MARKS[part["group"].iloc[0]]["color"]
        edges = [*part["low"], part["high"].iloc[-1]]
        axis.fill_between(
            [*part["low"], edges[-1]],
            [*part["null_density"].clip(lower=floor), floor],
            floor,
            step="post",
            color=BAND,
            alpha=0.35,
            linewidth=0,
            label="random directions",
        )
        if part["matched_density"].notna().any():
            axis.stairs(
                part["matched_density"].clip(lower=floor),
                edges,
                baseline=floor,
                color=INK,
                linewidth=0.9,
                linestyle=(0, (3, 2)),
                label="random, same mean, covariance",
            )
        axis.stairs(
            part["density"].clip(lower=floor),
            edges,
            baseline=floor,
            color=colour,
            linewidth=1.3,
            label="measured",
        )
        axis.set(yscale="log", xlim=(-1, 1), ylim=(floor, positive.max() * 3))
        axis.set_title(wrapped(arm, 34), fontsize=9)
        axis.minorticks_off()
    for axis in list(grid.flat)[len(arms) :]:
        axis.set_axis_off()
    for axis in grid[:, 0]:
        axis.set_ylabel("density of pairs (log)")
    for column in range(columns):
        last = max(row for row in range(rows) if row * columns + column < len(arms))
        grid[last, column].set_xlabel("cosine")
        grid[last, column].tick_params(labelbottom=True)
    shown = grid[0, 0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def forest(table: pd.DataFrame) -> Figure:
    """Slopes of the regression: a panel a term, a row an arm and specification, default and naive intervals.

    Columns: arm, group, effects, term, estimate, low, high, naive_low, naive_high. Toy arms stand above, the
    others below, on scales of their own.
    """
    parts = [table[(table["group"] == "toy") == is_toy] for is_toy in (True, False)]
    parts = [part for part in parts if len(part)]
    terms = list(table["term"].unique())
    heights = [part[["arm", "effects"]].drop_duplicates().shape[0] for part in parts]
    figure = Figure(
        figsize=(3 * len(terms) + 3, 0.9 * len(parts) + 0.24 * sum(heights)), layout="constrained"
    )
    grid = figure.subplots(len(parts), len(terms), sharey="row", squeeze=False, height_ratios=heights)
    for part, axes in zip(parts, grid, strict=True):
        names = list(dict.fromkeys(zip(part["arm"], part["effects"], strict=True)))
        for axis, term in zip(axes, terms, strict=True):
            draw_slopes(axis, part[part["term"] == term], names)
        axes[0].set_yticks(range(len(names)), [f"{arm} · {effects_name(effects)}" for arm, effects in names])
        axes[0].set_ylim(len(names) - 0.4, -0.6)
    for axis, term in zip(grid[0], terms, strict=True):
        axis.set_title(f"slope on {term_name(term)}")
    return figure


def draw_slopes(axis: Axes, table: pd.DataFrame, names: list[tuple[str, str]]) -> None:
    """One term: a row for each arm and specification."""
    for group, part in table.groupby("group", sort=False):
        places = [names.index(name) for name in zip(part["arm"], part["effects"], strict=True)]
        rows, style = [place for place in places for _ in range(3)], GROUP_MARKS[group]
        default, naive = (
            part.assign(gap=float("nan"))[[low, high, "gap"]].to_numpy().ravel()
            for low, high in (("low", "high"), ("naive_low", "naive_high"))
        )  # one line with gaps is drawn far faster than a line each
        axis.plot(default, rows, color=style["color"], linewidth=1.4, zorder=2)
        axis.plot(naive, rows, color=INK, linewidth=3.5, alpha=0.55, zorder=3)
        axis.plot(part["estimate"], places, **style, markersize=5, linestyle="none", zorder=4)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.locator_params(axis="x", nbins=5)
    axis.set_xlabel("cosine per unit")
    for place in range(1, len(names)):
        if names[place][0] != names[place - 1][0]:
            axis.axhline(place - 0.5, color=BAND, linewidth=0.5)


def against(table: pd.DataFrame) -> Figure:
    """Two runs: each cell's mean in the first against the second, with both intervals and the diagonal.

    Columns: group, mean_1, low_1, high_1, mean_2, low_2, high_2.
    """
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axis = figure.subplots()
    table = table.astype({f"{name}_{run}": float for name in ("mean", "low", "high") for run in (1, 2)})
    for group, part in table.groupby("group", sort=False):
        x, y = part["mean_1"], part["mean_2"]
        axis.errorbar(
            x,
            y,
            xerr=[(x - part["low_1"]).fillna(0), (part["high_1"] - x).fillna(0)],
            yerr=[(y - part["low_2"]).fillna(0), (part["high_2"] - y).fillna(0)],
            linestyle="none",
            markersize=5,
            linewidth=1,
            label=group,
            **GROUP_MARKS[group],
        )
    axis.axline((0, 0), slope=1, color=BAND, linewidth=1, linestyle="--", zorder=0)
    axis.axhline(0, color=BAND, linewidth=0.5, zorder=0)
    axis.axvline(0, color=BAND, linewidth=0.5, zorder=0)
    axis.set(xlabel="mean cosine, first run", ylabel="mean cosine, second run")
    axis.legend(frameon=False, fontsize=8)
    return figure
