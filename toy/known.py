"""What is known of such networks from elsewhere, each with the run that shows whether it comes out here.

An anchor is a number with a range that its source leads one to expect; a run is a world, networks trained in
it, and the anchors that are read off them. Anchors without a range are shown beside those that have one.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from toy.anchors import dimensionalities, is_regular_polygon, pair_cosines
from toy.config import ToyConfig
from toy.model import Trained, train
from toy.world import World

ELHAGE = "Elhage et al. 2022"
PRIETO = "Prieto et al. 2026"
LIU = "Liu et al. 2024"
OURS = "asked of this project"
SHORT = 0.1
"""A feature shorter than this share of the longest counts as not written."""

Measure = Callable[[World, Trained], Float[Tensor, " starts"]]


@dataclass(frozen=True)
class Anchor:
    """One number, a value a start, and the closed range that is expected of its mean."""

    name: str
    quantity: str
    source: str
    measure: Measure
    low: float = -math.inf
    high: float = math.inf
    best: bool = False
    """Whether it is asked of the optimum: of the quarter of the starts that ended with the least loss."""


@dataclass(frozen=True)
class Run:
    """A world with its networks, and what is read off them."""

    setting: str
    config: ToyConfig
    anchors: tuple[Anchor, ...]


ALONE = ToyConfig(grouped_share=0.0, magnitudes="uniform", vocabulary=8, n_features=5, width=2)
RING = ToyConfig(
    n_features=12, width=12, group_size=12, grouped_share=1.0, arrangement="ring", firing_rate=0.1,
    conditionals=(0.5,), overlaps=(0.0,), votes=1, vocabulary=16, magnitudes="uniform", n_seeds=10,
    steps=1200,
)  # fmt: skip
INVERSE_RATES = (2, 3, 4, 8)
PLATEAU = (3, 4)
"""1/p at which width / |W|^2 is near 1/2, so that a plateau would lie there. Networks trained for a quarter
of the steps on a quarter of the batch pass 1/2 at twice that, and have no plateau yet."""
DECAY = 1.0


def anchor_runs(seed: int = 0) -> list[Run]:
    """Every run, in the order in which they are made."""
    found = [*few_features(), *pairs_of_features(), *rings(), *many_features()]
    return [replace(run, config=replace(run.config, seed=seed)) for run in found]


def few_features() -> list[Run]:
    """Two features in one dimension, five in two."""
    two = replace(ALONE, n_features=2, width=1, n_seeds=20, steps=2000)
    opposite = Anchor(
        "two sparse features in one dimension are antipodal",
        "their cosine",
        ELHAGE,
        first_pair,
        -1.0,
        -0.95,
        True,
    )
    alone = Anchor(
        "of two dense ones the less important is not written",
        "its length",
        ELHAGE,
        second_length,
        0.0,
        0.1,
        True,
    )
    pentagon = Anchor(
        "five features in two dimensions make a pentagon",
        "share of starts",
        OURS,
        is_polygon,
        0.95,
        1.0,
    )
    runs = [
        Run("firing rate 0.05", replace(two, firing_rate=0.05), (opposite,)),
        Run(
            "firing rate 0.9, importances 1 and 0.7",
            replace(two, firing_rate=0.9, importance_decay=0.7),
            (alone,),
        ),
    ]
    config = replace(ALONE, firing_rate=0.05, n_seeds=74, steps=3000, batch=512)
    return [*runs, Run("firing rate 0.05", config, (pentagon,))]


def pairs_of_features() -> list[Run]:
    """Features that fire together, with and without room, and exclusive ones beside independent ones."""
    together = replace(ALONE, grouped_share=1.0, conditionals=(1.0,), overlaps=(0.0,), firing_rate=0.05)
    four = replace(together, n_features=4, n_seeds=20, steps=3000)
    crowded = replace(together, n_features=64, width=8, conditionals=(0.5,), n_seeds=5, steps=2000)
    size = "mean |cosine| of pairs"
    room = Anchor(
        "pairs that fire together are orthogonal with room", size, ELHAGE, pair_size, 0.0, 0.1, True
    )
    none = Anchor(
        "pairs that fire together lie side by side without room",
        "mean cosine of pairs",
        ELHAGE,
        pair_mean,
        0.8,
        1.0,
    )
    mixed = ToyConfig(vocabulary=8, votes=1, overlaps=(0.0,), n_seeds=3, steps=1500)
    share = "antipodal share (cosine < -0.9) of pairs"
    both = (
        Anchor(
            "exclusive pairs are antipodal with room",
            share,
            OURS,
            partial(antipodal_share, "exclusive"),
            0.35,
            1.0,
        ),
        Anchor("independent pairs are not", share, OURS, partial(antipodal_share, "independent"), 0.0, 0.02),
        Anchor(
            "feature dimensionalities sum to the width",
            "sum / width",
            ELHAGE,
            dimensions_over_width,
            0.99,
            1.01,
        ),
    )
    return [
        Run("4 features in 2 dimensions, always together", four, (room,)),
        Run("64 features in 8 dimensions, P(j | i) = 0.5", crowded, (none,)),
        Run("256 features in 128 dimensions, firing rate 0.02", mixed, both),
    ]


def rings() -> list[Run]:
    """Twelve features, each of which fires with its neighbours round a ring."""
    runs = []
    for width, decay in [(width, decay) for decay in (0.0, DECAY) for width in (2, 4, 6, 8, 12)]:
        if width < 6:
            expected = Anchor(
                "a ring below six dimensions", "mean cosine of neighbours", PRIETO, neighbours, 0.3, 1.0, True
            )
        elif width < 12:
            expected = Anchor(
                "antipodal pairs in six to ten dimensions",
                "share of features with an antipode",
                PRIETO,
                has_antipode,
                0.5,
                1.0,
                True,
            )
        else:
            expected = Anchor("near identity in twelve", "largest |cosine|", PRIETO, largest, 0.0, 0.2, True)
        rank = Anchor(
            "weight decay favours low rank", "effective rank of the directions", PRIETO, effective_rank
        )
        # where it is 0, other arrangements cost as little as the expected one
        left = Anchor("what a ring's reconstruction leaves", "loss", OURS, least_left, best=True)
        setting = f"ring of 12 in {width} dimensions, weight decay {decay:g}"
        runs.append(Run(setting, replace(RING, width=width, weight_decay=decay), (expected, left, rank)))
    return runs


def many_features() -> list[Run]:
    """Dimensions a feature by sparsity, and the mean square of cosines by width."""
    crowd = replace(ALONE, n_features=400, width=30, n_seeds=2, steps=4000, batch=512)
    plateau = Anchor("dimensions a feature by sparsity", "width / |W|^2", ELHAGE, dimensions_a_feature)
    half = Anchor(
        "a plateau at half a dimension a feature",
        "share of written features with 0.45 to 0.55 dimensions",
        ELHAGE,
        near_half,
        0.5,
        1.0,
    )
    runs = [
        Run(
            f"400 features in 30 dimensions, 1/p = {inverse}",
            replace(crowd, firing_rate=1 / inverse),
            (plateau, half) if inverse in PLATEAU else (plateau,),
        )
        for inverse in INVERSE_RATES
    ]
    constant = Anchor(
        "E[cos^2] x width is constant in the strong regime",
        "E[cos^2] x width",
        LIU,
        mean_square_times_width,
        0.85,
        1.15,
    )
    many = replace(ALONE, n_features=256, firing_rate=0.02, n_seeds=3, steps=1000)
    return runs + [
        Run(f"256 features in {width} dimensions", replace(many, width=width), (constant,))
        for width in (8, 16, 32)
    ]


def measure_run(run: Run) -> list[dict]:
    """A row for each anchor of a run: what was expected, and the values by start that it is asked of."""
    world = World(run.config)
    found = train(run.config, world)
    order = found.losses.argsort()
    rows = []
    for anchor in run.anchors:
        asked = order[: math.ceil(len(order) / 4)] if anchor.best else order
        about = {name: getattr(anchor, name) for name in ("name", "quantity", "source", "best")}
        limits = {
            end: value if math.isfinite(value := getattr(anchor, end)) else None for end in ("low", "high")
        }
        values = anchor.measure(world, found)[asked].tolist()
        rows.append(about | limits | {"setting": run.setting, "values": values, "config": asdict(run.config)})
    return rows


def all_pairs(world: World) -> Tensor:
    """The designed pairs of every cell [pairs, 2]."""
    return torch.cat(list(world.cells().values()))


def first_pair(world: World, found: Trained) -> Tensor:
    """Cosine of the first two features."""
    return pair_cosines(found.directions, torch.tensor([[0, 1]]))[:, 0]


def pair_size(world: World, found: Trained) -> Tensor:
    """Mean |cosine| of the designed pairs."""
    return pair_cosines(found.directions, all_pairs(world)).abs().mean(1)


def second_length(world: World, found: Trained) -> Tensor:
    """Length of the second feature."""
    return found.directions[:, 1].norm(dim=1)


def is_polygon(world: World, found: Trained) -> Tensor:
    """1 for a regular polygon, else 0."""
    return is_regular_polygon(found.directions).float()


def pair_mean(world: World, found: Trained) -> Tensor:
    """Mean cosine of the designed pairs."""
    return pair_cosines(found.directions, all_pairs(world)).mean(1)


def antipodal_share(cooccurrence: str, world: World, found: Trained) -> Tensor:
    """The share of a cell's pairs that are antipodal, in a world whose outputs differ throughout."""
    pairs = world.cells()[cooccurrence, "different"]
    return (pair_cosines(found.directions, pairs) < -0.9).float().mean(1)


def dimensions_over_width(world: World, found: Trained) -> Tensor:
    """Sum of the features' dimensionalities, of the width."""
    return dimensionalities(found.directions).sum(1) / found.directions.shape[2]


def least_left(world: World, found: Trained) -> Tensor:
    """The loss."""
    return found.losses


def cosines(found: Trained) -> Float[Tensor, "starts features features"]:
    """All cosines, zero on the diagonal and where a feature has no length."""
    unit = torch.nn.functional.normalize(found.directions, dim=2)
    product = unit @ unit.transpose(1, 2)
    return product - torch.diag_embed(product.diagonal(dim1=1, dim2=2))


def neighbours(world: World, found: Trained) -> Tensor:
    """Mean cosine of features next to each other round the ring."""
    n = world.config.n_features
    around = torch.arange(n)
    return pair_cosines(found.directions, torch.stack([around, (around + 1) % n], 1)).mean(1)


def has_antipode(world: World, found: Trained) -> Tensor:
    """Share of features that have another at a cosine below -0.9."""
    return (cosines(found).amin(2) < -0.9).float().mean(1)


def largest(world: World, found: Trained) -> Tensor:
    """Largest |cosine| of any two features."""
    return cosines(found).abs().amax((1, 2))


def effective_rank(world: World, found: Trained) -> Tensor:
    """Participation ratio of the squared singular values: from 1 to the width."""
    power = torch.linalg.svdvals(found.directions) ** 2
    return power.sum(1) ** 2 / (power**2).sum(1)


def dimensions_a_feature(world: World, found: Trained) -> Tensor:
    """Hidden dimensions over the squared length of all features (Elhage et al., D*)."""
    return found.directions.shape[2] / found.directions.square().sum((1, 2))


def near_half(world: World, found: Trained) -> Tensor:
    """Share of the written features that have about half a dimension."""
    length = found.directions.norm(dim=2)
    is_written = length > SHORT * length.amax(1, keepdim=True)
    is_half = (dimensionalities(found.directions) - 0.5).abs() < 0.05
    return (is_half & is_written).sum(1) / is_written.sum(1)


def mean_square_times_width(world: World, found: Trained) -> Tensor:
    """Mean squared cosine of written features times the width: 1 for random directions."""
    length = found.directions.norm(dim=2)
    is_written = (length > SHORT * length.amax(1, keepdim=True)).float()
    pairs = is_written[:, :, None] * is_written[:, None, :]
    n_pairs = pairs.sum((1, 2)) - is_written.sum(1)
    return (cosines(found) ** 2 * pairs).sum((1, 2)) / n_pairs * found.directions.shape[2]
