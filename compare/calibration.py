"""Do the tests keep their promise? Worlds whose answer is known, and how often each test rejects there."""

from dataclasses import dataclass
from itertools import product
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from compare.calibration_rules import MAX_FEATURES, calibrate_rules
from compare.calibration_tests import EVERY, calibrate_tests, redrawn
from compare.design import Effects
from compare.evidence import Evidence
from compare.measures import cooccurrence_level, similarity_level
from compare.names import SLOPES
from compare.pairs import pair_table
from compare.permutation import permute
from compare.progress import Progress
from compare.regress import fit

ERRORS = ("naive", "hc1", "dyadic_floored", "jackknife", "default")
"""Kinds of error whose t tests are calibrated."""


@dataclass(frozen=True)
class Drawn:
    """One replicate: what `compare.fit` is called with."""

    cosine: Float[np.ndarray, "n n"]
    cooccurrence: Float[np.ndarray, "n n"]
    similarity: Float[np.ndarray, "n n"]
    activity: Float[np.ndarray, " n"]


@runtime_checkable
class Drawable(Protocol):
    def draw(self, rng: np.random.Generator) -> Drawn: ...


@dataclass(frozen=True, kw_only=True)
class MatchedWorld:
    """Like measured features: their co-occurrence and similarity as they are, directions drawn anew.

    The new directions are Gaussian with the mean and covariance of the given ones, so that n, d, spectrum and
    mean direction are the measured ones and only the tie to the regressors is cut (or planted).
    """

    directions: Float[np.ndarray, "n width"]
    cooccurrence: Float[np.ndarray, "n n"]
    similarity: Float[np.ndarray, "n n"]
    activity: Float[np.ndarray, " n"]
    effect: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Planted slopes of co, sim and co:sim, in sd of the cosine by sd of the regressor."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """The same regressors with fresh directions."""
        cosine = plant(
            cosines(redrawn(self.directions, rng)), self.cooccurrence, self.similarity, self.effect
        )
        return Drawn(cosine, self.cooccurrence, self.similarity, self.activity)


def calibrate(
    world: Drawable,
    *,
    replicates: int = 500,
    seed: int = 0,
    effects: Effects = "none",
    permutations: int = 199,
    level: float = 0.05,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Share of replicates in which each test rejects each slope, with its Monte-Carlo standard error.

    A row a test and slope: size where the world has no effect, power where one is planted. A test rejects
    where p <= level. `permutations` = 0 leaves double semi-partialling out; its p-value is a multiple of
    1 / (permutations + 1), so that with 19, 99 or 199 draws a test of 5 % has just that size.
    """
    if replicates < 1:
        raise ValueError(
            f"expected 1 replicate or more, found {replicates}: 500 give an error of 1 % at 5 %."
        )
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(replicates):
        if progress is not None:
            progress(number, replicates)
        drawn = world.draw(rng)
        given = {"effects": effects, "activity": drawn.activity if effects == "product" else None}
        arrays = (drawn.cosine, drawn.cooccurrence, drawn.similarity)
        fitted = fit(*arrays, **given)
        tests = {kind: fitted.p(kind) for kind in ERRORS}
        tests["mantel_moments"] = permute(*arrays, method="moments", **given).pvalues
        if permutations:
            order = int(rng.integers(2**63))
            tests["mrqap_dsp"] = permute(*arrays, permutations=permutations, seed=order, **given).pvalues
        rows.append(pd.DataFrame(tests).loc[SLOPES] <= level)
    share = sum(frame.astype(float) for frame in rows) / replicates
    table = share.rename_axis(index="term", columns="test").T.stack().rename("rejected").reset_index()
    table["error"] = np.sqrt(table["rejected"] * (1 - table["rejected"]) / replicates)
    table["replicates"] = replicates
    return table


def calibrate_evidence(
    evidence: Evidence,
    *,
    replicates: int = 200,
    max_features: int = 200,
    effect: float = 0.1,
    permutations: int = 99,
    min_count: int = 30,
    cooccurrence: str = "log_odds",
    similarity: str = "js_split",
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Size and power of every test in worlds shaped like the Evidence at hand.

    Its co-occurrence, similarity and firing counts stay as they are; directions are drawn anew with the mean
    and covariance of its own. "null" plants nothing: a test of 5 % should reject in 5 % of replicates.
    "planted" adds `effect` standard deviations of the cosine to each slope. Raw slopes and those with feature
    effects and activity (the default) stand side by side: rows as in `calibrate`, world and effects in front,
    then tests of cells and of directions (compare.calibration_tests) with `effect` in a cell's mean, and in
    every EVERY-th replicate those of the specification curve and of rules (compare.calibration_rules).
    """
    table = pair_table(
        evidence,
        cooccurrence=[cooccurrence],
        similarity=[similarity],
        min_count=min_count,
        max_features=max_features,
        seed=seed,
    )
    n_undefined = table.n * (table.n - 1) - int(table.mask.sum())
    if table.n < 8 or n_undefined:
        raise ValueError(
            f"expected 8 features or more and every pair defined, found {table.n} features and "
            f"{n_undefined // 2} pairs without {cooccurrence} or {similarity}: raise min_count or read more."
        )
    given = {
        "directions": np.asarray(evidence.directions, dtype=np.float64)[table.feature_ids],
        "cooccurrence": table[cooccurrence].astype(np.float64),
        "similarity": table[similarity].astype(np.float64),
        "activity": np.log(np.asarray(evidence.counts, dtype=np.float64)[table.feature_ids]),
    }
    worlds = {"null": MatchedWorld(**given), "planted": MatchedWorld(**given, effect=(effect,) * 3)}
    parts = []
    settings = list(product(worlds, ("none", "product")))

    def stage(number: int) -> Progress:
        def tell(done: int, total: int | None) -> None:
            if progress is not None and total is not None:
                progress(number * replicates + done * replicates // total, (len(settings) + 2) * replicates)

        return tell

    for number, (name, effects) in enumerate(settings):
        part = calibrate(
            worlds[name],
            replicates=replicates,
            seed=seed,
            effects=effects,
            permutations=permutations,
            progress=stage(number),
        )
        part.insert(0, "world", name)
        part.insert(1, "effects", effects)
        parts.append(part)
    ids = table.feature_ids
    values = given["similarity"]
    parts.append(
        calibrate_tests(
            given["directions"],
            cooccurrence_level(evidence, ids, ids),
            similarity_level(values, float(np.median(values[np.triu_indices(table.n, 1)]))),
            np.asarray(evidence.counts)[ids] / evidence.n_tokens,
            replicates=replicates,
            effect=effect,
            seed=seed,
            progress=stage(len(settings)),
        )
    )
    parts.append(
        calibrate_rules(
            evidence,
            cooccurrence,
            similarity,
            min_count=min_count,
            max_features=min(max_features, MAX_FEATURES),
            replicates=-(-replicates // EVERY),
            effect=effect,
            permutations=max(permutations, 19),
            seed=seed,
            progress=stage(len(settings) + 1),
        )
    )
    return pd.concat(parts, ignore_index=True)


def cosines(directions: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n n"]:
    """Cosine of every two directions."""
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return units @ units.T


def plant(
    cosine: Float[np.ndarray, "n n"],
    cooccurrence: Float[np.ndarray, "n n"],
    similarity: Float[np.ndarray, "n n"],
    effect: tuple[float, float, float],
) -> Float[np.ndarray, "n n"]:
    """The cosines plus effect . (z(co), z(sim), z(co) z(sim)), in sd of the cosine over pairs."""
    if not any(effect):
        return cosine
    pairs = np.triu_indices(len(cosine), 1)
    co, sim = ((x - x[pairs].mean()) / x[pairs].std() for x in (cooccurrence, similarity))
    return cosine + cosine[pairs].std() * (effect[0] * co + effect[1] * sim + effect[2] * co * sim)
