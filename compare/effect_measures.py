"""Likeness of what features do to the next token, from causal effects or from direct logits."""

import numpy as np

from compare.evidence import Evidence
from compare.tiles import Select, Tile, divide, same, unit_rows


def effect_cosine(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """Likeness, in [-1, 1], of how log-probabilities shift when either feature is added: causal.

    The correlation of the two mean shifts over tokens, each token weighted by its share in the base output,
    so that what hardly ever comes next counts little. NaN for features that were not measured.
    """
    return _correlation(evidence, "effect_added", rows, cols)


def ablation_cosine(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """The same of how they shift when either is taken away where it fires; NaN if it did not there."""
    return _correlation(evidence, "effect_ablated", rows, cols)


def logit_cosine(evidence: Evidence, rows: Select, cols: Select) -> Tile:
    """The same of the logits that directions give directly, in [-1, 1]: a linear image of the directions.

    A control for tautology, never evidence. The final norm is left out. NaN where effects were not measured.
    """
    if evidence.logit_metric is None:
        raise ValueError(
            f"expected the metric of logits in {evidence.name!r}, found none: measure it with effects."
        )
    left, right = (np.asarray(evidence.directions)[s].astype(np.float64) for s in (rows, cols))
    image = left @ evidence.logit_metric
    size_i = (image * left).sum(1)
    size_j = (right @ evidence.logit_metric * right).sum(1)
    return divide(image @ right.T, np.sqrt(np.outer(size_i, size_j))).astype(np.float32)


def _correlation(evidence: Evidence, name: str, rows: Select, cols: Select) -> Tile:
    """Correlation under the base output between rows of an effects array; features not measured are NaN."""
    effects = getattr(evidence, name)
    if effects is None:
        raise ValueError(
            f"expected causal effects in {evidence.name!r}, found none: measure it with effects."
        )
    share = np.asarray(evidence.base_output, dtype=np.float32)
    place = np.full(evidence.n_features, len(effects))
    place[evidence.effect_features] = np.arange(len(effects))

    def standardised(which: Select) -> np.ndarray:
        found = place[which]
        shifts = np.full((len(found), len(share)), np.nan, dtype=np.float32)
        is_known = found < len(effects)
        shifts[is_known] = np.asarray(effects)[found[is_known]]
        return unit_rows((shifts - (shifts @ share)[:, None]) * np.sqrt(share))

    left = standardised(rows)
    return left @ (left if same(rows, cols) else standardised(cols)).T
