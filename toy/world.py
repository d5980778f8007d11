"""A world of features whose co-occurrence and output targets are set exactly, and whose truth is computed."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy.config import ToyConfig
from toy.copula import Copula
from toy.layout import firing_law, lay_out, level
from toy.magnitudes import MOMENTS, draw_magnitudes
from toy.sample import Sample
from toy.votes import draw_votes


class Pair(NamedTuple):
    """Two features of one group, i < j, and what holds between them."""

    i: int
    j: int
    cooccurrence: str
    """ "exclusive" if P(i,j) is below half of P(i) P(j), "co-occurring" above twice, else "independent"."""
    conditional: float
    """P(the more frequent fires | the rarer fires)."""
    overlap: float
    """Share s of their votes that the two have in common; the votes diverge by (1 - s) ln 2 nats."""

    @property
    def cell(self) -> tuple[str, str]:
        """Co-occurrence, and whether the outputs are the "same", "different" or "partial"ly shared."""
        outputs = {0.0: "different", 1.0: "same"}.get(self.overlap, "partial")
        return self.cooccurrence, outputs


class World:
    """Features with a law of firing, and what each of them says; every expectation exact, or nearly so.

    `rates` [features] and `joint_rates` [features, features] are probabilities; `votes` [features, vocab] is
    what each feature says; `pairs` names the designed pairs. A sample's label is the mean of the votes of the
    features that are on, weighted by their values, and uniform where none is on.
    """

    def __init__(self, config: ToyConfig, law: Copula | None = None) -> None:
        """The config's world; or one in which features fire by `law`, and outputs alone are the config's."""
        self.config = config
        rng = np.random.default_rng([config.seed, 0])
        layout = lay_out(config)
        self.firing = law or firing_law(config, layout, rng)
        self.rates, self.joint_rates = self.firing.rates, self.firing.joint_rates
        self.votes = draw_votes(config, layout, rng)
        self.pairs = tuple(
            self._pair(i, j) for members, _, _ in layout for i in members for j in members if i < j
        )

    def cells(self) -> dict[tuple[str, str], Int[Tensor, "pairs two"]]:
        """The designed pairs by cell (co-occurrence, outputs), as rows (i, j)."""
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for pair in self.pairs:
            found.setdefault(pair.cell, []).append((pair.i, pair.j))
        return {cell: torch.tensor(pairs) for cell, pairs in found.items()}

    def sample(self, n_rows: int, generator: torch.Generator) -> Sample:
        """Draw n_rows samples."""
        rows, features = self.firing.draw(n_rows, generator)
        values = draw_magnitudes(self.config.magnitudes, len(features), generator)
        return Sample(rows, features, values, n_rows, self.config.n_features)

    def labels(self, x: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, "rows vocab"]:
        """The label distribution of each row of feature values (dense or sparse CSR).

        With a generator, as many rows as output_noise says get one token drawn at random instead.
        """
        weighted = x @ self.votes.to(x.dtype)
        total = weighted.sum(1, keepdim=True)  # votes sum to 1, so this is the sum of the row's values
        uniform = torch.full_like(weighted, 1 / weighted.shape[1])
        labels = torch.where(total > 0, weighted / total.clamp(min=1e-30), uniform)
        if generator is not None and self.config.output_noise > 0:
            is_noise = torch.rand(len(labels), generator=generator) < self.config.output_noise
            token = torch.randint(labels.shape[1], (len(labels),), generator=generator)
            labels[is_noise] = 0.0
            labels[is_noise, token[is_noise]] = 1.0
        return labels

    @cached_property
    def mean_outputs(self) -> Float[Tensor, "features vocab"]:
        """Activation-weighted mean label distribution of each feature: what measuring labels converges to.

        Not the same as its votes: whoever is on at the same time mixes in, and so does noise.
        """
        return self._with_noise(self._label_weights[0] @ self.votes)

    @cached_property
    def base_output(self) -> Float[Tensor, " vocab"]:
        """Mean label distribution over all samples."""
        return self._with_noise(
            self._label_weights[1] @ self.votes + self.firing.silence / self.votes.shape[1]
        )

    @property
    def truth_error(self) -> float:
        """A bound on the standard error of every entry of mean_outputs; 0 where they are exact."""
        if not self.firing.rows_drawn:
            return 0.0
        return 0.5 / (self.firing.rows_drawn * self.rates.min().item()) ** 0.5

    @property
    def second_moment(self) -> float:
        """E[x^2] of the value of a feature that is on."""
        return MOMENTS[self.config.magnitudes][1]

    @cached_property
    def _label_weights(self) -> tuple[Tensor, Tensor]:
        return self.firing.label_weights(self.config.magnitudes)

    def _with_noise(self, labels: Tensor) -> Tensor:
        noise = self.config.output_noise
        return (1 - noise) * labels + noise / labels.shape[-1]

    def _pair(self, i: int, j: int) -> Pair:
        joint = self.joint_rates[i, j].item()
        lift = joint / (self.rates[i] * self.rates[j]).item()
        overlap = round(torch.minimum(self.votes[i], self.votes[j]).sum().item(), 9)
        return Pair(i, j, level(lift), joint / self.rates[[i, j]].min().item(), overlap)
