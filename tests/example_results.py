"""A complete `results` dictionary with made-up numbers: what arms.py hands to the report.

`example_results()` obeys the schema at the top of compare/page.py in every key. Numbers come from a fixed
seed and mean nothing. Verdicts are left to compare.hypotheses.judge(), as in a real run.
"""

import numpy as np

from compare.reliability import comparison

CELLS = [(co, sim) for co in ("exclusive", "independent", "co-occurring") for sim in ("similar", "different")]
CAUSAL = {
    "n_features": 2048.0,
    "effect_size": 0.12,
    "n_ablated": 6.5,
    "undone": 0.71,
    "with_cosine": 0.62,
    "with_outputs": 0.21,
    "with_cooccurrence": 0.05,
    "with_logits": 0.55,
    "logits_with_cosine": 0.8,
}
SPECIFICATIONS = [
    ("preactivation_correlation", "js", "none"),
    ("preactivation_correlation", "js_split", "product"),
    ("log_odds", "js_split", "none"),
    ("log_odds", "js_split", "additive"),
    ("log_odds", "js_split", "product"),
]
CAUSAL_SPECIFICATIONS = [
    ("log_odds", "effect_cosine", "product"),
    ("log_odds", "logit_cosine", "product"),
]
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

LM = "language model"
ARMS = [
    # name, group, control of, seeds, features, width, six cell means, standard error
    ("tied autoencoder, room", "toy", None, 4, 256, 128, (-0.46, -0.55, -0.02, -0.01, 0.03, 0.04), 0.012),
    ("softmax on outputs only", "toy", None, 4, 256, 32, (0.99, -0.02, 0.98, -0.01, 0.99, 0.05), 0.006),
    ("outputs + reconstruction", "toy", None, 4, 256, 128, (0.05, -0.43, 0.03, -0.01, 0.04, 0.002), 0.011),
    (LM, "real", None, 1, 1980, 512, (-0.004, -0.012, 0.018, -0.002, 0.141, 0.021), 0.002),
    ("frozen decoder", "control", LM, 1, 1900, 512, (-0.001, -0.001, 0.0, 0.0, 0.011, 0.004), 0.001),
    ("Gaussian surrogate", "control", LM, 1, 1980, 512, (-0.003, -0.004, 0.011, -0.001, 0.09, 0.012), 0.002),
]  # fmt: skip


def example_results(*, quick: bool = False) -> dict:
    """Results of a report with three toy arms, one language model and two controls."""
    generator = np.random.default_rng(7)
    arms = [arm(generator, *settings) for settings in ARMS]
    return {
        "format": 1,
        "quick": quick,
        "run": {
            "command": "cofire report" + (" --quick" if quick else ""),
            "seed": 0,
            "config": {"tokens": 400_000, "sae_features": 2048, "toy_features": 256, "min_count": 30},
            "versions": {"cofire": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
            "inputs": {"bundled/model/model.safetensors": "9f" * 32, "bundled/text.jsonl.xz": "1c" * 32},
        },
        "models": [
            {
                "name": "bundled language model",
                "kind": "language model",
                "note": "2 layers, width 512, 6.3M parameters outside embeddings",
                "quality": {"bits_per_byte": 1.71, "unigram": 2.79, "bigram": 2.08, "trigram": 1.83},
            },
            {
                "name": "SAE",
                "kind": "sae",
                "note": "2,048 features on blocks.0.hook_mlp_out, L1",
                "quality": {
                    "explained_variance": 0.83,
                    "l0": 31.4,
                    "dead_share": 0.03,
                    "loss_recovered": 0.9,
                    "agreement": 0.75,
                    "agreement_null": 0.3,
                },
            },
            {
                "name": "SAE, frozen decoder",
                "kind": "sae",
                "note": "the decoder stays at random directions of the trained one's mean and covariance",
                "quality": {
                    "explained_variance": 0.61,
                    "l0": 44.0,
                    "dead_share": 0.07,
                    "loss_recovered": 0.8,
                },
            },
        ],
        "arms": arms,
        "comparison": comparison(arms, ("log_odds", "js_split", "product")),
        "sae_bias": sae_bias(),
        "measures": {
            "sentences": ["Co-occurrence: made-up numbers."],
            "rows": [
                {"kind": "co-occurrence", "measure": "phi", "n_tokens": 4096, "worlds": 3, "recovery": 0.9}
                | {"gap": 0.0, "gap_low": 0.0, "gap_high": 0.0}
                | {"low": 0.8, "high": 1.0, "bias": 0.01, "noise": 0.3, "frequency": -0.1, "drift": 0.0}
                | {"undefined": 0.0}
            ],
        },
        "calibration": {"files": {"null.csv": "5e" * 32}, "rows": calibration_rows()},
        "verdicts": [],
    }


def calibration_rows() -> list[dict]:
    """How often two tests rejected three slopes, and one a cell's mean, where nothing and where something was
    planted.
    """
    about = {"table": "null", "error": 0.01, "replicates": 500}
    cell = about | {"effects": "none", "test": "cell mean", "term": "exclusive, similar < 0"}
    slopes = [
        about
        | {"world": world, "effects": "none", "test": test, "term": term}
        | {"rejected": round(share + 0.01 * k, 2)}
        for world, shares in (("null", (0.4, 0.05)), ("planted", (0.9, 0.8)))
        for test, share in zip(("naive", "default"), shares, strict=True)
        for k, term in enumerate(("co", "sim", "co:sim"))
    ]
    return [*slopes, cell | {"world": "null", "rejected": 0.04}, cell | {"world": "planted", "rejected": 0.6}]


def sae_bias() -> dict:
    """What SAEs added to two cells of two toys."""
    keys = ("directions", "cooccurrence", "outputs", "true", "sae", "bias", "low", "high")
    cells = [
        ("given", "co-occurring", "same", 0.01, 0.21, 0.2, 0.15, 0.25),
        ("given", "exclusive", "same", -0.01, -0.02, -0.01, -0.03, 0.01),
        ("learned", "co-occurring", "same", 0.04, 0.2, 0.16, 0.12, 0.2),
    ]
    about = {"decoder": "trained", "k": 5, "l0": 5.12, "seeds": 3, "n_pairs": 8, "n_recovered": 6.0}
    about |= {"true_recovered": 0.02, "sae_recovered": 0.15, "recovered": 0.8, "match": 0.9}
    return {
        "sentences": ["SAE with trained decoder, L0 5 (at the truth): made-up numbers."],
        "rows": [about | dict(zip(keys, cell, strict=True)) for cell in cells],
        "shape": [
            {"name": "given directions, trained decoder, L0 below the truth: co-occurrence, less the true"}
            | estimate(0.25, 0.02, 2),
        ],
        "beside": [
            {"arm": "language model", "cooccurrence": "co-occurring", "similarity": "similar", "claim": "> 0"}
            | {"verdict": "CONFIRMED", "written_low": 0.15, "written_high": 0.25, "mean": 0.01, "low": -0.04}
            | {"high": 0.06, "verdict_without": "UNDECIDED", "survives": False, "sentence": "Made up."}
        ],
    }


def arm(generator, name, group, control_of, seeds, n_features, width, means, error) -> dict:
    """One measured system."""
    n_pairs = n_features * (n_features - 1) // 2
    d_eff = width * 0.8
    real = group != "toy"
    models = {"frozen decoder": ["bundled language model", "SAE, frozen decoder"]}.get(
        name, ["bundled language model", "SAE"]
    )
    return {
        "name": name,
        "group": group,
        "control_of": control_of,
        "note": f"{n_features} features in {width} dimensions",
        "knows_outputs": "room" not in name,
        "models": models if real else [],
        "seeds": seeds,
        "n_features": n_features + (68 if real else 0),
        "n_alive": n_features,
        "n_pairs": n_pairs,
        "width": width,
        "d_eff": d_eff,
        "n_tokens": 400_000 if real else 1_000_000,
        "signed": False,
        "cooccurrence": "exact ratio" if not real else "ratio to chance",
        "similarity": "js_split" if real else "true_js",
        "spread": {"similarity_sd": 0.031 if real else 0.12, "cooccurrence_sd": 0.014},
        "cells": [
            cell(generator, co, sim, mean, error, n_pairs, n_features, d_eff)
            for (co, sim), mean in zip(CELLS, means, strict=True)
        ],
        "centred": {
            "mean_cosine": float(np.mean(means)),
            "d_eff": d_eff + 1,
            "cells": [
                cell(generator, co, sim, mean - float(np.mean(means)), error, n_pairs, n_features, d_eff + 1)
                for (co, sim), mean in zip(CELLS, means, strict=True)
            ],
        },
        "difference_in_differences": [
            {"against": base}
            | estimate((means[4] - means[5]) - (means[k] - means[k + 1]), 2 * error, n_features - 1)
            for k, base in ((0, "exclusive"), (2, "independent"))
        ],
        "regression": [
            slope(specification, term, value, error)
            for specification in (*SPECIFICATIONS, *(CAUSAL_SPECIFICATIONS if real else ()))
            for term, value in (
                ("co", means[4] / 4),
                ("sim", means[0] / 2 + 0.1),
                ("co:sim", means[4] / 2),
                ("sim - co", means[4] / 50),
            )
        ],
        **({"by_seed": by_seed(generator, means, error, seeds)} if seeds > 1 else {}),
        "reliability": {"co": 0.9 if group == "toy" else 0.6, "sim": 0.8, "noise": 0.1},
        "antipodal": antipodal(generator, n_features, real),
        **({"causal": CAUSAL} if real else {}),
        "blob": blob(n_features, width),
        "shape": [
            {"name": name} | estimate(mean, 0.01, 19)
            for name, mean in (
                ("mean square x width", 1.1),
                ("within 1 sd, less matched", -0.002),
                ("antipodal, dense less others", 0.1),
                ("antipodal features", 0.2),
                ("antipodal features, less parallel", 0.1),
            )
        ],
        **({} if group == "control" else {"hidden": hidden(width)}),
        "histogram": histogram(generator, width, n_pairs),
        "map": post_map(generator, means, n_pairs),
        "examples": examples(means, real),
        "nulls": [
            dict(zip(("cooccurrence", "similarity", "effects"), specification, strict=True))
            | {"null": null, "term": term, "mean": 0.0, "sd": 2 * error}
            for specification in (SPECIFICATIONS[0], SPECIFICATIONS[-1])
            for null in ("features dealt anew", "random directions")
            for term in ("co", "sim", "co:sim")
        ],
        "specification_curve": curve(means),
        "rules": rules(means[4] ** 2, seeds, n_features),
    }


def by_seed(generator, means, error, seeds) -> list[dict]:
    """Six cells and a slope of each seed."""
    names = [f"{co}, {sim} outputs" for co, sim in CELLS]
    keys = ("mean", "se", "low", "high")
    return [
        {"seed": k, "quantity": name}
        | {key: value for key, value in estimate(value + error * shift, error, 99).items() if key in keys}
        for k, shift in enumerate(generator.normal(size=seeds))
        for name, value in (*zip(names, means, strict=True), ("slope on similarity", means[0]))
    ]


def estimate(mean: float, se: float, df: int) -> dict:
    """A number with its default error."""
    return {
        "mean": mean,
        "se": se,
        "low": mean - 1.96 * se,
        "high": mean + 1.96 * se,
        "df": df,
        "p_below": 0.5 if mean == 0 else (0.001 if mean < 0 else 0.999),
        "p_above": 0.5 if mean == 0 else (0.999 if mean < 0 else 0.001),
    }


def cell(generator, co, sim, mean, error, n_pairs, n_features, d_eff) -> dict:
    """One of the six cells; claim, margin, verdict and reason are added by judge()."""
    share = {"exclusive": 0.02, "independent": 0.9, "co-occurring": 0.01}[co] / 2
    draws = np.tanh(np.arctanh(mean) + generator.normal(size=4000) / d_eff**0.5)
    return {
        "cooccurrence": co,
        "similarity": sim,
        "n_pairs": int(n_pairs * share),
        "n_features": n_features,
        **estimate(mean, error, n_features - 1),
        "sd": float(draws.std()),
        "null_sd": d_eff**-0.5,
        "quantiles": {str(q): float(np.quantile(draws, q)) for q in QUANTILES},
        "share_below": float((draws < -2.33 / d_eff**0.5).mean()),
        "share_above": float((draws > 2.33 / d_eff**0.5).mean()),
        "null_share": 0.01,
        "share_below_se": 0.002,
        "share_above_se": 0.002,
        "margin": 0.1 / d_eff**0.5,
        "p_equivalence": 0.5,
        "smallest_bound": abs(mean) + 1.645 * error,
        "detectable": 2.8 * error,
        "feasible_from": -0.2,
        "problem": None,
    }


def slope(specification, term, value, error) -> dict:
    """One coefficient of one specification."""
    value = value * 0.5 if specification[2] == "product" else value
    return dict(zip(("cooccurrence", "similarity", "effects"), specification, strict=True)) | {
        "term": term,
        "sd": {"co": 0.4, "sim": 0.03, "co:sim": 0.012}.get(term, 1.0),
        "sd_true": {"co": 0.4, "sim": 0.03, "co:sim": 0.012}.get(term, 1.0),
        "reliability": 1.0 if specification[:2] == ("log_odds", "js_split") else float("nan"),
        "estimate": value,
        "se": 3 * error,
        "se_dyadic": 2.5 * error,
        "se_naive": 0.4 * error,
        "low": value - 6 * error,
        "high": value + 6 * error,
        "p": 0.002,
        "df": 255,
    }


def antipodal(generator, n_features, real) -> dict:
    """The most antipodal pairs; one token wears what HTML would trip over."""
    pairs = []
    for rank in range(6):
        i, j = sorted(generator.choice(n_features, 2, replace=False).tolist())
        pairs.append(
            {
                "i": i,
                "j": j,
                "cosine": -0.97 + 0.05 * rank,
                "cofired": rank,
                "expected": 12.5,
                "phi": -0.01,
                "similarity": 0.62,
                "promotes_i": [" the", "<b>", "&amp;", " a"] if real else [],
                "promotes_j": ["\n", " said", "]]>", '"'] if real else [],
                "contexts_i": [{"before": " in <i>", "token": " the", "after": " &\n"}] if real else [],
                "contexts_j": [],
            }
        )
    return {
        "threshold": -0.5,
        "share": 2.1e-4,
        "expected_share": 1.5e-5,
        "expected_share_beta": 0.0,
        "features_flagged": 37,
        "features_flagged_by": 20,
        "features_flagged_parallel": 4,
        "variants": [
            {
                "variant": "mean direction taken out",
                "n_features": n_features,
                "share": 1.9e-4,
                "expected_share": 1.5e-5,
                "features_flagged": 30,
                "features_flagged_by": 12,
                "asymmetry_p": 0.03,
            }
        ],
        "asymmetry_p": 0.021,
        "pairs": pairs,
    }


def examples(means, real) -> list[dict]:
    """Two pairs of each cell, by name."""
    return [
        {
            "cooccurrence": co,
            "similarity": sim,
            "i": 2 * k + rank,
            "j": 100 + k,
            "cosine": mean * (1 - 0.1 * rank),
            "x": 0.1 * (k - 2),
            "y": 0.9 if sim == "similar" else 0.5,
            "fired_i": 400,
            "fired_j": 950,
            "cofired": 10 * k,
            "expected": 21.5,
            "promotes_i": [" the", "<b>"] if real else [],
            "promotes_j": ["</script>", " said"] if real else [],
        }
        for k, ((co, sim), mean) in enumerate(zip(CELLS, means, strict=True))
        for rank in range(2)
    ]


def blob(n_features, width) -> dict:
    """Shape of all cosines."""
    return {
        "mean": 0.0004,
        "mean_floor": -1 / (n_features - 1),
        "mean_square": 1.1 / width,
        "mean_square_se": 0.01 / width,
        "matched_mean_square": 1.1 / width,
        "welch_bound": max((n_features - width) / (width * (n_features - 1)), 0.0),
        "random_mean_square": 1 / width,
        "kurtosis": 0.4,
        "kurtosis_se": 0.05,
        "matched_kurtosis": 0.1,
        "shape_p": 0.0004,
        "null_mean": -0.001,
        "null_sd": 1.04,
        "null_share": 0.985,
        "random_kurtosis": -6 / (width + 2),
        "within": [
            {
                "t": t,
                "share": share - 0.01,
                "se": 0.001,
                "expected": share,
                "expected_effective": share - 0.02,
                "expected_matched": share - 0.009,
                "matched_sd": 0.001,
            }
            for t, share in ((0.5, 0.383), (1.0, 0.683), (2.0, 0.954), (3.0, 0.997))
        ],
    }


def hidden(width) -> dict:
    """What the blob would show and can hide."""
    sd = width**-0.5
    return {
        "power": [
            {"share": share, "size": size * sd, "alignment": size * sd, "power": min(1.0, size / most)}
            for share, most in ((0.001, 4.0), (0.01, 2.0))
            for size in (1.0, 2.0, 3.0, 4.0)
        ],
        "smallest": [
            {"share": share, "size": size * sd, "alignment": size * sd, "sd": sd}
            for share, size in ((0.001, 3.2), (0.01, 1.6), (0.1, float("nan")))
        ],
        "hidden": [
            {"alignment": size * sd, "share": share}
            for size, share in ((1.0, 0.66), (2.0, 0.09), (3.0, 0.006))
        ],
    }


def histogram(generator, width, n_pairs) -> dict:
    """Cosines counted in bins, and the density of random directions at their middles."""
    edges = np.linspace(-1, 1, 101)
    middles = (edges[:-1] + edges[1:]) / 2
    density = (1 - middles**2) ** ((width - 3) / 2)
    density /= density.sum() * (edges[1] - edges[0])
    spread = generator.standard_t(4, size=20_000) / width**0.5 / 1.3
    counts = np.histogram(spread.clip(-0.999, 0.999), edges)[0] * (n_pairs / 20_000)
    return {
        "edges": edges.tolist(),
        "counts": counts.round().tolist(),
        "null_density": density.tolist(),
        "matched_density": density[::-1].tolist(),
    }


def curve(means) -> dict:
    """Ten specifications: two measures of co-occurrence, five sets of features."""
    joint, by_choice, steps = [], [], []
    for term, middle in (("co", means[4]), ("sim", means[0]), ("co:sim", means[4] / 2)):
        signs = {"sign": "+" if middle >= 0 else "-", "share": 0.8, "p_share": 0.3}
        clear = {"clear_above": 0.7, "clear_below": 0.1}
        sums = {"stouffer": 31.0, "p_stouffer": 0.005}
        null = {"null_low": -0.01, "null_high": 0.01}
        joint.append(
            {"term": term, "specifications": 10, "median": middle, "p_median": 0.005}
            | null | signs | sums | clear
        )  # fmt: skip
        for value in ("phi", "log_odds"):
            about = {"term": term, "choice": "cooccurrence", "value": value, "specifications": 5}
            by_choice.append(about | {"median": middle, "share_above": 0.8, "explains": 0.2} | clear)
        for step in range(10):
            shares = {"cooccurrence: phi": step / 10, "cooccurrence: log_odds": 1 - step / 10}
            effect = middle + 0.02 * (step - 5)
            steps.append({"term": term, "step": step, "effect": effect} | null | {"shares": shares})
    about = {"problem": None, "n_features": 400, "n_specifications": 10, "permutations": 199}
    return about | {"joint": joint, "by_choice": by_choice, "steps": steps}


def rules(size, seeds, n_features) -> dict:
    """How well three rules predict the cosine of held-out features."""

    def interval(mean: float) -> dict:
        return {"mean": mean, "se": 0.002, "low": mean - 0.004, "high": mean + 0.004, "df": 99}

    names = ("the post's table", "first-order co-occurrence", "flexible learner")
    scores = [
        {"rule": name, "r2": interval(k * size), "rank": interval(0.1 * k)}
        | {"over_post": interval(k * size), "over_first": interval((k - 1) * size)}
        for k, name in enumerate(names)
    ]
    found = {"problem": None, "n_features": n_features, "n_pairs": n_features**2 // 8}
    ceiling = 0.3 if seeds > 1 else float("nan")
    return found | {
        "ceiling": ceiling,
        "best": "first-order co-occurrence" if size > 0.004 else None,
        "scores": scores,
    }


def post_map(generator, means, n_pairs) -> dict:
    """The post's figure: count and mean cosine over co-occurrence x similarity; None where nothing fell."""
    x_edges, y_edges = np.linspace(-1, 1, 41), np.linspace(0.307, 1.0, 41)
    x, y = np.meshgrid(x_edges[:-1] + 0.025, np.linspace(0, 1, 40))
    lift = ((x + 0.3) / 1.2).clip(0, 1)
    same, different = ((means[k] * (1 - lift) + means[k + 4] * lift) for k in (0, 1))
    mean = y * same + (1 - y) * different + generator.normal(size=x.shape) * 0.01
    count = (n_pairs * np.exp(-np.abs(x - 0.05) * 18 - 12 * (y - 0.4) ** 2) / 60).round()
    return {
        "x_label": "co-occurrence (correlation of pre-activations)",
        "y_label": "output similarity (1 - JSD, nats)",
        "x_edges": x_edges.tolist(),
        "y_edges": y_edges.tolist(),
        "count": count.astype(int).tolist(),
        "mean": [
            [float(m) if c else None for m, c in zip(*rows, strict=True)]
            for rows in zip(mean, count, strict=True)
        ],
    }
