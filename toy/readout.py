"""From hidden vectors to outputs: a linear softmax, a ReLU regression, or an MLP with a softmax."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from toy.config import ToyConfig


class Layer(NamedTuple):
    """An affine map of each instance."""

    weight: Float[Tensor, "instances inner outer"]
    bias: Float[Tensor, "instances outer"]


def start_layers(config: ToyConfig, generator: torch.Generator, dtype: torch.dtype) -> tuple[Layer, ...]:
    """The layers of a readout before training; none where reconstruction is all of the loss.

    The last layer starts at zero. That of a ReLU regression cannot, for it would never leave: it starts at
    random weights of length 1/10 a token, with a bias that says what the uniform distribution says.
    """
    if config.reconstruction_share == 1:
        return ()
    instances, vocab, inner = config.n_seeds, config.vocabulary, config.width
    layers = []
    if config.readout == "mlp":
        weight = torch.randn(instances, inner, config.readout_width, generator=generator, dtype=torch.float64)
        layers = [Layer(weight * (2 / inner) ** 0.5, torch.zeros(instances, config.readout_width))]
        inner = config.readout_width
    last = Layer(torch.zeros(instances, inner, vocab), torch.zeros(instances, vocab))
    if config.readout == "relu":
        weight = torch.randn(instances, inner, vocab, generator=generator, dtype=torch.float64)
        last = Layer(
            weight / weight.norm(dim=1, keepdim=True) / 10, torch.full((instances, vocab), 1 / vocab)
        )
    return tuple(Layer(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in (*layers, last))


def scores(
    hidden: Float[Tensor, "rows width"], layers: tuple[Layer, ...], instance: int
) -> Float[Tensor, "rows vocab"]:
    """What one instance's readout says before the softmax, or before the ReLU of a regression."""
    for layer in layers[:-1]:
        hidden = (hidden @ layer.weight[instance] + layer.bias[instance]).relu()
    return hidden @ layers[-1].weight[instance] + layers[-1].bias[instance]


def probabilities(said: Float[Tensor, "rows vocab"], readout: str) -> Float[Tensor, "rows vocab"]:
    """Scores as probabilities: by softmax, or a regression's positive part scaled to sum 1.

    A row in which a regression says nothing above zero is uniform.
    """
    if readout != "relu":
        return said.softmax(1)
    positive = said.relu()
    total = positive.sum(1, keepdim=True)
    uniform = torch.full_like(said, 1 / said.shape[1])
    return torch.where(total > 0, positive / total.clamp(min=torch.finfo(said.dtype).tiny), uniform)


def output_loss(
    said: Float[Tensor, "rows vocab"], labels: Float[Tensor, "rows vocab"], readout: str
) -> Float[Tensor, ""]:
    """What a readout is trained on, averaged over rows and not scaled.

    KL from label to output in nats, or the squared error of a ReLU regression, summed over tokens.
    """
    if readout == "relu":
        return (said.relu() - labels).square().sum(1).mean()
    return (torch.special.xlogy(labels, labels) - labels * said.log_softmax(1)).sum(1).mean()


def score_gradient(said: Tensor, labels: Tensor, readout: str) -> Tensor:
    """Gradient of a row's loss by its scores; overwrites the scores."""
    if readout == "relu":
        error = said.relu().sub_(labels).mul_(2)
        return error.mul_(said > 0)
    return said.softmax(2).sub_(labels)
