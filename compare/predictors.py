"""What rules may know of every pair of features: anything but directions. See compare.rules for the names."""

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from compare.evidence import Evidence
from compare.measures import COOCCURRENCE


def measures_of(
    evidence: Evidence, features: Int[np.ndarray, " n"], similarity: Float[np.ndarray, "n n"]
) -> dict[str, Float[np.ndarray, "n n"]]:
    """What rules may know of every pair of these features; exact where the world is known.

    A feature that co-occurs with others as chance has it keeps no company: its second_order is 0.
    """
    exact = "true_" if evidence.truth else ""
    rates = evidence.truth.rates if evidence.truth else np.asarray(evidence.counts) / evidence.n_tokens
    log_rates = np.log(rates[features])
    return {
        "cooccurrence": COOCCURRENCE[f"{exact}log_ratio"](evidence, features, features),
        "similarity": similarity,
        "second_order": np.nan_to_num(COOCCURRENCE[f"{exact}second_order"](evidence, features, features)),
        "subspace": leading_axes(firing_covariance(evidence, features), evidence.directions.shape[1]),
        "rarer": np.minimum.outer(log_rates, log_rates),
        "commoner": np.maximum.outer(log_rates, log_rates),
    }


def firing_covariance(evidence: Evidence, features: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """Covariance of firing over tokens, exact where the world is known."""
    if evidence.truth:
        rates, both = evidence.truth.rates[features], evidence.truth.joint_rates[np.ix_(features, features)]
    else:
        rates = np.asarray(evidence.counts)[features] / evidence.n_tokens
        both = np.asarray(evidence.cofiring)[np.ix_(features, features)] / evidence.n_tokens
    covariance = both - np.outer(rates, rates)
    np.fill_diagonal(covariance, rates * (1 - rates))
    return covariance


def leading_axes(covariance: Float[np.ndarray, "n n"], m: int) -> Float[np.ndarray, "n n"]:
    """Correlation of features within the m leading axes of their covariance, in [-1, 1]."""
    n = len(covariance)
    values, vectors = eigh(covariance, subset_by_index=(max(n - m, 0), n - 1))
    image = vectors * np.sqrt(values.clip(0))
    length = np.linalg.norm(image, axis=1)
    image /= np.where(length > 0, length, np.inf)[:, None]
    return image @ image.T
