"""Seeds as replicates: what each seed of an arm gave by itself, beside what they give together."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from compare.cells import Cells, estimate
from compare.fitted import Fit
from compare.names import SLOPES, cell_name, term_name
from compare.replicates import over_replicates


def seed_rows(cells: Sequence[Cells], fits: Sequence[Fit]) -> list[dict]:
    """The key `by_seed` of an arm: a row for each seed and quantity, with the seed's own default error.

    Quantities are the six cells' means and the slopes of the default specification. Nothing where there is
    one seed only.
    """
    if len(cells) < 2:
        return []
    rows = []
    for number, (own, fit) in enumerate(zip(cells, fits, strict=True)):
        for cell in own.table.to_dict("records"):
            about = {"seed": number, "quantity": cell_name(cell["cooccurrence"], cell["similarity"])}
            rows.append(about | {name: cell[name] for name in ("mean", "se", "low", "high")})
        for term in SLOPES:
            value, se = fit.contrast({term: 1.0}, "default")
            found = estimate(value, se, fit.n_features - 1)
            about = {"seed": number, "quantity": f"slope on {term_name(term)}"}
            rows.append(about | {name: found[name] for name in ("mean", "se", "low", "high")})
    return rows


def slope(fits: Sequence[Fit], weights: Sequence[dict[str, float]]) -> dict:
    """A weighted sum of coefficients over seeds; default, floored dyadic and naive errors of a single one
    beside it.

    One dictionary has its own default error; of several, the spread between them is the error.
    """
    kinds = {"default": "default", "dyadic": "dyadic_floored", "naive": "naive"}
    found = {
        name: [fit.contrast(weight, kind) for fit, weight in zip(fits, weights, strict=True)]
        for name, kind in kinds.items()
    }
    mean, se, df, _ = over_replicates([value for value, _ in found["default"]])
    single = {f"se_{kind}": float(np.mean([se for _, se in found[kind]])) for kind in kinds}
    if len(fits) == 1:
        se, df = single["se_default"], fits[0].n_features - 1
    numbers = estimate(mean, se, df)
    p = 2 * min(numbers["p_below"], numbers["p_above"])
    return {"estimate": numbers.pop("mean")} | single | numbers | {"p": p}


def seeds_together(found: Sequence[tuple[float, float, int]]) -> tuple[float, float, int]:
    """One seed's number as it is; of several their mean, with the spread between them as the error, or their
    own errors if these are larger: shares of few features may agree by chance.
    """
    if len(found) == 1:
        return found[0]
    means, errors, _ = np.array(found).T
    error = np.maximum(means.std(ddof=1), (errors**2).mean() ** 0.5)  # NaN stays NaN
    return float(means.mean()), float(error / len(found) ** 0.5), len(found) - 1


def numbers(named: Mapping[str, tuple[float, float, int]]) -> list[dict]:
    """A row for each named mean, error and degrees of freedom."""
    return [{"name": name} | estimate(float(mean), float(se), df) for name, (mean, se, df) in named.items()]


def seed_tables(results: dict) -> dict[str, pd.DataFrame]:
    """seeds.csv: a row an arm, quantity and seed; seeds_together.csv: a row an arm and quantity.

    Together: mean over seeds with its interval by t over seeds, spread between them, and how many times the
    error that one seed claims for itself that spread is (near 1 where a seed's own error tells the truth).
    """
    rows = [
        {"arm": arm["name"], "group": arm["group"]} | row
        for arm in results["arms"]
        for row in arm.get("by_seed", [])
    ]
    apart = pd.DataFrame(rows, columns=["arm", "group", "quantity", "seed", "mean", "se", "low", "high"])
    together = [
        dict(zip(("arm", "group", "quantity"), names, strict=True)) | over_seeds(part)
        for names, part in apart.groupby(["arm", "group", "quantity"], sort=False)
    ]
    return {"seeds": apart, "seeds_together": pd.DataFrame(together)}


def over_seeds(part: pd.DataFrame) -> dict:
    """One quantity over the seeds that have it."""
    part = part.dropna(subset="mean").astype({"mean": float, "se": float})
    mean, se, df, spread = over_replicates(part["mean"].to_numpy())
    found = estimate(mean, se, df)
    own = float(np.sqrt((part["se"] ** 2).mean())) if len(part) else np.nan
    kept = {name: found[name] for name in ("mean", "se", "low", "high")}
    about = {"seed_sd": spread, "own_se": own, "ratio": spread / own if own else np.nan}
    return {"seeds": len(part)} | kept | about
