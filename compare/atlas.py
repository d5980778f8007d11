"""From the points of an atlas to what it says, and the folder that it is written to."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from compare import figures_atlas
from compare.anchors import anchor_sentences, anchor_table, markdown
from compare.atlas_points import CELLS, CLAIMS, WIDE_ZERO, cell_table, point_table
from compare.cells import MARGIN
from compare.figures import to_png
from compare.folders import whole_folder
from compare.results_file import RESULTS, check_folder, to_json
from compare.scored import score_table, scored_lines

KNOWN = (
    "What other work says of such toys, run again here; where a source has no number, the range is our "
    "reading of it. An anchor that does not come out may ask for longer training or for another world: "
    "`anchors` in results.json has the config of each run."
)
NEAR = "near the table"
"""The slice laid round the one point of the grid at which the table was found to hold (toy.grid)."""


AXES = ("features_per_dimension", "firing_rate", "reconstruction_share", "weight_decay")


def region(points: pd.DataFrame, against: str) -> dict:
    """Where the post's table holds: how many points of how many, and the range of each axis there."""
    inside = points[points[f"holds_{against}"]]
    ranges = {axis: sorted(inside[axis].unique().tolist()) for axis in AXES}
    tried = {axis: sorted(points[axis].unique().tolist()) for axis in AXES}
    return {
        "against": against,
        "n_points": len(points),
        "n_inside": len(inside),
        "values": ranges,
        "tried": tried,
    }


def where_it_holds(points: pd.DataFrame, against: str, which: str) -> str:
    """The region as a sentence; `which` says what points these are."""
    found = region(points, against)
    where = "; ".join(
        f"{axis.replace('_', ' ')} {numbers(values)} of {numbers(found['tried'][axis])} tried"
        for axis, values in found["values"].items()
        if values
    )
    return (
        f"With 'do not co-occur' read as {against}, all four cells of the post's table hold at "
        f"{found['n_inside']} of the {found['n_points']} {which}" + f": {where}" * bool(where) + "."
    )


def numbers(values: Sequence[float]) -> str:
    """Values one after the other."""
    return ", ".join(f"{value:.3g}" for value in values)


def how_narrowly(inside: pd.DataFrame) -> list[str]:
    """What of the table hangs on what counts as zero, and on a few pairs, at points where it holds."""
    if not len(inside):
        return []
    same, different = inside["co-occurring, same"], inside["co-occurring, different"]
    others = inside["others_exclusive_same"]
    return [
        f"Where it holds there, co-occurring pairs have mean cosines of {same.min():+.2f} to "
        f"{same.max():+.2f} with the same outputs and {different.min():+.2f} to {different.max():+.2f} with "
        f"different ones, a difference of {(same - different).min():.2f} to {(same - different).max():.2f}: "
        f"it holds as far as +-{WIDE_ZERO:g} counts as zero. By the narrower zero of reports, +-{MARGIN:g} / "
        f"sqrt(dimensions), it holds at {inside['zero_by_noise'].sum() or 'none'} of these {len(inside)}.",
        f"At {(same < WIDE_ZERO).sum()} of them co-occurring pairs of the same output are above 0 and yet "
        f"within +-{WIDE_ZERO:g} of it, and at {(others > 0).sum()} exclusive pairs of the same output are "
        f"below 0 by those that lie opposite each other alone: the others average above 0.",
    ]


def signs(points: pd.DataFrame, name: str) -> str:
    """How often a cell has each sign, as a sentence."""
    counts = points[f"{name}: sign"].value_counts()
    shown = ", ".join(f"{sign} at {counts.get(sign, 0)}" for sign in "-0+?")
    return f"{name} outputs (claim {CLAIMS[name]}): {shown} of {len(points)} points."


def summary(points: pd.DataFrame) -> list[str]:
    """What the atlas says of its grid and of the points near the table, a sentence a finding.

    Points at which reconstruction is all of the loss are left out: there no network has heard of outputs, so
    that whatever tells "same" from "different" is chance.
    """
    near = points[points["slice"] == NEAR]
    points = points[(points["slice"] == "phase") & (points["reconstruction_share"] < 1)]
    readings = ("exclusive", "independent")
    which = "points of the grid at which outputs are part of the loss"
    said = [where_it_holds(points, against, which) for against in readings]
    if len(near):
        worlds = near["n_worlds"].iloc[0]
        which = f"points laid more closely round where it was found to hold, in {worlds} new worlds each"
        said += [where_it_holds(near, against, which) for against in readings]
        said += how_narrowly(near[near["holds_exclusive"]])
        said.append(f"At these points, {signs(near, 'exclusive, same')}")
    said += [signs(points, name) for name in CLAIMS]
    positive = int((points["difference_low_exclusive"] > 0).sum())
    negative = int((points["difference_high_exclusive"] < 0).sum())
    said.append(
        f"Difference in differences (claim > 0): above 0 at {positive}, below 0 at {negative} of "
        f"{len(points)} points."
    )
    return said


PLACE = ["features_per_dimension", "firing_rate", "reconstruction_share"]
"""What a point is but for its weight decay."""


def decay_points(points: pd.DataFrame) -> pd.DataFrame:
    """The points of the slice on weight decay, with those of the grid at the same places."""
    places = points[points["slice"] == "weight decay"][PLACE].drop_duplicates()
    return points[points["slice"] != NEAR].merge(places, on=PLACE).sort_values("weight_decay")


def decay_summary(points: pd.DataFrame) -> list[str]:
    """Whether more weight decay makes the cosine steeper in co-occurrence, where it was raised by degrees."""
    said = []
    for (density, _, share), part in decay_points(points).groupby(PLACE):
        steep = ", ".join(
            f"{row.steep_mean:+.2f} [{row.steep_low:+.2f}, {row.steep_high:+.2f}] at {row.weight_decay:g}"
            for row in part.itertuples()
        )
        said.append(
            f"Weight decay, {density:g} features a dimension, reconstruction {share:.0%} of the loss: "
            f"co-occurring less exclusive pairs {steep}."
        )
    return said


def size_summary(size: pd.DataFrame) -> list[str]:
    """How far cells move when the same networks are trained longer."""
    said = []
    for density, part in size.sort_values("steps").groupby("features_per_dimension"):
        short, long = part.iloc[0], part.iloc[-1]
        moved = {name: long[name] - short[name] for name in CELLS}
        most = max(moved, key=lambda name: abs(moved[name]))
        said.append(
            f"Trained for {long['steps']:,} steps in place of {short['steps']:,}, {density:g} features a "
            f"dimension, cells move by at most {abs(moved[most]):.2f} ({most}: {short[most]:+.2f} to "
            f"{long[most]:+.2f})."
        )
    return said


def atlas_results(
    found: Sequence[tuple[str, dict]], anchors: Sequence[dict], theory: Sequence[dict], about: dict
) -> dict:
    """Everything that an atlas says, as results.json keeps it: run, sentences, theory, tables, raw points.

    `theory` has a row for each kind of network: kind, tied, readout, flip (equal lengths), flip_free or None;
    `anchors` are the rows of toy.known.
    """
    phase = point_table((part, point) for part, point in found if part in ("phase", NEAR, "weight decay"))
    known = anchor_table(anchors)
    cells = cell_table(found)
    size = point_table((part, point) for part, point in found if part == "size")
    return {
        "run": about,
        "atlas": {
            "margin": WIDE_ZERO,
            "summary": [
                *summary(phase),
                *decay_summary(phase),
                *size_summary(size),
                *deciding_summary(kinds_of(cells, theory)),
                *anchor_sentences(known),
            ],
            "anchors": known.to_dict("records"),
            "theory": list(theory),
            "points": phase.to_dict("records"),
            "size": size.to_dict("records"),
            "cells": cells.to_dict("records"),
        },
        "points": [{"slice": part, **point} for part, point in found],
        "anchors": list(anchors),
    }


def kinds_of(cells: pd.DataFrame, theory: Sequence[dict]) -> pd.DataFrame:
    """The cells with the name of their kind of network and what theory says of it."""
    return cells.merge(pd.DataFrame(theory), on=["tied", "readout"], how="left")


def deciding_summary(cells: pd.DataFrame) -> list[str]:
    """Exclusive pairs of one output by kind of network: two features in one dimension, and a whole world."""
    said = []
    for kind, part in cells[cells["slice"] == "two in one"].groupby("kind", sort=False):
        said.append(
            f"Two exclusive features of one output in one dimension, {kind}: the best start is "
            f"{turn(part, 'merged', part['best'] > 0, 'antipodal', part['best'] < 0)}; equal lengths predict "
            f"a turn at {part['flip'].iloc[0]:.2f}."
        )
    whole = cells[(cells["slice"] == "deciding cell") & (cells["cooccurrence"] == "exclusive")]
    for kind, part in whole[whole["overlap"] == 1].groupby("kind", sort=False):
        apart = turn(part, "above 0", part["low"] > 0, "below 0", part["high"] < 0)
        said.append(f"The same pairs among all features of a world, {kind}: the mean cosine is {apart}.")
    return said


def turn(part: pd.DataFrame, first: str, is_first: pd.Series, second: str, is_second: pd.Series) -> str:
    """Up to which share of reconstruction the one holds, and from which the other; what was tried, if not."""
    share = part["reconstruction_share"]
    tried = f"among shares of {share.min():g} to {share.max():g}"
    before = f"{first} up to a share of {share[is_first].max():g}" if is_first.any() else f"not {first}"
    after = f"{second} from {share[is_second].min():g}" if is_second.any() else f"not {second}"
    return f"{before} and {after}" + f" {tried}" * (not is_first.any() or not is_second.any())


def write_atlas(results: dict, folder: Path) -> Path:
    """Write results.json, the tables as CSV, the figures, and a README; the folder is replaced."""
    check_folder(folder)
    with whole_folder(folder) as new:
        atlas = results["atlas"]
        points, cells = pd.DataFrame(atlas["points"]), kinds_of(pd.DataFrame(atlas["cells"]), atlas["theory"])
        points.to_csv(new / "points.csv", index=False)
        cells.to_csv(new / "cells.csv", index=False)
        pd.DataFrame(atlas["anchors"]).to_csv(new / "anchors.csv", index=False)
        if "measures" in results:
            score_table(results)["measures"].to_csv(new / "measures.csv", index=False)
        drawn = dict(drawings(points, cells))
        for name, draw in drawn.items():
            (new / f"{file_name(name)}.png").write_bytes(to_png(draw))
        (new / RESULTS).write_text(to_json(results), encoding="utf-8")
        (new / "README.md").write_text(readme(results, list(drawn)), encoding="utf-8")
    return folder


def drawings(points: pd.DataFrame, cells: pd.DataFrame) -> Iterable[tuple[str, Callable[[], Figure]]]:
    """Each figure by name, and how to draw it."""
    for decay, part in points[points["slice"] == "phase"].groupby("weight_decay"):
        name = f"phase, weight decay {decay:g}" if decay else "phase"
        yield name, partial(figures_atlas.phase, part)
    near = points[points["slice"] == NEAR]
    if len(near):
        yield "near-the-table", lambda: figures_atlas.phase(near)
    raised = decay_points(points)
    if len(raised):
        yield "weight-decay", lambda: figures_atlas.decay(raised)
    exclusive = cells[(cells["slice"] == "deciding cell") & (cells["cooccurrence"] == "exclusive")]
    yield "deciding-cell", lambda: figures_atlas.deciding(exclusive)
    yield "two-in-one", lambda: figures_atlas.two_in_one(cells[cells["slice"] == "two in one"])


def readme(results: dict, names: Sequence[str]) -> str:
    """The atlas on one screen."""
    lines = ["# Atlas of the toy", "", f"Written by `{results['run']['command']}`; edit nothing here.", ""]
    lines += [f"- {sentence}" for sentence in results["atlas"]["summary"]]
    lines += ["", "Grid, worlds and starts: `results.json`; every number: `points.csv`, `cells.csv`."]
    lines += ["", "## Known from elsewhere", "", KNOWN, ""]
    lines += [*markdown(pd.DataFrame(results["atlas"]["anchors"])), ""]
    lines += scored_lines(results["measures"]) if "measures" in results else []
    for name in names:
        lines += [f"## {name.replace('-', ' ')}", "", f"![{name}]({file_name(name)}.png)", ""]
    return "\n".join(lines)


def file_name(name: str) -> str:
    """A figure's name as that of a file."""
    return name.replace(", ", "-").replace(" ", "-")
