"""What is known of such networks beforehand, as numbers: cell cosines, dimensionality, polygons."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toy.model import Trained
from toy.world import World


def cell_cosines(world: World, trained: Trained) -> dict[tuple[str, str], Float[Tensor, "instances pairs"]]:
    """Cosines of the designed pairs, by cell (co-occurrence, outputs), in each instance."""
    return {cell: pair_cosines(trained.directions, pairs) for cell, pairs in world.cells().items()}


def pair_cosines(
    directions: Float[Tensor, "instances features width"], pairs: Int[Tensor, "pairs two"]
) -> Float[Tensor, "instances pairs"]:
    """Cosines of the pairs (i, j) in each instance; 0 where one of the two has no length."""
    unit = torch.nn.functional.normalize(directions, dim=2)
    return (unit[:, pairs[:, 0]] * unit[:, pairs[:, 1]]).sum(2)


def dimensionalities(
    directions: Float[Tensor, "instances features width"],
) -> Float[Tensor, "instances features"]:
    """Share of a dimension that each feature has: |w_i|^2 / sum_j (unit w_i . w_j)^2, in [0, 1].

    1 is a dimension to itself, 1/2 a place in an antipodal pair, 2/5 in a pentagon; 0 a feature that is not
    represented. If every direction of the hidden space is used alike, they sum to the width.
    """
    norm = directions.norm(dim=2, keepdim=True)
    unit = torch.nn.functional.normalize(directions, dim=2)
    overlap = (unit @ directions.transpose(1, 2)) ** 2
    return norm[..., 0] ** 2 / overlap.sum(2).clamp(min=torch.finfo(directions.dtype).tiny)


def is_regular_polygon(
    directions: Float[Tensor, "instances features 2"], tolerance: float = 0.1
) -> Bool[Tensor, " instances"]:
    """Whether directions in the plane have equal angles between neighbours and equal lengths, nearly.

    Angles may differ from 2 pi / features, and lengths from their mean, by `tolerance` of it.
    """
    angle = torch.atan2(directions[..., 1], directions[..., 0]).sort(dim=1).values
    first = angle[:, :1] + 2 * torch.pi
    gap = torch.cat([angle, first], dim=1).diff(dim=1) * directions.shape[1] / (2 * torch.pi)
    length = directions.norm(dim=2)
    length = length / length.mean(1, keepdim=True)
    return ((gap - 1).abs() < tolerance).all(1) & ((length - 1).abs() < tolerance).all(1)
