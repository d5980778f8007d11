"""results.json as flat tables, one for each CSV and figure of the report."""

import numpy as np
import pandas as pd

from compare.cells import difference, estimate, find_cell
from compare.names import SLOPES
from compare.wording import controls_of, leaning_arms

MAP_TILES = 14
"""At most so many tiles along a side of the post's figure, so that the numbers in them can be read."""


def main_tables(results: dict) -> dict[str, pd.DataFrame]:
    """Every table that all reports have, by the name of its CSV."""
    return {
        "verdicts": pd.DataFrame(results["verdicts"]),
        "models": models(results),
        "arms": arms(results),
        "cells": cells(results),
        "differences": differences(results),
        "map": maps(results),
        "slopes": slopes(results),
        "histogram": histograms(results),
        "antipodal": antipodal(results),
        "antipodal_pairs": antipodal_pairs(results),
        "antipodal_variants": antipodal_variants(results),
        "controls": controls(results),
    }


def models(results: dict) -> pd.DataFrame:
    """A row for each number that says how good a model is."""
    rows = [
        {"model": model["name"], "kind": model["kind"], "quality": name, "value": value}
        for model in results["models"]
        for name, value in model["quality"].items()
    ]
    return pd.DataFrame(rows, columns=["model", "kind", "quality", "value"])


def arms(results: dict) -> pd.DataFrame:
    """A row an arm: what it is and how large."""
    size = ("n_features", "n_alive", "n_pairs", "width", "d_eff", "n_tokens")
    names = ("name", "group", "control_of", "note", "seeds", *size, "cooccurrence", "similarity")
    return pd.DataFrame([{name: arm[name] for name in names} | arm["spread"] for arm in results["arms"]])


def cells(results: dict) -> pd.DataFrame:
    """A row an arm and cell, quantiles as columns."""
    rows = [cell_row(arm, cell) for arm in results["arms"] for cell in arm["cells"]]
    return pd.DataFrame(rows)


def centred_cells(results: dict) -> dict[str, pd.DataFrame]:
    """The same with the mean direction taken out, where there is one, under the name of its CSV."""
    rows = [cell_row(arm, cell) for arm in leaning_arms(results) for cell in arm["centred"]["cells"]]
    return {"cells_centred": pd.DataFrame(rows)}


def cell_row(arm: dict, cell: dict) -> dict:
    """A cell with its arm."""
    flat = {name: value for name, value in cell.items() if name != "quantiles"}
    quantiles = {f"quantile_{q}": value for q, value in cell["quantiles"].items()}
    return {"arm": arm["name"], "group": arm["group"]} | flat | quantiles


def differences(results: dict) -> pd.DataFrame:
    """A row an arm and base of the difference in differences."""
    rows = [
        {"arm": arm["name"], "group": arm["group"]} | row
        for arm in results["arms"]
        for row in arm["difference_in_differences"]
    ]
    return pd.DataFrame(rows)


def maps(results: dict) -> pd.DataFrame:
    """A row a tile of the post's figure, cropped to where pairs are and coarsened to readable tiles."""
    rows = []
    for arm in results["arms"]:
        post = arm["map"]
        count = np.array(post["count"], dtype=np.float64)
        mean = np.array([[value or 0.0 for value in row] for row in post["mean"]])
        total = np.nan_to_num(mean) * count
        about = {"arm": arm["name"], "group": arm["group"]}
        about |= {"x_label": post["x_label"], "y_label": post["y_label"]}
        columns = groups(count.sum(0), post["x_edges"])
        lines = groups(count.sum(1), post["y_edges"])
        for y_low, y_high, y_part in lines:
            for x_low, x_high, x_part in columns:
                inside = count[y_part, x_part].sum()
                place = {"x_low": x_low, "x_high": x_high, "y_low": y_low, "y_high": y_high}
                value = total[y_part, x_part].sum() / inside if inside else np.nan
                rows.append(about | place | {"count": int(inside), "mean": value})
    return pd.DataFrame(rows)


def groups(counts: np.ndarray, edges: list[float]) -> list[tuple[float, float, slice]]:
    """Neighbouring bins put together, from the first to the last with a pair: (low edge, high edge, bins)."""
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, len(counts))
    n = len(counts)
    size = next(size for size in range(1, n + 1) if tiles_of(last - first, size) <= min(MAP_TILES, n // size))
    first = min(first, n - size * tiles_of(last - first, size))
    starts = range(first, last, size)
    return [(edges[start], edges[start + size], slice(start, start + size)) for start in starts]


def tiles_of(n_bins: int, size: int) -> int:
    """How many tiles of this size cover so many bins."""
    return -(-n_bins // size)


def slopes(results: dict) -> pd.DataFrame:
    """A row a coefficient of a specification, with the interval that the naive error would give."""
    rows = []
    for arm in results["arms"]:
        for row in arm["regression"]:
            naive = estimate(row["estimate"], row["se_naive"], row.get("n_pairs", arm["n_pairs"]) - 1)
            row = row | {"naive_low": naive["low"], "naive_high": naive["high"]}
            row["se_to_naive"] = row["se"] / row["se_naive"] if row["se_naive"] else np.nan
            rows.append({"arm": arm["name"], "group": arm["group"]} | row)
    return pd.DataFrame(rows)


def histograms(results: dict) -> pd.DataFrame:
    """A row a bin of cosines: count, density, density of random directions."""
    parts = []
    for arm in results["arms"]:
        edges, counts = np.array(arm["histogram"]["edges"]), np.array(arm["histogram"]["counts"], float)
        part = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts.astype(np.int64)})
        part["density"] = counts / counts.sum() / np.diff(edges)
        part["null_density"] = arm["histogram"]["null_density"]
        part["matched_density"] = arm["histogram"].get("matched_density", np.nan)
        part.insert(0, "arm", arm["name"])
        part.insert(1, "group", arm["group"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def antipodal(results: dict) -> pd.DataFrame:
    """A row an arm: share of antipodal pairs, and what random directions give."""
    rows = [
        {"arm": arm["name"], "group": arm["group"], "n_alive": arm["n_alive"]}
        | {name: value for name, value in arm["antipodal"].items() if name not in ("pairs", "variants")}
        for arm in results["arms"]
    ]
    return pd.DataFrame(rows)


def antipodal_variants(results: dict) -> pd.DataFrame:
    """A row an arm and variant: the antipodal pairs again without what makes such pairs by itself."""
    rows = [{"arm": arm["name"]} | row for arm in results["arms"] for row in arm["antipodal"]["variants"]]
    columns = ["arm", "variant", "n_features", "share", "expected_share", "features_flagged"]
    return pd.DataFrame(rows, columns=[*columns, "features_flagged_by", "asymmetry_p"])


def antipodal_pairs(results: dict) -> pd.DataFrame:
    """A row a listed antipodal pair."""
    return pd.DataFrame(
        [pair_row(arm, pair) for arm in results["arms"] for pair in arm["antipodal"]["pairs"]]
    )


def examples(results: dict) -> dict[str, pd.DataFrame]:
    """A row a pair that is shown of a cell, under the name of its CSV."""
    rows = [pair_row(arm, pair) for arm in results["arms"] for pair in arm.get("examples", ())]
    return {"examples": pd.DataFrame(rows)}


def effects(results: dict) -> dict[str, pd.DataFrame]:
    """A row an arm whose causal effects were measured, under the name of its CSV."""
    rows = [{"arm": arm["name"]} | arm["causal"] for arm in results["arms"] if "causal" in arm]
    return {"causal": pd.DataFrame(rows)}


def pair_row(arm: dict, pair: dict) -> dict:
    """A pair with its arm; promoted tokens as they are, joined by spaces after quoting; contexts likewise,
    the token at which a feature fired between two bars.
    """
    tokens = {key: " ".join(repr(token) for token in pair[key]) for key in ("promotes_i", "promotes_j")}
    for key in ("contexts_i", "contexts_j"):
        if key in pair:
            tokens[key] = " ".join(repr("|".join(context.values())) for context in pair[key])
    return {"arm": arm["name"], "group": arm["group"]} | pair | tokens


def controls(results: dict) -> pd.DataFrame:
    """A row a cell, arm and control: mean, the control's mean, and the excess with its interval."""
    rows = []
    for arm in results["arms"]:
        for control in controls_of(results, arm):
            for cell in arm["cells"]:
                name = (cell["cooccurrence"], cell["similarity"])
                other = find_cell(control, name)
                beyond = difference(cell, other)
                rows.append(
                    {
                        "arm": arm["name"],
                        "control": control["name"],
                        "cooccurrence": name[0],
                        "similarity": name[1],
                        "mean": cell["mean"],
                        "control_mean": other["mean"],
                        "excess": beyond["mean"],
                        "low": beyond["low"],
                        "high": beyond["high"],
                    }
                )
    return pd.DataFrame(rows)


def excess_slopes(results: dict) -> dict[str, pd.DataFrame]:
    """excess.csv, a row a slope of a measured arm and null: slope, the null's mean and sd, and the excess.

    A control that was measured is a null whose error counts; the mean of the other nulls is known exactly, so
    that the interval is that of the slope.
    """
    rows = []
    for arm in results["arms"]:
        if arm["control_of"]:
            continue
        chosen = {specification_of(row) for row in arm["nulls"]}
        nulls = [(row["null"], row, row["mean"], row["sd"], 0.0) for row in arm["nulls"]]
        for control in controls_of(results, arm):
            nulls += [
                (control["name"], row, row["estimate"], row["se"], row["se"]) for row in control["regression"]
            ]
        for real in arm["regression"]:
            key = specification_of(real)
            if key not in chosen or real["term"] not in SLOPES:
                continue
            about = dict(zip(("cooccurrence", "similarity", "effects"), key, strict=True))
            about = {"arm": arm["name"], "group": arm["group"]} | about | {"term": real["term"]}
            for null, row, mean, sd, error in nulls:
                if specification_of(row) != key or row["term"] != real["term"]:
                    continue
                se = (real["se"] ** 2 + error**2) ** 0.5
                df = min(real["df"], row.get("df", real["df"]))
                beyond = estimate(real["estimate"] - mean, se, df)
                found = {"slope": real["estimate"], "null": null, "null_mean": mean, "null_sd": sd}
                found |= {"excess": beyond["mean"], "low": beyond["low"], "high": beyond["high"]}
                rows.append(about | found)
    return {"excess": pd.DataFrame(rows)}


def specification_of(row: dict) -> tuple[str, str, str]:
    """Which specification a row belongs to."""
    return row["cooccurrence"], row["similarity"], row["effects"]


def rules(results: dict) -> dict[str, pd.DataFrame]:
    """rules.csv, a row an arm and rule: r2, rank correlation and r2 beyond the post's, with intervals."""
    rows = []
    for arm in results["arms"]:
        for row in arm["rules"]["scores"]:
            about = {"arm": arm["name"], "group": arm["group"], "rule": row["rule"]}
            scores = {
                what if key == "mean" else f"{what}_{key}": value
                for what in ("r2", "rank", "over_post", "over_first")
                for key, value in row[what].items()
            }
            rows.append(about | scores | {"ceiling": arm["rules"]["ceiling"]})
    return {"rules": pd.DataFrame(rows)}


def curve(results: dict) -> dict[str, pd.DataFrame]:
    """curve.csv, a row an arm and slope; curve_choices.csv, a value of a choice; curve_steps.csv, a step."""
    rows: dict[str, list[dict]] = {"joint": [], "by_choice": [], "steps": []}
    for arm in results["arms"]:
        about = {"arm": arm["name"], "group": arm["group"]}
        for name, into in rows.items():
            into += [about | row for row in arm["specification_curve"][name]]
    steps = [{key: row[key] for key in row if key != "shares"} | row["shares"] for row in rows["steps"]]
    tables = {"curve": rows["joint"], "curve_choices": rows["by_choice"], "curve_steps": steps}
    return {name: pd.DataFrame(table) for name, table in tables.items()}
