"""Do the tests of cells and of directions keep their promise? What compare.calibration does for slopes.

Directions are drawn anew with the mean and covariance of measured ones, so that nothing ties them to
co-occurrence or outputs. A shift of all cosines of a cell moves its mean and leaves its error alone, so one
draw serves for every world: means at zero, at the margin of zero, and where an effect is planted.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int8

from compare.blob import GROUPS, matched_null, shape_p, sums_of
from compare.cells import P_VALUES, Cells, estimate, measure_cells
from compare.geometry import antipodal, flag, unit_directions
from compare.names import CLAIMS
from compare.nulls import effective_dimension
from compare.opposites import dense_excess
from compare.progress import Progress

LEVEL = 0.05
PARTS = {cell: claim for cell, claim in CLAIMS.items() if cell[0] != "independent"}
"""The post's table, "do not co-occur" read as exclusive: all four must hold."""

REACHES = (1.0, 3.0, 10.0)
"""How many effects from zero the signs of the table are planted."""

EVERY = 4
"""Directions are tested in one replicate of so many: each draws dictionaries of its own as a null."""

OPPOSITE_SHARE = 0.1
"""Share of the features that lie in planted antipodal pairs, the densest ones."""

Rejections = dict[tuple[str, str, str], bool]
"""Whether a test rejects, by world, test and term."""


def redrawn(
    directions: Float[np.ndarray, "n width"], rng: np.random.Generator
) -> Float[np.ndarray, "n width"]:
    """Gaussian directions with the mean and covariance of the given ones at unit length."""
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.cov(units.T))
    root = vectors * np.sqrt(np.maximum(values, 0))
    return units.mean(0) + rng.normal(size=units.shape) @ root.T


def calibrate_tests(
    directions: Float[np.ndarray, "n width"],
    cooccurrence: Int8[np.ndarray, "n n"],
    similarity: Int8[np.ndarray, "n n"],
    rates: Float[np.ndarray, " n"],
    *,
    replicates: int = 200,
    effect: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Share of replicates in which each test of cells and of directions rejects at 5 %: columns as in
    compare.calibration.calibrate_evidence, a row a world, test and term.

    `cooccurrence` and `similarity` hold the levels of compare.measures. `effect` is what is planted in a cell
    mean, in standard deviations of the cosine. Tests called naive take pairs for independent. A cell without
    enough pairs has no row. Directions are tested in every EVERY-th replicate.
    """
    rng = np.random.default_rng(seed)
    mask = ~np.eye(len(directions), dtype=bool)
    centre = expected_cosine(directions, rng)
    found: list[Rejections] = []
    for number in range(replicates):
        if progress is not None:
            progress(number, replicates)
        fresh = redrawn(directions, rng)
        units = unit_directions(fresh)
        cosine = (units @ units.T).astype(np.float64)
        cells = measure_cells(cosine, cooccurrence, similarity, mask, d_eff=effective_dimension(units))
        size = effect * float(cosine[np.triu_indices(len(cosine), 1)].std())
        found.append(dict(of_cells(cells, centre, size)))
        if number % EVERY:
            continue
        for world, drawn in (("null", fresh), ("planted", with_opposites(fresh, rates, rng))):
            found[-1] |= {(world, *key): value for key, value in of_directions(drawn, rates, number).items()}
    return rejection_table(found)


def rejection_table(found: Sequence[Rejections]) -> pd.DataFrame:
    """A row a world, test and term: in which share of the replicates that have it the test rejects."""
    rows = []
    for world, test, term in found[0]:
        rejections = [one[world, test, term] for one in found if (world, test, term) in one]
        rows.append((world, "none", test, term, float(np.mean(rejections)), len(rejections)))
    table = pd.DataFrame(rows, columns=["world", "effects", "test", "term", "rejected", "replicates"])
    table["error"] = np.sqrt(table["rejected"] * (1 - table["rejected"]) / table["replicates"])
    return table


def expected_cosine(
    directions: Float[np.ndarray, "n width"], rng: np.random.Generator, draws: int = 100
) -> float:
    """Mean cosine of two directions drawn as `redrawn` draws them."""
    sums = [unit_directions(redrawn(directions, rng)).sum(0, dtype=np.float64) for _ in range(draws)]
    n = len(directions)
    return float(np.mean([(total @ total - n) / (n * (n - 1)) for total in sums]))


def of_cells(cells: Cells, centre: float, size: float) -> Iterator[tuple[tuple[str, str, str], bool]]:
    """Tests of the cells' means, less `centre`, that of all pairs; `size` is the effect in cosines."""
    rows = {
        (row["cooccurrence"], row["similarity"]): row
        for row in cells.to_results()["cells"]
        if row["problem"] is None
    }
    for kind in ("default", "naive"):
        test = "cell mean" if kind == "default" else "cell mean, naive"

        def p(name: tuple[str, str], claim: str, shift: float, kind: str = kind) -> float:
            row = rows[name]
            naive = row["sd"] / row["n_pairs"] ** 0.5, row["n_pairs"] - 1
            se, df = (row["se"], row["df"]) if kind == "default" else naive
            return estimate(row["mean"] - centre + shift, se, df, row["margin"])[P_VALUES[claim]]

        for name in rows:
            shown = ", ".join(name)
            for claim, side in (("< 0", -1), ("> 0", 1)):
                yield ("null", test, f"{shown} {claim}"), p(name, claim, 0.0) < LEVEL
                yield ("planted", test, f"{shown} {claim}"), p(name, claim, side * size) < LEVEL
            margin = rows[name]["margin"]
            yield ("null", test, f"{shown} = 0"), p(name, "= 0", margin) < LEVEL
            yield ("planted", test, f"{shown} = 0"), p(name, "= 0", 0.0) < LEVEL
        yield from of_the_table(rows, p, size, test)
        yield from of_differences(cells, rows, size, kind)


def of_the_table(rows: dict, p, size: float, test: str) -> Iterator[tuple[tuple[str, str, str], bool]]:
    """The four-cell claim as an intersection-union test: with nothing planted, with one part alone false and
    the others far from zero, farther, and farther still, and with all four true at the same reach.
    """
    if not set(PARTS) <= set(rows):
        return
    sides = {"< 0": -1.0, "> 0": 1.0, "= 0": 0.0}

    def holds(reach: float, **changed: float) -> bool:
        shifts = {name: sides[claim] * reach * size for name, claim in PARTS.items()}
        shifts |= {name: changed[" ".join(name)] for name in PARTS if " ".join(name) in changed}
        return all(p(name, claim, shifts[name]) < LEVEL for name, claim in PARTS.items())

    margin = rows["co-occurring", "different"]["margin"]
    found = {"every mean 0": (holds(0.0), holds(1.0))}
    for reach in REACHES:
        far = f"signs at {reach:g} effect{'s' * (reach > 1)}"
        truth = holds(reach)
        found[f"{far}, one at 0"] = holds(reach, **{"co-occurring similar": 0.0}), truth
        found[f"{far}, the zero at its margin"] = holds(reach, **{"co-occurring different": margin}), truth
    for name, (rejected, power) in found.items():
        yield ("null", test, f"the post's table, {name}"), rejected
        yield ("planted", test, f"the post's table, {name}"), power


def of_differences(
    cells: Cells, rows: dict, size: float, kind: str
) -> Iterator[tuple[tuple[str, str, str], bool]]:
    """The difference in differences, above zero."""
    for row in cells.to_results()["difference_in_differences"]:
        names = [(co, sim) for co in ("co-occurring", row["against"]) for sim in ("similar", "different")]
        if not set(names) <= set(rows):
            continue
        test = "difference in differences" + ", naive" * (kind == "naive")
        se, df = row["se"], row["df"]
        if kind == "naive":
            se = sum(rows[name]["sd"] ** 2 / rows[name]["n_pairs"] for name in names) ** 0.5
            df = sum(rows[name]["n_pairs"] for name in names) - 4
        for world, shift in (("null", 0.0), ("planted", size)):
            p = estimate(row["mean"] + shift, se, df)["p_above"]
            yield (world, test, f"against {row['against']} > 0"), p < LEVEL


def of_directions(
    directions: Float[np.ndarray, "n width"], rates: Float[np.ndarray, " n"], seed: int
) -> dict[tuple[str, str], bool]:
    """Tests of one dictionary by test and term: antipodal features, signs, dense ones, and the blob."""
    found = antipodal(directions, n_pairs=1, seed=seed)
    p = {name: found.features[f"p_{name}"].to_numpy() for name in ("covariance", "beta", "effective")}
    null = matched_null(unit_directions(directions), seed=seed)
    sums = sums_of(unit_directions(directions), min(GROUPS, len(directions)), seed).estimates()
    shape = shape_p({name: value for name, (value, _) in sums.items()}, null)
    any_flagged = "any feature flagged"
    results = {
        ("antipodal, matched covariance", any_flagged): bool(flag(p["covariance"]).any()),
        ("antipodal, Benjamini-Yekutieli", any_flagged): bool(flag(p["covariance"], method="by").any()),
        ("antipodal, Beta(d), naive", any_flagged): bool(flag(p["beta"]).any()),
        ("antipodal, Beta(d_eff)", any_flagged): bool(flag(p["effective"]).any()),
        ("antipodal, sign flips", "more below than above"): found.asymmetry["p"] < LEVEL,
        ("blob", "shape other than matched"): shape < LEVEL,
    }
    mean, error, df = dense_excess(found.features["flagged"].to_numpy(), rates)
    if np.isfinite(error):
        above = estimate(mean, error, df)["p_above"]
        results["antipodal, dense less others", "> 0"] = above < LEVEL
    return results


def with_opposites(
    directions: Float[np.ndarray, "n width"], rates: Float[np.ndarray, " n"], rng: np.random.Generator
) -> Float[np.ndarray, "n width"]:
    """The same, the densest OPPOSITE_SHARE of features laid out in pairs at cosines near -.95."""
    planted = directions.copy()
    densest = np.argsort(-rates, kind="stable")[: 2 * max(1, round(OPPOSITE_SHARE * len(rates) / 2))]
    first, second = densest[::2], densest[1::2]
    noise = rng.normal(size=(len(first), directions.shape[1]))
    noise *= 0.33 * np.linalg.norm(directions[first], axis=1, keepdims=True) / directions.shape[1] ** 0.5
    planted[second] = noise - directions[first]
    return planted
