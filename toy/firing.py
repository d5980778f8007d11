"""Which features fire together: independent groups, each a table of states, so every expectation is exact."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy.groups import State
from toy.magnitudes import MOMENTS, laplace

Events = tuple[Int[Tensor, " events"], Int[Tensor, " events"]]
"""Rows, rising, and the features that are on in them."""


class StateTables:
    """`rates` [features] and `joint_rates` [features, features] are probabilities, exact."""

    rows_drawn = 0
    """Samples on which label_weights rests; 0 where it is exact."""

    def __init__(self, groups: list[tuple[list[int], list[State]]], n_features: int) -> None:
        tables = [
            ([members[k] for k in on], probability, number)
            for number, (members, states) in enumerate(groups)
            for on, probability in states
        ]
        self._state_group = torch.tensor([group for _, _, group in tables])
        self._state_rates = torch.tensor([probability for _, probability, _ in tables], dtype=torch.float64)
        self._state_members = torch.zeros(len(tables), n_features, dtype=torch.float64)
        for row, (members, _, _) in enumerate(tables):
            self._state_members[row, members] = 1.0
        self._state_sizes = self._state_members.sum(1).long()
        self._members_flat = self._state_members.nonzero()[:, 1]
        self._group_rates = torch.zeros(len(groups), dtype=torch.float64)
        self._group_rates.index_add_(0, self._state_group, self._state_rates)
        self._feature_group = torch.zeros(n_features, dtype=torch.int64)
        for members, _, group in tables:
            self._feature_group[members] = group
        self.rates = self._state_members.T @ self._state_rates
        within = self._state_members.T @ (self._state_rates[:, None] * self._state_members)
        self.joint_rates = torch.where(self._is_same_group, within, torch.outer(self.rates, self.rates))

    @property
    def silence(self) -> float:
        """P(no feature is on)."""
        return (1 - self._group_rates).clamp(min=0).prod().item()

    def draw(self, n_rows: int, generator: torch.Generator) -> Events:
        """The events of n_rows samples; the work grows with their number, not with rows x features.

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
        return self._spread(row[order], state[order])

    def label_weights(
        self, magnitudes: str
    ) -> tuple[Float[Tensor, "features features"], Float[Tensor, " features"]]:
        """E[x_i x_k / S] / E[x_i] for all i, k, and E[x_k / S; S > 0]; S is the sum of a sample's values.

        1/S is the integral of exp(-t S) over t > 0, and under exp(-t S) groups stay independent: with
        f_r(t) = E[x^r exp(-t x)] for a feature that is on, a state of m members contributes f_0^m, times
        f_1 / f_0 (f_2 / f_0) for each member that is weighted once (twice). One integral is left, by
        Gauss-Legendre.
        """
        dt, f0, once, twice = (torch.from_numpy(array) for array in laplace(magnitudes))
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
        mean_value = MOMENTS[magnitudes][0]
        return weights / (self.rates * mean_value)[:, None], (share * everything).sum(1)

    @property
    def _is_same_group(self) -> Tensor:
        return self._feature_group[:, None] == self._feature_group[None, :]

    def _spread(self, row: Tensor, state: Tensor) -> Events:
        """Turn (row, state) into one event for each member of the state."""
        sizes = self._state_sizes[state]
        first = (self._state_sizes.cumsum(0) - self._state_sizes)[state]
        within = torch.arange(int(sizes.sum())) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        return row.repeat_interleave(sizes), self._members_flat[first.repeat_interleave(sizes) + within]
