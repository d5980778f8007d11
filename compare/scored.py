"""How well each measure recovers what is true, where it is known: rank, bias, noise, and what else moves it.

A known world is read in portions of few tokens and of more; a measure of one portion is held against the same
number of the world's own probabilities. Differences are in standard deviations of the truth over pairs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor

from compare.evidence import Evidence, measure
from compare.measures import COOCCURRENCE, SIMILARITY
from compare.replicates import t_interval
from compare.system import Batch

MIN_COUNT = 10
"""Tokens of the smallest portion that a feature must have fired on."""

OWN_TRUTH = {
    "phi": "true_phi", "log_odds": "true_log_odds", "log_ratio": "true_log_ratio", "jaccard": None,
    "npmi": None, "conditional": None, "activation_correlation": "true_phi",
    "preactivation_correlation": "true_phi",
    "second_order": "true_second_order", "js": "true_js", "js_split": "true_js",
}  # fmt: skip
"""The measure of the world itself that an estimate is held against; None for the same on exact counts."""

EXACT_TOKENS = 10**9
"""Tokens over which counts stand for probabilities."""


@dataclass(frozen=True)
class Portion:
    """Some batches of a known world's stream, as a system of its own."""

    name: str
    directions: Float[Tensor, "features width"]
    encoder: Float[Tensor, "features width"]
    true_rates: Float[Tensor, " features"]
    true_joint_rates: Float[Tensor, "features features"]
    true_outputs: Float[Tensor, "features vocab"]
    batches: Sequence[Any]

    def stream(self) -> Iterator[Batch]:
        """The batches."""
        yield from self.batches


def portions(system: Any, n: int) -> list[Portion]:
    """A known world's stream in n parts of as many batches each, taken in turn."""
    batches = list(system.stream())
    names = ("name", "directions", "encoder", "true_rates", "true_joint_rates", "true_outputs")
    about = {name: getattr(system, name) for name in names}
    size = len(batches) // n
    return [Portion(**about, batches=batches[k : k + size * n : n]) for k in range(n)]


def score_measures(systems: Iterable[Any], cuts: tuple[int, int] = (8, 2)) -> list[dict]:
    """A row for each measure and number of tokens, over known worlds whose streams have cuts[0] batches.

    A stream is cut into so many portions, few tokens first.
    Null pairs are truly independent, or say nothing in common. Over all others `recovery` is the rank
    correlation with the world's own phi, or with the divergence of what its features say; `low` and `high`
    are its 95 % interval over worlds, `gap` how far it is behind the best of its kind, in the same worlds,
    with `gap_low` and `gap_high`. `bias` and `noise` are mean and standard deviation of estimate less own
    truth over all pairs. Over null pairs `frequency` is the rank correlation of the estimate with the rarer
    feature's rate, and `drift` what fewer tokens add to its mean. `undefined` is the share that is NaN.
    """
    rows = pd.DataFrame([row for system in systems for row in scores_of_world(system, cuts)])
    found = []
    keys = ["kind", "measure", "n_tokens"]
    for key, part in rows.groupby(keys, sort=False):
        recovery, low, high = t_interval(part["recovery"].tolist())
        means = part[["bias", "noise", "frequency", "drift", "undefined"]].mean().to_dict()
        about = {"worlds": len(part), "recovery": recovery, "low": low, "high": min(high, 1.0)}
        rivals = rows[(rows["kind"] == key[0]) & (rows["n_tokens"] == key[2])]
        best = rivals.groupby("measure", sort=False)["recovery"].agg(list)  # in the order of worlds
        best = best[best.map(np.mean).idxmax()]
        gaps = t_interval([first - own for first, own in zip(best, part["recovery"], strict=True)])
        about |= dict(zip(("gap", "gap_low", "gap_high"), gaps, strict=True))
        found.append(dict(zip(keys, key, strict=True)) | about | means)
    return found


def scores_of_world(system: Any, cuts: tuple[int, int]) -> list[dict]:
    """The same of one world."""
    by_size = [[measure(part) for part in portions(system, n)] for n in cuts]
    alive = np.all([one.is_alive(MIN_COUNT) for one in by_size[0]], axis=0)
    i, j = np.nonzero(np.triu(np.outer(alive, alive), 1))
    rarer = np.minimum(*(np.asarray(by_size[0][0].truth.rates)[side] for side in (i, j)))

    def values(one: Evidence, name: str) -> Float[np.ndarray, " pairs"]:
        registry = COOCCURRENCE if name in COOCCURRENCE else SIMILARITY
        every = slice(0, one.n_features)
        return np.asarray(registry[name](one, every, every), dtype=np.float64)[i, j]

    rows = []
    for kind, reference in (("co-occurrence", "true_phi"), ("outputs", "true_js")):
        truth = values(by_size[0][0], reference)
        is_null = np.abs(truth) < 1e-6 if kind == "co-occurrence" else truth < truth.min() + 1e-6
        for name, own in OWN_TRUTH.items():
            if (name in COOCCURRENCE) == (kind == "co-occurrence"):
                found = [np.array([values(one, name) for one in parts]) for parts in by_size]
                exact = [
                    values(parts[0], own) if own else values(exactly(parts[0]), name) for parts in by_size
                ]
                level = np.nanmean(found[-1][:, is_null])
                for parts, estimate, goal in zip(by_size, found, exact, strict=True):
                    about = {"kind": kind, "measure": name, "n_tokens": parts[0].n_tokens}
                    numbers = scores(estimate, goal, truth, rarer, is_null)
                    drift = (np.nanmean(estimate[:, is_null]) - level) / np.nanstd(goal)
                    rows.append(about | numbers | {"drift": float(drift)})
    return rows


def exactly(evidence: Evidence) -> Evidence:
    """The same with counts as a known world leads one to expect them over very many tokens."""
    truth, n = evidence.truth, EXACT_TOKENS
    rates = (np.asarray(one, np.float64) for one in (truth.rates, truth.joint_rates))
    counts, both = (np.rint(one * n).astype(np.int64) for one in rates)
    return replace(evidence, n_tokens=n, counts=counts, cofiring=both)


def scores(
    estimate: Float[np.ndarray, "portions pairs"],
    goal: Float[np.ndarray, " pairs"],
    truth: Float[np.ndarray, " pairs"],
    rarer: Float[np.ndarray, " pairs"],
    is_null: Bool[np.ndarray, " pairs"],
) -> dict[str, float]:
    """Recovery, bias, noise, frequency and the undefined share of one measure on portions of one size."""
    spread = np.nanstd(goal)
    error = (estimate - goal) / spread
    return {
        "recovery": float(np.mean([rank_correlation(one[~is_null], truth[~is_null]) for one in estimate])),
        "bias": float(np.nanmean(error)),
        "noise": float(np.sqrt(np.nanmean(np.nanvar(error, axis=0, ddof=1)))),
        "frequency": float(np.mean([rank_correlation(one[is_null], rarer[is_null]) for one in estimate])),
        "undefined": float(np.isnan(estimate).mean()),
    }


def rank_correlation(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    """Spearman's, over what is defined in both; NaN where one of them does not vary."""
    both = np.isfinite(one) & np.isfinite(other)
    if len({*one[both]}) < 2 or len({*other[both]}) < 2:
        return float("nan")
    return float(spearmanr(one[both], other[both]).statistic)


def score_sentences(rows: Sequence[dict]) -> list[str]:
    """Which measure of each kind follows the truth best on few tokens, which cannot be told apart from it,
    which worst, what frequency moves.
    """
    said = []
    for kind, part in pd.DataFrame(rows).groupby("kind", sort=False):
        few = part[part["n_tokens"] == part["n_tokens"].min()]
        best, worst = (few.loc[few["recovery"].agg(which)] for which in ("idxmax", "idxmin"))
        level = few.loc[(few["gap_low"] <= 0) & (few["measure"] != best["measure"]), "measure"]
        as_good = f"; not told apart from it: {', '.join(level)}" if len(level) else ""
        is_behind = worst["gap_low"] > 0
        behind = f", {worst['measure']} worst ({worst['recovery']:.2f})" if is_behind else ""
        moved = few.loc[few["frequency"].abs().idxmax()]
        said.append(
            f"{kind.capitalize()}, {best['n_tokens']:,} tokens: {best['measure']} follows the truth best "
            f"(rank correlation {best['recovery']:.2f}{as_good}){behind}; where there is nothing to find, "
            f"{moved['measure']} goes most with frequency ({moved['frequency']:+.2f})."
        )
    return said


def score_table(results: dict) -> dict[str, pd.DataFrame]:
    """measures.csv: a row for each measure and number of tokens."""
    return {"measures": pd.DataFrame(results["measures"]["rows"])}


def scored_lines(measures: dict) -> list[str]:
    """A section of Markdown: sentences and table."""
    columns = ("recovery", "low", "high", "bias", "noise", "frequency", "drift")
    lines = ["## How well each measure recovers what is true", ""]
    lines += [f"- {sentence}" for sentence in measures["sentences"]]
    lines += ["", "Columns: `compare.scored.score_measures`.", ""]
    lines += [f"| measure | of | tokens | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    for row in measures["rows"]:
        numbers = " | ".join(f"{row[name]:.2f}" for name in columns)
        lines.append(f"| {row['measure']} | {row['kind']} | {row['n_tokens']:,} | {numbers} |")
    return [*lines, ""]
