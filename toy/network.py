"""The parameters of all instances side by side, and the gradient of their loss, written out."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toy.config import ToyConfig
from toy.readout import score_gradient, start_layers
from toy.sample import Sample
from toy.seeds import seed_of
from toy.world import World

CHUNK = 2**18
"""Numbers in a block of pre-activations or logits: small enough to stay in the cache."""


LEAST_OUTPUT = 1e-6
"""The output scale at which a loss of float32 probabilities is rounding error."""


@np.errstate(divide="ignore", over="ignore", invalid="ignore")  # who diverged is asked after training
def product(
    a: Float[Tensor, "n rows inner"],
    b: Float[Tensor, "n inner columns"],
    out: Float[Tensor, "n rows columns"] | None = None,
) -> Float[Tensor, "n rows columns"]:
    """torch.bmm by numpy, whose linear algebra is up to twice as fast on AMD's processors."""
    into = None if out is None else out.numpy()
    return torch.from_numpy(np.matmul(a.numpy(), b.numpy(), out=into, casting="no"))


class LossScales:
    """What each term of the loss is divided by: its value for a network that knows nothing of the sample.

    That of the outputs is NaN where reconstruction is all of the loss. Raises ValueError where outputs are a
    part of it, and base rates say all that there is to know of them.
    """

    def __init__(self, world: World, rows: int = 2**14) -> None:
        config = world.config
        self.importance = config.importance_decay ** torch.arange(config.n_features, dtype=torch.float64)
        self.reconstruction = (self.importance * world.rates).sum().item() * world.second_moment
        generator = torch.Generator().manual_seed(seed_of(config, "evaluation"))
        self.sample = world.sample(rows, generator)
        self.labels = world.labels(self.sample.csr(), generator)
        self.output = self._output_scale(world) if config.reconstruction_share < 1 else math.nan

    def _output_scale(self, world: World) -> float:
        if world.config.readout == "relu":
            found = (self.labels - world.base_output.float()).square().sum(1).mean().item()
        else:
            label_entropy = torch.special.entr(self.labels).sum(1).mean().item()
            found = torch.special.entr(world.base_output).sum().item() - label_entropy
        if found <= LEAST_OUTPUT:
            raise ValueError(
                f"expected outputs that tell features apart, found a loss of base rates of {found:.2g}: "
                "lower votes or raise vocabulary or firing_rate, or set reconstruction_share=1."
            )
        return found


class Network:
    """Networks of one kind, each from its own start.

    Directions, by which features are written, lie as [features, instances, width], so that one product
    encodes a batch for every instance. The encoder, by which they are read, is the same tensor where tied.
    """

    def __init__(self, config: ToyConfig, scales: LossScales, dtype: torch.dtype = torch.float32) -> None:
        self.config = config
        n, instances, width = config.n_features, config.n_seeds, config.width
        generator = torch.Generator().manual_seed(seed_of(config, "start"))
        start = torch.randn(n, instances, width, generator=generator, dtype=torch.float64)
        start /= start.norm(dim=2, keepdim=True)
        self.directions = start.to(dtype)
        self.encoder = self.directions if config.tied else self.directions.clone()
        self.bias = torch.zeros(instances, n, dtype=dtype)
        self.readout = start_layers(config, generator, dtype)
        share = config.reconstruction_share
        self.has_reconstruction = share > 0
        self._reconstruction_weight = (2 * share / scales.reconstruction * scales.importance).to(dtype)
        self._output_weight = (1 - share) / scales.output
        self._hidden = self._hidden_grad = self.directions.new_empty(0, 0)
        for parameter in self.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def parameters(self) -> list[Tensor]:
        """Everything that could be trained, each tensor once."""
        own_encoder = [] if self.config.tied else [self.encoder]
        return [self.directions, *own_encoder, self.bias, *(part for layer in self.readout for part in layer)]

    def groups(self) -> list[dict]:
        """Parameter groups for the optimizer; what a network of this kind lacks is left out."""
        matrices = [self.directions] * (self.config.directions == "learned")
        matrices += [self.encoder] * (self.has_reconstruction and not self.config.tied)
        matrices += [layer.weight for layer in self.readout]
        biases = [self.bias] * self.has_reconstruction + [layer.bias for layer in self.readout]
        return [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": biases, "weight_decay": 0.0},
        ]

    def backward(self, sample: Sample, labels: Tensor | None) -> None:
        """Set every parameter's .grad to the gradient of the loss, averaged over the sample.

        `labels` [rows, vocab] are asked for by a network with a readout alone.
        """
        dtype, (n, instances, width) = self.directions.dtype, self.directions.shape
        if self._hidden.shape[0] != sample.n_rows:  # kept from step to step: fresh memory costs page faults
            self._hidden, self._hidden_grad = (
                self.directions.new_empty(sample.n_rows, instances * width) for _ in range(2)
            )
        torch.mm(sample.csr().to(dtype), self.directions.view(n, -1), out=self._hidden)
        hidden, hidden_grad = (
            flat.view(-1, instances, width).transpose(0, 1) for flat in (self._hidden, self._hidden_grad)
        )
        if self.has_reconstruction:
            self._backward_reconstruction(sample, hidden, hidden_grad)
        else:
            self.directions.grad.zero_()
            hidden_grad.zero_()
        if self.readout:
            self._backward_output(labels, hidden, hidden_grad)
        if self.config.directions == "learned":
            backwards = sample.transposed_csr().to(dtype)
            grad = self.directions.grad.view(n, -1)
            if self.config.tied:
                grad.addmm_(backwards, self._hidden_grad)
            else:
                torch.mm(backwards, self._hidden_grad, out=grad)

    def _backward_reconstruction(self, sample: Sample, hidden: Tensor, hidden_grad: Tensor) -> None:
        """Off an event the error is the output itself, so x is subtracted at its events alone.

        Biases are rows' last column, read by a hidden unit that is always 1: no pass of their own.
        """
        width = hidden.shape[2]
        grad = self.encoder.grad.transpose(0, 1)
        weight = (self._reconstruction_weight / sample.n_rows)[:, None]
        rows = torch.cat([self.encoder.transpose(0, 1), self.bias[..., None]], 2)
        weighted = rows[..., :width] * weight
        at = sample.rows * sample.n_features + sample.features
        values = sample.values.to(hidden.dtype)
        parts = self._chunks(sample.n_rows * sample.n_features)
        room = hidden.new_empty(parts[0].stop, sample.n_rows, sample.n_features)
        with_one = hidden.new_ones(parts[0].stop, sample.n_rows, width + 1)
        for part in parts:
            size = len(hidden[part])
            error, read = room[:size], with_one[:size]
            read[..., :width] = hidden[part]
            product(read, rows[part].transpose(1, 2), out=error).relu_()
            flat = error.view(size, -1)
            output = flat.index_select(1, at)
            flat.index_copy_(1, at, output.sub(values).mul_(output > 0))
            product(error, weighted[part], out=hidden_grad[part])
            found = product(read.transpose(1, 2), error).mul_(weight[:, 0])
            grad[part], self.bias.grad[part] = found[:, :width].transpose(1, 2), found[:, width]

    def _backward_output(self, labels: Tensor, hidden: Tensor, hidden_grad: Tensor) -> None:
        for part in self._chunks(labels.numel()):
            inputs = [hidden[part]]
            for layer in self.readout:
                inputs.append(product(inputs[-1], layer.weight[part]).add_(layer.bias[part, None]))
                if layer is not self.readout[-1]:
                    inputs[-1].relu_()
            error = score_gradient(inputs.pop(), labels, self.config.readout)
            error.mul_(self._output_weight / len(labels))
            for depth in reversed(range(len(inputs))):
                layer = self.readout[depth]
                product(inputs[depth].transpose(1, 2), error, out=layer.weight.grad[part])
                layer.bias.grad[part] = error.sum(1)
                error = product(error, layer.weight[part].transpose(1, 2))
                if depth > 0:
                    error.mul_(inputs[depth] > 0)
            hidden_grad[part] += error

    def _chunks(self, n_numbers: int) -> list[slice]:
        size = max(1, CHUNK // n_numbers)
        return [slice(first, first + size) for first in range(0, self.config.n_seeds, size)]

    def written(self) -> Float[Tensor, "instances features width"]:
        """The directions, an instance after the other."""
        return self.directions.transpose(0, 1).contiguous()
