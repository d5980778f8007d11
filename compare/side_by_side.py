"""Two reports side by side: what was run differently, and what came out differently."""

import json
from pathlib import Path

import pandas as pd

from compare import figures
from compare.cells import difference
from compare.folders import whole_folder
from compare.page import PAGE, STYLE, environment, inline
from compare.provenance import file_sha256
from compare.results_file import RESULTS, check_folder, to_json


def compare_reports(first: Path, second: Path, folder: Path) -> Path:
    """Write a page of two reports' cells, verdicts and settings beside each other; returns the page."""
    check_folder(folder)
    runs = [load_report(path) for path in (first, second)]
    cells = compare_cells(*runs)
    settings = compare_settings(*runs)
    sources = [{"folder": str(path), "sha256": file_sha256(path / RESULTS)} for path in (first, second)]
    numbers = {"format": 1, "compared": sources, "cells": cells.to_dict("records")}
    with whole_folder(folder) as new:
        cells.to_csv(new / "cells.csv", index=False, lineterminator="\n")
        settings.to_csv(new / "settings.csv", index=False, lineterminator="\n")
        (new / RESULTS).write_text(to_json(numbers), encoding="utf-8")
        (new / PAGE).write_text(render(sources, runs, cells, settings), encoding="utf-8")
    return folder / PAGE


def load_report(folder: Path) -> dict:
    """The results of a report that was written."""
    path = Path(folder) / RESULTS
    if not path.is_file():
        raise ValueError(
            f"expected a report, found no {RESULTS} in {folder}: name a folder that `report` wrote."
        )
    results = json.loads(path.read_text(encoding="utf-8"))
    if results.get("format") != 1 or "arms" not in results:
        raise ValueError(
            f"expected results of format 1 with arms, found others in {path}: make the report anew."
        )
    return results


def compare_cells(first: dict, second: dict) -> pd.DataFrame:
    """A row for each cell of each arm that both have: means, difference with its interval, both verdicts.

    The interval takes the errors as independent, which two runs on the same tokens are not: it is too wide
    there, never too narrow, unless the runs err in opposite directions.
    """
    others = {arm["name"]: arm for arm in second["arms"]}
    rows = []
    for arm in first["arms"]:
        if arm["name"] not in others:
            continue
        for cell, other in zip(arm["cells"], others[arm["name"]]["cells"], strict=True):
            beyond = difference(known(other), known(cell))
            rows.append(
                {
                    "arm": arm["name"],
                    "group": arm["group"],
                    "cooccurrence": cell["cooccurrence"],
                    "similarity": cell["similarity"],
                }
                | {f"{name}_1": cell[name] for name in ("mean", "low", "high", "n_pairs", "verdict")}
                | {f"{name}_2": other[name] for name in ("mean", "low", "high", "n_pairs", "verdict")}
                | {"difference": beyond["mean"], "low": beyond["low"], "high": beyond["high"]}
            )
    if not rows:
        raise ValueError(
            "expected an arm that both reports have, found none: compare two runs of the same command."
        )
    return pd.DataFrame(rows)


def known(cell: dict) -> dict:
    """A cell as it was before JSON: what is null there is NaN."""
    return {name: float("nan") if value is None else value for name, value in cell.items()}


def compare_settings(first: dict, second: dict) -> pd.DataFrame:
    """A row for each setting, version or hash that the runs do not share."""
    one, other = (flat_settings(results) for results in (first, second))
    names = sorted(one.keys() | other.keys())
    rows = [(name, one.get(name, ""), other.get(name, "")) for name in names]
    return pd.DataFrame([row for row in rows if row[1] != row[2]], columns=["setting", "first", "second"])


def flat_settings(results: dict) -> dict[str, str]:
    """Everything that decides a run's numbers, by name."""
    run = results["run"]
    flat = {"command": run["command"], "seed": str(run["seed"]), "code": run.get("code", "")}
    flat |= {"arms": ", ".join(arm["name"] for arm in results["arms"])}
    flat |= {"hypotheses": results["hypotheses"]["sha256"]}
    for part in ("config", "versions", "inputs"):
        flat |= {f"{part}: {name}": str(value) for name, value in run[part].items()}
    return flat


def render(sources: list[dict], runs: list[dict], cells: pd.DataFrame, settings: pd.DataFrame) -> str:
    """The page."""
    jinja = environment()
    changed = cells[cells["verdict_1"].fillna("") != cells["verdict_2"].fillna("")]
    return jinja.get_template("compare.html.j2").render(
        sources=sources,
        runs=runs,
        cells=cells.astype(object).where(cells.notna(), None).to_dict("records"),
        n_changed=len(changed),
        settings=settings.to_dict("records"),
        figure=inline(lambda: figures.against(cells)),
        style=jinja.get_template(STYLE).render(),
    )
