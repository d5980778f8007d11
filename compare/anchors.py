"""What is known of toys from elsewhere, beside what was found: in range, out of it, or not certain.

Rows come from toy.known: an anchor's name, quantity, source and range, the setting, and a value a start.
Starts are the replicates, of all worlds together: an interval is Student's t over them, or Clopper and
Pearson's where each says yes or no.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind
from statsmodels.stats.proportion import proportion_confint

from compare.replicates import t_interval

NATURAL = (-1.0, 0.0, 1.0)
"""Ends of cosines, shares and lengths: a range that stops there is open on that side."""

RANK = "weight decay favours low rank"
"""The anchor that is about a difference between two settings, with weight decay and without."""

YES_OR_NO = "share of starts"
"""The quantity whose values are 0 or 1 for each start."""

OUT, IN, UNSURE, SHOWN = "does not come out", "comes out", "not certain", "shown only"


def pooled(worlds: Sequence[Sequence[dict]]) -> list[dict]:
    """The rows of several worlds as one: the values of each anchor and setting together."""
    found = [row | {"values": list(row["values"]), "n_worlds": len(worlds)} for row in worlds[0]]
    for rows in worlds[1:]:
        for whole, row in zip(found, rows, strict=True):
            assert (whole["name"], whole["setting"]) == (row["name"], row["setting"])
            whole["values"] += row["values"]
    return found


def anchor_table(rows: Sequence[dict]) -> pd.DataFrame:
    """A row an anchor and setting: what was expected, mean over starts with its 95 % interval, verdict."""
    found = []
    for row in [*(row for row in rows if row["name"] != RANK), *rank_rows(rows)]:
        of_starts = row["quantity"] == YES_OR_NO
        mean, low, high = row.get("interval") or interval(row["values"], of_starts)
        about = {name: row[name] for name in ("name", "setting", "quantity", "source")}
        numbers = {"mean": mean, "low": low, "high": high}
        numbers |= {"n_starts": len(row["values"]), "n_worlds": row["n_worlds"]}
        verdict = judge((low, high), row["low"], row["high"])
        of = "the quarter with the least loss" if row["best"] else "all"
        found.append(about | {"expected": expected(row["low"], row["high"]), "starts": of} | numbers)
        found[-1]["verdict"] = verdict
    return pd.DataFrame(found)


def interval(values: Sequence[float], yes_or_no: bool) -> tuple[float, float, float]:
    """Mean and 95 % interval; NaN ends for a single value. Values that are all alike leave it no width."""
    mean, low, high = t_interval(values)
    if yes_or_no and len(values) > 1:
        low, high = map(float, proportion_confint(round(sum(values)), len(values), method="beta"))
    return mean, low, high


def rank_rows(rows: Sequence[dict]) -> list[dict]:
    """Effective rank with weight decay less that without, at each width (Welch's interval)."""
    by_width: dict[int, dict[float, dict]] = {}
    for row in rows:
        if row["name"] == RANK:
            by_width.setdefault(row["config"]["width"], {})[row["config"]["weight_decay"]] = row
    found = []
    for both in by_width.values():
        without, with_decay = (both[decay] for decay in sorted(both))
        test = ttest_ind(with_decay["values"], without["values"], equal_var=False).confidence_interval(0.95)
        difference = float(np.mean(with_decay["values"]) - np.mean(without["values"]))
        found.append(
            with_decay
            | {
                "quantity": f"effective rank, less {np.mean(without['values']):.2f} without weight decay",
                "low": None,
                "high": 0.0,
                "interval": (difference, float(test.low), float(test.high)),
            }
        )
    return found


def judge(found: tuple[float, float], low: float | None, high: float | None) -> str:
    """Whether an interval lies in a range, outside of it, or across its end; a lone end is a strict bound."""
    if low is None and high is None:
        return SHOWN
    above = -np.inf if low is None or low in NATURAL else low
    below = np.inf if high is None or (low is not None and high in NATURAL) else high
    if found[0] >= above and found[1] <= below:
        return IN
    return OUT if found[1] < above or found[0] > below else UNSURE


def expected(low: float | None, high: float | None) -> str:
    """A range in words."""
    if low is None and high is None:
        return ""
    if low is None:
        return f"< {high:g}"
    return f"{low:g} to {high:g}"


def anchor_sentences(table: pd.DataFrame) -> list[str]:
    """How many anchors come out, and which do not."""
    asked = table[table["verdict"] != SHOWN]
    said = [f"{(asked['verdict'] == IN).sum()} of {len(asked)} anchors known from elsewhere come out."]
    for verdict in (OUT, UNSURE):
        part = asked[asked["verdict"] == verdict]
        shown = "; ".join(
            f"{row['name']} ({row['setting']}): {ends(row)}, expected {row['expected']}"
            for row in part.to_dict("records")
        )
        if shown:
            said.append(f"{verdict.capitalize()}: {shown}.")
    return said


def ends(row: dict) -> str:
    """A mean with its interval."""
    return f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def markdown(table: pd.DataFrame) -> list[str]:
    """The table as lines of Markdown."""
    lines = ["| anchor | setting | quantity | expected (source) | found [95 %] | starts | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in table.to_dict("records"):
        claim = f"{row['expected']} ({row['source']})"
        starts = f"{row['n_starts']} in {row['n_worlds']} worlds: {row['starts']}"
        cells = (row["name"], row["setting"], row["quantity"], claim, ends(row), starts, row["verdict"])
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines
