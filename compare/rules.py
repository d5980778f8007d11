"""Rules that predict the cosine of a pair from what is known of it: the post's table is one among several.

A rule is one function, (measures of training pairs, their cosines, measures of other pairs) -> predicted
cosines of the others, all cosines less their mean over training pairs. It may fit levels and cuts to the
training pairs but must keep to what its source claims: a sign is held (a mean on the wrong side counts as 0),
a direction is held (a curve only rises). So a rule that claims the wrong sign predicts 0 there and cannot
borrow the truth from the data. Compare compare.prediction, which holds out features.

Columns of the measures, a row a pair: `cooccurrence` (log of observed over expected tokens with both),
`similarity` (1 - JSD of outputs), `second_order` (cosine of co-occurrence profiles), `subspace` (covariance
of firing within its leading axes), `rarer` and `commoner` (log firing rates of the two).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Cosines = Float[np.ndarray, " pairs"]
Predicted = Float[np.ndarray, " new_pairs"]
Rule = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], np.ndarray]

HIGH_CUTS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99, 0.995, 0.999)
LOW_CUTS = tuple(1 - q for q in HIGH_CUTS)
"""Quantiles of the training pairs among which a rule's cuts are sought: no source states cuts."""


def post(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """Below 0 where two do not co-occur; where they do, above 0 if outputs are similar, else 0 (the post)."""

    def cell(pairs: pd.DataFrame, cuts: tuple[float, float]) -> Int[np.ndarray, " any_pairs"]:
        co, similar = pairs["cooccurrence"].to_numpy() > cuts[0], pairs["similarity"].to_numpy() > cuts[1]
        return co * (1 + similar)

    choices = product(_cuts(train["cooccurrence"], HIGH_CUTS), _cuts(train["similarity"], HIGH_CUTS))
    return table(train, cosine, test, cell, choices, signs=(-1, 0, 1))


def post_cells(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """The post's four cells with whatever levels fit: what its cuts know, be its signs right or not."""

    def cell(pairs: pd.DataFrame, cuts: tuple[float, float]) -> Int[np.ndarray, " any_pairs"]:
        co, similar = pairs["cooccurrence"].to_numpy() > cuts[0], pairs["similarity"].to_numpy() > cuts[1]
        return 2 * co + similar

    choices = product(_cuts(train["cooccurrence"], HIGH_CUTS), _cuts(train["similarity"], HIGH_CUTS))
    return table(train, cosine, test, cell, choices, signs=(None,) * 4)


def toy_models(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """Exclusive features opposite; co-occurring ones orthogonal with room, side by side without; else 0.

    Whether there is room is read off the training pairs: their level of co-occurring pairs, not below 0
    (Elhage et al. 2022, Toy Models of Superposition).
    """

    def cell(pairs: pd.DataFrame, cuts: tuple[float, float]) -> Int[np.ndarray, " any_pairs"]:
        co = pairs["cooccurrence"].to_numpy()
        return 1 - (co < cuts[0]) + (co > cuts[1])

    co = train["cooccurrence"]
    choices = ((low, high) for low, high in product(_cuts(co, LOW_CUTS), _cuts(co, HIGH_CUTS)) if low <= high)
    return table(train, cosine, test, cell, choices, signs=(-1, 0, 1))


def outputs_decide(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """The more alike two outputs, the more alike the directions, whatever co-occurs (Bricken et al. 2023)."""
    return rising(train["similarity"], cosine, test["similarity"])


def first_order(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """The more two co-occur, the more alike their directions, whatever their outputs."""
    return rising(train["cooccurrence"], cosine, test["cooccurrence"])


def second_order(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """Directions are alike where two co-occur with the same others: cosine of co-occurrence profiles."""
    return rising(train["second_order"], cosine, test["second_order"])


def subspace(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """Cosines follow the covariance of firing within its leading axes, as many as there are dimensions.

    Prieto et al. (2026), From Data Statistics to Feature Geometry.
    """
    return rising(train["subspace"], cosine, test["subspace"])


def regression(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """The report's own regression: co-occurrence, similarity and their product, any signs."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    columns = ["cooccurrence", "similarity"]
    line = make_pipeline(
        StandardScaler(), PolynomialFeatures(interaction_only=True, include_bias=False), LinearRegression()
    )
    return line.fit(train[columns], cosine).predict(test[columns])


def frequency(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """Only how often the two fire, any function of it."""
    return boosted(train, cosine, test, ["rarer", "commoner"])


def reference(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame) -> Predicted:
    """Any function of all the measures: what a rule of them could reach."""
    return boosted(train, cosine, test, list(train.columns))


RULES: dict[str, Rule] = {
    "the post's table": post,
    "the post's cells, any levels": post_cells,
    "Toy Models": toy_models,
    "outputs decide": outputs_decide,
    "first-order co-occurrence": first_order,
    "second-order co-occurrence": second_order,
    "covariance, leading axes": subspace,
    "regression, co x sim": regression,
    "frequency only": frequency,
    "flexible learner": reference,
}
"""A new rule is one function and one line here."""

POST, FIRST_ORDER, REFERENCE = "the post's table", "first-order co-occurrence", "flexible learner"


def table(
    train: pd.DataFrame,
    cosine: Cosines,
    test: pd.DataFrame,
    cell: Callable[[pd.DataFrame, tuple[float, float]], np.ndarray],
    choices: Iterable[tuple[float, float]],
    *,
    signs: Sequence[int | None],
) -> Predicted:
    """A level for each cell, its sign held, with the cuts of `choices` that fit the training pairs best.

    `cell` gives every pair the number of its cell. `signs`: -1, 0 or 1 is what the rule says of a cell's
    level, None leaves it free; a mean with another sign becomes 0.
    """
    best, least = None, np.inf
    for cuts in choices:
        cells = cell(train, cuts)
        counts = np.bincount(cells, minlength=len(signs))
        means = np.bincount(cells, cosine, minlength=len(signs)) / np.maximum(counts, 1)
        levels = np.array([held(mean, sign) for mean, sign in zip(means, signs, strict=True)])
        error = float(counts @ (levels**2 - 2 * levels * means))  # less the sum of squares, the same for all
        if error < least:
            best, least = (cuts, levels), error
    cuts, levels = best
    return levels[cell(test, cuts)]


def held(mean: float, sign: int | None) -> float:
    """A mean if it has the sign that is claimed, else 0."""
    return mean if sign is None or mean * sign > 0 else 0.0


def rising(x: pd.Series, cosine: Cosines, new: pd.Series) -> Predicted:
    """The rising curve (steps) that fits best, at new places; beyond the training range its ends."""
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(out_of_bounds="clip")
    return curve.fit(x.to_numpy(), cosine).predict(new.to_numpy())


def boosted(train: pd.DataFrame, cosine: Cosines, test: pd.DataFrame, columns: list[str]) -> Predicted:
    """Gradient-boosted trees on some of the columns.

    Few leaves and small steps: pairs share features, and deeper trees learn single features by heart.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    learner = HistGradientBoostingRegressor(
        learning_rate=0.05, max_iter=80, max_leaf_nodes=8, early_stopping=False, random_state=0
    )
    with thread_pools().limit(limits=1):  # many short loops: two threads lose tenfold when the cores are busy
        return learner.fit(train[columns], cosine).predict(test[columns])


@cache
def thread_pools() -> "ThreadpoolController":
    """The thread pools of the libraries that are loaded; looking for them takes a quarter of a fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _cuts(values: pd.Series, quantiles: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(np.quantile(values, quantiles).tolist()))
