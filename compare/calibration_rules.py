"""Do the specification curve and the rules' scores keep their promise? As compare.calibration asks of slopes.

Co-occurrence, outputs and frequencies are those of the Evidence; directions are drawn anew with the mean and
covariance of its own, so that nothing can be predicted of them and no slope is there.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float

from compare.calibration_tests import LEVEL, Rejections, redrawn, rejection_table
from compare.cells import estimate
from compare.evidence import Evidence
from compare.names import term_name
from compare.pairs import pair_table
from compare.prediction import held_out, score
from compare.predictors import measures_of
from compare.progress import Progress
from compare.rules import FIRST_ORDER, POST, RULES
from compare.sensitivity import Curve, curve_of
from compare.specifications import FEWEST, material, of_other_directions
from compare.tiles import unit_rows

JOINT = {"p_median": "median effect", "p_share": "share of one sign", "p_stouffer": "Stouffer's z"}
"""Tests of a whole specification curve by their columns."""

MAX_FEATURES = 200
"""A curve has thousands of specifications, each with its permutations: more features would take days."""

OVER = {"over_post": POST, "over_first": FIRST_ORDER}
"""Scores that are differences, and from which rule's."""


def calibrate_rules(
    evidence: Evidence,
    cooccurrence: str,
    similarity: str,
    *,
    min_count: int,
    max_features: int = MAX_FEATURES,
    replicates: int = 50,
    effect: float = 0.1,
    permutations: int = 99,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Share of replicates in which a curve's tests, and scores of rules above 0, reject at 5 %.

    Columns as in compare.calibration.calibrate_evidence. "planted" mixes into each direction those of the
    features it is tied to, by co-occurrence, by similarity and by their product, so that a standard deviation
    of each raises cosines by about `effect` of theirs. At most `max_features` live features take part;
    fewer than FEWEST have no curve, and the table is empty.
    """
    rng = np.random.default_rng(seed)
    table = pair_table(
        evidence,
        cooccurrence=[cooccurrence],
        similarity=[similarity],
        min_count=min_count,
        max_features=max_features,
        seed=seed,
    )
    ids = table.feature_ids
    if table.n < FEWEST:
        return pd.DataFrame()
    in_use = evidence.is_in_use()
    directions = np.asarray(evidence.directions, dtype=np.float64)
    measures = measures_of(evidence, ids, table[similarity])
    given = material(evidence, ids)
    ties = tied(table[cooccurrence], table[similarity])
    found: list[Rejections] = []
    for number in range(replicates):
        if progress is not None:
            progress(number, replicates)
        fresh = directions.copy()
        fresh[in_use] = redrawn(directions[in_use], rng)
        found.append({})
        for world, drawn in (("null", fresh), ("planted", mixed(fresh, ids, ties, effect))):
            other = of_other_directions(given, evidence, ids, drawn.astype(np.float32))
            order = int(rng.integers(2**32))
            predicted = held_out(measures, other.cosines["as they are"], table.mask, seed=order)
            p_values = [
                *joint_p(curve_of(other, permutations=permutations, seed=order)),
                *above_zero(score(predicted, list(RULES)), len(ids)),
            ]
            found[-1] |= {(world, test, term): p <= LEVEL for test, term, p in p_values}
    return rejection_table(found)


def joint_p(curve: Curve) -> Iterator[tuple[str, str, float]]:
    """Test, term and p-value of a whole curve."""
    for row in curve.joint().to_dict("records"):
        for column, name in JOINT.items():
            yield f"specification curve, {name}", f"slope on {term_name(row['term'])}", row[column]


def above_zero(scores: pd.DataFrame, n_features: int) -> Iterator[tuple[str, str, float]]:
    """Test, term and one-sided p-value of each rule's r2, and of its r2 less that of another rule."""
    tests = {"r2": "rule, r2 of unseen features"}
    tests |= {name: f"rule, r2 less that of {base}" for name, base in OVER.items()}
    for name, test in tests.items():
        for row in scores.to_dict("records"):
            if row["rule"] != OVER.get(name):
                found = estimate(row[name], row[f"{name}_se"], n_features - 1)
                yield test, f"{row['rule']} > 0", found["p_above"]


def tied(
    cooccurrence: Float[np.ndarray, "n n"], similarity: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, "n n"]:
    """Co-occurrence, similarity and their product of every pair, each in standard deviations, summed."""
    above = np.triu_indices(len(cooccurrence), 1)
    co, sim = (
        (x - x[above].mean(dtype=np.float64)) / x[above].std(dtype=np.float64)
        for x in (cooccurrence, similarity)
    )
    ties = co + sim + co * sim
    np.fill_diagonal(ties, 0.0)
    return ties


def mixed(
    directions: Float[np.ndarray, "m width"],
    ids: np.ndarray,
    ties: Float[np.ndarray, "n n"],
    effect: float,
) -> Float[np.ndarray, "m width"]:
    """Directions with those of the features they are tied to mixed in: (1 + a ties) D raises cosines by
    2 a ties where D is a dictionary of random directions.
    """
    units = unit_rows(directions[ids])
    spread = (units @ units.T)[np.triu_indices(len(ids), 1)].std()
    mixed = directions.copy()
    mixed[ids] = units + effect * spread / 2 * ties @ units
    return mixed
