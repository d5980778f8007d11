"""Other shapes of co-occurrence than a straight line: columns for `dyadic_ols`, made from [n, n] arrays."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

QUANTILES = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95), 5: (0.05, 0.275, 0.5, 0.725, 0.95)}
"""Where knots lie, by their number (Harrell 2001)."""


def spline(
    values: Float[np.ndarray, "n n"], *, n_knots: int = 4, mask: Bool[np.ndarray, "n n"] | None = None
) -> dict[str, Float[np.ndarray, "n n"]]:
    """Restricted cubic spline of a measure such as log-odds: co, and n_knots - 2 curved columns, co~1, ...

    Straight beyond the outer knots, which are quantiles over the pairs i < j of the mask. The columns of
    curvature are in units of the measure, and their slopes are all 0 where its effect is a straight line.
    """
    if n_knots not in QUANTILES:
        raise ValueError(f"expected {sorted(QUANTILES)} knots, found {n_knots}: choose one of these.")
    used = np.triu(np.ones(values.shape, dtype=bool) if mask is None else mask, 1)
    knots = np.quantile(values[used], QUANTILES[n_knots])
    if (np.diff(knots) <= 0).any():
        raise ValueError(
            f"expected {n_knots} different knots, found {np.round(knots, 4).tolist()}: too "
            "many pairs share one value; use fewer knots, or levels."
        )
    first, *inner, before_last, last = knots
    columns = {"co": values.astype(np.float64)}
    for number, knot in enumerate([first, *inner], 1):
        curve = _cube(values - knot)
        curve -= _cube(values - before_last) * (last - knot) / (last - before_last)
        curve += _cube(values - last) * (before_last - knot) / (last - before_last)
        columns[f"co~{number}"] = curve / (last - first) ** 2
    return columns


def levels(
    values: Shaped[np.ndarray, "n n"], names: Mapping[int, str], *, base: str
) -> dict[str, Float[np.ndarray, "n n"]]:
    """A factor such as exclusive, independent, co-occurring: an indicator for every level but the base."""
    if base not in names.values():
        raise ValueError(
            f"expected a base among {list(names.values())}, found {base!r}: name one of the levels."
        )
    return {name: (values == code).astype(np.float64) for code, name in names.items() if name != base}


def times(
    columns: Mapping[str, Float[np.ndarray, "n n"]],
    similarity: Float[np.ndarray, "n n"],
    *,
    mask: Bool[np.ndarray, "n n"] | None = None,
) -> dict[str, Float[np.ndarray, "n n"]]:
    """The columns, sim, and every column times sim (`co:sim`, ...), centred over the pairs of the mask."""
    used = np.triu(np.ones(similarity.shape, dtype=bool) if mask is None else mask, 1)
    centred = {name: column - column[used].mean() for name, column in columns.items()}
    sim = similarity - similarity[used].mean()
    return centred | {"sim": sim} | {f"{name}:sim": column * sim for name, column in centred.items()}


def _cube(x: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    return np.maximum(x, 0.0) ** 3
