"""One dictionary: what one Evidence gives by itself, before seeds are put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from compare.battery import AS_PUBLISHED, CAUSAL, DEFAULT, SPECIFICATIONS, TRUE, Specification
from compare.cells import Cells, beside_the_average, measure_cells
from compare.evidence import Evidence
from compare.examples import Levels, example_pairs
from compare.fitted import Fit
from compare.geometry import Antipodal, antipodal
from compare.measures import DIRECTIONS, cooccurrence_level, similarity_level
from compare.nulls import effective_dimension
from compare.opposites import promoted_tokens
from compare.pairs import PairMap, PairTable, pair_map, pair_table
from compare.regress import fit

MAP_BINS = 80
MAP_LIMITS = (-1.0, 1.0, 1 - float(np.log(2)), 1.0)
"""The whole range of both published measures, so that the maps of all arms share their axes."""

SAME = 1e-6
"""Directions are alike where their cosine is as near to 1 as this: rounding."""

N_LISTED = 30
"""Antipodal pairs that are listed for each seed."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What an analysis is free to choose; part of the report's config."""

    min_count: int = 30
    """Tokens that a feature must have fired on to count as alive."""

    max_features: int = 4096
    """At most so many alive features enter the pairs, drawn at random."""

    curve_features: int = 400
    """At most so many of these go through all specifications."""

    curve_permutations: int = 199
    """Permutations of the specification curve, 19 or more."""

    device: str = "cpu"
    """Where outputs are compared."""

    seed: int = 0
    """Of these draws, of folds and permutations, and of null directions."""

    slopes: tuple[Specification, ...] = ()
    """Specifications beside those of every report: those that hypotheses name."""


class Seed(NamedTuple):
    """What one Evidence gave."""

    evidence: Evidence
    table: PairTable
    d_eff: float
    similarity: str
    cells: Cells
    centred: Cells
    """The same with the mean direction taken out of every one."""

    fits: dict[Specification, Fit]
    tables: dict[Specification, PairTable]
    """What each fit is of: `table`, or one of its own where hypotheses asked for it."""

    unfitted: dict[Specification, str]
    """Why a specification that hypotheses asked for was not fitted."""

    opposites: Antipodal
    picture: PairMap
    examples: list[dict]


def analyse_seed(evidence: Evidence, choices: Choices) -> Seed:
    """Every number of one Evidence."""
    known, causal = [TRUE] if evidence.truth else [], CAUSAL if evidence.logit_metric is not None else []
    specifications = (*SPECIFICATIONS, *known, *causal)
    table = table_of(evidence, specifications, choices)
    ids = table.feature_ids
    similarity = "true_js" if evidence.truth else DEFAULT.similarity
    above = np.triu(table.mask, 1)
    levels = Levels(
        cooccurrence_level(evidence, ids, ids, exact=evidence.truth is not None),
        similarity_level(table[similarity], float(np.median(table[similarity][above]))),
    )
    directions = np.asarray(evidence.directions)[ids]
    d_eff = effective_dimension(directions)
    if table.cosine[above].min() > 1 - SAME:
        raise ValueError(
            f"expected directions that differ, found {table.n} that are all alike in {evidence.name!r}: "
            "measure a dictionary whose features have directions of their own."
        )
    centred = DIRECTIONS["centred"](evidence)[ids]
    tables = dict.fromkeys(specifications, table)
    fits = {one: fit_of(table, one) for one in specifications}
    unfitted = {}
    for one in choices.slopes:
        if one not in fits:
            try:
                its = table_of(evidence, [one], choices)  # its undefined pairs stay out of no other's
                fits[one], tables[one] = fit_of(its, one), its
            except ValueError as error:  # a measure that cannot be made here, or leaves nothing to fit
                unfitted[one] = str(error)
    return Seed(
        evidence,
        table,
        d_eff,
        similarity,
        measure_cells(table.cosine, *levels, table.mask, d_eff=d_eff),
        measure_cells(
            beside_the_average(centred @ centred.T, table.mask),
            *levels,
            table.mask,
            d_eff=effective_dimension(centred),
        ),
        fits,
        tables,
        unfitted,
        antipodal(directions, n_pairs=N_LISTED, seed=choices.seed),
        pair_map(table, *AS_PUBLISHED[:2], bins=MAP_BINS, limits=MAP_LIMITS),
        example_pairs(table, levels, lambda features: promoted_tokens(evidence, features)),
    )


def table_of(evidence: Evidence, specifications: Sequence[Specification], choices: Choices) -> PairTable:
    """The pairs with every measure of some specifications; the same features whichever these are."""
    with torch.device(choices.device):
        return pair_table(
            evidence,
            cooccurrence=sorted({one.cooccurrence for one in specifications}),
            similarity=sorted({one.similarity for one in specifications}),
            min_count=choices.min_count,
            max_features=choices.max_features,
            seed=choices.seed,
        )


def fit_of(table: PairTable, one: Specification) -> Fit:
    """The regression of a table's cosines by a specification whose measures it has."""
    more = one.arguments(table.evidence, table.feature_ids)
    return fit(table.cosine, table[one.cooccurrence], table[one.similarity], mask=table.mask, **more)


def deviations_of(seed: Seed, one: Specification) -> dict[str, float]:
    """Standard deviation over pairs of what each slope belongs to."""
    co, sim = (deviation(seed.tables[one], name) for name in (one.cooccurrence, one.similarity))
    return {"co": co, "sim": sim, "co:sim": co * sim}


def deviation(table: PairTable, name: str) -> float:
    """Standard deviation of a measure over pairs."""
    return float(table[name][table.mask].std(dtype=np.float64))


def directions_of(seed: Seed) -> tuple[Float[np.ndarray, "n width"], Float[np.ndarray, " n"]]:
    """Directions and firing rates of a seed's features."""
    evidence, ids = seed.evidence, seed.table.feature_ids
    return np.asarray(evidence.directions)[ids], np.asarray(evidence.counts)[ids] / evidence.n_tokens
