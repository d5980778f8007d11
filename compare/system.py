"""The seam: what compare asks of anything that it measures."""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Replace = Callable[[Tensor], Tensor]
"""Takes a site's inputs [tokens, width] and returns what the features shall read in their place."""


def unchanged(inputs: Tensor) -> Tensor:
    """Replaces nothing."""
    return inputs


@runtime_checkable
class Batch(Protocol):
    """Some tokens, as a system saw them. Only read: a frozen dataclass is one.

    It may also have `sequences` [tokens], the number of each token's sequence, by which halves of the data
    are told apart (without it tokens count as independent); `tokens` [tokens], their numbers, by which
    features are named; and `inputs` [tokens, width], for an `encoder`.
    """

    @property
    def preactivations(self) -> Float[Tensor, "tokens features"]:
        """Before the nonlinearity, any sign."""

    @property
    def activations(self) -> Float[Tensor, "tokens features"]:
        """After it; zero is "off". Strided, or sparse CSR where the dictionary is large."""

    @property
    def outputs(self) -> Float[Tensor, "tokens vocab"]:
        """Next-token probabilities; rows sum to 1."""


@runtime_checkable
class System(Protocol):
    """Anything with feature directions and a stream of what those features did."""

    name: str

    directions: Float[Tensor, "features width"]
    """As the network writes them, not normalised."""

    def stream(self) -> Iterator[Batch]:
        """The same batches in the same order, from the start, at every call."""
        ...


@runtime_checkable
class HasEncoder(Protocol):
    """Pre-activations are an affine image of inputs that each batch carries as `inputs` [tokens, width].

    Then the moments of all pre-activations follow from those of the inputs (Cov = E S E'), which is what
    measure() keeps; `preactivations` of a batch is never asked for and may be computed when first read.
    """

    encoder: Float[Tensor, "features width"]


@runtime_checkable
class HasShares(Protocol):
    """Every `of`-th batch of stream(), from `number` on, at the cost of these alone: what one of several
    processes reads. Each batch comes with its place among all batches and the tokens in those before it; of
    a system that HasSite, its inputs have passed through `replace`, once.
    """

    def share(self, number: int, of: int, replace: Replace = unchanged) -> Iterator[tuple[int, int, Batch]]:
        """(place, tokens before, batch) of batches number, number + of, number + 2 of, ..."""
        ...


@runtime_checkable
class HasSite(Protocol):
    """The inputs that the features read can be replaced; all that lies downstream of them follows."""

    def stream_with(self, replace: Replace) -> Iterator[Batch]:
        """Like stream(), every batch's inputs [tokens, width] having passed through `replace`."""
        ...


@runtime_checkable
class Effects(Protocol):
    """Mean shifts of next-token log-probabilities in nats, changed minus clean, over a stated sample."""

    added: Float[Tensor, "some vocab"]
    """When a feature's direction, times its amount, is added at every position of the sample."""

    ablated: Float[Tensor, "some vocab"]
    """When what a feature writes is taken away where it fires; NaN where it fires nowhere in the sample."""

    n_ablated: Int[Tensor, " some"]
    """Firings that `ablated` is a mean over."""


@runtime_checkable
class HasEffects(Protocol):
    """Features can be added and taken away in the forward pass; provenance states the sample."""

    unembedding: Float[Tensor, "vocab width"] | None
    """What the network makes logits with from what its features write into; None where widths differ."""

    def effects(
        self,
        features: Int[Tensor, " some"],
        amounts: Float[Tensor, " some"],
        progress: Callable[[int, int], None] | None = None,
    ) -> Effects:
        """Effects of some features, each added in the amount given, in units of its activation."""
        ...


@runtime_checkable
class HasVocabulary(Protocol):
    """Output columns have names; a batch may carry `tokens` [tokens], the ids that were read."""

    vocabulary: list[str]


@runtime_checkable
class HasTruth(Protocol):
    """The world is known: exact P(i), P(i, j) and output distributions of its features."""

    true_rates: Float[Tensor, " features"]
    true_joint_rates: Float[Tensor, "features features"]
    true_outputs: Float[Tensor, "features vocab"]


@runtime_checkable
class HasProvenance(Protocol):
    """What a reader needs to make the system again: config, seed, hashes of what was loaded."""

    provenance: dict


def share_of(stream: Iterator[Batch], number: int, of: int) -> Iterator[tuple[int, int, Batch]]:
    """The same of a stream that can only be drawn as a whole."""
    first = 0
    for place, batch in enumerate(stream):
        if place >= number and (place - number) % of == 0:
            yield place, first, batch
        first += len(batch.outputs)


def check_system(system: System) -> Batch:
    """The first batch of a system; raises ValueError where it does not fit the seam.

    Checked: directions are finite, [features, width]; pre-activations and activations have a column for each
    direction; outputs are probabilities (rows sum to 1 within 1e-3).
    """
    directions = system.directions
    if directions.ndim != 2:
        raise ValueError(
            f"expected directions of shape [features, width], found {list(directions.shape)}: "
            "give one row for each feature."
        )
    if not torch.isfinite(directions).all():
        n_bad = int((~torch.isfinite(directions).all(1)).sum())
        raise ValueError(
            f"expected finite directions, found {n_bad} rows with NaN or infinity in {system.name!r}: "
            "load the weights again or drop these features."
        )
    batch = next(iter(system.stream()), None)
    if batch is None:
        raise ValueError(
            f"expected a stream of tokens, found none from {system.name!r}: give it text or samples."
        )
    check_batch(batch, n_features=len(directions), name=system.name)
    return batch


def check_batch(batch: Batch, *, n_features: int, name: str) -> None:
    """Raise ValueError where a batch's shapes or probabilities do not fit the seam."""
    tokens, features = batch.activations.shape
    if features != n_features:
        raise ValueError(
            f"expected {n_features} features (the rows of directions), found {features} activation columns "
            f"in {name!r}: model and dictionary do not belong together, or dead features were dropped."
        )
    if len(batch.outputs) != tokens:
        raise ValueError(
            f"expected outputs for {tokens} tokens, found {len(batch.outputs)} rows in {name!r}: "
            "give one distribution a token."
        )
    lowest = batch.outputs.amin(1)
    if (lowest < 0).any():
        raise ValueError(
            f"expected outputs >= 0, found {lowest.min():.4g} in {name!r}: give probabilities, not logits."
        )
    total = batch.outputs.sum(1)
    if not torch.allclose(total, torch.ones_like(total), atol=1e-3):
        raise ValueError(
            f"expected outputs whose rows sum to 1, found sums from {total.min():.4g} to {total.max():.4g} "
            f"in {name!r}: give probabilities, not logits."
        )


def inputs_of(batch: Batch) -> Float[Tensor, "tokens width"]:
    """What the encoder read, which each batch of a system that HasEncoder carries."""
    found = getattr(batch, "inputs", None)
    if found is None:
        raise ValueError(
            "expected inputs in each batch of a system with an encoder, found none: carry them, or leave "
            "`encoder` out."
        )
    return found


def sequences_of(batch: Batch, first: int) -> Int[Tensor, " tokens"]:
    """Which sequence each token belongs to; a batch that does not say counts every token as its own.

    `first` is the number of tokens seen before this batch, so that ids go on rising.
    """
    found = getattr(batch, "sequences", None)
    if found is not None:
        return found
    return torch.arange(first, first + len(batch.outputs))
