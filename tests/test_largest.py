"""The k largest of each row, by groups or without: against sorting, and where a group holds them all."""

import numpy as np
import pytest
import torch

from real.sae import FEW, GROUP, largest


@pytest.mark.parametrize(
    ("n_columns", "k"), [(1, 1), (7, 3), (7, 7), (FEW, 16), (FEW + 1, 16), (2 * FEW, 32), (2 * FEW, FEW)]
)
def test_it_finds_what_sorting_finds(n_columns, k):
    keys = torch.randn(50, n_columns, generator=torch.Generator().manual_seed(n_columns))
    columns = largest(keys, k)
    expected = keys.sort(dim=1, descending=True).values[:, :k]
    assert torch.equal(keys.gather(1, columns).sort(dim=1, descending=True).values, expected)
    assert all(len(np.unique(row)) == k for row in columns.numpy())


@pytest.mark.parametrize("n_columns", [FEW, 2 * FEW])
def test_it_finds_them_where_they_lie_in_one_group_or_are_all_equal(n_columns):
    n_groups = n_columns // GROUP
    keys = torch.zeros(2, n_columns)
    keys[0, 5::n_groups] = torch.arange(1.0, GROUP + 1)  # the columns of one group
    columns = largest(keys, GROUP)
    assert sorted(columns[0].tolist()) == list(range(5, n_columns, n_groups))
    assert len(set(columns[1].tolist())) == GROUP
