"""Registries of measures: one function and one line each.

A co-occurrence or similarity measure takes Evidence and two selections of features (slices or arrays of ids)
and gives the tile [rows, cols], float64 or float32, NaN where it is undefined. A direction measure gives one
unit row a feature.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from scipy.special import gammaincinv

from compare.effect_measures import ablation_cosine, effect_cosine, logit_cosine
from compare.evidence import Evidence
from compare.kernels import js_divergence
from compare.tiles import Select, Tile, divide, same, unit_rows


def phi(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Pearson correlation of firing, in [-1, 1]; NaN for a feature that fires never or always (Yule 1912)."""
    return _phi(*_counts(evidence, rows, cols))


def phi_by_sequence(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """phi over sequences in the place of tokens: of firing anywhere in one."""
    return _phi(*_sequence_counts(evidence, rows, cols))


def _phi(both: np.ndarray, i: np.ndarray, j: np.ndarray, total: int) -> Tile:
    return divide(total * both - i * j, np.sqrt(i * (total - i)) * np.sqrt(j * (total - j)))


def log_odds(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Log odds ratio of firing in nats, any sign, half a token added to all four cells (Haldane 1956)."""
    return _log_odds(*_counts(evidence, rows, cols))


def log_odds_by_sequence(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """log_odds over sequences in the place of tokens: of firing anywhere in one."""
    return _log_odds(*_sequence_counts(evidence, rows, cols))


def _log_odds(both: np.ndarray, i: np.ndarray, j: np.ndarray, total: int) -> Tile:
    return np.log((both + 0.5) * (total - i - j + both + 0.5) / ((i - both + 0.5) * (j - both + 0.5)))


def log_ratio(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Log of observed over expected tokens with both, in nats, any sign, half a token added to each.

    Where hardly any are expected and none are found it is near 0, where log_odds is far above it.
    """
    return _log_ratio(*_counts(evidence, rows, cols))


def _log_ratio(both: np.ndarray, i: np.ndarray, j: np.ndarray, total: int) -> Tile:
    return np.log((both + 0.5) / (i * j / total + 0.5))


def jaccard(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Tokens with both over tokens with either, in [0, 1]; NaN if neither ever fires (Jaccard 1901)."""
    both, i, j, _ = _counts(evidence, rows, cols)
    return divide(both, i + j - both)


def npmi(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Pointwise mutual information of firing over its maximum, in [-1, 1]; -1 where the two never fire
    together.

    NaN if one never fires or both fire at every token (Bouma 2009).
    """
    both, i, j, total = _counts(evidence, rows, cols)
    share = np.where(both > 0, both, np.nan) / total
    value = divide(
        np.log(share) - np.log(_positive(i) / total) - np.log(_positive(j) / total), -np.log(share)
    )
    return np.where((both == 0) & (i > 0) & (j > 0), -1.0, value)


def conditional(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Probability that the commoner of two fires where the rarer does, in [0, 1]; NaN if one never fires.

    Also known as the overlap coefficient (Szymkiewicz 1934, Simpson 1943).
    """
    both, i, j, _ = _counts(evidence, rows, cols)
    return divide(both, np.minimum(i, j))


def activation_correlation(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Pearson correlation of activations, zeros included, in [-1, 1]; NaN for a feature that never varies."""
    n = evidence.n_tokens
    mean_i, mean_j = evidence.activation_sums[rows] / n, evidence.activation_sums[cols] / n
    square = np.asarray(evidence.activation_second).diagonal().astype(np.float64) / n
    spread_i, spread_j = (np.sqrt(square[s] - m**2) for s, m in ((rows, mean_i), (cols, mean_j)))
    return divide(_tile(evidence.activation_second, rows, cols) / n - np.outer(mean_i, mean_j),
                   np.outer(spread_i, spread_j))  # fmt: skip


def preactivation_correlation(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Pearson correlation of pre-activations, in [-1, 1]: the measure as published in the post.

    NaN for a pre-activation that never varies. With an encoder it is e_i' S e_j, normalised, S the covariance
    of the inputs: with tied weights and isotropic S it is the cosine itself, whatever the features do.
    """
    covariance = evidence.moments_covariance
    if evidence.encoder is None:
        variance = np.asarray(covariance).diagonal()
        return divide(_tile(covariance, rows, cols), np.sqrt(np.outer(variance[rows], variance[cols])))
    left, right = (evidence.encoder[s].astype(np.float64) for s in (rows, cols))
    image = left @ covariance
    variance_i = np.einsum("id,id->i", image, left)
    variance_j = np.einsum("id,de,ie->i", right, covariance, right, optimize=True)
    return divide(image @ right.T, np.sqrt(np.outer(variance_i, variance_j)))


def true_phi(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """phi of a known world's exact probabilities, in [-1, 1]; NaN if a feature fires never or always."""
    return _phi(*_true_counts(evidence, rows, cols))


def true_log_odds(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """log_odds of the counts to be expected in a known world over as many tokens as were read, in nats."""
    return _log_odds(*_true_counts(evidence, rows, cols))


def true_log_ratio(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """log_ratio of the counts to be expected in a known world over as many tokens as were read, in nats."""
    return _log_ratio(*_true_counts(evidence, rows, cols))


def second_order(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Cosine of two features' profiles of log_ratio with all others, in [-1, 1]: do they keep company alike?

    The pair's own co-occurrence stays out. NaN for a feature whose profile is 0.
    """
    return _profile_cosine(log_ratio, evidence, rows, cols)


def true_second_order(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """second_order of a known world's true_log_ratio."""
    return _profile_cosine(true_log_ratio, evidence, rows, cols)


def js(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """1 - JSD in nats between mean outputs over all tokens, from 0.307 to 1: as published in the post.

    NaN for a feature that never fired. Shared tokens and small samples alone move it: see js_split.
    """
    own = evidence.mean_outputs_of(rows)
    return 1 - js_divergence(own, None if same(rows, cols) else evidence.mean_outputs_of(cols))


def js_split(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """1 - JSD in nats between mean outputs over disjoint halves of the tokens, sampling bias taken off.

    With A and B the means over even and odd sequences, JSD is the mean of JSD(A_i, B_j) and JSD(B_i, A_j)
    less the mean of JSD(A_i, B_i) and JSD(A_j, B_j), which is what sampling alone gives. At most a little
    above 1 (noise around equal outputs); NaN for a feature that did not fire in both halves.
    """
    even, odd = evidence.output_halves
    across = js_divergence(even[rows], odd[cols])
    if same(rows, cols):
        other, own_i = across.T, across.diagonal()
        own_j = own_i
    else:
        other = js_divergence(odd[rows], even[cols])
        own_i, own_j = self_divergence(evidence, rows), self_divergence(evidence, cols)
    return 1 - ((across + other) / 2 - (own_i[:, None] + own_j) / 2)


def self_divergence(evidence: Evidence, rows: Select) -> Float[np.ndarray, " rows"]:
    """JSD in nats of each feature's mean output over even sequences from that over odd ones: noise alone.

    Compare it with the divergence between features. NaN for a feature that did not fire in both halves.
    """
    even, odd = (half[rows] for half in evidence.output_halves)
    pairs = (js_divergence(a[None], b[None])[0, 0] for a, b in zip(even, odd, strict=True))
    return np.fromiter(pairs, dtype=np.float32, count=len(even))


def true_js(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """1 - JSD in nats between the exact outputs of a known world, from 0.307 to 1."""
    outputs = _truth(evidence).outputs
    return 1 - js_divergence(outputs[rows], None if same(rows, cols) else outputs[cols])


def decoder(evidence: Evidence) -> Float[np.ndarray, "n width"]:
    """Directions as the network writes them, at unit length; NaN for a direction of length 0."""
    return unit_rows(evidence.directions)


def encoder(evidence: Evidence) -> Float[np.ndarray, "n width"]:
    """Directions as the network reads them, at unit length: the placebo outcome."""
    if evidence.encoder is None:
        raise ValueError(
            f"expected an encoder in {evidence.name!r}, found none: take the decoder's directions."
        )
    return unit_rows(evidence.encoder)


def centred(evidence: Evidence) -> Float[np.ndarray, "n width"]:
    """Decoder directions at unit length, less the mean of those in use, at unit length again."""
    unit = decoder(evidence)
    return unit_rows(unit - unit[evidence.is_in_use()].mean(0))


def whitened(evidence: Evidence) -> Float[np.ndarray, "n width"]:
    """Decoder directions after the second moment of those in use was made the identity, at unit length.

    Axes with less than 1e-6 of the largest second moment are left out.
    """
    unit = decoder(evidence)
    alive = unit[evidence.is_in_use()].astype(np.float64)
    values, vectors = np.linalg.eigh(alive.T @ alive / len(alive))
    kept = values > 1e-6 * values.max()
    return unit_rows(unit @ (vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T))


Measure = Callable[[Evidence, Select, Select], np.ndarray]

COOCCURRENCE: dict[str, Measure] = {
    "phi": phi,
    "log_odds": log_odds,
    "log_ratio": log_ratio,
    "jaccard": jaccard,
    "npmi": npmi,
    "conditional": conditional,
    "activation_correlation": activation_correlation,
    "preactivation_correlation": preactivation_correlation,
    "second_order": second_order,
    "phi_by_sequence": phi_by_sequence,
    "log_odds_by_sequence": log_odds_by_sequence,
    "true_phi": true_phi,
    "true_log_odds": true_log_odds,
    "true_log_ratio": true_log_ratio,
    "true_second_order": true_second_order,
}

SIMILARITY: dict[str, Measure] = {
    "js": js,
    "js_split": js_split,
    "effect_cosine": effect_cosine,
    "ablation_cosine": ablation_cosine,
    "logit_cosine": logit_cosine,
    "true_js": true_js,
}

DIRECTIONS: dict[str, Callable[[Evidence], np.ndarray]] = {
    "decoder": decoder,
    "encoder": encoder,
    "centred": centred,
    "whitened": whitened,
}

COOCCURRENCE_LEVELS = ("exclusive", "independent", "co-occurring", "undetermined")
SIMILARITY_LEVELS = ("similar", "different", "between")


def cooccurrence_level(
    evidence: Evidence, rows: Select, cols: Select, *, factor: float = 2.0, exact: bool = False
) -> Int[np.ndarray, "rows cols"]:
    """Which of COOCCURRENCE_LEVELS a pair is in, by the ratio of observed to expected tokens with both.

    Expected is n_i n_j / N. Exclusive: the ratio is below 1 / factor; co-occurring: above factor;
    independent: between. A level counts only where the exact 95 % Poisson interval of the ratio (Garwood
    1936) lies in it as a whole, else the pair is undetermined. With exact, a known world's own ratio decides,
    without interval.
    """
    both, i, j, total = _true_counts(evidence, rows, cols) if exact else _counts(evidence, rows, cols)
    low, high = (both, both) if exact else _poisson_interval(both.astype(np.int64))
    expected = i * j / total
    level = np.full(both.shape, 3, dtype=np.int8)
    level[(low * factor >= expected) & (high <= expected * factor)] = 1
    level[high * factor < expected] = 0
    level[low > expected * factor] = 2
    level[~(expected > 0)] = 3
    return level


def similarity_level(
    similarity: Float[np.ndarray, "rows cols"], median: float, *, share: float = 0.5
) -> Int[np.ndarray, "rows cols"]:
    """Which of SIMILARITY_LEVELS a pair is in: similar if its JSD is below `share` of the median pair's JSD,
    different if it is at least the median's, else between. `median` is the median similarity; NaN counts as
    between.
    """
    level = np.full(similarity.shape, 2, dtype=np.int8)
    level[1 - similarity < share * (1 - median)] = 0
    level[1 - similarity >= 1 - median] = 1
    return level


def _poisson_interval(counts: Int[np.ndarray, "rows cols"]) -> tuple[np.ndarray, np.ndarray]:
    """Exact 95 % bounds of the mean of a Poisson count."""
    found = np.flatnonzero(np.bincount(counts.ravel()))
    low, high = (np.zeros(found.max(initial=0) + 1) for _ in range(2))
    low[found] = np.where(found > 0, gammaincinv(np.maximum(found, 1), 0.025), 0)
    high[found] = gammaincinv(found + 1, 0.975)
    return low[counts], high[counts]


def _counts(evidence: Evidence, rows: Select, cols: Select):
    """Tokens with both [rows, cols], with i [rows, 1], with j [1, cols], and all tokens, as float64."""
    counts = np.asarray(evidence.counts, dtype=np.float64)
    both = _tile(evidence.cofiring, rows, cols).astype(np.float64)
    return both, counts[rows][:, None], counts[cols][None], evidence.n_tokens


def _sequence_counts(evidence: Evidence, rows: Select, cols: Select):
    """The same, sequences in the place of tokens."""
    features, offsets = evidence.sequence_features, evidence.sequence_offsets
    if features is None or offsets is None:
        raise ValueError(
            f"expected to know the sequences of {evidence.name!r}, found none: give batches `sequences` and "
            "measure again, or take a measure whose name does not end in by_sequence."
        )
    shape = len(offsets) - 1, evidence.n_features
    fired = csr_matrix((np.ones(len(features), np.float32), features, offsets), shape=shape).tocsc()
    counts = np.bincount(features, minlength=evidence.n_features).astype(np.float64)
    both = (fired[:, rows].T @ fired[:, cols]).toarray().astype(np.float64)
    return both, counts[rows][:, None], counts[cols][None], shape[0]


def _true_counts(evidence: Evidence, rows: Select, cols: Select):
    """The same, as a known world leads one to expect."""
    truth, n = _truth(evidence), evidence.n_tokens
    return (
        _tile(truth.joint_rates, rows, cols) * n,
        truth.rates[rows][:, None] * n,
        truth.rates[cols][None] * n,
        n,
    )


def _truth(evidence: Evidence):
    if evidence.truth is None:
        raise ValueError(
            f"expected a known world, found no truth in {evidence.name!r}: take a measure whose name does "
            "not begin with true_."
        )
    return evidence.truth


def _profile_cosine(relation: Measure, evidence: Evidence, rows: Select, cols: Select) -> np.ndarray:
    """Cosine of rows of a relation to the features that ever fired, the pair itself left out of both rows."""
    ids = np.arange(evidence.n_features)
    alive = np.flatnonzero(evidence.is_alive())

    def profiles(selected: Select) -> np.ndarray:
        values = relation(evidence, selected, alive).astype(np.float32)
        values[ids[selected][:, None] == alive] = 0.0
        return values

    left = profiles(rows)
    right = left if same(rows, cols) else profiles(cols)
    own = relation(evidence, rows, cols)
    own[ids[rows][:, None] == ids[cols]] = 0.0
    own[~evidence.is_alive()[rows]] = 0.0
    own[:, ~evidence.is_alive()[cols]] = 0.0
    rest_i = (left**2).sum(1, dtype=np.float64)[:, None] - own**2
    rest_j = (right**2).sum(1, dtype=np.float64)[None] - own**2
    return divide((left @ right.T).astype(np.float64), np.sqrt(np.maximum(rest_i * rest_j, 0.0)))


def _tile(matrix: np.ndarray, rows: Select, cols: Select) -> np.ndarray:
    if isinstance(rows, slice) or isinstance(cols, slice):
        return matrix[rows][:, cols]
    first, last = cols.min(initial=len(matrix)), cols.max(initial=-1)
    return np.take(matrix[rows, first : last + 1], cols - first, axis=1)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)
