"""A mean over replicates with its error and its interval: Student's t."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student


class Replicated(NamedTuple):
    """A mean over replicates."""

    mean: float
    se: float
    """The spread between replicates over the root of their number."""

    df: int
    """Replicates less one."""

    spread: float
    """Standard deviation between replicates."""


def over_replicates(values: Sequence[float] | Float[np.ndarray, " replicates"]) -> Replicated:
    """NaN as error and spread of a single one, as mean of none."""
    each, n = np.asarray(values, dtype=np.float64), len(values)
    spread = float(each.std(ddof=1)) if n > 1 else np.nan
    return Replicated(float(each.mean()) if n else np.nan, spread / max(n, 1) ** 0.5, n - 1, spread)


class Interval(NamedTuple):
    """A mean with the ends of its interval."""

    mean: float
    low: float
    high: float


def t_interval(values: Sequence[float] | Float[np.ndarray, " replicates"], level: float = 0.95) -> Interval:
    """Of the mean of replicates; NaN ends for a single one."""
    mean, se, df, _ = over_replicates(values)
    half = float(student.ppf((1 + level) / 2, df) * se)
    return Interval(mean, mean - half, mean + half)
