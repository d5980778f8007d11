"""Systems whose answer is set beforehand, for tests of everything that reads the seam."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Batch:
    preactivations: Tensor
    activations: Tensor
    outputs: Tensor
    sequences: Tensor | None = None
    inputs: Tensor | None = None
    tokens: Tensor | None = None


class Recorded:
    """A system that plays back tensors over tokens, so many tokens a batch and eight tokens a sequence."""

    def __init__(self, name, directions, preactivations, outputs, *, batch=512):
        self.name, self.directions = name, directions
        self.preactivations, self.outputs, self.batch = preactivations, outputs, batch
        self.vocabulary = [f"word {v}" for v in range(outputs.shape[1])]
        self.provenance = {"recorded": name}

    def stream(self) -> Iterator[Batch]:
        sequences = torch.arange(len(self.outputs)) // 8
        parts = (part.split(self.batch) for part in (self.preactivations, self.outputs, sequences))
        for preactivations, outputs, ids in zip(*parts, strict=True):
            yield Batch(preactivations, preactivations.relu(), outputs, sequences=ids)


def planted_system(n=64, width=32, vocab=96, seed=0, *, effect=(0.1, 0.1, 0.05), n_tokens=8192, noise=0.05):
    """A system in which cos = b1 z(co) + b2 z(sim) + b3 z(co) z(sim) + noise, as nearly as the width allows.

    co is the phi of the tokens it plays, sim 1 - JSD of the mean outputs over them, z() standardised over
    pairs (z(co) z(sim) is the product of the two, not standardised again), and effect is (b1, b2, b3). Firing
    has a few common causes; each feature votes for outputs of its own, partly shared with features of
    unrelated causes. With effect=None the directions are random: no effect of anything.
    """
    generator = torch.Generator().manual_seed(seed)
    preactivations = _firing(n, n_tokens, generator)
    outputs = _outputs(preactivations.relu(), vocab, generator)
    directions = torch.randn(n, width, generator=generator)
    if effect is not None:
        directions = _fit_directions(
            directions, _target(preactivations.relu(), outputs, effect), noise, generator
        )
    name = "random directions" if effect is None else "planted"
    return Recorded(name, directions, preactivations, outputs)


class LinearSystem:
    """Random unit directions read from and written to Gaussian inputs: encoder = directions, outputs a
    softmax.

    Nothing co-occurs by design and the inputs are isotropic (or have the given covariance), so every
    correlation of pre-activations is the geometry of the directions itself.
    """

    def __init__(self, n=48, width=24, vocab=40, seed=0, *, n_tokens=8192, covariance=None):
        generator = torch.Generator().manual_seed(seed)
        self.name = "linear"
        self.directions = torch.nn.functional.normalize(torch.randn(n, width, generator=generator))
        self.encoder = self.directions
        root = torch.eye(width) if covariance is None else torch.linalg.cholesky(covariance)
        self.inputs = torch.randn(n_tokens, width, generator=generator) @ root.T
        self.unembedding = torch.randn(width, vocab, generator=generator)

    def stream(self) -> Iterator[Batch]:
        return self.stream_with(lambda inputs: inputs)

    def stream_with(self, replace) -> Iterator[Batch]:
        for inputs in self.inputs.split(1024):
            inputs = replace(inputs)
            preactivations = inputs @ self.encoder.T - 0.5
            activations = preactivations.relu()
            outputs = (activations @ self.directions @ self.unembedding / 4).softmax(1)
            yield Batch(preactivations, activations, outputs, inputs=inputs)


def csr(dense: Tensor) -> Tensor:
    """The same values as a sparse CSR tensor."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        return dense.to_sparse_csr()


def standardised_pairs(values: Tensor) -> Tensor:
    """A symmetric [n, n] matrix less its mean over pairs, over its standard deviation there."""
    i, j = torch.triu_indices(*values.shape, offset=1)
    pairs = values[i, j]
    return (values - pairs.mean()) / pairs.std()


def _firing(n: int, n_tokens: int, generator) -> Tensor:
    causes = 6
    loadings = torch.randn(n, causes, generator=generator) / causes**0.5
    shared = torch.randn(n_tokens, causes, generator=generator) @ loadings.T
    own = torch.randn(n_tokens, n, generator=generator) * 0.6
    thresholds = 0.8 + 0.6 * torch.rand(n, generator=generator)
    return shared + own - thresholds


def _outputs(activations: Tensor, vocab: int, generator) -> Tensor:
    topics = torch.randn(activations.shape[1], 4, generator=generator)
    votes = topics @ torch.randn(4, vocab, generator=generator) + torch.randn(
        activations.shape[1], vocab, generator=generator
    )
    return (activations @ votes).softmax(1)


def _target(activations: Tensor, outputs: Tensor, effect) -> Tensor:
    fires = (activations > 0).double()
    weights = (activations.double() / activations.double().sum(0)).T
    means = weights @ outputs.double()
    entropy = torch.special.entr(means).sum(1)
    mixed = torch.stack([torch.special.entr((row + means) / 2).sum(1) for row in means])
    co = standardised_pairs(torch.corrcoef(fires.T))
    sim = standardised_pairs(1 - (mixed - (entropy[:, None] + entropy) / 2))
    b1, b2, b3 = effect
    return (b1 * co + b2 * sim + b3 * co * sim).float()


def _fit_directions(directions: Tensor, target: Tensor, noise: float, generator) -> Tensor:
    """Unit rows whose cosines come near target + noise, by gradient descent."""
    n = len(target)
    i, j = torch.triu_indices(n, n, offset=1)
    wanted = target[i, j] + noise * torch.randn(len(i), generator=generator)
    free = directions.clone().requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.03)
    for _ in range(400):
        unit = torch.nn.functional.normalize(free)
        loss = ((unit @ unit.T)[i, j] - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return free.detach()
