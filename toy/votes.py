"""What each feature says: distributions over tokens, with any feasible overlaps within a group."""

from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from torch import Tensor

from toy.config import ToyConfig


def draw_votes(config: ToyConfig, layout: list, rng: np.random.Generator) -> Float[Tensor, "features vocab"]:
    """A distribution a feature, over random tokens, of which a group shares its overlap and no more.

    Two features agree on the tokens that they share, so they diverge by (1 - overlap) ln 2 nats (JS).
    """
    votes = torch.zeros(config.n_features, config.vocabulary, dtype=torch.float64)
    for members, _, overlap in layout:
        if config.group_overlaps and len(members) > 1:
            blocks = overlap_blocks(np.array(config.group_overlaps))
        else:
            blocks = uniform_blocks(len(members), config.votes, round(overlap * config.votes))
        if len(blocks) > config.vocabulary:
            raise ValueError(
                f"expected a vocabulary of {len(blocks)} tokens or more for a group of {len(members)}, found "
                f"{config.vocabulary}: raise vocabulary."
            )
        tokens = rng.permutation(config.vocabulary)[: len(blocks)]
        for token, (who, share) in zip(tokens, blocks, strict=True):
            for member in who:
                votes[members[member], token] = share
    return votes


Block = tuple[tuple[int, ...], float]
"""A token's voters, by their place in the group, and the probability that each gives it."""


def uniform_blocks(size: int, n_votes: int, n_shared: int) -> list[Block]:
    """Each votes for n_votes tokens alike: n_shared of them are everybody's, the rest its own."""
    share = 1 / n_votes
    own = [((member,), share) for member in range(size) for _ in range(n_votes - n_shared)]
    return [(tuple(range(size)), share)] * n_shared + own


def overlap_blocks(overlaps: Float[np.ndarray, "members members"]) -> list[Block]:
    """Tokens such that i and j have overlaps[i, j] of their votes in common, by a linear program.

    A token that a set of members votes for adds its share to the overlap of each pair of them; a matrix is
    feasible if and only if such shares exist. Raises ValueError where they do not, with a triangle that
    breaks s_ij + s_jk - s_ik <= 1 if there is one.
    """
    n = len(overlaps)
    sets = [who for size in range(1, n + 1) for who in combinations(range(n), size)]
    pairs = [(i, i) for i in range(n)] + list(combinations(range(n), 2))
    holds = np.array([[i in who and j in who for who in sets] for i, j in pairs], dtype=float)
    wanted = np.array([1.0 if i == j else overlaps[i, j] for i, j in pairs])
    found = linprog([len(who) for who in sets], A_eq=holds, b_eq=wanted, method="highs-ds")
    if found.status != 0:
        raise ValueError(
            f"expected overlaps that {n} distributions can have, found {broken_triangle(overlaps)}: "
            "lower the larger overlaps or raise the smaller."
        )
    return [(who, float(share)) for who, share in zip(sets, found.x, strict=True) if share > 1e-12]


def broken_triangle(overlaps: Float[np.ndarray, "members members"]) -> str:
    """Why no distributions have these overlaps, in a few words."""
    for i, j, k in combinations(range(len(overlaps)), 3):
        for a, b, c in ((i, j, k), (j, i, k), (i, k, j)):  # b is near to both a and c
            if overlaps[a, b] + overlaps[b, c] - overlaps[a, c] > 1 + 1e-9:
                return (
                    f"{a} and {b} with {overlaps[a, b]:g} in common, {b} and {c} with {overlaps[b, c]:g} but "
                    f"{a} and {c} with only {overlaps[a, c]:g}"
                )
    return "a matrix that no set of tokens gives, though every triangle is possible"
