"""What an SAE writes into the cosines by itself, measured where the true directions are known.

An SAE's rows are matched to the true directions one to one, so that a cell of true co-occurrence and true
outputs has two means: that of the true cosines and that of the SAE's. Their difference is the SAE's work.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from compare.cells import estimate
from compare.replicates import over_replicates, t_interval
from compare.verdicts import UNDECIDED, by_interval

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
    true: Float[np.ndarray, "features width"], learned: Float[np.ndarray, "rows width"]
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
    true: Float[np.ndarray, "features width"], learned: Float[np.ndarray, "rows width"], cells: Cells
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
        mean, low, high = t_interval((part["sae"] - part["true"]).tolist())
        means = part[["true", "sae", "true_recovered", "sae_recovered", "recovered", "match"]].mean()
        counts = {"seeds": len(part), "n_pairs": int(part["n_pairs"].iloc[0])}
        counts["n_recovered"] = float(part["n_recovered"].mean())
        bias = {"bias": mean, "low": low, "high": high}
        found.append(dict(zip(keys, group, strict=True)) | counts | means.to_dict() | bias)
    return found


def preactivation_slope(
    encoder: Float[np.ndarray, "width rows"],
    decoder: Float[np.ndarray, "rows width"],
    covariance: Float[np.ndarray, "width width"],
) -> float:
    """Slope, over pairs of features, of the decoder's cosine on the correlation of pre-activations
    e_i' S e_j, which is the post's measure of co-occurrence: cosines for a correlation of 1.
    """
    scatter = encoder.T @ covariance @ encoder
    spread = np.sqrt(scatter.diagonal())
    above = np.triu_indices(len(decoder), 1)
    correlation = (scatter / np.outer(spread, spread))[above]
    rows = unit(decoder)
    return float(np.polyfit(correlation, (rows @ rows.T)[above], 1)[0])


def numbers_on_toys(rows: Iterable[dict]) -> list[dict]:
    """What claims can be about (compare.hypotheses): of each kind of SAE and of directions, over seeds, the
    cosine of co-occurring pairs less that of exclusive ones, the SAE's own and less the true one, and
    preactivation_slope. Rows are those of over_seeds, with `instance` and `preactivation_slope`; a `problem`
    stands in the place of what an SAE adds where too few true directions were recovered to say.
    """
    found = []
    keys = ["directions", "decoder", "k", "l0"]
    for (directions, decoder, k, l0), part in pd.DataFrame(list(rows)).groupby(keys, sort=False):
        cells = part.groupby(["instance", "cooccurrence"])[["true", "sae"]].mean().unstack()
        true, sae = (cells[side]["co-occurring"] - cells[side]["exclusive"] for side in ("true", "sae"))
        slopes = part.groupby("instance")["preactivation_slope"].first()
        name = f"{directions} directions, {decoder} decoder, L0 {level_of(k, l0)}"
        values = {"co-occurrence": sae, "co-occurrence, less the true": sae - true, "pre-activations": slopes}
        for what, one in values.items():
            mean, se, df, _ = over_replicates(one.to_numpy())
            number = estimate(mean, se, df)
            if what.endswith("true") and part["recovered"].mean() < ENOUGH:
                number = {"problem": f"only {part['recovered'].mean():.0%} of the directions were recovered"}
            found.append({"name": f"{name}: {what}"} | number)
    return found


def level_of(k: int | float, l0: float) -> str:
    """Where an SAE's L0 lies beside the true number of features on at once."""
    return "at the truth" if abs(k - l0) < 1 else "below the truth" if k < l0 else "above the truth"


def bias_table(results: dict) -> dict[str, pd.DataFrame]:
    """sae_bias.csv: a row for each toy, SAE and cell; sae_beside.csv: one for each cell of a real arm."""
    found = results["sae_bias"]
    return {"sae_bias": pd.DataFrame(found["rows"]), "sae_beside": pd.DataFrame(found.get("beside", []))}


def cells_without_bias(results: dict) -> list[dict]:
    """A row for each cell of a real arm: what an SAE alone writes there, and the verdict with that taken off.

    `written_low` to `written_high` holds the 95 % intervals of all SAEs that learned their decoder and
    recovered enough of given directions, whatever their L0: nobody knows which of them an SAE of a language
    model is like. `low` to `high` is what the cell's interval can be less any of these. Judged results in.
    """
    rows = [
        row
        for row in results["sae_bias"]["rows"]
        if row["directions"] == "given" and row["decoder"] == "trained" and row["recovered"] >= ENOUGH
    ]
    found = []
    for arm in results["arms"]:
        for cell in arm["cells"] if arm["group"] == "real" else ():
            outputs = {"similar": "same"}.get(cell["similarity"], cell["similarity"])
            name = (cell["cooccurrence"], outputs)
            own = [row for row in rows if (row["cooccurrence"], row["outputs"]) == name]
            if own and cell["n_pairs"]:
                about = {key: cell[key] for key in ("cooccurrence", "similarity", "claim", "verdict")}
                row = {"arm": arm["name"]} | about | without_bias(cell, own)
                found.append(row | {"sentence": sentence_of(row)})
    return found


def without_bias(cell: dict, rows: Sequence[dict]) -> dict:
    """A cell's interval and verdict less what these SAEs wrote; UNDECIDED stays what it is."""
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    left = {"mean": cell["mean"] - (low + high) / 2, "low": cell["low"] - high, "high": cell["high"] - low}
    verdict = cell["verdict"]
    if verdict != UNDECIDED:
        verdict, _ = by_interval(left | {"margin": cell["margin"]}, cell["claim"])
    written = {"written_low": low, "written_high": high}
    return written | left | {"verdict_without": verdict, "survives": verdict == cell["verdict"]}


def sentence_of(row: dict) -> str:
    """What an SAE alone writes into a cell of a real arm, and whether the verdict is left without it."""
    stays = (
        f"the verdict on “{row['claim']}” stays {row['verdict']}"
        if row["survives"]
        else f"{row['verdict']} on “{row['claim']}” becomes {row['verdict_without']}"
    )
    return (
        f"{row['arm']}, {row['cooccurrence']} with {row['similarity']} outputs: an SAE alone writes "
        f"{row['written_low']:+.3f} to {row['written_high']:+.3f}; with that taken off, "
        f"[{row['low']:+.3f}, {row['high']:+.3f}], {stays}."
    )


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
        level = level_of(k, given["l0"].iloc[0])
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
