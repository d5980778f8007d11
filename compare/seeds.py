"""Seeds as replicates: what each seed of an arm gave by itself, beside what they give together."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from compare.cells import Cells, estimate
from compare.fitted import Fit
from compare.names import SLOPES, term_name
from compare.wording import cell_name


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
    n = len(part)
    spread = float(part["mean"].std(ddof=1)) if n > 1 else np.nan
    found = estimate(float(part["mean"].mean()) if n else np.nan, spread / max(n, 1) ** 0.5, n - 1)
    own = float(np.sqrt((part["se"] ** 2).mean())) if n else np.nan
    kept = {name: found[name] for name in ("mean", "se", "low", "high")}
    return {"seeds": n} | kept | {"seed_sd": spread, "own_se": own, "ratio": spread / own if own else np.nan}
