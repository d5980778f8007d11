"""What lies beside a report and belongs on its page: the atlas of toys, and calibrations of the tests.

A report at reports/mine looks for reports/atlas (of `cofire atlas`) and for reports/calibration/*.csv (of
`cofire calibrate`). What is found goes into results with its hash, so that the page still comes from results
alone.
"""

import json
from pathlib import Path

import pandas as pd

from compare.atlas import kinds_of
from compare.names import SLOPES
from compare.provenance import file_sha256

CALIBRATION = ["world", "effects", "test", "term", "rejected", "error", "replicates"]
"""Columns of `compare.calibration` that are kept."""

SHOWN = ("deciding cell", "two in one")
"""Slices of the atlas whose cells are drawn; its phase diagrams are drawn from points."""


def found_beside(folder: Path) -> dict:
    """The keys `atlas` and `calibration` of a report that will lie at `folder`; only what is there."""
    parts = {"atlas": atlas_beside(folder.parent), "calibration": calibration_beside(folder.parent)}
    return {name: part for name, part in parts.items() if part}


def atlas_beside(place: Path) -> dict | None:
    """Summary, theory, anchors, points and drawn cells of an atlas, and the command that made it."""
    path = place / "atlas" / "results.json"
    if not path.is_file():
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    atlas = results["atlas"]
    cells = kinds_of(pd.DataFrame(atlas["cells"]), atlas["theory"])
    cells = cells[cells["slice"].isin(SHOWN) & (cells["cooccurrence"] == "exclusive")]
    about = {"sha256": file_sha256(path), "command": results["run"]["command"]}
    kept = {name: atlas[name] for name in ("summary", "theory", "points")}
    kept["anchors"] = atlas.get("anchors", [])  # an older atlas has none
    return about | kept | {"cells": cells.to_dict("records")}


def calibration_beside(place: Path) -> dict | None:
    """Rows of every calibration table, by the name of its file, and their hashes."""
    files = sorted((place / "calibration").glob("*.csv"))
    rows: list[dict] = []
    for path in files:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])  # a world may be called null
        missing = [name for name in CALIBRATION if name not in table and name != "effects"]
        if missing:
            raise ValueError(
                f"expected the columns of `cofire calibrate` in {path}, found no {', '.join(missing)}: "
                "make it again or move it elsewhere."
            )
        known = table.assign(effects=table.get("effects", "none"))[CALIBRATION]
        rows += [{"table": path.stem} | row for row in known.to_dict("records")]
    return {"files": {path.name: file_sha256(path) for path in files}, "rows": rows} if rows else None


def atlas_tables(results: dict) -> dict[str, pd.DataFrame]:
    """atlas_points.csv, a row a point of the phase diagrams; atlas_cells.csv, a row a drawn cell."""
    atlas = results["atlas"]
    return {"atlas_points": pd.DataFrame(atlas["points"]), "atlas_cells": pd.DataFrame(atlas["cells"])}


def calibration_tables(results: dict) -> dict[str, pd.DataFrame]:
    """calibration.csv: a row a table, world, specification, test and slope."""
    return {"calibration": pd.DataFrame(results["calibration"]["rows"])}


def by_test(rows: list[dict]) -> list[dict]:
    """A row a world, specification and test of slopes: share rejected by slope."""
    found: dict[tuple, dict] = {}
    for row in rows:
        if row["term"] not in SLOPES:
            continue
        about = {name: row[name] for name in ("table", "world", "effects", "test", "replicates")}
        found.setdefault(tuple(about.values()), about)[row["term"]] = row["rejected"]
    return list(found.values())


def by_world(rows: list[dict]) -> list[dict]:
    """A row for each test of cells and of directions (compare.calibration_tests): share rejected by world."""
    found: dict[tuple, dict] = {}
    for row in rows:
        if row["term"] not in SLOPES:
            about = {name: row[name] for name in ("table", "test", "term", "replicates")}
            found.setdefault(tuple(about.values()), about)[row["world"]] = row["rejected"]
    return list(found.values())
