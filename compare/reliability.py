"""How much of what the regression explains with is signal, and slopes compared once that is allowed for.

A slope on a noisy measure is too small by the measure's reliability: the share of its variance over pairs
that another sample of tokens would show again. Slopes of two systems are compared only after division by it,
and not at all where it is too low to carry that.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from compare.cells import estimate
from compare.evidence import Evidence
from compare.kernels import js_divergence
from compare.measures import log_odds, self_divergence

LEAST = 0.5
"""Reliability below which a corrected slope is not believed: the correction would double it."""

FEATURES = 256
"""Features, drawn at random, that the reliability of output similarity is estimated on."""


def reliabilities(
    evidence: Evidence, ids: Int[np.ndarray, " n"], mask: Bool[np.ndarray, "n n"], *, seed: int = 0
) -> dict[str, float]:
    """Reliability, in [0, 1], of log_odds (`co`) and of js_split (`sim`) over the pairs of these features;
    `noise`, the divergence of a feature from itself across halves relative to that between features.
    """
    rng = np.random.default_rng(seed)
    some = np.sort(rng.choice(len(ids), min(FEATURES, len(ids)), replace=False))
    even, odd = (half[ids[some]] for half in evidence.output_halves)
    across = js_divergence(even, odd)
    own = self_divergence(evidence, ids[some])
    above = np.triu(mask[np.ix_(some, some)], 1)
    return {
        "co": counts_reliability(evidence, ids, mask),
        "sim": halves_reliability(across, own, above),
        "noise": float(own.mean() / across[above].mean()),
    }


def halves_reliability(
    across: Float[np.ndarray, "n n"], own: Float[np.ndarray, " n"], above: Bool[np.ndarray, "n n"]
) -> float:
    """Of the mean of JSD(A_i, B_j) and JSD(B_i, A_j): their correlation over pairs, stepped up for two halves
    (Spearman and Brown).

    The two share no tokens but share how few tokens a feature had, so the levels that go with each feature's
    own divergence between halves are taken out first. 0 where they do not go together.
    """
    i, j = np.nonzero(above)
    level = np.stack([np.ones(len(i)), own[i] + own[j], own[i] * own[j]], axis=1).astype(np.float64)
    both = np.stack([across[i, j], across[j, i]], axis=1).astype(np.float64)
    left = both - level @ np.linalg.lstsq(level, both, rcond=None)[0]
    r = max(float(np.corrcoef(left.T)[0, 1]), 0.0)
    return 2 * r / (1 + r)


def counts_reliability(
    evidence: Evidence, ids: Int[np.ndarray, " n"], mask: Bool[np.ndarray, "n n"]
) -> float:
    """Of log_odds: one less the variance that counting so many tokens gives it, over the variance it has.

    The counting variance is 1 / (cell + 1/2) summed over the four cells of a pair (Gart 1966), tokens taken
    as independent; where hardly any are expected it is too large, so the reliability errs low.
    """
    both = np.asarray(evidence.cofiring)[np.ix_(ids, ids)].astype(np.float64)
    counts = np.asarray(evidence.counts)[ids].astype(np.float64)
    only_i, only_j = counts[:, None] - both, counts - both
    neither = evidence.n_tokens - both - only_i - only_j
    noise = sum(1 / (cell + 0.5) for cell in (both, only_i, only_j, neither))
    above = np.triu(mask, 1)
    return float(np.clip(1 - noise[above].mean() / log_odds(evidence, ids, ids)[above].var(), 0, 1))


def comparison(arms: list[dict], specification: tuple[str, str, str]) -> list[dict]:
    """Slopes of every toy beside every language model's, each divided by its measures' reliability: a row a
    pair of arms and slope, the difference with its interval, or a `problem` that says why they are not
    comparable.
    """
    return [
        {"toy": toy["name"], "real": real["name"], "term": term}
        | compared(corrected(toy, specification, term), corrected(real, specification, term))
        for toy in arms
        if toy["group"] == "toy"
        for real in arms
        if real["group"] == "real"
        for term in ("co", "sim")
    ]


def corrected(arm: dict, specification: tuple[str, str, str], term: str) -> dict:
    """A slope and its error divided by the reliability of what it is on; or a `problem`."""
    share = arm["reliability"][term]
    if not share >= LEAST:
        return {"problem": f"reliability {share:.2f} in {arm['name']}, {LEAST:g} is asked for"}
    for row in arm["regression"]:
        if (row["cooccurrence"], row["similarity"], row["effects"], row["term"]) == (*specification, term):
            number = estimate(row["estimate"] / share, row["se"] / share, row["df"])
            return number | {"reliability": share}
    return {"problem": f"no slope {' '.join(specification)} {term} was estimated in {arm['name']}"}


def compared(toy: dict, real: dict) -> dict:
    """Two corrected slopes and their difference, or why there is none."""
    problems = [one["problem"] for one in (toy, real) if "problem" in one]
    if problems:
        return {"problem": "not comparable: " + "; ".join(problems)}
    error = (toy["se"] ** 2 + real["se"] ** 2) ** 0.5
    found = estimate(toy["mean"] - real["mean"], error, min(toy["df"], real["df"]))
    names = {
        f"{side}_{key}": one[key]
        for side, one in (("toy", toy), ("real", real))
        for key in ("mean", "reliability")
    }
    return names | found | {"problem": None}
