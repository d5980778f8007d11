"""What a regression over pairs found: estimates, covariances of every kind, tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("naive", "hc0", "hc1", "hc2", "hc3", "dyadic", "dyadic_floored", "jackknife", "default")


@dataclass(frozen=True, eq=False)
class Fit:
    """Estimates and their errors. `params`: const, co, sim, co:sim, then covariates (from `fit`)."""

    params: pd.Series
    n_features: int
    """Features with at least one pair."""

    n_pairs: int
    df_pairs: int
    """Pairs less parameters, those of feature effects among them."""

    effects: str
    r_squared: float
    """Share explained of the response's variation (with feature effects: of what they leave)."""

    left: pd.Series
    """Variance over pairs of what feature effects and the other terms leave of each term's regressor."""

    covariances: dict[str, pd.DataFrame]
    """naive, hc0 to hc3, dyadic and jackknife, as estimated: `cov` derives the others."""

    def cov(self, kind: str = "default") -> pd.DataFrame:
        """Covariance of the estimates.

        naive: pairs independent, equal variance. hc0 to hc3: unequal variance, pairs independent; for
        contrast only, as they ignore that pairs share features. dyadic: sandwich that allows every two pairs
        with a common feature to depend on one another, no small-sample factor; a variance may come out
        negative. dyadic_floored: n/(n-1) times that, variances not below hc1's. jackknife: delete one
        feature; counts what is independent between pairs twice. default: jackknife less hc1, variances not
        below hc1's (correlations of the jackknife). hc2 and hc3 are NaN with feature effects, missing pairs
        and more than 1,024 features.
        """
        if kind in self.covariances:
            return self.covariances[kind].copy()
        if kind not in KINDS:
            raise ValueError(
                f"expected an error of kind {', '.join(KINDS)}, found {kind!r}: choose one of these."
            )
        shape = self.covariances["jackknife" if kind == "default" else "dyadic"].to_numpy()
        variances = np.array([self._variance(np.eye(len(shape))[a], kind) for a in range(len(shape))])
        if kind == "dyadic_floored":
            covariance = shape * self.n_features / (self.n_features - 1)
            np.fill_diagonal(covariance, variances)
        else:
            scale = np.sqrt(variances / shape.diagonal())
            covariance = shape * np.outer(scale, scale)
        return pd.DataFrame(covariance, self.params.index, self.params.index)

    def se(self, kind: str = "default") -> pd.Series:
        """Standard errors; NaN where the dyadic sandwich gives a negative variance."""
        variances = np.diag(self.cov(kind))
        return pd.Series(
            np.sqrt(np.where(variances >= 0, variances, np.nan)), self.params.index, name=f"se_{kind}"
        )

    def contrast(self, weights: Mapping[str, float], kind: str = "default") -> tuple[float, float]:
        """A sum of weighted estimates and its error, the rule of the kind applied to this sum itself."""
        unknown = set(weights) - set(self.params.index)
        if unknown:
            raise ValueError(
                f"expected terms of {list(self.params.index)}, found {sorted(unknown)}: use their names."
            )
        w = pd.Series(weights, dtype=float).reindex(self.params.index, fill_value=0.0)
        used = w != 0  # a NaN of a term that is not asked for stays out
        variance = self._variance(w.to_numpy(), kind)
        return float(w[used] @ self.params[used]), float(np.sqrt(variance)) if variance >= 0 else float("nan")

    def wald(self, terms: Sequence[str], kind: str = "default") -> tuple[float, float]:
        """F and its p-value for all these terms being 0; a spline's columns of curvature, say."""
        terms = list(terms)
        covariance = self.cov(kind).loc[terms, terms].to_numpy()
        estimates = self.params[terms].to_numpy()
        statistic = float(estimates @ np.linalg.solve(covariance, estimates)) / len(terms)
        return statistic, float(stats.f.sf(statistic, len(terms), self.df_of(kind)))

    def _variance(self, w: np.ndarray, kind: str) -> float:
        """Variance of w'params."""
        used = w != 0

        def of(kind: str) -> float:
            return float(w[used] @ self.covariances[kind].to_numpy()[np.ix_(used, used)] @ w[used])

        if kind == "default":
            return float(np.maximum(of("jackknife") - of("hc1"), of("hc1")))  # NaN stays NaN
        if kind == "dyadic_floored":
            return float(np.maximum(of("dyadic") * self.n_features / (self.n_features - 1), of("hc1")))
        return of(kind)

    @property
    def df(self) -> int:
        """Degrees of freedom of the default error: features less one."""
        return self.n_features - 1

    def df_of(self, kind: str) -> int:
        """Degrees of freedom that go with a kind of error."""
        return self.df if kind in ("dyadic", "dyadic_floored", "jackknife", "default") else self.df_pairs

    def t(self, kind: str = "default") -> pd.Series:
        """Estimates over their errors."""
        return (self.params / self.se(kind)).rename("t")

    def p(self, kind: str = "default") -> pd.Series:
        """Two-sided p-values from Student's t."""
        return pd.Series(2 * stats.t.sf(self.t(kind).abs(), self.df_of(kind)), self.params.index, name="p")

    @property
    def tvalues(self) -> pd.Series:
        return self.t()

    @property
    def pvalues(self) -> pd.Series:
        return self.p()

    def conf_int(self, level: float = 0.95, kind: str = "default") -> pd.DataFrame:
        """Intervals that cover with the given probability, in (0, 1)."""
        if not 0 < level < 1:
            raise ValueError(f"expected a level in (0, 1), found {level}: give .95 for 95 %.")
        reach = stats.t.ppf((1 + level) / 2, self.df_of(kind)) * self.se(kind)
        return pd.DataFrame({"low": self.params - reach, "high": self.params + reach})

    def to_frame(self) -> pd.DataFrame:
        """A row a term: estimate, default error and test; dyadic and naive errors beside it."""
        interval = self.conf_int()
        return pd.DataFrame(
            {
                "estimate": self.params,
                "se": self.se(),
                "t": self.tvalues,
                "df": self.df,
                "p": self.pvalues,
                "low": interval["low"],
                "high": interval["high"],
                "se_dyadic": self.se("dyadic_floored"),
                "se_naive": self.se("naive"),
                "default_over_naive": self.se() / self.se("naive"),
                "dyadic_over_naive": self.se("dyadic_floored") / self.se("naive"),
            }
        ).rename_axis("term")

    def plot(self) -> "Figure":
        """Estimates with their default and naive intervals."""
        from compare.figures import forest

        naive, frame = self.conf_int(kind="naive"), self.to_frame().reset_index()
        frame["naive_low"], frame["naive_high"] = naive["low"].to_numpy(), naive["high"].to_numpy()
        return forest(frame.assign(arm="fit", group="real", effects=self.effects))

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        return self.to_frame().to_html(float_format="{:.4g}".format)

    def summary(self) -> str:
        """The table as text, with what was fitted above it and what the errors mean below."""
        table = self.to_frame().drop(columns=["df", "dyadic_over_naive"])
        lines = table.to_string(float_format=lambda x: f"{x:.4g}").splitlines()
        width = max(len(line) for line in lines)
        head = [
            "Regression over pairs of features".center(width).rstrip(),
            "=" * width,
            f"features: {self.n_features:,}    pairs: {self.n_pairs:,}    feature effects: {self.effects}    "
            f"R2: {self.r_squared:.4f}",
            "-" * width,
        ]
        foot = [
            "-" * width,
            f"se, t, p, 95 % interval: delete-one-feature jackknife less HC1, not below HC1; t with "
            f"{self.df} df.",
            "se_dyadic: sandwich over pairs that share a feature, not below HC1. se_naive: pairs as if "
            "independent.",
        ]
        return "\n".join([*head, *lines, *foot])
