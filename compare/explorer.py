"""The numbers behind the page's interactive figures: the tables again, short, and nothing that they lack."""

import json

import numpy as np
import pandas as pd

from compare import figures
from compare.names import CLAIMS, SLOPES, effects_name, pair_name, term_name
from compare.sections import Tables

DIGITS = 4
"""Significant digits; the CSVs hold all."""


def explorer_data(results: dict, made: Tables) -> str:
    """JSON that may stand inside a script element: arms, and for each its map, cells, cosines and slopes."""
    arms = [
        {
            "name": arm["name"],
            "group": arm["group"],
            "control_of": arm["control_of"],
            "map": tiles(of_arm(made["map"], arm)),
            "cells": columns(
                of_arm(made["cells"], arm), "mean", "low", "high", "n_pairs", "margin", "verdict"
            ),
            "cosines": columns(
                of_arm(made["histogram"], arm), "low", "density", "null_density", "matched_density"
            ),
            "slopes": slopes(of_arm(made["slopes"], arm)),
        }
        for arm in results["arms"]
    ]
    names = [{"name": f"{co}, {sim} outputs", "claim": claim} for (co, sim), claim in CLAIMS.items()]
    text = json.dumps({"cells": names, "arms": arms}, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # no end of the script element, no comment within it


def of_arm(table: pd.DataFrame, arm: dict) -> pd.DataFrame:
    """Its rows."""
    return table[table["arm"] == arm["name"]]


def columns(table: pd.DataFrame, *names: str) -> dict[str, list]:
    """Columns as lists, numbers short."""
    return {name: [short(value) for value in table[name]] for name in names}


def tiles(table: pd.DataFrame) -> dict:
    """The filled tiles of the post's figure with the colours and signs that the printed one has."""
    filled = table[table["count"] > 0]
    faces = figures.cosine_colours().to_rgba(filled["mean"].to_numpy(), bytes=True)
    return columns(filled, "x_low", "x_high", "y_low", "y_high", "count", "mean") | {
        "x_label": table["x_label"].iloc[0],
        "y_label": table["y_label"].iloc[0],
        "colour": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue, _ in faces],
        "sign": [figures.short_cosine(value) for value in filled["mean"]],
    }


def slopes(table: pd.DataFrame) -> dict[str, dict[str, list]]:
    """The drawn slopes by pair of measures."""
    drawn = table[table["term"].isin(SLOPES)]
    return {
        pair_name(co, sim): columns(in_words(part), "effects", "term", "estimate", "low", "high")
        for (co, sim), part in drawn.groupby(["cooccurrence", "similarity"], sort=False)
    }


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Slopes and specifications by the names that a reader knows."""
    return table.assign(effects=table["effects"].map(effects_name), term=table["term"].map(term_name))


def short(value: object) -> object:
    """A number of few digits, None for what is undefined, anything else as it is."""
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
