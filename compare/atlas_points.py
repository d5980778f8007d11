"""The points of an atlas as tables: a sign for each cell at each point, and where all four hold.

Worlds are the replicates: an interval is Student's t over their means, or over starts where a point has one
world.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from compare.cells import MARGIN
from compare.names import CLAIMS as TABLE
from compare.replicates import t_interval

WIDE_ZERO = 0.1
"""A cell is "= 0" where the 90 % interval of its mean lies within +-0.1: two one-sided tests at 5 %."""

OVERLAPS = {"similar": ("same", 1.0), "different": ("different", 0.0)}
CELLS = {f"{co}, {OVERLAPS[sim][0]}": (co, OVERLAPS[sim][1]) for co, sim in TABLE}
CLAIMS = dict(zip(CELLS, TABLE.values(), strict=True))
"""Cells of the post's table by names of their own: outputs are the same or different, nothing between."""

ANTIPODAL = -0.9
"""Below it, pairs count as antipodal (toy.atlas)."""


def cell_table(found: Iterable[tuple[str, dict]]) -> pd.DataFrame:
    """A row for each point and cell: mean cosine over worlds with its 95 % interval, and the best start's."""
    rows = []
    for part, point in found:
        for cell in point["cells"]:
            replicates = by_world(point, cell["by_seed"])
            rows.append(
                point_row(part, point)
                | {name: cell[name] for name in ("cooccurrence", "overlap", "n_pairs")}
                | t_interval(replicates)._asdict()
                | {
                    "unwritten": float(np.mean(cell["unwritten"])),
                    "best": cell["by_seed"][point["best"]],
                    "antipodal": float(np.mean(cell["antipodal"])),
                    "parallel": float(np.mean(cell["parallel"])),
                    "sign": sign_of(replicates),
                }
            )
    return pd.DataFrame(rows)


def point_table(found: Iterable[tuple[str, dict]]) -> pd.DataFrame:
    """A row for each point that has all six cells: their signs, the difference in differences, the table.

    `holds_exclusive` says whether the post's table holds where "do not co-occur" is read as exclusive,
    `holds_independent` where it is read as independent: an intersection-union test at 5 % of its four cells
    and of a fifth, that co-occurring pairs of the same output are above those of different ones. Without it,
    two cells that are alike, small and above 0 would pass as "> 0" and "= 0".
    """
    rows = []
    for part, point in found:
        by_seed = {name: seeds_of(point, *where) for name, where in CELLS.items()}
        if any(seeds is None for seeds in by_seed.values()):
            continue
        row = point_row(part, point)
        for name, seeds in by_seed.items():
            row |= {name: float(np.mean(seeds)), f"{name}: sign": sign_of(seeds)}
        together = by_seed["co-occurring, same"] - by_seed["co-occurring, different"]
        for against in ("exclusive", "independent"):
            difference = together - (by_seed[f"{against}, same"] - by_seed[f"{against}, different"])
            wanted = [
                f"{against}, same",
                f"{against}, different",
                "co-occurring, same",
                "co-occurring, different",
            ]
            row |= {
                f"difference_{key}_{against}": value
                for key, value in t_interval(difference)._asdict().items()
            }
            as_claimed = all(is_as_claimed(by_seed[name], CLAIMS[name]) for name in wanted)
            row[f"holds_{against}"] = as_claimed and is_as_claimed(together, "> 0")
        narrow = MARGIN / point["config"]["width"] ** 0.5
        row["zero_by_noise"] = is_as_claimed(by_seed["co-occurring, different"], "= 0", narrow)
        row["others_exclusive_same"] = least_of_others(point)
        apart = by_seed["exclusive, same"] + by_seed["exclusive, different"]
        steep = (by_seed["co-occurring, same"] + by_seed["co-occurring, different"] - apart) / 2
        row |= {f"steep_{key}": value for key, value in t_interval(steep)._asdict().items()}
        antipodal = [cell["antipodal"] for cell in point["cells"] if cell["cooccurrence"] == "exclusive"]
        row["antipodal_exclusive"] = float(np.mean(antipodal))
        rows.append(row)
    return pd.DataFrame(rows)


def point_row(part: str, point: dict) -> dict:
    """Where a point lies, and how well its starts did."""
    config = point["config"]
    names = ("firing_rate", "reconstruction_share", "weight_decay", "tied", "readout", "n_features", "steps")
    return {
        "slice": part,
        "features_per_dimension": config["n_features"] / config["width"],
        **{name: config[name] for name in names},
        "n_worlds": point["n_worlds"],
        "n_networks": len(point["losses"]),
        "loss_best": min(point["losses"]),
        "loss_sd": float(np.std(point["losses"], ddof=1)),
    }


def seeds_of(point: dict, cooccurrence: str, overlap: float) -> np.ndarray | None:
    """Mean cosine of a cell in each world; None where the point's worlds have no such cell."""
    for cell in point["cells"]:
        if (cell["cooccurrence"], cell["overlap"]) == (cooccurrence, overlap):
            return by_world(point, cell["by_seed"])
    return None


def by_world(point: dict, values: Sequence[float]) -> np.ndarray:
    """Means over the starts of each world; the starts themselves where there is one world."""
    n_worlds = point["n_worlds"]
    return np.array(values) if n_worlds == 1 else np.reshape(values, (n_worlds, -1)).mean(1)


def least_of_others(point: dict) -> float:
    """The least that exclusive pairs of one output can average without those that lie opposite each other,
    whose cosines are at most ANTIPODAL; NaN where all do.
    """
    for cell in point["cells"]:
        if (cell["cooccurrence"], cell["overlap"]) == CELLS["exclusive, same"]:
            share, mean = float(np.mean(cell["antipodal"])), float(np.mean(cell["by_seed"]))
            return (mean - share * ANTIPODAL) / (1 - share) if share < 1 else float("nan")
    return float("nan")


def is_as_claimed(seeds: Sequence[float] | np.ndarray, claim: str, margin: float = WIDE_ZERO) -> bool:
    """Two one-sided tests at 5 % for "= 0", one for a sign."""
    _, low, high = t_interval(seeds, 0.90)
    if claim == "= 0":
        return low > -margin and high < margin
    return high < 0 if claim == "< 0" else low > 0


def sign_of(seeds: Sequence[float] | np.ndarray) -> str:
    """What a cell shows by the tests of is_as_claimed: "0" within the margin, "-" or "+", "?" neither.

    Where a mean is both away from 0 and within the margin, it counts as "0": too small to matter. In a whole
    table it may count as "> 0" all the same, and how_narrowly says how often.
    """
    if is_as_claimed(seeds, "= 0"):
        return "0"
    return "-" if is_as_claimed(seeds, "< 0") else "+" if is_as_claimed(seeds, "> 0") else "?"
