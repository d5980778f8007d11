"""How Evidence, pairs and permutations show themselves: as a table, as text, drawn, in a notebook."""

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compare.pairs import PairTable


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

    def plot(self) -> "Figure":
        """Share of tokens at which each feature fires, most frequent first."""
        from compare.figures_library import rate_plot

        return rate_plot(self.to_frame())

    def _repr_html_(self) -> str:
        """The summary and the features that fired most, as a notebook shows them."""
        most = self.to_frame().nlargest(10, "count").to_html(float_format="{:.4g}".format)
        return f"<pre>{html.escape(self.summary())}</pre>{most}"


def pair_frame(table: "PairTable") -> pd.DataFrame:
    """PairTable.to_frame()."""
    i, j = np.nonzero(np.triu(table.mask, 1))
    columns = {"i": table.feature_ids[i], "j": table.feature_ids[j]}
    return pd.DataFrame(columns | {name: table[name][i, j] for name in table.names})


def pair_summary(table: "PairTable") -> str:
    """PairTable.summary()."""
    pairs = pair_frame(table)[list(table.names)]
    lines = pairs.agg(["mean", "std"]).T.rename(columns={"std": "sd"})
    lines["correlation with cosine"] = pairs.corr()["cosine"]
    head = f"{len(pairs):,} of {table.n_pairs:,} pairs of {table.n:,} features have every measure"
    return f"{head}\n{lines.to_string(float_format='{:.4g}'.format)}"


class PermutationPortrait:
    """What a permutation test inherits in order to be looked at."""

    method: str
    n_features: int
    n_permutations: int
    draws: np.ndarray
    estimates: pd.Series
    tvalues: pd.Series
    pvalues: pd.Series
    null_mean: pd.Series
    null_sd: pd.Series
    null_se: pd.Series

    def to_frame(self) -> pd.DataFrame:
        """A row a coefficient."""
        columns = {
            "estimate": self.estimates,
            "t": self.tvalues,
            "null_mean": self.null_mean,
            "null_sd": self.null_sd,
            "null_se": self.null_se,
            "p": self.pvalues,
        }
        return pd.DataFrame(columns).rename_axis("term")

    def summary(self) -> str:
        """The table, with how it was made above it and what it asks below."""
        how = (
            f"{self.n_permutations:,} permutations"
            if self.n_permutations
            else "moments over all permutations"
        )
        return (
            f"Permutation of {self.n_features:,} features, {self.method}, {how}\n"
            f"{self.to_frame().to_string(float_format='{:.4g}'.format)}\n"
            "null: which feature has which direction has nothing to do with the measures"
        )

    def plot(self) -> "Figure":
        """Each slope's t among those of permuted features."""
        from compare.figures_library import permutation_plot

        return permutation_plot(self.to_frame(), self.draws)

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        return self.to_frame().to_html(float_format="{:.4g}".format)
