"""What an SAE writes into the cosines by itself, measured where the true directions are known.

An SAE's rows are matched to the true directions one to one, so that a cell of true co-occurrence and true
outputs has two means: that of the true cosines and that of the SAE's. Their difference is the SAE's work.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import t as student
from torch import Tensor

RECOVERED = 0.9
"""A true direction counts as recovered if its match has a cosine of so much with it, or more."""

ENOUGH = 0.5
"""Share of recovered directions below which an SAE's rows stand for chance, and no bias is read from them."""

Cells = dict[tuple[str, str], Int[Tensor, "pairs two"]]
"""Pairs of true features by cell (co-occurrence, outputs)."""


def unit(rows: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n width"]:
    """Rows of length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def match(
    true: Float[np.ndarray, "features width"], learned: Float[np.ndarray, "latents width"]
) -> tuple[Int[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """For each true direction its row of the dictionary, no row twice, and their cosine.

    The assignment (Kuhn 1955, the Hungarian method) has the greatest sum of cosines. Raises ValueError where
    the dictionary has fewer rows than there are features.
    """
    if len(learned) < len(true):
        raise ValueError(
            f"expected a dictionary of {len(true)} rows or more, one for each feature, found {len(learned)}: "
            "raise the SAE's n_features."
        )
    cosines = unit(true) @ unit(learned).T
    _, rows = linear_sum_assignment(cosines, maximize=True)
    return rows, cosines[np.arange(len(true)), rows]


def bias_rows(
    true: Float[np.ndarray, "features width"], learned: Float[np.ndarray, "latents width"], cells: Cells
) -> list[dict]:
    """A row for each cell: mean cosine of the true directions and of the matched rows of the dictionary.

    `n_recovered` counts pairs of which both are recovered, and `*_recovered` are means over those; NaN where
    there are none. `recovered` and `match` are the share and the mean cosine of matches over all features.
    """
    rows, matched = match(true, learned)
    is_recovered = matched >= RECOVERED
    true, learned = unit(true), unit(learned)[rows]
    found = []
    for (cooccurrence, outputs), pairs in cells.items():
        i, j = pairs.numpy().T
        true_cosine, sae_cosine = (true[i] * true[j]).sum(1), (learned[i] * learned[j]).sum(1)
        both = is_recovered[i] & is_recovered[j]
        found.append(
            {
                "cooccurrence": cooccurrence,
                "outputs": outputs,
                "n_pairs": len(pairs),
                "true": float(true_cosine.mean()),
                "sae": float(sae_cosine.mean()),
                "n_recovered": int(both.sum()),
                "true_recovered": float(true_cosine[both].mean()) if both.any() else float("nan"),
                "sae_recovered": float(sae_cosine[both].mean()) if both.any() else float("nan"),
                "recovered": float(is_recovered.mean()),
                "match": float(matched.mean()),
            }
        )
    return found


def over_seeds(rows: Iterable[dict]) -> list[dict]:
    """Means over seeds of what bias_rows found, and the SAE's bias (sae less true) with its t interval.

    Rows carry `directions` (learned, given), `decoder`, `k` and `l0`, the true number of features on at once.
    """
    keys = ["directions", "decoder", "k", "l0", "cooccurrence", "outputs"]
    found = []
    for group, part in pd.DataFrame(list(rows)).groupby(keys, sort=False):
        low, mean, high = t_interval((part["sae"] - part["true"]).tolist())
        means = part[["true", "sae", "true_recovered", "sae_recovered", "recovered", "match"]].mean()
        counts = {"seeds": len(part), "n_pairs": int(part["n_pairs"].iloc[0])}
        counts["n_recovered"] = float(part["n_recovered"].mean())
        bias = {"bias": mean, "low": low, "high": high}
        found.append(dict(zip(keys, group, strict=True)) | counts | means.to_dict() | bias)
    return found


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower end, mean and upper end of a 95 % interval; NaN ends for a single value."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return float("nan"), mean, float("nan")
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)
    return mean - half, mean, mean + half


def bias_table(results: dict) -> dict[str, pd.DataFrame]:
    """sae_bias.csv: a row for each toy, SAE and cell."""
    return {"sae_bias": pd.DataFrame(results["sae_bias"]["rows"])}


def by_sae(rows: Sequence[dict]) -> list[dict]:
    """An entry an SAE: what it is, whether it recovered enough to be read, and its bias by cell."""
    keys = ("directions", "decoder", "k")
    found: dict[tuple, dict] = {}
    for row in rows:
        about = {name: row[name] for name in (*keys, "l0", "recovered")}
        entry = found.setdefault(
            tuple(row[key] for key in keys), about | {"enough": row["recovered"] >= ENOUGH, "cells": {}}
        )
        bias = {"mean": row["bias"], "low": row["low"], "high": row["high"]}
        entry["cells"][f"{row['cooccurrence']}, {row['outputs']}"] = bias
    return list(found.values())


def sae_bias_sentences(rows: Sequence[dict]) -> list[str]:
    """What the SAE writes where directions are given, independent of co-occurrence: its own work."""
    said = []
    for (decoder, k), part in pd.DataFrame(rows).groupby(["decoder", "k"], sort=False):
        given = part[part["directions"] == "given"]
        if given.empty:
            continue
        level = {True: "at the truth"}.get(abs(k - given["l0"].iloc[0]) < 1)
        level = level or ("below the truth" if k < given["l0"].iloc[0] else "above the truth")
        cells = ", ".join(
            f"{row.cooccurrence} and {row.outputs} {row.bias:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
            for row in given.itertuples()
        )
        recovered = given["recovered"].mean()
        about = (
            f"SAE with {decoder} decoder, L0 {k} ({level}), {recovered:.0%} of the true directions recovered"
        )
        if recovered < ENOUGH:
            said.append(f"{about}: too few to say what it adds.")
        else:
            said.append(f"{about}: it adds {cells}.")
    return said
