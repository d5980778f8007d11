"""One arm, from the Evidence of its seeds to the numbers of the report; the same for every arm."""

from collections.abc import Mapping, Sequence

import numpy as np

from compare import ranks
from compare.battery import DEFAULT, WITH_NULLS
from compare.blob import GROUPS, NULL_DICTIONARIES, Blob, blob, matched_null
from compare.causes import causal_results
from compare.cells import combine_seeds
from compare.dictionary import N_LISTED, Choices, Seed, analyse_seed, deviation, deviations_of, directions_of
from compare.evidence import Evidence
from compare.excess import combine_nulls, null_slopes
from compare.geometry import unit_directions
from compare.hidden import hidden
from compare.names import DIFFERENCE
from compare.nulls import cosine_density, matched_density
from compare.opposites import (
    beyond_parallel,
    dense_excess,
    flagged_share,
    sides,
    variants,
)
from compare.pairs import PairMap, histogram
from compare.prediction import rule_results
from compare.reliability import Reliability, reliabilities
from compare.seeds import numbers, seed_rows, seeds_together, slope
from compare.sensitivity import curve_results

COSINE_EDGES = np.linspace(-1.0, 1.0, 201)


def analyse(evidences: Sequence[Evidence], choices: Choices, *, power: bool = True) -> dict:
    """The numbers of one arm: cells, regressions, antipodal pairs, histogram, map (see compare/page.py).

    `power` asks as well what alignments would have been found.
    """
    seeds = [analyse_seed(evidence, choices) for evidence in evidences]
    reliable = [
        reliabilities(one.evidence, one.table.feature_ids, one.table.mask, seed=choices.seed) for one in seeds
    ]
    first = seeds[0]
    counts = sum(histogram(seed.table, COSINE_EDGES) for seed in seeds)
    d_eff = float(np.mean([seed.d_eff for seed in seeds]))
    middles = (COSINE_EDGES[1:] + COSINE_EDGES[:-1]) / 2
    directions = np.asarray(first.evidence.directions)[first.table.feature_ids]
    jobs = {
        "antipodal": lambda: antipodal_results(seeds, choices.seed, power),
        "blob": lambda: blob_results(seeds, choices.seed, power),
        "nulls": lambda: null_rows(seeds),
        "specification_curve": lambda: curve_results(
            first.table,
            max_features=choices.curve_features,
            permutations=choices.curve_permutations,
            seed=choices.seed,
        ),
        "rules": lambda: rule_results(
            [(seed.evidence, seed.table, seed.similarity) for seed in seeds], seed=choices.seed
        ),
    }
    done = ranks.each(jobs)
    unfitted = {" ".join(one): why for seed in seeds for one, why in seed.unfitted.items()}
    return {
        "seeds": len(seeds),
        "n_features": first.evidence.n_features,
        "n_alive": round(float(np.mean([seed.table.n for seed in seeds]))),
        "n_pairs": round(float(np.mean([seed.table.n_pairs for seed in seeds]))),
        "width": first.evidence.directions.shape[1],
        "d_eff": d_eff,
        "n_tokens": first.evidence.n_tokens,
        "signed": is_signed(first.evidence.provenance),
        "cooccurrence": "exact ratio" if first.evidence.truth else "ratio to chance",
        "similarity": first.similarity,
        "spread": spread(seeds),
        **combine_seeds([seed.cells for seed in seeds]).to_results(),
        "centred": centred_results(seeds),
        **({"by_seed": by_seed(seeds)} if len(seeds) > 1 else {}),
        "regression": regression_rows(seeds, reliable),
        **({"unfitted": unfitted} if unfitted else {}),
        "reliability": {
            name: float(np.mean([getattr(one, name) for one in reliable])) for name in ("co", "sim", "noise")
        },
        "antipodal": done["antipodal"],
        **(
            {}
            if first.evidence.logit_metric is None
            else {"causal": causal_results([s.table for s in seeds])}
        ),
        **done["blob"],
        "histogram": {
            "edges": COSINE_EDGES.tolist(),
            "counts": counts.tolist(),
            "null_density": cosine_density(middles, d_eff).tolist(),
            "matched_density": matched_density(directions, COSINE_EDGES, seed=choices.seed).tolist(),
        },
        "map": map_results([seed.picture for seed in seeds]),
        "examples": first.examples,
        "nulls": done["nulls"],
        "specification_curve": done["specification_curve"],
        "rules": done["rules"],
    }


def is_signed(provenance: Mapping) -> bool:
    """Whether features fire in both senses, as a system's provenance or that of what it was made of says."""
    return bool(provenance.get("signed")) or ("of" in provenance and is_signed(provenance["of"]))


def by_seed(seeds: Sequence[Seed]) -> list[dict]:
    """Each seed by itself."""
    return seed_rows([seed.cells for seed in seeds], [seed.fits[DEFAULT] for seed in seeds])


def centred_results(seeds: Sequence[Seed]) -> dict:
    """The cells with the mean direction taken out, and the mean cosine of all pairs that it stands for."""
    together = combine_seeds([seed.centred for seed in seeds])
    means = [seed.table.cosine[seed.table.mask].mean(dtype=np.float64) for seed in seeds]
    found = {"mean_cosine": float(np.mean(means)), "d_eff": together.d_eff}
    return found | {"cells": together.to_results()["cells"]}


def null_rows(seeds: Sequence[Seed]) -> list[dict]:
    """What slopes would be if nothing tied directions to measures (compare.excess)."""
    rows = []
    for one in WITH_NULLS:
        frames = [
            null_slopes(
                seed.table.cosine,
                seed.table[one.cooccurrence],
                seed.table[one.similarity],
                mask=seed.table.mask,
                units=seed.table.units,
                **one.arguments(seed.evidence, seed.table.feature_ids),
            )
            for seed in seeds
        ]
        rows += combine_nulls(frames, one._asdict())
    return rows


def spread(seeds: Sequence[Seed]) -> dict[str, float]:
    """Standard deviations over pairs of what the regression explains with, averaged over seeds."""
    return {
        "similarity_sd": float(np.mean([deviation(seed.table, seed.similarity) for seed in seeds])),
        "cooccurrence_sd": float(np.mean([deviation(seed.table, DEFAULT.cooccurrence) for seed in seeds])),
    }


def regression_rows(seeds: Sequence[Seed], reliable: Sequence[Reliability]) -> list[dict]:
    """A row for each specification and slope, then one for how much more similarity does than co-occurrence.

    `sd` is that of the slope's measures over pairs, averaged over seeds: estimate x sd is in cosines.
    `sd_true` is the same without their noise, `reliability` that of what the regression has of them, both NaN
    where the noise is not known; of the difference the lower reliability.
    """
    rows = []
    for one in seeds[0].fits:
        if any(one not in seed.fits for seed in seeds):
            continue
        fits = [seed.fits[one] for seed in seeds]
        size = {}
        if seeds[0].tables[one] is not seeds[0].table:  # pairs of its own, which gates look at
            size = {name: min(getattr(each, name) for each in fits) for name in ("n_pairs", "n_features")}
        deviations = [deviations_of(seed, one) for seed in seeds]
        known = [
            each.of_slopes(one.cooccurrence, one.similarity, dict(fit.left), sd)
            for each, fit, sd in zip(reliable, fits, deviations, strict=True)
        ]
        share, sd_true = (mean_of([each[k] for each in known]) for k in (0, 1))
        sd = mean_of(deviations)
        for term in fits[0].params.index.drop("const", errors="ignore"):
            row = {"term": term, "sd": sd.get(term, np.nan), "sd_true": sd_true.get(term, np.nan)}
            row["reliability"] = share.get(term, np.nan)
            rows.append(one._asdict() | row | slope(fits, [{term: 1.0}] * len(fits)) | size)
        lower = min(share["sim"], share["co"], key=lambda each: np.nan_to_num(each, nan=-1))
        row = {"term": DIFFERENCE, "sd": 1.0, "sd_true": 1.0, "reliability": lower}
        weights = [{"sim": each["sim"], "co": -each["co"]} for each in deviations]
        rows.append(one._asdict() | row | slope(fits, weights) | size)
    return rows


def mean_of(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each named number's mean over seeds."""
    return {name: float(np.mean([each[name] for each in numbers])) for name in numbers[0]}


def antipodal_results(seeds: Sequence[Seed], seed: int, power: bool) -> dict:
    """Shares averaged over seeds, features flagged in all, variants of the first, and the listed pairs."""
    results = [one.opposites.to_results() for one in seeds]
    shares = {
        name: float(np.mean([result[name] for result in results]))
        for name, value in results[0].items()
        if isinstance(value, float)
    }
    flagged = {
        name: sum(result[name] for result in results)
        for name in ("features_flagged", "features_flagged_by", "features_flagged_parallel")
    }
    pairs = [pair for number, one in enumerate(seeds) for pair in listed_pairs(one, number)]
    pairs = sorted(pairs, key=lambda pair: pair["cosine"])[:N_LISTED]
    directions, rates = directions_of(seeds[0])
    again = variants(directions, rates, seed=seed) if power else []
    return shares | flagged | {"variants": again, "pairs": pairs}


def listed_pairs(seed: Seed, number: int) -> list[dict]:
    """The most antipodal pairs of a seed by their features' ids: firings, chance, and what each side is."""
    found = seed.opposites.pairs
    rows = found[["i", "j"]].to_numpy()
    features = seed.table.feature_ids[rows]
    side = sides(seed.evidence, features.ravel())
    counts = np.asarray(seed.evidence.counts)
    pairs = []
    for k, ((i, j), (a, b)) in enumerate(zip(rows, features, strict=True)):
        about = {
            "seed": number,
            "i": int(a),
            "j": int(b),
            "cosine": float(found["cosine"].iloc[k]),
            "fired_i": int(counts[a]),
            "fired_j": int(counts[b]),
            "cofired": int(seed.evidence.cofiring[a, b]),
            "expected": float(counts[a] * counts[b] / seed.evidence.n_tokens),
            "phi": float(seed.table["phi"][i, j]),
            "similarity": float(seed.table[DEFAULT.similarity][i, j]),
        }
        pairs.append(about | side(2 * k, "i") | side(2 * k + 1, "j"))
    return pairs


def blob_results(seeds: Sequence[Seed], seed: int, power: bool) -> dict:
    """The keys `blob` and, if asked for, `hidden`, of the first seed, and `shape` of all."""
    directions, _ = directions_of(seeds[0])
    null = matched_null(unit_directions(directions), seed=seed)
    found = blob(directions, null=null, seed=seed)
    blobs = [found, *(blob(directions_of(one)[0], seed=seed) for one in seeds[1:])]
    shapes = [shape_of(one, its_blob) for one, its_blob in zip(seeds, blobs, strict=True)]
    together = {name: seeds_together([shape[name] for shape in shapes]) for name in shapes[0]}
    results = {"blob": found.to_results(), "shape": numbers(together)}
    return results | ({"hidden": hidden(directions, found, null, seed=seed).to_results()} if power else {})


def shape_of(seed: Seed, found: Blob) -> dict[str, tuple[float, float, int]]:
    """Numbers of a dictionary that a hypothesis can be about, each with its error and degrees of freedom; of
    the blob, errors by groups of features.
    """
    one = found.within.set_index("t").loc[1.0]
    df = min(GROUPS, found.n_features) - 1
    opposites = seed.opposites.features
    flagged, parallel = (opposites[name].to_numpy() for name in ("flagged", "flagged_parallel"))
    return {
        "mean square x width": (found.mean_square * found.width, found.mean_square_se * found.width, df),
        "within 1 sd, less matched": (
            one["share"] - one["expected_matched"],
            (one["se"] ** 2 + one["matched_sd"] ** 2 / NULL_DICTIONARIES) ** 0.5,
            df,
        ),
        "antipodal, dense less others": dense_excess(flagged, directions_of(seed)[1]),
        "antipodal features": flagged_share(flagged),
        "antipodal features, less parallel": beyond_parallel(flagged, parallel),
    }


def map_results(pictures: Sequence[PairMap]) -> dict:
    """The post's figure as numbers, rows from low to high similarity; None where no pair fell."""
    count = sum(picture.count for picture in pictures)
    total = sum(np.nan_to_num(picture.mean) * picture.count for picture in pictures)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return {
        "x_label": "co-occurrence (correlation of pre-activations)",
        "y_label": "output similarity (1 - JSD, nats)",
        "x_edges": pictures[0].x_edges.tolist(),
        "y_edges": pictures[0].y_edges.tolist(),
        "count": count.T.tolist(),
        "mean": [[None if np.isnan(value) else float(value) for value in row] for row in mean.T],
    }
