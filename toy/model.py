"""The networks: tied ReLU autoencoder, softmax readout, or both on one hidden layer; many seeds at once."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toy.config import ToyConfig
from toy.sample import Sample
from toy.world import World

Progress = Callable[[int, int], None]
CHUNK = 2**18
"""Numbers in a block of pre-activations or logits: small enough to stay in the cache."""
STEPS_A_DRAW = 16
"""Training batches drawn together; drawing has a fixed cost."""
EVALUATION_ROWS = 2**14
relu_backward = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True)
class Trained:
    """Networks after training; directions are the rows by which features are written, and read, tied."""

    config: ToyConfig
    directions: Float[Tensor, "instances features width"]
    bias: Float[Tensor, "instances features"]
    readout: Float[Tensor, "instances width vocab"] | None
    readout_bias: Float[Tensor, "instances vocab"] | None
    reconstruction_losses: Float[Tensor, " instances"]
    """E|x - x'|^2 / E|x|^2 on fresh samples; 1 is a network that says 0; NaN without reconstruction."""
    output_losses: Float[Tensor, " instances"]
    """KL from label to output over KL from label to base rates; 1 knows nothing; NaN without a readout."""

    @property
    def losses(self) -> Float[Tensor, " instances"]:
        """What was minimised: reconstruction_share of the one and the rest of the other."""
        share = self.config.reconstruction_share
        return share * self.reconstruction_losses.nan_to_num() + (1 - share) * self.output_losses.nan_to_num()


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread within: blocks this small gain little from two, which lose tenfold on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train(config: ToyConfig, world: World, progress: Progress | None = None) -> Trained:
    """Train config.n_seeds networks in one world, all on the same samples, each from its own start.

    The same config gives the same weights. `progress` is called with steps done and steps in all.
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
            network.backward(sample, world)
            optimizer.step()
        if progress is not None:
            progress(first + n_steps, config.steps)
    return network.trained(scales.sample, world)


class LossScales:
    """What each term of the loss is divided by: its value for a network that knows nothing of the sample."""

    def __init__(self, world: World) -> None:
        config = world.config
        self.importance = config.importance_decay ** torch.arange(config.n_features, dtype=torch.float64)
        second_moment = {"binary": 1.0, "uniform": 1 / 3}[config.magnitudes]
        self.reconstruction = (self.importance * world.rates).sum().item() * second_moment
        generator = torch.Generator().manual_seed(seed_of(config, "evaluation"))
        self.sample = world.sample(EVALUATION_ROWS, generator)
        label_entropy = torch.special.entr(world.labels(self.sample.csr())).sum(1).mean().item()
        self.output = torch.special.entr(world.base_output).sum().item() - label_entropy


class Network:
    """Parameters of all instances side by side, with the gradient of the loss written out.

    Directions lie as [features, instances, width], so that one product encodes a batch for every instance.
    """

    def __init__(self, config: ToyConfig, scales: LossScales, dtype: torch.dtype = torch.float32) -> None:
        self.config = config
        n, instances, width = config.n_features, config.n_seeds, config.width
        generator = torch.Generator().manual_seed(seed_of(config, "start"))
        start = torch.randn(n, instances, width, generator=generator, dtype=torch.float64)
        start /= start.norm(dim=2, keepdim=True)
        self.directions = start.to(dtype)
        self.bias = torch.zeros(instances, n, dtype=dtype)
        self.readout = torch.zeros(instances, width, config.vocabulary, dtype=dtype)
        self.readout_bias = torch.zeros(instances, config.vocabulary, dtype=dtype)
        share = config.reconstruction_share
        self.has_reconstruction, self.has_readout = share > 0, share < 1
        self._reconstruction_weight = (2 * share / scales.reconstruction * scales.importance).to(dtype)
        self._output_weight = (1 - share) / scales.output if self.has_readout else 0.0
        self._scales = scales
        for parameter in (self.directions, self.bias, self.readout, self.readout_bias):
            parameter.grad = torch.zeros_like(parameter)

    def groups(self) -> list[dict]:
        """Parameter groups for the optimizer; what a network of this kind lacks is left out."""
        matrices = [self.directions] * (self.config.directions == "learned") + [
            self.readout
        ] * self.has_readout
        biases = [self.bias] * self.has_reconstruction + [self.readout_bias] * self.has_readout
        return [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": biases, "weight_decay": 0.0},
        ]

    def backward(self, sample: Sample, world: World) -> None:
        """Set every parameter's .grad to the gradient of the loss, averaged over the sample."""
        dtype, (n, instances, width) = self.directions.dtype, self.directions.shape
        x = sample.dense().to(dtype)
        sparse = sample.csr().to(dtype)
        hidden = (sparse @ self.directions.view(n, -1)).view(-1, instances, width).transpose(0, 1)
        hidden_grad = torch.zeros_like(hidden)  # keeps the strides, so that it folds back without a copy
        self.directions.grad.zero_()
        if self.has_reconstruction:
            self._backward_reconstruction(x, hidden, hidden_grad)
        if self.has_readout:
            self._backward_output(world.labels(sparse), hidden, hidden_grad)
        flat = hidden_grad.transpose(0, 1).reshape(len(x), -1)
        self.directions.grad.view(n, -1).addmm_(sample.transposed_csr().to(dtype), flat)

    def _backward_reconstruction(self, x: Tensor, hidden: Tensor, hidden_grad: Tensor) -> None:
        written = self.directions.transpose(0, 1)
        written_grad = self.directions.grad.transpose(0, 1)
        weight = self._reconstruction_weight / len(x)
        weighted = written * weight[:, None]
        for part in self._chunks(x):
            output = torch.baddbmm(self.bias[part, None], hidden[part], written[part].transpose(1, 2)).relu_()
            error = torch.sub(output, x)
            relu_backward(error, output, 0, grad_input=error)
            self.bias.grad[part] = error.sum(1) * weight
            hidden_grad[part] = torch.bmm(error, weighted[part])
            written_grad[part] = torch.bmm(error.transpose(1, 2), hidden[part]) * weight[:, None]

    def _backward_output(self, labels: Tensor, hidden: Tensor, hidden_grad: Tensor) -> None:
        weight = self._output_weight / len(labels)
        for part in self._chunks(labels):
            logits = torch.baddbmm(self.readout_bias[part, None], hidden[part], self.readout[part])
            error = logits.softmax(2).sub_(labels).mul_(weight)
            self.readout_bias.grad[part] = error.sum(1)
            self.readout.grad[part] = torch.bmm(hidden[part].transpose(1, 2), error)
            hidden_grad[part] += torch.bmm(error, self.readout[part].transpose(1, 2))

    def _chunks(self, values: Tensor) -> list[slice]:
        size = max(1, CHUNK // values.numel())
        return [slice(first, first + size) for first in range(0, self.config.n_seeds, size)]

    def trained(self, sample: Sample, world: World) -> Trained:
        """The weights as they are, with each term of the loss on a sample."""
        weights = Trained(
            config=self.config,
            directions=self.directions.transpose(0, 1).contiguous(),
            bias=self.bias.clone(),
            readout=self.readout.clone() if self.has_readout else None,
            readout_bias=self.readout_bias.clone() if self.has_readout else None,
            reconstruction_losses=torch.full((self.config.n_seeds,), math.nan),
            output_losses=torch.full((self.config.n_seeds,), math.nan),
        )
        x, labels = sample.dense(), world.labels(sample.dense())
        for k in range(self.config.n_seeds):
            hidden = x @ weights.directions[k]
            if self.has_reconstruction:
                error = (hidden @ weights.directions[k].T + weights.bias[k]).relu() - x
                loss = (error**2 * self._scales.importance).sum(1).mean() / self._scales.reconstruction
                weights.reconstruction_losses[k] = loss
            if self.has_readout:
                log_output = (hidden @ weights.readout[k] + weights.readout_bias[k]).log_softmax(1)
                divergence = (torch.special.xlogy(labels, labels) - labels * log_output).sum(1).mean()
                weights.output_losses[k] = divergence / self._scales.output
        return weights


def seed_of(config: ToyConfig, purpose: str) -> int:
    """A seed of its own for each purpose: start, training, evaluation, stream."""
    purposes = ("start", "training", "evaluation", "stream")

    return config.seed * len(purposes) + purposes.index(purpose)
