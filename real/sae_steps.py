"""Gradients of an SAE's loss, written out by hand: faster than autograd and equal to it.

Weights are kept with a feature a row, [features, width], encoder and decoder alike. The loss is the squared
error of the reconstruction, summed over the width and averaged over tokens, plus what the architecture adds.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from real.sae import top_k


class Weights(NamedTuple):
    """What is trained."""

    encoder: Float[Tensor, "features width"]
    decoder: Float[Tensor, "features width"]
    b_enc: Float[Tensor, " features"]
    b_dec: Float[Tensor, " width"]


class Step(NamedTuple):
    """What one batch says: the loss' gradients, and what is reported of it."""

    gradients: Weights
    """That of a frozen decoder is None."""

    loss: Float[Tensor, ""]
    residual: Float[Tensor, "tokens width"]
    """Reconstruction minus inputs."""

    firings: Int[Tensor, " features"]
    """How many tokens each feature fired on."""


def topk_step(
    inputs: Float[Tensor, "tokens width"], weights: Weights, k: int, *, signed: bool, frozen: bool
) -> Step:
    """TopK: nothing of size tokens x features is touched after the k largest of each token are known."""
    encoder, decoder, b_enc, b_dec = weights
    n_tokens, n_features = len(inputs), len(b_enc)
    values, features = top_k(before(inputs, weights), k, signed=signed)
    found = sparse_decoding(inputs, inputs - b_dec, decoder, values, features, frozen=frozen)
    gradients = Weights(
        encoder=found.encoder.addr_(found.b_enc, b_dec, alpha=-1),
        decoder=found.decoder,
        b_enc=found.b_enc,
        b_dec=found.at_output.sum(0) - found.b_enc @ encoder,
    )
    residual = found.at_output * (n_tokens / 2)
    is_on = torch.bincount(features.flatten(), weights=(values != 0).flatten().double(), minlength=n_features)
    return Step(gradients, residual.square().sum() / n_tokens, residual, is_on.long())


def add_revival(
    step: Step,
    inputs: Float[Tensor, "tokens width"],
    weights: Weights,
    silent: Int[Tensor, " silent"],
    k: int,
    weight: float,
) -> None:
    """Add to a step's gradients those of the AuxK loss (Gao et al. 2024, section 2.4) for silent features.

    The loss is `weight` times the squared error with which the k silent features that are largest at a token
    reconstruct what all others left of it. It costs in proportion to how many features are silent.
    """
    encoder, decoder, b_enc, b_dec = (
        tensor[silent] if name != "b_dec" else tensor for name, tensor in weights._asdict().items()
    )
    there = Weights(encoder, decoder, b_enc, b_dec)
    values, features = top_k(before(inputs, there), min(k, len(silent)), signed=False)
    frozen = step.gradients.decoder is None
    found = sparse_decoding(inputs, -step.residual, decoder, values, features, frozen=frozen)
    found.encoder.addr_(found.b_enc, b_dec, alpha=-1)
    for name in ("encoder", "b_enc") if frozen else ("encoder", "b_enc", "decoder"):
        getattr(step.gradients, name).index_add_(0, silent, getattr(found, name), alpha=weight)


class Decoding(NamedTuple):
    """Gradients of the squared error with which k rows a token reconstruct something."""

    encoder: Float[Tensor, "features width"]
    """As if nothing were taken off what the encoder reads."""

    decoder: Float[Tensor, "features width"] | None
    b_enc: Float[Tensor, " features"]
    at_output: Float[Tensor, "tokens width"]


def sparse_decoding(
    inputs: Float[Tensor, "tokens width"],
    target: Float[Tensor, "tokens width"],
    decoder: Float[Tensor, "features width"],
    values: Float[Tensor, "tokens k"],
    features: Int[Tensor, "tokens k"],
    *,
    frozen: bool,
) -> Decoding:
    """Decoding is a sum of k rows a token; both weight gradients are sums over the tokens on which a feature
    fired, found by sorting the tokens x k firings by feature once.
    """
    n_tokens, n_features, k = len(inputs), len(decoder), values.shape[1]
    leaf = values.detach().requires_grad_()
    with torch.enable_grad():
        written = embedding_bag(features, decoder.detach(), per_sample_weights=leaf, mode="sum")
    at_output = (written.detach() - target).mul_(2 / n_tokens)
    (at_values,) = torch.autograd.grad(written, leaf, at_output)
    at_values.mul_(values != 0)

    flat = features.flatten()
    order = sorting_order(flat, n_features)
    tokens = order // k
    firings = torch.bincount(flat, minlength=n_features)
    starts = firings.cumsum(0) - firings

    def sum_over_firings(rows: Tensor, amounts: Tensor) -> Float[Tensor, "features width"]:
        return embedding_bag(tokens, rows, starts, per_sample_weights=amounts.flatten()[order], mode="sum")

    return Decoding(
        encoder=sum_over_firings(inputs, at_values),
        decoder=None if frozen else sum_over_firings(at_output, values),
        b_enc=inputs.new_zeros(n_features).index_add_(0, flat, at_values.flatten()),
        at_output=at_output,
    )


def l1_step(inputs: Float[Tensor, "tokens width"], weights: Weights, l1: float, *, frozen: bool) -> Step:
    """ReLU with an L1 penalty: `l1` times the sum of activations, averaged over tokens, joins the loss."""
    encoder, decoder, _, b_dec = weights
    n_tokens = len(inputs)
    activations = before(inputs, weights).relu_()
    residual = torch.addmm(b_dec, activations, decoder).sub_(inputs)
    at_output = residual * (2 / n_tokens)
    is_on = activations > 0
    at_before = (at_output @ decoder.T).add_(l1 / n_tokens).mul_(is_on)
    at_b_enc = at_before.sum(0)
    gradients = Weights(
        encoder=(at_before.T @ inputs).addr_(at_b_enc, b_dec, alpha=-1),
        decoder=None if frozen else activations.T @ at_output,
        b_enc=at_b_enc,
        b_dec=at_output.sum(0) - at_b_enc @ encoder,
    )
    loss = (residual.square().sum() + l1 * activations.sum()) / n_tokens
    return Step(gradients, loss, residual, is_on.sum(0))


def sorting_order(features: Int[Tensor, " firings"], n_features: int) -> Int[Tensor, " firings"]:
    """Where each firing stands once firings are ordered by feature."""
    if n_features <= 2**16 and features.device.type == "cpu":  # numpy sorts 16-bit integers by radix
        return torch.from_numpy(features.numpy().astype(np.uint16).argsort(kind="stable"))
    return features.argsort(stable=True)


def before(inputs: Float[Tensor, "tokens width"], weights: Weights) -> Float[Tensor, "tokens features"]:
    """Pre-activations; the decoder's bias is taken off the inputs within the encoder's."""
    encoder, _, b_enc, b_dec = weights
    return torch.addmm(b_enc - encoder @ b_dec, inputs, encoder.T)
