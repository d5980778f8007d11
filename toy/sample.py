"""What was drawn from a world, kept sparse: most features are off in most samples."""

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Samples of a world, as the events in which a feature is on, in the order of the rows."""

    rows: Int[Tensor, " events"]
    features: Int[Tensor, " events"]
    values: Float[Tensor, " events"]
    n_rows: int
    n_features: int

    def dense(self) -> Float[Tensor, "rows features"]:
        """The value of each feature in each row; 0 is off."""
        x = torch.zeros(self.n_rows, self.n_features, dtype=self.values.dtype)
        x[self.rows, self.features] = self.values
        return x

    def csr(self) -> Tensor:
        """The same as a sparse matrix, rows x features."""
        return _csr(self.rows, self.features, self.values, (self.n_rows, self.n_features))

    def transposed_csr(self) -> Tensor:
        """The same as a sparse matrix, features x rows."""
        kind = np.uint16 if self.n_features <= 2**16 else np.int64  # numpy sorts 16-bit integers by radix
        order = torch.from_numpy(np.argsort(self.features.numpy().astype(kind), kind="stable"))
        size = (self.n_features, self.n_rows)
        return _csr(self.features[order], self.rows[order], self.values[order], size)

    def split(self, n_rows: int) -> "list[Sample]":
        """Consecutive samples of n_rows rows each."""
        edges = torch.arange(0, self.n_rows + n_rows, n_rows)
        cuts = torch.searchsorted(self.rows, edges).tolist()
        parts = []
        for k, (start, stop) in enumerate(pairwise(cuts)):
            first = k * n_rows
            rows = self.rows[start:stop] - first
            part = (rows, self.features[start:stop], self.values[start:stop])
            parts.append(Sample(*part, min(n_rows, self.n_rows - first), self.n_features))
        return parts


def _csr(rows: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    starts = torch.searchsorted(rows, torch.arange(size[0] + 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)
