"""Controls: directions that cannot respond to data, and language models that learned nothing."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor

from real.language_model import LanguageModel

ENTROPY_TOLERANCE = 1e-4
"""How near, in nats, the control's mean output entropy is brought to the trained model's."""


FIXED_POINT_STEPS = 30


def isotropic_directions(
    n_features: int, width: int, *, generator: torch.Generator
) -> Float[Tensor, "features width"]:
    """Unit vectors drawn uniformly from the sphere."""
    return unit_rows(torch.randn(n_features, width, generator=generator))


def matched_directions(
    like: Float[Tensor, "some width"], n_features: int, *, generator: torch.Generator
) -> Float[Tensor, "features width"]:
    """Unit vectors with the mean and covariance of the rows of `like`, each made unit, and else unlike them.

    Drawn as unit(m + C^1/2 g), g Gaussian. Making rows unit flattens both, so m and C are not the wanted ones
    but the fixed point from which those come out: C has the same eigenvectors, its eigenvalues and m are
    found on 4,096 draws and their opposites. The moments are those of these rows, sampling and all: a control
    stands beside this dictionary, while compare.nulls.matched asks what its distribution would give.
    """
    rows = unit_rows(like.double().cpu())
    mean = rows.mean(0)
    wanted, vectors = torch.linalg.eigh(rows.T @ rows / len(rows) - torch.outer(mean, mean))
    wanted, mean = wanted.clamp(min=0), mean @ vectors
    noise = torch.randn(4096, len(wanted), dtype=torch.float64, generator=generator)
    noise = torch.cat([noise, -noise])
    values, middle = wanted.clone(), mean.clone()
    for _ in range(FIXED_POINT_STEPS):
        drawn = unit_rows(middle + noise * values.sqrt())
        values = values * wanted / drawn.var(0, correction=0).clamp(min=1e-300)
        middle = middle + mean - drawn.mean(0)
    gaussian = torch.randn(n_features, rows.shape[1], dtype=torch.float64, generator=generator)
    return unit_rows((middle + gaussian * values.sqrt()) @ vectors.T).float()


def unit_rows(rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
    """Each row divided by its length; a row of zeros stays."""
    return torch.nn.functional.normalize(rows, dim=1)


def rerandomise(
    trained: LanguageModel, sample: Int[Tensor, "sequences context"], *, seed: int, keep_embeddings: bool
) -> LanguageModel:
    """The same architecture with each tensor drawn anew from a normal law of its own mean and variance.

    Its logits are scaled so that the mean entropy of the next-token probabilities on `sample` is the trained
    model's: without that, outputs of the two cannot be compared. Embeddings may stay as they were trained.
    """
    model = copy.deepcopy(trained.model)
    generator = torch.Generator().manual_seed(seed)
    kept = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    with torch.no_grad():
        for tensor in model.parameters():
            if keep_embeddings and id(tensor) in kept:
                continue
            drawn = torch.randn(tensor.shape, generator=generator).to(tensor.device)
            tensor.copy_(tensor.mean() + drawn * tensor.std(correction=0))
    kind = "embeddings kept" if keep_embeddings else "embeddings too"
    random = LanguageModel(
        model, trained.tokenizer, name=f"{trained.name}, re-randomised, {kind}, seed {seed}"
    )
    random.logit_scale = entropy_matching_scale(random.logits(sample), mean_entropy(trained.logits(sample)))
    return random


def mean_entropy(logits: Float[Tensor, "tokens vocab"]) -> float:
    """Entropy of the softmax in nats, averaged over tokens."""
    return torch.special.entr(logits.softmax(-1)).sum(-1).mean().item()


def entropy_matching_scale(logits: Float[Tensor, "tokens vocab"], entropy: float) -> float:
    """The factor on logits at which their mean softmax entropy is `entropy`, by bisection.

    Entropy falls as the factor grows, from ln(vocab) at 0.
    """
    low, high = 0.0, 1.0
    while mean_entropy(logits * high) > entropy and high < 1e6:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        found = mean_entropy(logits * middle)
        if abs(found - entropy) < ENTROPY_TOLERANCE:
            return middle
        low, high = (middle, high) if found > entropy else (low, middle)
    raise ValueError(
        f"expected logits that can reach a mean entropy of {entropy:.3f} nats, found {found:.3f} "
        f"at the factor {middle:.3g}: they hardly differ between tokens of the vocabulary; draw another seed."
    )
