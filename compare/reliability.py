"""How much of what the regression explains with is signal, and slopes compared once that is allowed for.

A slope on a noisy measure is too small by the measure's reliability: the share of its variance over pairs
that another sample of tokens would show again. Where feature effects and other regressors take out signal and
leave the noise, it is the share of what they leave (Carroll et al. 2006, Measurement Error in Nonlinear
Models, 3.3). Slopes of two systems are compared only after division by it, and not at all where it is too low
to carry that.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from compare.cells import difference, estimate
from compare.evidence import Evidence
from compare.kernels import js_divergence
from compare.measures import log_odds, self_divergence

LEAST = 0.5
"""Reliability below which a corrected slope is not believed: the correction would double it."""

LARGE = 50
"""Mean count from which on the variance of its logarithm is that of a large one."""

FEATURES = 256
"""Features, drawn at random, that the reliability of output similarity is estimated on."""


class Reliability(NamedTuple):
    """How far measures of pairs are more than sampling noise."""

    co: float
    """Of log_odds over pairs, in [0, 1]."""

    sim: float
    """Of js_split over pairs, in [0, 1]."""

    noise: float
    """Divergence of a feature from itself across halves, relative to that between features."""

    variances: dict[str, float]
    """Of sampling noise over pairs, by measure."""

    def of_slopes(
        self, cooccurrence: str, similarity: str, left: Mapping[str, float], sd: Mapping[str, float]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Slope -> reliability of what a regression has of its measure, and slope -> the measure's standard
        deviation over pairs without noise. NaN if a measure is neither of these two nor a known world's own.

        `left` is the variance that the regression leaves of each, `sd` what each has over pairs. The product
        is formed before anything is taken out, so its noise (c + e)(s + f) - cs is too.
        """
        co, sim = (
            0.0 if name.startswith("true_") else self.variances.get(name, np.nan)
            for name in (cooccurrence, similarity)
        )
        noise = {"co": co, "sim": sim, "co:sim": co * sd["sim"] ** 2 + sim * sd["co"] ** 2 - co * sim}
        clean = {name: max(sd[name] ** 2 - noise[name], 0.0) ** 0.5 for name in ("co", "sim")}
        clean["co:sim"] = clean["co"] * clean["sim"]
        return {name: float(np.clip(1 - noise[name] / left[name], 0, 1)) for name in noise}, clean


def reliabilities(
    evidence: Evidence, ids: Int[np.ndarray, " n"], mask: Bool[np.ndarray, "n n"], *, seed: int = 0
) -> Reliability:
    """Of log_odds and js_split over the pairs of these features."""
    rng = np.random.default_rng(seed)
    some = np.sort(rng.choice(len(ids), min(FEATURES, len(ids)), replace=False))
    even, odd = (half[ids[some]] for half in evidence.output_halves)
    across = js_divergence(even, odd)
    own = self_divergence(evidence, ids[some])
    above = np.triu(mask[np.ix_(some, some)], 1)
    co, counting = counts_reliability(evidence, ids, mask)
    sim, halving = halves_reliability(across, own, above)
    ratio = float(own.mean() / across[above].mean())
    return Reliability(co, sim, ratio, {"log_odds": counting, "js_split": halving})


def halves_reliability(
    across: Float[np.ndarray, "n n"], own: Float[np.ndarray, " n"], above: Bool[np.ndarray, "n n"]
) -> tuple[float, float]:
    """Of the mean of JSD(A_i, B_j) and JSD(B_i, A_j): their correlation over pairs, stepped up for two halves
    (Spearman and Brown); and the variance of the mean's noise.

    The two share no tokens but share how few tokens a feature had, so the levels that go with each feature's
    own divergence between halves are taken out first. 0 where they do not go together.
    """
    i, j = np.nonzero(above)
    level = np.stack([np.ones(len(i)), own[i] + own[j], own[i] * own[j]], axis=1).astype(np.float64)
    both = np.stack([across[i, j], across[j, i]], axis=1).astype(np.float64)
    left = both - level @ np.linalg.lstsq(level, both, rcond=None)[0]
    r = max(float(np.corrcoef(left.T)[0, 1]), 0.0)
    share = 2 * r / (1 + r)
    return share, float((1 - share) * left.mean(1).var())


def counts_reliability(
    evidence: Evidence, ids: Int[np.ndarray, " n"], mask: Bool[np.ndarray, "n n"]
) -> tuple[float, float]:
    """Of log_odds: one less the variance that counting so many tokens gives it, over the variance it has; and
    the former.

    Tokens are taken as independent. The counting variance is that of log(cell + 1/2), summed over the four
    cells of a pair: 1 / (cell + 1/2) for the three that are large (Gart 1966), and for tokens with both, of
    which few may be expected, the Poisson variance at what their count and independence together lead one to
    expect.
    """
    both = np.asarray(evidence.cofiring)[np.ix_(ids, ids)].astype(np.float64)
    counts = np.asarray(evidence.counts)[ids].astype(np.float64)
    only_i, only_j = counts[:, None] - both, counts - both
    neither = evidence.n_tokens - both - only_i - only_j
    # the mean of a gamma posterior whose prior is exponential around independence
    expected = (both + 1) / (1 + evidence.n_tokens / np.outer(counts, counts))
    noise = log_count_variance(expected) + sum(1 / (cell + 0.5) for cell in (only_i, only_j, neither))
    above = np.triu(mask, 1)
    counting = float(noise[above].mean())
    return float(np.clip(1 - counting / log_odds(evidence, ids, ids)[above].var(), 0, 1)), counting


def log_count_variance(expected: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Variance of log(X + 1/2), X a Poisson count with this mean; 1 / mean where that is large."""
    means = np.concatenate([np.linspace(0, 5, 101), np.linspace(5, LARGE, 101)[1:]])
    x = np.arange(4 * LARGE)
    weights = stats.poisson.pmf(x, means[:, None])
    first, second = weights @ np.log(x + 0.5), weights @ np.log(x + 0.5) ** 2
    return np.where(
        expected < LARGE, np.interp(expected, means, second - first**2), 1 / np.maximum(expected, LARGE)
    )


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
    for row in arm["regression"]:
        if (row["cooccurrence"], row["similarity"], row["effects"], row["term"]) == (*specification, term):
            share = row["reliability"]
            if not is_reliable(share):
                return {"problem": f"reliability {number(share)} in {arm['name']}, {LEAST:g} is asked for"}
            found = estimate(row["estimate"] / share, row["se"] / share, row["df"])
            return found | {"reliability": share}
    return {"problem": f"no slope {' '.join(specification)} {term} was estimated in {arm['name']}"}


def is_reliable(share: float | None) -> bool:
    """Whether a measure is known to be more than noise, so that the size of its slope means something."""
    return share is not None and share >= LEAST  # not where it is NaN


def number(share: float | None) -> str:
    """A reliability as it is printed."""
    return "unknown" if share is None or share != share else f"{share:.2f}"


def compared(toy: dict, real: dict) -> dict:
    """Two corrected slopes and their difference, or why there is none."""
    problems = [one["problem"] for one in (toy, real) if "problem" in one]
    if problems:
        return {"problem": "not comparable: " + "; ".join(problems)}
    names = {
        f"{side}_{key}": one[key]
        for side, one in (("toy", toy), ("real", real))
        for key in ("mean", "reliability")
    }
    return names | difference(toy, real) | {"problem": None}
