"""Antipodal pairs by name, and whether they outlast what makes opposite pairs by itself.

Features that fire very often, a mean direction and a few top components make antipodal pairs without any
feature having been put opposite another, and so does a ReLU dictionary that splits one signed feature in two.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int

from compare.contexts import BEFORE, NONE
from compare.evidence import Evidence
from compare.geometry import antipodal, most_antipodal, unit_directions

DENSE = (0.1, 0.3)
"""Firing rates above which a feature counts as dense."""

N_TOP = 5
"""Top components of the directions that are taken out with the mean."""

SPLIT = -0.9
"""Cosine below which two features count as the two sides of one signed feature."""

FEWEST = 20
"""Features that must be left for a variant to be worth a look."""

SHORTEST = 1e-4
"""Length of what is left of a direction, of 1, below which it is rounding."""

N_PROMOTED = 5
"""Tokens that say what a feature promotes."""

N_CONTEXTS = 3
PLACES = ("before", "token", "after")
"""Parts of a context: what was read before the token at which a feature fired, it, and what came after."""


def variants(
    directions: Float[np.ndarray, "n width"], rates: Float[np.ndarray, " n"], *, seed: int = 0
) -> list[dict]:
    """The antipodal pairs again without what makes such pairs by itself, a row each: results' `variants`.

    A variant that would leave the dictionary as it is, or fewer than FEWEST features, is left out.
    """
    rows = []
    for name, made in changed(directions, rates):
        made = made[np.linalg.norm(made, axis=1) > SHORTEST]
        if len(made) < FEWEST:
            continue
        found = antipodal(made, n_pairs=1, seed=seed, flips=199).to_results()
        kept = ("share", "expected_share", "features_flagged", "features_flagged_by", "asymmetry_p")
        rows.append({"variant": name, "n_features": len(made)} | {key: found[key] for key in kept})
    return rows


def changed(
    directions: Float[np.ndarray, "n width"], rates: Float[np.ndarray, " n"]
) -> Iterator[tuple[str, Float[np.ndarray, "m width"]]]:
    """Each variant's name and directions."""
    for rate in DENSE:
        sparse = rates <= rate
        if sparse.sum() < len(rates):
            yield f"without features that fire on more than {rate:.0%}", directions[sparse]
    unit = unit_directions(directions)
    centred = unit - unit.mean(0)
    yield "mean direction taken out", centred
    if min(centred.shape) > 2 * N_TOP:
        top = np.linalg.svd(centred, full_matrices=False)[2][:N_TOP]
        yield f"mean and top {N_TOP} components taken out", centred - centred @ top.T @ top
    one_side = one_of_each_split(unit, rates)
    if one_side.sum() < len(rates):
        yield "one side of each split signed feature", directions[one_side]


def one_of_each_split(unit: Float[np.ndarray, "n width"], rates: Float[np.ndarray, " n"]) -> np.ndarray:
    """Which features stay when of every two below SPLIT, lowest first, the rarer goes."""
    stays = np.ones(len(unit), dtype=bool)
    for pair in most_antipodal(unit, 10 * len(unit)).itertuples():
        if pair.cosine >= SPLIT:
            break
        if stays[pair.i] and stays[pair.j]:
            stays[pair.i if rates[pair.i] < rates[pair.j] else pair.j] = False
    return stays


def dense_excess(flagged: np.ndarray, rates: Float[np.ndarray, " n"]) -> tuple[float, float, int]:
    """Share of flagged features among the dense less that among the rest, its error and degrees of freedom.

    The error is that of Agresti & Caffo (2000), with a success and a failure added to both; in the difference
    itself they would move few dense features away from 0. Opposite features are flagged two by two, so the
    variance counts twice. NaN error where fewer than five are dense.
    """
    dense = rates > DENSE[0]
    sizes = np.array([dense.sum(), (~dense).sum()])
    hits = np.array([flagged[dense].sum(), flagged[~dense].sum()])
    shares = (hits + 1) / (sizes + 2)
    error = (2 * (shares * (1 - shares) / (sizes + 2)).sum()) ** 0.5
    enough = sizes.min() >= 5
    found = hits / np.maximum(sizes, 1)
    return (
        float(found[0] - found[1]),
        float(error) if enough else float("nan"),
        int(max(sizes.min() - 1, 0)),
    )


def beyond_parallel(opposite: np.ndarray, parallel: np.ndarray) -> tuple[float, float, int]:
    """Share of features flagged as opposite to another less share flagged as parallel to one, its error and
    degrees of freedom.

    The sign of a signed SAE's feature is arbitrary, so that twins turn up in either column alike. Agresti &
    Min (2005): half a feature of each sort added to the two that differ; the variance counts twice, as in
    dense_excess.
    """
    n = len(opposite)
    only = np.array([(opposite & ~parallel).sum(), (parallel & ~opposite).sum()])
    more, fewer = (only + 0.5) / (n + 2)
    variance = 2 * (more + fewer - (more - fewer) ** 2) / (n + 2)
    return float((only[0] - only[1]) / n), float(variance**0.5), n - 1


def flagged_share(flagged: np.ndarray) -> tuple[float, float, int]:
    """Share of features that are flagged as antipodal, its error and degrees of freedom, as dense_excess has
    them. At a false discovery rate of 5 % a dictionary without antipodal pairs has none flagged in 95 % of
    draws.
    """
    n = len(flagged)
    share = (flagged.sum() + 1) / (n + 2)
    return float(flagged.mean()), float((2 * share * (1 - share) / (n + 2)) ** 0.5), n - 1


def promoted_tokens(evidence: Evidence, features: Int[np.ndarray, " k"]) -> list[list[str]]:
    """Tokens that add most to the divergence of a feature's mean output from the base: p log(p / base)."""
    outputs = evidence.mean_outputs_of(features).astype(np.float64)
    base = np.maximum(np.asarray(evidence.base_output, dtype=np.float64), np.finfo(float).tiny)
    gain = outputs * np.log(np.maximum(outputs, np.finfo(float).tiny) / base)
    best = np.argsort(-gain, axis=1, kind="stable")[:, :N_PROMOTED]
    names = evidence.vocabulary or [f"output {k}" for k in range(len(base))]
    return [[names[token] for token in row] for row in best]


def firing_contexts(evidence: Evidence, features: Int[np.ndarray, " k"]) -> list[list[dict[str, str]]]:
    """Where each feature fired most: {before, token, after} of its strongest firings; [] if tokens are not
    told.
    """
    if evidence.context_tokens is None or evidence.vocabulary is None:
        return [[] for _ in features]
    names = evidence.vocabulary

    def text(ids: np.ndarray) -> str:
        return "".join(names[one] for one in ids if one != NONE)

    found = []
    for feature in features:
        values = np.asarray(evidence.context_values[feature])[:N_CONTEXTS]
        rows = np.asarray(evidence.context_tokens[feature])[:N_CONTEXTS]
        found.append(
            [
                dict(zip(PLACES, map(text, np.split(row, [BEFORE, BEFORE + 1])), strict=True))
                for row, value in zip(rows, values, strict=True)
                if value > 0
            ]
        )
    return found


def sides(evidence: Evidence, features: Int[np.ndarray, " k"]) -> Callable[[int, str], dict]:
    """What tells a person what each of these features is: side(k, "i") gives its keys ending in _i."""
    promoted, contexts = promoted_tokens(evidence, features), firing_contexts(evidence, features)
    return lambda k, side: {f"promotes_{side}": promoted[k], f"contexts_{side}": contexts[k]}
