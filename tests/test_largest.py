"""The k largest of each row, by groups: against sorting, and where a group holds them all."""

import numpy as np
import pytest
import torch

from real.sae import GROUP, largest


@pytest.mark.parametrize(
    ("n_columns", "k"), [(1, 1), (7, 3), (32 * GROUP, 16), (32 * GROUP + 1, 16), (4096, 32)]
)
def test_it_finds_what_sorting_finds(n_columns, k):
    keys = torch.randn(50, n_columns, generator=torch.Generator().manual_seed(n_columns))
    columns = largest(keys, k)
    expected = keys.sort(dim=1, descending=True).values[:, :k]
    assert torch.equal(keys.gather(1, columns).sort(dim=1, descending=True).values, expected)
    assert all(len(np.unique(row)) == k for row in columns.numpy())


def test_it_finds_them_where_they_lie_in_one_group_or_are_all_equal():
    keys = torch.zeros(2, 64 * GROUP)
    keys[0, 5::64] = torch.arange(1.0, GROUP + 1)  # the columns of one group
    columns = largest(keys, GROUP)
    assert sorted(columns[0].tolist()) == list(range(5, 64 * GROUP, 64))
    assert len(set(columns[1].tolist())) == GROUP
