"""From measures of pairs to the regressors cosine is explained with: centring, product, feature effects."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from compare.dyads import ArrayColumns, Columns, Matrix, SourceColumns, Survey, TileSource, node_grams, survey
from compare.effects import Projection, additive_effects, no_effects

Effects = str
"""One of "none", "additive", "product"; checked by hand, with a message that helps."""
Activity = Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]


def interaction(
    cosine: Matrix | TileSource,
    cooccurrence: Matrix | None,
    similarity: Matrix | None,
    *,
    mask: Matrix | None,
    covariates: Mapping[str, Matrix] | None,
    effects: Effects,
    center: bool,
    activity: Activity | None,
) -> "Prepared":
    """const, co, sim, co:sim, covariates [, activity] and the cosine, as `compare.fit` describes them."""
    if effects not in ("none", "additive", "product"):
        raise ValueError(f"expected effects 'none', 'additive' or 'product', found {effects!r}: choose one.")
    if effects != "product" and activity is not None:
        raise ValueError(
            f"expected activity with effects='product' only, found effects={effects!r}: drop one of the two."
        )
    base = _base_columns(cosine, cooccurrence, similarity, mask, covariates)
    found = survey(base)
    for name, low, high in zip(base.names[1:3], found.low[1:], found.high[1:], strict=False):
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            raise ValueError(
                f"expected {name} that varies, found {low:.6g} for all {found.n_pairs} pairs: "
                "there is no slope to estimate; use another measure or a wider mask."
            )
    centres = np.zeros(len(base.names))
    if center:
        centres[1:3] = found.means[1:3]
    driver = _activity(activity, found) if effects == "product" else None
    return prepare(Design(base, centres, product=True, activity=driver), found, effects)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Regressors and response, what feature effects take out of them, and their sums by feature."""

    design: "Design"
    found: Survey
    projection: Projection
    effects: Effects
    grams: Float[np.ndarray, "n k k"]

    @property
    def terms(self) -> list[str]:
        """Names of the regressors."""
        return list(self.design.names[:-1])

    @property
    def is_alive(self) -> np.ndarray:
        """Features with at least one pair."""
        return self.found.degree > 0

    @property
    def df_pairs(self) -> int:
        """Pairs less parameters."""
        return self.found.n_pairs - len(self.terms) - self.projection.n_absorbed


def prepare(design: "Design", found: Survey, effects: Effects) -> Prepared:
    """One or two passes over the columns; ValueError where pairs are too few or effects leave nothing."""
    seen = None if effects == "none" else survey(design)
    projection = no_effects(design) if seen is None else additive_effects(design, seen)
    prepared = Prepared(design, found, projection, effects, node_grams(design, projection.shifts))
    if prepared.df_pairs < 1:
        raise ValueError(
            f"expected more pairs than the {found.n_pairs - prepared.df_pairs} parameters, found "
            f"{found.n_pairs} pairs of {prepared.is_alive.sum()} features: use more features, fewer columns."
        )
    if seen is not None:
        _check_left(prepared.grams.sum(0) / 2, seen, design.names[:-1])
    return prepared


@dataclass(frozen=True, eq=False)
class Design:
    """Regressors and, last, the response, made from base columns of which the first is the response."""

    base: Columns
    centres: Float[np.ndarray, " q"]
    constant: bool = True
    product: bool = False
    activity: Float[np.ndarray, " n"] | None = None
    n: int = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        response, *names = self.base.names
        if self.product:
            names.insert(2, "co:sim")
        if self.activity is not None:
            names.append("activity")
        if self.constant:
            names.insert(0, "const")
        if len(set(names)) < len(names):
            raise ValueError(f"expected different names of columns, found {names}: rename the covariates.")
        object.__setattr__(self, "n", self.base.n)
        object.__setattr__(self, "names", (*names, response))

    def tile(self, rows: slice, cols: slice) -> tuple[Float[np.ndarray, "k r c"], np.ndarray]:
        base, used = self.base.tile(rows, cols)
        base -= self.centres[:, None, None]
        block = np.empty((len(self.names), *used.shape))
        parts = list(base[1:])
        if self.product:
            parts.insert(2, base[1] * base[2])
        if self.activity is not None:
            parts.append(np.outer(self.activity[rows], self.activity[cols]))
        if self.constant:
            parts.insert(0, np.ones(used.shape))
        for column, part in zip(block, [*parts, base[0]], strict=True):
            column[:] = part
        return block, used


def _base_columns(
    cosine: Matrix | TileSource,
    cooccurrence: Matrix | None,
    similarity: Matrix | None,
    mask: Matrix | None,
    covariates: Mapping[str, Matrix] | None,
) -> Columns:
    if isinstance(cosine, TileSource):
        if any(given is not None for given in (cooccurrence, similarity, mask, covariates)):
            raise ValueError("expected a tile source alone, found arrays beside it: let its tiles give them.")
        return SourceColumns(cosine)
    if cooccurrence is None or similarity is None:
        raise ValueError(
            "expected three arrays, found fewer: give co-occurrence and similarity, or a tile source."
        )
    arrays = {"cosine": cosine, "co": cooccurrence, "sim": similarity}
    taken = sorted(set(arrays) & set(covariates or {}))
    if taken:
        raise ValueError(f"expected covariates with names of their own, found {taken}: rename them.")
    arrays |= covariates or {}
    base = ArrayColumns(arrays, mask)
    base.check_symmetry()
    return base


def _activity(activity: np.ndarray | Tensor | None, found: Survey) -> Float[np.ndarray, " n"]:
    """Activity of features less its mean over those with pairs, which feature effects take out anyway."""
    alive = found.degree > 0
    if activity is None:
        values = found.sums[1] / np.maximum(found.degree, 1)
    else:
        values = np.asarray(activity, dtype=np.float64)
        if values.shape != alive.shape or not np.isfinite(values[alive]).all():
            raise ValueError(
                f"expected a finite activity for each of {len(alive)} features, found shape "
                f"{list(values.shape)} with "
                f"{int((~np.isfinite(values)).sum())} values that are not: give log firing rates of live "
                "features."
            )
    return np.where(alive, values - values[alive].mean(), 0.0)


def _check_left(total: np.ndarray, seen: Survey, terms: tuple[str, ...]) -> None:
    left = total.diagonal() - total[0] ** 2 / total[0, 0]
    before = seen.squares - seen.n_pairs * seen.means**2
    for name, now, then in list(zip(terms, left, before, strict=False))[1:]:
        if now <= 1e-12 * then:
            raise ValueError(
                f"expected {name} to vary beyond feature effects, found a sum of two features' levels: "
                "leave it out, or use effects='none'."
            )
