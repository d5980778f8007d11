"""What a toy needs in order to wear a measured system's own rates and co-firing."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from compare.evidence import Evidence


class Worn(NamedTuple):
    """Statistics of some features; those at 2k and 2k + 1 are a pair that stands out, or is typical."""

    features: Int[np.ndarray, " n"]
    """Which features of the system they are."""

    rates: Float[np.ndarray, " n"]
    joint_rates: Float[np.ndarray, "n n"]


def worn_statistics(evidence: Evidence, n_features: int, *, seed: int, min_count: int = 30) -> Worn:
    """Rates and joint rates of live features drawn at random, laid out in pairs.

    A joint rate is that of chance times (co-firings + 1) / (co-firings expected + 1): with one firing's worth
    of prior at chance, two rare features that never met do not count as exclusive. Pairs are taken in turn
    from the most co-occurring, the most exclusive and the nearest to chance that are left, so that outputs
    shared by pairs cross all levels of co-occurrence. Raises ValueError with fewer than n_features alive.
    """
    alive = np.flatnonzero(evidence.is_alive(min_count))
    if len(alive) < n_features or n_features % 2:
        raise ValueError(
            f"expected an even number of features, {len(alive)} (alive in {evidence.name!r}) or fewer, found "
            f"n_features={n_features}: lower it, or measure more tokens."
        )
    chosen = np.sort(np.random.default_rng(seed).choice(alive, n_features, replace=False))
    rates = np.asarray(evidence.counts)[chosen] / evidence.n_tokens
    together = np.asarray(evidence.cofiring[chosen])[:, chosen]
    chance = np.outer(rates, rates)
    lift = (together + 1) / (evidence.n_tokens * chance + 1)
    joint = np.minimum(chance * lift, np.minimum.outer(rates, rates))
    np.fill_diagonal(joint, rates)
    order = paired_order(np.log(lift))
    return Worn(chosen[order], rates[order], joint[np.ix_(order, order)])


def paired_order(log_lift: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """Features pair by pair: most above chance, most below, nearest to it, and again, none twice."""
    i, j = np.triu_indices(len(log_lift), 1)
    value = log_lift[i, j]
    queues = [iter(np.argsort(key, kind="stable")) for key in (-value, value, np.abs(value))]
    is_free = np.ones(len(log_lift), dtype=bool)
    order: list[int] = []
    while len(order) < len(log_lift):
        for queue in queues:
            pair = next((k for k in queue if is_free[i[k]] and is_free[j[k]]), None)
            if pair is not None:
                order += [int(i[pair]), int(j[pair])]
                is_free[[i[pair], j[pair]]] = False
    return np.array(order)
