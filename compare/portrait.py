"""How Evidence shows itself: as a table, as text, in a notebook."""

import html
from typing import Any

import numpy as np
import pandas as pd


class Portrait:
    """What Evidence inherits in order to be looked at."""

    name: str
    n_tokens: int
    n_sequences: int
    directions: np.ndarray
    encoder: np.ndarray | None
    counts: np.ndarray
    activation_sums: np.ndarray
    base_output: np.ndarray
    truth: Any

    def to_frame(self) -> pd.DataFrame:
        """A row a feature: tokens at which it fired, their share, its mean activation there, its direction's
        length.
        """
        counts = np.asarray(self.counts)
        fired_sum = np.asarray(self.activation_sums)
        mean = np.divide(fired_sum, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        norm = np.linalg.norm(self.directions, axis=1)
        rate = counts / self.n_tokens
        columns = {"count": counts, "rate": rate, "mean_activation": mean, "norm": norm}
        return pd.DataFrame(columns).rename_axis("feature")

    def summary(self) -> str:
        """What was measured, in a few lines."""
        counts = np.asarray(self.counts)
        knows = ["encoder"] * (self.encoder is not None) + ["truth"] * (self.truth is not None)
        return (
            f"Evidence of {self.name!r}: {self.n_tokens:,} tokens in {self.n_sequences:,} sequences\n"
            f"{(counts > 0).sum():,} of {len(counts):,} features fired, in {self.directions.shape[1]} "
            f"dimensions; {len(self.base_output):,} outputs\nknown besides: {', '.join(knows) or 'nothing'}"
        )

    def _repr_html_(self) -> str:
        """The summary and the features that fired most, as a notebook shows them."""
        most = self.to_frame().nlargest(10, "count").to_html(float_format="{:.4g}".format)
        return f"<pre>{html.escape(self.summary())}</pre>{most}"
