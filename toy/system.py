"""One trained network in its world, as a system that can be measured."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy.model import Trained
from toy.readout import probabilities, scores
from toy.seeds import seed_of
from toy.world import World

BATCH_ROWS = 4096


@dataclass(frozen=True)
class Batch:
    """Some samples, as the network saw them; each is a sequence of its own."""

    preactivations: Float[Tensor, "tokens features"]
    activations: Float[Tensor, "tokens features"]
    outputs: Float[Tensor, "tokens vocab"]
    inputs: Float[Tensor, "tokens width"]
    sequences: Int[Tensor, " tokens"]


class ToySystem:
    """An instance of a trained toy: its true directions and a stream of what its features did.

    Activations are the world's own feature values. `inputs` of a batch are the hidden vectors, and
    pre-activations what the encoder's rows, tied or not, read from them (plus the bias). Outputs are the
    readout's probabilities; a network without a readout passes on the world's labels.

    `true_outputs` are the votes, what a feature says by itself; `true_mean_outputs` are what the
    activation-weighted means of the labels converge to: features that are on at the same time mix in.
    """

    def __init__(self, name: str, world: World, trained: Trained, instance: int = 0) -> None:
        n_instances = len(trained.directions)
        if not 0 <= instance < n_instances:
            raise ValueError(
                f"expected an instance from 0 to {n_instances - 1}, found {instance}: "
                "raise n_seeds in the toy's config, or ask for one of these."
            )
        self.name = name
        self.directions = trained.directions[instance]
        self.encoder = trained.encoder[instance]
        self.true_rates = world.rates.float()
        self.true_joint_rates = world.joint_rates.float()
        self.true_outputs = world.votes.float()
        self.true_mean_outputs = world.mean_outputs.float()
        self.provenance = {
            "kind": "toy",
            "config": asdict(trained.config),
            "instance": instance,
            "reconstruction_loss": trained.reconstruction_losses[instance].item(),
            "output_loss": trained.output_losses[instance].item(),
            "truth_error": world.truth_error,
        }
        self._world = world
        self._bias = trained.bias[instance]
        self._readout, self._instance = trained.readout, instance

    def stream(self) -> Iterator[Batch]:
        """The config's n_samples samples, the same at every call, in batches."""
        noise = self._noise()
        for x, sequences in self._samples():
            hidden = x @ self.directions
            yield self._batch(hidden, self._read(hidden), x, sequences, noise)

    def stream_with(self, replace: Callable[[Tensor], Tensor]) -> Iterator[Batch]:
        """Like stream(), the hidden vectors replaced and all else recomputed from them.

        No feature of the world stands behind such vectors, so activations are ReLU(pre-activations).
        """
        noise = self._noise()
        for x, sequences in self._samples():
            hidden = replace(x @ self.directions)
            preactivations = self._read(hidden)
            yield self._batch(hidden, preactivations, preactivations.relu(), sequences, noise)

    def _samples(self) -> Iterator[tuple[Tensor, Tensor]]:
        config = self._world.config
        generator = torch.Generator().manual_seed(seed_of(config, "stream"))
        for first in range(0, config.n_samples, BATCH_ROWS):
            n_rows = min(BATCH_ROWS, config.n_samples - first)
            yield self._world.sample(n_rows, generator).dense(), torch.arange(first, first + n_rows)

    def _read(self, hidden: Tensor) -> Tensor:
        return hidden @ self.encoder.T + self._bias

    def _noise(self) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self._world.config, "noise"))

    def _batch(
        self,
        hidden: Tensor,
        preactivations: Tensor,
        activations: Tensor,
        sequences: Tensor,
        noise: torch.Generator,
    ) -> Batch:
        if self._readout:
            said = scores(hidden, self._readout, self._instance)
            outputs = probabilities(said, self._world.config.readout)
        else:
            outputs = self._world.labels(activations, noise)
        return Batch(preactivations, activations, outputs, hidden, sequences)
