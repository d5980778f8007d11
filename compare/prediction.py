"""How well a rule predicts cosines of features it has never seen, and how well one could at best.

Folds are over features, never over pairs: a rule learns from pairs of which both features are in training,
and is scored on pairs of which both are held out. Pairs across are used for neither.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from compare.cells import estimate
from compare.evidence import Evidence
from compare.pairs import PairTable
from compare.predictors import measures_of
from compare.replicates import over_replicates
from compare.rules import FIRST_ORDER, POST, REFERENCE, RULES, Rule

FOLDS = 4
"""A quarter of the features is held out at a time: a quarter of all pairs is scored in the end."""

MAX_FEATURES = 1024
"""At most so many features of an arm, drawn at random, are predicted."""

FOUND_AGAIN = 0.7
"""Cosine from which on a feature of one seed counts as found by another."""

FEWEST = 20
"""Features that two seeds must share for a ceiling."""

SCORES = ("r2", "rank", "over_post", "over_first")
NO_SCORES = {"ceiling": float("nan"), "best": None, "scores": []}

MAX_TRAIN = 100_000
"""At most so many training pairs, drawn at random: more change no rule's levels visibly."""


def rule_results(seeds: Sequence[tuple[Evidence, PairTable, str]], *, seed: int = 0) -> dict:
    """Every rule's scores in one arm (see compare/page.py): of each seed its Evidence, pairs, similarity.

    `best` is the rule, the reference apart, of highest r2, and None where no rule's r2 is above 0 by its
    interval. Seeds hold out different features.
    """
    scores, counts = [], []
    for number, (evidence, table, similarity) in enumerate(seeds):
        chosen = np.arange(table.n)
        if table.n > MAX_FEATURES:
            rng = np.random.default_rng(seed)
            chosen = np.sort(rng.choice(table.n, MAX_FEATURES, replace=False))
        if len(chosen) < 4 * FOLDS:
            problem = f"{len(chosen)} features are too few for {FOLDS} folds of 4"
            return {"problem": problem, "n_features": len(chosen), "n_pairs": 0} | NO_SCORES
        square = np.ix_(chosen, chosen)
        measures = measures_of(evidence, table.feature_ids[chosen], table[similarity][square])
        mask = np.logical_and.reduce([table.mask[square], *map(np.isfinite, measures.values())])
        cosine = table.cosine[square]
        predicted = held_out(measures, cosine, mask, seed=seed + number)
        scores.append(score(predicted, list(RULES)))
        counts.append((len(chosen), len(predicted)))
    n_features, n_pairs = (round(float(np.mean(column))) for column in zip(*counts, strict=True))
    rows = combine(scores, n_features)
    able = [row for row in rows if row["rule"] != REFERENCE and row["r2"]["low"] > 0]
    return {
        "problem": None,
        "n_features": n_features,
        "n_pairs": n_pairs,
        "ceiling": ceiling([table for _, table, _ in seeds], same=seeds[0][0].truth is not None),
        "best": max(able, key=lambda row: row["r2"]["mean"])["rule"] if able else None,
        "scores": rows,
    }


def held_out(
    measures: Mapping[str, Float[np.ndarray, "n n"]],
    cosine: Float[np.ndarray, "n n"],
    mask: Bool[np.ndarray, "n n"],
    *,
    rules: Mapping[str, Rule] = RULES,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each held-out pair: i, j, fold, its cosine, the training mean, and every rule's prediction.

    `measures` are symmetric arrays by the names that rules ask for; pairs i < j in mask take part. The
    features of a fold are drawn from `seed`. Rules see cosines less their mean over the training pairs, so
    that a sign is one beside the average pair: in a dictionary that leans one way, a rule that holds signs
    would else be beaten by any that does not, whatever the two know.
    """
    n = len(cosine)
    if n < 4 * FOLDS:
        raise ValueError(
            f"expected {4 * FOLDS} features or more for {FOLDS} folds, found {n}: lower min_count."
        )
    rng = np.random.default_rng(seed)
    fold = rng.permutation(np.arange(n) % FOLDS)
    parts = []
    for k in range(FOLDS):
        inside, outside = (_pairs(np.flatnonzero(part), mask) for part in (fold == k, fold != k))
        if min(len(inside[0]), len(outside[0])) == 0:
            raise ValueError(f"expected pairs in every fold, found none in fold {k + 1}: lower min_count.")
        if len(outside[0]) > MAX_TRAIN:
            kept = rng.choice(len(outside[0]), MAX_TRAIN, replace=False)
            outside = tuple(index[kept] for index in outside)
        train, test = (_frame(measures, index) for index in (outside, inside))
        known = cosine[outside].astype(np.float64)
        part = pd.DataFrame({"i": inside[0], "j": inside[1], "fold": k, "cosine": cosine[inside]})
        part["mean"] = level = known.mean()
        for name, rule in rules.items():
            part[name] = level + rule(train, known - level, test)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def score(predicted: pd.DataFrame, rules: Sequence[str]) -> pd.DataFrame:
    """A row a rule: share of the held-out cosines' variation that it predicts (r2, against the training mean;
    at most 1, below 0 where the mean predicts better), rank correlation within folds, and r2 less that of the
    post's table and of first-order co-occurrence.

    Beside each its error: delete-one-feature less independent pairs, as in the regression, with the trained
    rule as given. `rank` is NaN for a rule that predicts one value.
    """
    at = predicted["i"].to_numpy(), predicted["j"].to_numpy()
    cosine = predicted["cosine"].to_numpy(np.float64)
    total = (cosine - predicted["mean"].to_numpy()) ** 2
    wrong = {name: (cosine - predicted[name].to_numpy()) ** 2 for name in rules}
    bases = [wrong.get(name) for name in (POST, FIRST_ORDER)]
    order = _ranks(predicted, "cosine")
    rows = []
    for name in rules:
        r2, r2_error = ratio(total - wrong[name], total, *at)
        ranks = _ranks(predicted, name)
        rank, rank_error = ratio(ranks * order, np.ones_like(order), *at) if ranks.any() else (np.nan, np.nan)
        beyond = [
            (np.nan, np.nan) if base is None else ratio(base - wrong[name], total, *at) for base in bases
        ]
        rows.append((name, r2, r2_error, rank, rank_error, *beyond[0], *beyond[1]))
    return pd.DataFrame(rows, columns=["rule", *(f"{one}{end}" for one in SCORES for end in ("", "_se"))])


def ratio(
    above: Float[np.ndarray, " pairs"],
    below: Float[np.ndarray, " pairs"],
    i: Int[np.ndarray, " pairs"],
    j: Int[np.ndarray, " pairs"],
) -> tuple[float, float]:
    """Ratio of two sums over pairs, and its error where pairs share features.

    With u the influence of a pair, the variance is n/(n-1) times the sum over features of (sum of u)^2 less
    the sum of u^2, and not below the latter: the default error of the regression, linearised.
    """
    value = above.sum() / below.sum()
    influence = (above - value * below) / below.sum()
    by_feature = np.bincount(i, influence) if i.max() >= j.max() else np.bincount(i, influence, j.max() + 1)
    by_feature = by_feature + np.bincount(j, influence, len(by_feature))
    n = len(np.union1d(i, j))
    alone = float(influence @ influence)
    together = float(by_feature @ by_feature) - alone
    return float(value), float(np.sqrt(n / (n - 1) * max(together, alone)))


def combine(scores: Sequence[pd.DataFrame], n_features: int) -> list[dict]:
    """Scores of the seeds of one arm put together: their mean, and the spread between them as the error.

    One seed keeps its own error over features. Each score becomes {mean, se, low, high, df}.
    """
    rows = []
    for k, name in enumerate(scores[0]["rule"]):
        row = {"rule": name}
        for what in SCORES:
            mean, se, df, _ = over_replicates([frame[what].iloc[k] for frame in scores])
            if len(scores) == 1:
                se, df = float(scores[0][f"{what}_se"].iloc[k]), n_features - 1
            found = estimate(mean, se, df)
            row[what] = {key: found[key] for key in ("mean", "se", "low", "high", "df")}
        rows.append(row)
    return rows


def ceiling(tables: Sequence[PairTable], *, same: bool) -> float:
    """The r2 that no rule can pass: mean correlation between two seeds' cosines over the same pairs.

    What seeds do not share cannot follow from measures that they share. `same` is true for seeds of a known
    world, where a feature is the same one in each. Features of other seeds are matched by their directions,
    and those that are not found again do not count, so that the ceiling is high rather than low. NaN with
    fewer than two seeds, or where fewer than FEWEST features are found again.
    """
    found = []
    for first, second in combinations(tables, 2):
        i, j = identical(first, second) if same else found_again(first.units, second.units)
        if len(i) < FEWEST:
            return float("nan")
        above = np.triu_indices(len(i), 1)
        cosines = first.cosine[np.ix_(i, i)][above], second.cosine[np.ix_(j, j)][above]
        found.append(float(np.corrcoef(*cosines)[0, 1]))
    return float(np.mean(found)) if found else float("nan")


def identical(first: PairTable, second: PairTable) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Places of the features that two seeds of a known world have in common."""
    _, i, j = np.intersect1d(first.feature_ids, second.feature_ids, return_indices=True)
    return i, j


def found_again(
    first: Float[np.ndarray, "a width"], second: Float[np.ndarray, "b width"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Rows of two dictionaries of unit directions each of which is the other's nearest, at FOUND_AGAIN or
    more.
    """
    cosines = first @ second.T
    there, back = cosines.argmax(1), cosines.argmax(0)
    i = np.flatnonzero((back[there] == np.arange(len(first))) & (cosines.max(1) >= FOUND_AGAIN))
    return i, there[i]


def _pairs(features: Int[np.ndarray, " k"], mask: Bool[np.ndarray, "n n"]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs i < j of some features that take part."""
    a, b = np.triu_indices(len(features), 1)
    i, j = features[a], features[b]
    used = mask[i, j]
    return i[used], j[used]


def _frame(measures: Mapping[str, np.ndarray], at: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame({name: values[at].astype(np.float64) for name, values in measures.items()})


def _ranks(predicted: pd.DataFrame, name: str) -> Float[np.ndarray, " pairs"]:
    """Ranks within folds, mean 0 and standard deviation 1; 0 where a fold has one value only."""
    ranks = np.zeros(len(predicted))
    for at in predicted.groupby("fold").indices.values():
        here = rankdata(predicted[name].to_numpy()[at])
        spread = here.std()
        ranks[at] = (here - here.mean()) / spread if spread > 0 else 0.0
    return ranks
