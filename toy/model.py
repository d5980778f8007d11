"""Training: ReLU autoencoders, tied or not, readouts, or both on one hidden layer; many seeds at once."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from torch import Tensor

from toy.config import ToyConfig
from toy.network import LossScales, Network
from toy.readout import Layer, output_loss, scores
from toy.seeds import seed_of
from toy.world import World

Progress = Callable[[int, int], None]
STEPS_A_DRAW = 16
"""Training batches drawn together; drawing has a fixed cost."""


@dataclass(frozen=True)
class Trained:
    """Networks after training: rows by which features are written, and by which they are read."""

    config: ToyConfig
    directions: Float[Tensor, "instances features width"]
    encoder: Float[Tensor, "instances features width"]
    """The directions themselves in a tied network."""
    bias: Float[Tensor, "instances features"]
    readout: tuple[Layer, ...]
    """The layers of the readout; none without one."""
    reconstruction_losses: Float[Tensor, " instances"]
    """E|x - x'|^2 / E|x|^2 on fresh samples; 1 is a network that says 0; NaN without reconstruction."""
    output_losses: Float[Tensor, " instances"]
    """The readout's loss over that of base rates; 1 knows nothing; NaN without a readout."""

    @property
    def losses(self) -> Float[Tensor, " instances"]:
        """What was minimised: reconstruction_share of the one and the rest of the other."""
        share = self.config.reconstruction_share
        if share in (0, 1):  # the other term does not exist, and is NaN
            return self.reconstruction_losses if share == 1 else self.output_losses
        return share * self.reconstruction_losses + (1 - share) * self.output_losses


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread within, of torch and of numpy: blocks this small gain little from two, which lose tenfold
    on busy cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train(config: ToyConfig, world: World, progress: Progress | None = None) -> Trained:
    """Train config.n_seeds networks in one world, all on the same samples, each from its own start.

    The same config gives the same weights. `progress` is called with steps done and steps in all.
    Raises ValueError where a network diverged: its loss or its directions are not finite.
    """
    scales = LossScales(world)
    network = Network(config, scales)
    optimizer = torch.optim.AdamW(network.groups(), lr=config.learning_rate, eps=1e-8, fused=True)
    generator = torch.Generator().manual_seed(seed_of(config, "training"))
    for first in range(0, config.steps, STEPS_A_DRAW):
        n_steps = min(STEPS_A_DRAW, config.steps - first)
        for k, sample in enumerate(world.sample(n_steps * config.batch, generator).split(config.batch)):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 + math.cos(math.pi * (first + k) / config.steps)) / 2
            network.backward(sample, world.labels(sample.csr(), generator) if network.readout else None)
            optimizer.step()
        if progress is not None:
            progress(first + n_steps, config.steps)
    found = trained(network, scales)
    n_diverged = int((~(found.losses.isfinite() & found.directions.isfinite().all(2).all(1))).sum())
    if n_diverged:
        raise ValueError(
            f"expected losses and directions that are finite, found that {n_diverged} of {config.n_seeds} "
            f"starts diverged at learning_rate={config.learning_rate:g} and "
            f"weight_decay={config.weight_decay:g}: lower one of the two."
        )
    return found


def trained(network: Network, scales: LossScales) -> Trained:
    """The weights as they are, with each term of the loss on the sample of the scales."""
    config, x = network.config, scales.sample.dense()
    directions = network.written()
    encoder = directions if config.tied else network.encoder.transpose(0, 1).contiguous()
    reconstruction, output = (torch.full((config.n_seeds,), math.nan) for _ in range(2))
    for k in range(config.n_seeds):
        hidden = x @ directions[k]
        if network.has_reconstruction:
            error = (hidden @ encoder[k].T + network.bias[k]).relu() - x
            reconstruction[k] = (error**2 * scales.importance).sum(1).mean() / scales.reconstruction
        if network.readout:
            said = scores(hidden, network.readout, k)
            output[k] = output_loss(said, scales.labels, config.readout) / scales.output
    readout = tuple(Layer(layer.weight.clone(), layer.bias.clone()) for layer in network.readout)
    return Trained(config, directions, encoder, network.bias.clone(), readout, reconstruction, output)
