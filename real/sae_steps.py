"""Gradients of an SAE's loss, written out by hand: faster than autograd and equal to it.

Weights are kept with a feature a row, [features, width], encoder and decoder alike. The loss is the squared
error of the reconstruction, summed over the width and averaged over tokens, plus what the architecture adds.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from real.sae import top_k

SPARSE = 0.05
"""Share of activations that are positive up to which the L1 step takes them one by one."""


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
    firings = of_each(*top_k(before(inputs, weights), k, signed=signed))
    found = sparse_decoding(inputs, inputs - b_dec, decoder, firings, frozen=frozen)
    residual = found.at_output * (n_tokens / 2)
    is_on = torch.bincount(firings.features, weights=(firings.values != 0).double(), minlength=n_features)
    return Step(found.gradients(encoder, b_dec), residual.square().sum() / n_tokens, residual, is_on.long())


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
    firings = of_each(*top_k(before(inputs, there), min(k, len(silent)), signed=False))
    frozen = step.gradients.decoder is None
    found = sparse_decoding(inputs, -step.residual, decoder, firings, frozen=frozen)
    found.encoder.addr_(found.b_enc, b_dec, alpha=-1)
    for name in ("encoder", "b_enc") if frozen else ("encoder", "b_enc", "decoder"):
        getattr(step.gradients, name).index_add_(0, silent, getattr(found, name), alpha=weight)


class Firings(NamedTuple):
    """Which features are on at which tokens; all of a token lie together."""

    values: Float[Tensor, " firings"]
    features: Int[Tensor, " firings"]
    starts: Int[Tensor, " tokens"]
    """Where each token's firings begin."""


def of_each(values: Float[Tensor, "tokens k"], features: Int[Tensor, "tokens k"]) -> Firings:
    """As many of every token."""
    starts = torch.arange(0, features.numel(), features.shape[1], device=features.device)
    return Firings(values.flatten(), features.flatten(), starts)


def of_positive(
    activations: Float[Tensor, "tokens features"], is_on: Bool[Tensor, "tokens features"]
) -> Firings:
    """Those of activations that are on."""
    n_tokens, n_features = is_on.shape
    places = is_on.flatten().nonzero()[:, 0]
    n_each = torch.bincount(places // n_features, minlength=n_tokens)
    return Firings(activations.flatten()[places], places % n_features, n_each.cumsum(0) - n_each)


class Decoding(NamedTuple):
    """Gradients of the squared error with which firing rows reconstruct something."""

    encoder: Float[Tensor, "features width"]
    """As if nothing were taken off what the encoder reads."""

    decoder: Float[Tensor, "features width"] | None
    b_enc: Float[Tensor, " features"]
    at_output: Float[Tensor, "tokens width"]

    def gradients(self, encoder: Float[Tensor, "features width"], b_dec: Float[Tensor, " width"]) -> Weights:
        """Those of the weights where b_dec is taken off the inputs and added to the output; in place."""
        return Weights(
            encoder=self.encoder.addr_(self.b_enc, b_dec, alpha=-1),
            decoder=self.decoder,
            b_enc=self.b_enc,
            b_dec=self.at_output.sum(0) - self.b_enc @ encoder,
        )


def sparse_decoding(
    inputs: Float[Tensor, "tokens width"],
    target: Float[Tensor, "tokens width"],
    decoder: Float[Tensor, "features width"],
    firings: Firings,
    *,
    frozen: bool,
    penalty: float = 0.0,
) -> Decoding:
    """Decoding is a sum of the rows that fire at a token; both weight gradients are sums over the tokens on
    which a feature fired, found by sorting the firings by feature once. Every firing's value costs `penalty`
    times itself beside the error.
    """
    n_tokens, n_features = len(inputs), len(decoder)
    values, features, starts = firings
    leaf = values.detach().requires_grad_()
    with torch.enable_grad():
        written = embedding_bag(features, decoder.detach(), starts, per_sample_weights=leaf, mode="sum")
    at_output = (written.detach() - target).mul_(2 / n_tokens)
    (at_values,) = torch.autograd.grad(written, leaf, at_output)
    at_values.add_(penalty).mul_(values != 0)

    order = sorting_order(features, n_features)
    ends = torch.cat([starts[1:], starts.new_tensor([len(features)])])
    tokens = torch.arange(n_tokens, device=starts.device).repeat_interleave(ends - starts)[order]
    counts = torch.bincount(features, minlength=n_features)
    first = counts.cumsum(0) - counts

    def sum_over_firings(rows: Tensor, amounts: Tensor) -> Float[Tensor, "features width"]:
        return embedding_bag(tokens, rows, first, per_sample_weights=amounts[order], mode="sum")

    return Decoding(
        encoder=sum_over_firings(inputs, at_values),
        decoder=None if frozen else sum_over_firings(at_output, values),
        b_enc=inputs.new_zeros(n_features).index_add_(0, features, at_values),
        at_output=at_output,
    )


def l1_step(inputs: Float[Tensor, "tokens width"], weights: Weights, l1: float, *, frozen: bool) -> Step:
    """ReLU with an L1 penalty: `l1` times the sum of activations, averaged over tokens, joins the loss."""
    n_tokens = len(inputs)
    activations = before(inputs, weights).relu_()
    is_on = activations > 0
    there = inputs, inputs - weights.b_dec, weights.decoder
    how = {"frozen": frozen, "penalty": l1 / n_tokens}
    if is_on.count_nonzero() <= SPARSE * is_on.numel():
        firings = of_positive(activations, is_on)
        found, total = sparse_decoding(*there, firings, **how), firings.values.sum()
        n_fired = torch.bincount(firings.features, minlength=is_on.shape[1])
    else:
        found, total = dense_decoding(*there, activations, is_on, **how), activations.sum()
        n_fired = is_on.sum(0, dtype=torch.int32).long()  # no 64-bit copy of all
    residual = found.at_output * (n_tokens / 2)
    loss = (residual.square().sum() + l1 * total) / n_tokens
    return Step(found.gradients(weights.encoder, weights.b_dec), loss, residual, n_fired)


def dense_decoding(
    inputs: Float[Tensor, "tokens width"],
    target: Float[Tensor, "tokens width"],
    decoder: Float[Tensor, "features width"],
    activations: Float[Tensor, "tokens features"],
    is_on: Bool[Tensor, "tokens features"],
    *,
    frozen: bool,
    penalty: float,
) -> Decoding:
    """sparse_decoding() by dense products, for activations of which many are on."""
    at_output = (activations @ decoder).sub_(target).mul_(2 / len(inputs))
    at_before = (at_output @ decoder.T).add_(penalty).mul_(is_on)
    return Decoding(
        encoder=at_before.T @ inputs,
        decoder=None if frozen else activations.T @ at_output,
        b_enc=at_before.sum(0),
        at_output=at_output,
    )


def sorting_order(features: Int[Tensor, " firings"], n_features: int) -> Int[Tensor, " firings"]:
    """Where each firing stands once firings are ordered by feature."""
    if n_features <= 2**16 and features.device.type == "cpu":  # numpy sorts 16-bit integers by radix
        return torch.from_numpy(features.numpy().astype(np.uint16).argsort(kind="stable"))
    return features.argsort(stable=True)


def before(inputs: Float[Tensor, "tokens width"], weights: Weights) -> Float[Tensor, "tokens features"]:
    """Pre-activations; the decoder's bias is taken off the inputs within the encoder's."""
    encoder, _, b_enc, b_dec = weights
    return torch.addmm(b_enc - encoder @ b_dec, inputs, encoder.T)
