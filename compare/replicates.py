"""A mean over replicates and its interval: Student's t."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student


class Interval(NamedTuple):
    """A mean with the ends of its interval."""

    mean: float
    low: float
    high: float


def t_interval(values: Sequence[float] | Float[np.ndarray, " replicates"], level: float = 0.95) -> Interval:
    """Of the mean of replicates; NaN ends for a single one."""
    n, mean = len(values), float(np.mean(values))
    spread = np.std(values, ddof=1) if n > 1 else np.nan
    half = float(student.ppf((1 + level) / 2, n - 1) * spread / n**0.5)
    return Interval(mean, mean - half, mean + half)
