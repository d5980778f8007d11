"""The blob, what it can hide, and equivalence as flat tables; and what they say in a sentence."""

import numpy as np
import pandas as pd

from compare.cells import estimate

BOUNDS = np.geomspace(0.02, 20, 40)
"""Bounds of the equivalence curve, in noise floors."""


def blob_tables(results: dict) -> dict[str, pd.DataFrame]:
    """blob: a row an arm; power: a row an arm, planted share and size; hidden: a row an arm and size."""
    blobs = [
        {"arm": arm["name"]} | {name: value for name, value in arm["blob"].items() if name != "within"}
        for arm in results["arms"]
        if "blob" in arm
    ]
    parts = {
        name: pd.DataFrame(
            [
                {"arm": arm["name"], "sd": arm["width"] ** -0.5} | row
                for arm in results["arms"]
                if "hidden" in arm
                for row in arm["hidden"][name]
            ]
        )
        for name in ("power", "hidden")
    }
    return {"blob": pd.DataFrame(blobs)} | parts


def equivalence_tables(results: dict) -> dict[str, pd.DataFrame]:
    """A row an arm, cell and bound: p-value of the mean being zero within it."""
    rows = []
    for arm in results["arms"]:
        floor = arm["d_eff"] ** -0.5
        for cell in arm["cells"]:
            if cell["problem"] or arm["group"] == "control":
                continue
            about = {"arm": arm["name"], "cell": f"{cell['cooccurrence']}, {cell['similarity']}"}
            about["margin"] = results["hypotheses"]["margin"]
            for bound in BOUNDS:
                tested = estimate(cell["mean"], cell["se"], cell["df"], bound * floor)
                rows.append(about | {"bound": bound, "p": tested["p_equivalence"]})
    return {"equivalence": pd.DataFrame(rows, columns=["arm", "cell", "margin", "bound", "p"])}


def comparison_tables(results: dict) -> dict[str, pd.DataFrame]:
    """A row a toy, language model and slope: both corrected for reliability, and their difference."""
    columns = ["toy", "real", "term", "problem", "toy_mean", "toy_reliability", "real_mean"]
    columns += ["real_reliability", "mean", "se", "low", "high", "df"]
    return {"comparison": pd.DataFrame(results["comparison"]).reindex(columns=columns)}


def hidden_sentences(results: dict) -> list[str]:
    """For each arm: what the blob by itself would have shown, what it can hide, what the cells would show."""
    return [hidden_sentence(arm) for arm in results["arms"] if "hidden" in arm]


def hidden_sentence(arm: dict) -> str:
    """How small an alignment is found, blind and in the cells."""
    found = [
        f"{row['alignment']:.3f} in {100 * row['share']:g} % of pairs"
        for row in arm["hidden"]["smallest"]
        if row["alignment"] is not None and row["alignment"] == row["alignment"]
    ]
    blind = (
        f"would have shown an alignment of {' or '.join(found)} four times in five; smaller ones it can hide"
        if found
        else "would have shown no alignment that fits between so many directions"
    )
    rows = arm["hidden"]["hidden"]
    row = next((row for row in rows if row["share"] < 0.05), rows[-1])
    text = (
        f"In “{arm['name']}” ({arm['n_alive']:,} features in {arm['width']} dimensions, random cosines of sd "
        f"{arm['width'] ** -0.5:.3f}) the shape of all cosines {blind}, and at most "
        f"{100 * row['share']:.2g} % of pairs are aligned by {row['alignment']:.3f}"
    )
    cells = [
        cell for cell in arm["cells"] if not cell["problem"] and cell["detectable"] == cell["detectable"]
    ]
    if cells:
        most = max(cells, key=lambda cell: cell["detectable"])
        least = min(cells, key=lambda cell: cell["detectable"])
        text += (
            "; the cells, which know where to look, would have shown mean alignments from "
            f"{least['detectable']:.4f} ({least['cooccurrence']}, {least['similarity']}) to "
            f"{most['detectable']:.4f} ({most['cooccurrence']}, {most['similarity']})"
        )
    return text + "."
