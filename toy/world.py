"""A world of features whose co-occurrence and output targets are set exactly, and whose truth is computed."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy.config import ToyConfig
from toy.groups import clique_states, ring_states
from toy.magnitudes import MOMENTS, draw_magnitudes, laplace
from toy.sample import Sample


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
    """Features in independent groups; each group is a table of states, so every expectation is exact.

    `rates` [features] and `joint_rates` [features, features] are probabilities; `votes` [features, vocab] is
    what each feature says; `pairs` names the designed pairs. A sample's label is the mean of the votes of the
    features that are on, weighted by their values, and uniform where none is on.
    """

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        rng = np.random.default_rng([config.seed, 0])
        layout = _layout(config)
        rates = _rates(config, [len(members) for members, _, _ in layout], rng)
        self.votes = _votes(config, layout, rng)
        tables: list[tuple[list[int], float, int]] = []
        n_groups = 0
        for members, conditional, _ in layout:
            for states in _tables(config, [rates[member] for member in members], conditional):
                tables += [([members[k] for k in on], probability, n_groups) for on, probability in states]
                n_groups += 1
        self._state_group = torch.tensor([group for _, _, group in tables])
        self._state_rates = torch.tensor([probability for _, probability, _ in tables], dtype=torch.float64)
        self._state_members = torch.zeros(len(tables), config.n_features, dtype=torch.float64)
        for row, (members, _, _) in enumerate(tables):
            self._state_members[row, members] = 1.0
        self._state_sizes = self._state_members.sum(1).long()
        self._members_flat = self._state_members.nonzero()[:, 1]
        self._group_rates = torch.zeros(n_groups, dtype=torch.float64)
        self._group_rates.index_add_(0, self._state_group, self._state_rates)
        self._feature_group = torch.zeros(config.n_features, dtype=torch.int64)
        for members, _, group in tables:
            self._feature_group[members] = group
        self.rates = self._state_members.T @ self._state_rates
        self.joint_rates = self._joint_rates()
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
        """Draw n_rows samples; the work grows with the number of events, not with rows x features.

        In each row a group leaves its silent state with its own probability M. This is drawn as a Poisson
        process of intensity -log(1 - M): a row has a point of it with probability M, and the state at a point
        is drawn by its share of M. Where a row has several points, one stands (M is at most 1 - 1e-12).
        """
        intensity = -torch.log1p(-self._group_rates.clamp(max=1 - 1e-12))
        weight = self._state_rates * (intensity / self._group_rates)[self._state_group]
        edges = weight.cumsum(0)
        n_points = int(torch.poisson(n_rows * edges[-1:], generator=generator))
        position = torch.rand(n_points, dtype=torch.float64, generator=generator) * edges[-1]
        state = torch.searchsorted(edges, position, right=True).clamp(max=len(edges) - 1)
        row = torch.randint(n_rows, (n_points,), generator=generator)
        key, order = torch.sort(row * len(intensity) + self._state_group[state])
        is_first = torch.ones(n_points, dtype=torch.bool)
        is_first[1:] = key[1:] != key[:-1]
        order = order[is_first]
        return self._spread(row[order], state[order], n_rows, generator)

    def labels(self, x: Tensor) -> Float[Tensor, "rows vocab"]:
        """The label distribution of each row of feature values (dense or sparse CSR)."""
        weighted = x @ self.votes.to(x.dtype)
        total = weighted.sum(1, keepdim=True)  # votes sum to 1, so this is the sum of the row's values
        uniform = torch.full_like(weighted, 1 / weighted.shape[1])
        return torch.where(total > 0, weighted / total.clamp(min=1e-30), uniform)

    @cached_property
    def mean_outputs(self) -> Float[Tensor, "features vocab"]:
        """Activation-weighted mean label distribution of each feature: what measuring labels converges to.

        Not the same as its votes: whoever is on at the same time mixes in.
        """
        return self._label_weights()[0] @ self.votes

    @cached_property
    def base_output(self) -> Float[Tensor, " vocab"]:
        """Mean label distribution over all samples."""
        silent = (1 - self._group_rates).clamp(min=0).prod()
        return self._label_weights()[1] @ self.votes + silent / self.votes.shape[1]

    @property
    def second_moment(self) -> float:
        """E[x^2] of the value of a feature that is on."""
        return MOMENTS[self.config.magnitudes][1]

    def _joint_rates(self) -> Float[Tensor, "features features"]:
        within = self._state_members.T @ (self._state_rates[:, None] * self._state_members)
        return torch.where(self._is_same_group, within, torch.outer(self.rates, self.rates))

    @property
    def _is_same_group(self) -> Tensor:
        return self._feature_group[:, None] == self._feature_group[None, :]

    def _pair(self, i: int, j: int) -> Pair:
        joint = self.joint_rates[i, j].item()
        lift = joint / (self.rates[i] * self.rates[j]).item()
        cooccurrence = "exclusive" if lift < 0.5 else "co-occurring" if lift > 2 else "independent"
        shared = torch.minimum(self.votes[i], self.votes[j]).sum().item()
        overlap = round(shared * self.config.votes) / self.config.votes
        return Pair(i, j, cooccurrence, joint / self.rates[[i, j]].min().item(), overlap)

    def _spread(self, row: Tensor, state: Tensor, n_rows: int, generator: torch.Generator) -> Sample:
        """Turn (row, state) into one event for each member of the state."""
        sizes = self._state_sizes[state]
        first = (self._state_sizes.cumsum(0) - self._state_sizes)[state]
        within = torch.arange(int(sizes.sum())) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        features = self._members_flat[first.repeat_interleave(sizes) + within]
        values = draw_magnitudes(self.config.magnitudes, len(features), generator)
        return Sample(row.repeat_interleave(sizes), features, values, n_rows, self.config.n_features)

    def _label_weights(self) -> tuple[Float[Tensor, "features features"], Float[Tensor, " features"]]:
        """E[x_i x_k / S] / E[x_i] for all i, k, and E[x_k / S; S > 0]; S is the sum of a sample's values.

        1/S is the integral of exp(-t S) over t > 0, and under exp(-t S) groups stay independent: with
        f_r(t) = E[x^r exp(-t x)] for a feature that is on, a state of m members contributes f_0^m, times
        f_1 / f_0 (f_2 / f_0) for each member that is weighted once (twice). One integral is left, by
        Gauss-Legendre.
        """
        dt, f0, once, twice = (torch.from_numpy(array) for array in laplace(self.config.magnitudes))
        m, group = self._state_sizes[:, None], self._state_group
        state = self._state_rates[:, None] * f0**m
        total = (1 - self._group_rates)[:, None].expand(-1, len(dt)).clone()
        total.index_add_(0, group, state)  # E exp(-t S) of each group
        total.clamp_(min=1e-300)  # a group that is never silent, at large t, where all has underflown
        everything = dt * total.log().sum(0).exp()
        share = once * (self._state_members.T @ state) / total[self._feature_group]
        across = (share * everything) @ share.T
        per_state = everything * state / total[group]
        members = self._state_members
        within = members.T @ ((per_state * once**2).sum(1, keepdim=True) * members)
        weights = torch.where(self._is_same_group, within, across)
        weights.diagonal().copy_(members.T @ (per_state * twice).sum(1))
        return weights / (self.rates * MOMENTS[self.config.magnitudes][0])[:, None], (share * everything).sum(
            1
        )


def _layout(config: ToyConfig) -> list[tuple[list[int], float | str, float]]:
    """Members, conditional and overlap of each group; what is left over are groups of one."""
    cells = [(q, s) for q in config.conditionals for s in config.overlaps]
    size, n_groups = config.group_size, config.n_groups
    groups = [(list(range(k * size, (k + 1) * size)), *cells[k % len(cells)]) for k in range(n_groups)]
    return groups + [([feature], "independent", 0.0) for feature in range(n_groups * size, config.n_features)]


def _rates(config: ToyConfig, sizes: list[int], rng: np.random.Generator) -> list[float]:
    """Firing rate of each feature; Zipf's ranks go to whole groups in random order: cells share the range."""
    if config.rates == "equal":
        return [config.firing_rate] * config.n_features
    by_rank = 1 / np.arange(1, config.n_features + 1)
    by_rank *= config.firing_rate / by_rank.mean()
    if by_rank[0] >= 1:
        highest = config.firing_rate / by_rank[0]
        raise ValueError(
            f"expected every rate below 1, found {by_rank[0]:.3g} for the most frequent feature: with Zipf "
            f"rates and {config.n_features} features firing_rate has to be below {highest:.3g}."
        )
    groups = np.split(np.arange(config.n_features), np.cumsum(sizes)[:-1])
    rates = np.empty(config.n_features)
    rates[np.concatenate([groups[k] for k in rng.permutation(len(groups))])] = by_rank
    return rates.tolist()


def _votes(config: ToyConfig, layout: list, rng: np.random.Generator) -> Float[Tensor, "features vocab"]:
    """Uniform over config.votes random tokens a feature, of which a group shares its overlap and no more."""
    votes = torch.zeros(config.n_features, config.vocabulary, dtype=torch.float64)
    for members, _, overlap in layout:
        n_shared = round(overlap * config.votes)
        n_own = config.votes - n_shared
        tokens = rng.permutation(config.vocabulary)[: n_shared + len(members) * n_own]
        for k, member in enumerate(members):
            own = tokens[n_shared + k * n_own : n_shared + (k + 1) * n_own]
            votes[member, np.concatenate([tokens[:n_shared], own])] = 1 / config.votes
    return votes


def _tables(config: ToyConfig, rates: list[float], conditional: float | str) -> list:
    """The state table of a group, or one for each member where they are independent."""
    if conditional == "independent":
        return [[((k,), rate)] for k, rate in enumerate(rates)]
    if config.arrangement == "ring":
        return [ring_states(len(rates), rates[0], conditional)]
    return [clique_states(rates, conditional)]
