"""Some pairs of every cell, by name: what a mean is made of, for a person to look at."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from compare.measures import COOCCURRENCE_LEVELS, SIMILARITY_LEVELS
from compare.pairs import PairTable

N_EACH = 4
"""Pairs taken from each cell's lowest, middle and highest cosines."""

X, Y = "preactivation_correlation", "js"
"""Measures that place a pair in the post's figure."""


class Levels(NamedTuple):
    """Codes of every pair: positions in COOCCURRENCE_LEVELS and SIMILARITY_LEVELS."""

    cooccurrence: Int8[np.ndarray, "n n"]
    similarity: Int8[np.ndarray, "n n"]


def example_pairs(
    table: PairTable, levels: Levels, promoted: Callable[[Int[np.ndarray, " k"]], list[list[str]]]
) -> list[dict]:
    """Rows of results["arms"][k]["examples"]: of each of the six cells, pairs at its ends and in its middle.

    `promoted` names the tokens that features, by their ids, promote. Ties are broken by position, so the same
    table gives the same pairs.
    """
    evidence = table.evidence
    counts = np.asarray(evidence.counts)
    rows = []
    for code, cooccurrence in enumerate(COOCCURRENCE_LEVELS[:3]):
        for other, similarity in enumerate(SIMILARITY_LEVELS[:2]):
            cell = np.triu(table.mask & (levels.cooccurrence == code) & (levels.similarity == other), 1)
            for i, j in zip(*ends_and_middle(cell, table.cosine), strict=True):
                a, b = (int(table.feature_ids[one]) for one in (i, j))
                rows.append(
                    {
                        "cooccurrence": cooccurrence,
                        "similarity": similarity,
                        "i": a,
                        "j": b,
                        "cosine": float(table.cosine[i, j]),
                        "x": float(table[X][i, j]),
                        "y": float(table[Y][i, j]),
                        "fired_i": int(counts[a]),
                        "fired_j": int(counts[b]),
                        "cofired": int(evidence.cofiring[a, b]),
                        "expected": float(counts[a] * counts[b] / evidence.n_tokens),
                    }
                )
    features = np.array([row[name] for row in rows for name in "ij"], dtype=np.int64)
    tokens = promoted(features) if len(features) else []
    for k, row in enumerate(rows):
        row |= {"promotes_i": tokens[2 * k], "promotes_j": tokens[2 * k + 1]}
    return rows


def ends_and_middle(
    cell: Bool[np.ndarray, "n n"], cosine: Float[np.ndarray, "n n"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Positions of the N_EACH pairs of lowest, middle and highest cosine among those in the cell."""
    i, j = np.nonzero(cell)
    order = np.argsort(cosine[i, j], kind="stable")
    middle = max((len(order) - N_EACH) // 2, 0)
    taken = np.unique(np.r_[:N_EACH, middle : middle + N_EACH, len(order) - N_EACH : len(order)])
    taken = order[taken[(taken >= 0) & (taken < len(order))]]
    return i[taken], j[taken]
