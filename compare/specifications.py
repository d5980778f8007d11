"""Every defensible way to run the regression of one dictionary, as columns that are made once and reused.

A choice is a line in one of the tables below. The columns of pairs are standardised, so that a slope is in
standard deviations of the cosine by standard deviations of what explains it, whatever the measure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from compare.evidence import Evidence
from compare.measures import (
    COOCCURRENCE,
    SIMILARITY,
    centred,
    cooccurrence_level,
    decoder,
    similarity_level,
    whitened,
)
from compare.tiles import unit_rows

Square = Float[np.ndarray, "n n"]

DENSE, COMMON, DUPLICATE, N_LEADING = 0.1, 100, 0.9, 2
"""A dense feature fires on more of the tokens; a common one on so many tokens; two are duplicates from this
cosine on; so many leading axes are removed."""

FEWEST = 24
"""A filter that leaves fewer features is no specification."""

COOCCURRENCES = (
    "phi",
    "log_odds",
    "log_ratio",
    "npmi",
    "activation_correlation",
    "preactivation_correlation",
    "log_odds_by_sequence",
    "levels, factor 2",
    "levels, factor 4",
)
EFFECTS = ("none", "additive", "product")
COVARIATES = ("none", "sample size")
ESTIMATORS = ("least squares", "ranks")
CHOICES = ("cooccurrence", "similarity", "effects", "covariates", "features", "directions", "estimator")
"""What a specification chooses, in the order of its names."""


def without_leading(evidence: Evidence) -> Float[np.ndarray, "n width"]:
    """Decoder directions without the leading axes of those in use, at unit length again."""
    units = decoder(evidence)
    _, _, axes = np.linalg.svd(units[evidence.is_in_use()], full_matrices=False)
    return unit_rows(units - units @ axes[:N_LEADING].T @ axes[:N_LEADING])


DIRECTIONS: Mapping[str, tuple[Callable[[Evidence], np.ndarray], Callable[[int, int], bool]]] = {
    "as they are": (decoder, lambda n, width: True),
    "mean removed": (centred, lambda n, width: True),
    f"{N_LEADING} leading axes removed": (without_leading, lambda n, width: min(n, width) > 2 * N_LEADING),
    "whitened": (whitened, lambda n, width: n >= 2 * width),
}
"""What directions may be made into, and whether that leaves something of n features in use in so many
dimensions: of few dimensions the leading axes are all, and few whitened directions are nearly orthogonal,
whatever they were.
"""


@dataclass(frozen=True, eq=False)
class Material:
    """What all specifications of one dictionary are made of."""

    cosines: dict[str, Square]
    cooccurrences: dict[str, Square]
    similarities: dict[str, Square]
    covariates: dict[str, Square]
    activity: Float[np.ndarray, " n"]
    filters: dict[str, Bool[np.ndarray, " n"]]

    @property
    def strata(self) -> Int[np.ndarray, " n"]:
        """Which features every filter treats alike: only these may change places."""
        return np.unique(np.stack(list(self.filters.values())), axis=1, return_inverse=True)[1].ravel()


def material(evidence: Evidence, features: Int[np.ndarray, " n"]) -> Material:
    """Measures, filters and versions of the directions of some live features.

    A filter must change something, else the choice is left out.
    """
    counts = np.asarray(evidence.counts, dtype=np.float64)[features]
    cosines = versions(evidence, features)
    js_split = SIMILARITY["js_split"](evidence, features, features)
    middle = float(np.median(js_split[np.triu_indices(len(features), 1)]))
    return Material(
        cosines=cosines,
        cooccurrences={name: _cooccurrence(evidence, features, name) for name in _known(evidence)},
        similarities={
            "js": SIMILARITY["js"](evidence, features, features),
            "js_split": js_split,
            "similar or not": (similarity_level(js_split, middle) == 0).astype(float),
        },
        covariates=sample_size(counts, np.asarray(evidence.cofiring)[np.ix_(features, features)]),
        activity=np.log(counts),
        filters=_filters(counts, evidence.n_tokens, cosines["as they are"]),
    )


def of_other_directions(
    given: Material,
    evidence: Evidence,
    features: Int[np.ndarray, " n"],
    directions: Float[np.ndarray, "m width"],
) -> Material:
    """The same measures with other directions of the whole dictionary."""
    cosines = versions(replace(evidence, directions=directions), features)
    counts = np.asarray(evidence.counts, dtype=np.float64)[features]
    return replace(
        given, cosines=cosines, filters=_filters(counts, evidence.n_tokens, cosines["as they are"])
    )


def versions(evidence: Evidence, features: Int[np.ndarray, " n"]) -> dict[str, Square]:
    """Cosines of some features by what directions are made into; what would leave nothing is left out."""
    size = int(evidence.is_in_use().sum()), evidence.directions.shape[1]
    found = {}
    for name, (directions, leaves_something) in DIRECTIONS.items():
        if leaves_something(*size):
            units = directions(evidence)[features].astype(np.float64)
            found[name] = units @ units.T
    return found


def sample_size(counts: Float[np.ndarray, " n"], cofiring: Int[np.ndarray, "n n"]) -> dict[str, Square]:
    """What sampling noise alone makes of the divergence of two mean outputs: few firings, shared tokens."""
    return {
        "1/n_i + 1/n_j": np.add.outer(1 / counts, 1 / counts),
        "n_ij / n_i n_j": cofiring / np.outer(counts, counts),
    }


def designs(given: Material) -> list[tuple[str, ...]]:
    """Names of every specification, in the order of CHOICES; measures that do not vary are left out."""
    above = np.triu_indices(len(given.activity), 1)
    regressors = (
        [name for name, values in part.items() if np.ptp(values[above]) > 0]
        for part in (given.cooccurrences, given.similarities)
    )
    return list(product(*regressors, EFFECTS, COVARIATES, given.filters, given.cosines, ESTIMATORS))


def _known(evidence: Evidence) -> list[str]:
    """The measures of COOCCURRENCES, those over sequences where these are known."""
    has_windows = evidence.sequence_features is not None
    return [name for name in COOCCURRENCES if has_windows or not name.endswith("by_sequence")]


def _cooccurrence(evidence: Evidence, features: Int[np.ndarray, " n"], name: str) -> np.ndarray:
    """A measure of the registry, or levels as -1 (exclusive), 0 (independent or undetermined), 1."""
    if not name.startswith("levels"):
        return COOCCURRENCE[name](evidence, features, features)
    level = cooccurrence_level(evidence, features, features, factor=float(name.split()[-1]))
    return (level == 2).astype(float) - (level == 0)


def _filters(counts: np.ndarray, n_tokens: int, cosine: Square) -> dict[str, np.ndarray]:
    """Features that each filter keeps; filters that keep all or too few are left out."""
    everyone = np.ones(len(counts), dtype=bool)
    kept = {
        f"fired {COMMON} times": counts >= COMMON,
        f"fire on {DENSE:.0%} at most": counts <= DENSE * n_tokens,
        "duplicates merged": _distinct(counts, cosine),
    }
    useful = {name: keep for name, keep in kept.items() if not keep.all() and keep.sum() >= FEWEST}
    return {"all alive": everyone} | useful


def _distinct(counts: np.ndarray, cosine: Square) -> np.ndarray:
    """One feature of each set of duplicates: from the commonest on, whatever is no duplicate of one kept."""
    kept = np.zeros(len(counts), dtype=bool)
    for feature in np.argsort(-counts, kind="stable"):
        kept[feature] = not (np.abs(cosine[feature, kept]) > DUPLICATE).any()
    return kept


def standardised(values: Square, ranks: bool) -> Square:
    """Values of pairs (or their ranks) with mean 0 and standard deviation 1; the diagonal is 0."""
    above = np.triu_indices(len(values), 1)
    pairs = values[above].astype(np.float64)
    pairs = rankdata(pairs) if ranks else pairs
    spread = pairs.std()
    result = np.zeros(values.shape)
    result[above] = (pairs - pairs.mean()) / spread if spread > 0 else 0.0
    return result + result.T


def without_levels(values: Square) -> Square:
    """What additive effects of features leave of a symmetric matrix without a diagonal: rows sum to 0."""
    n = len(values)
    grand = values.sum() / (n * (n - 1))
    level = (n - 1) / (n - 2) * (values.sum(1) / (n - 1) - grand)
    rest = values - grand - level[:, None] - level
    np.fill_diagonal(rest, 0.0)
    return rest
