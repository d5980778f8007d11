"""The post's table, and names of measures, slopes and specifications as a reader knows them."""

CLAIMS = {
    ("exclusive", "similar"): "< 0",
    ("exclusive", "different"): "< 0",
    ("independent", "similar"): "< 0",
    ("independent", "different"): "< 0",
    ("co-occurring", "similar"): "> 0",
    ("co-occurring", "different"): "= 0",
}
"""Co-occurrence and output similarity of a cell -> what the post claims of its mean cosine."""

CELLS = list(CLAIMS)

MEASURES = {
    "phi": "correlation of firing (phi)",
    "log_odds": "log odds of firing together",
    "log_ratio": "log ratio to chance",
    "npmi": "pointwise mutual information",
    "activation_correlation": "correlation of activations",
    "preactivation_correlation": "correlation of pre-activations",
    "second_order": "likeness of co-occurrence profiles",
    "js": "1 \N{MINUS SIGN} JSD",
    "js_split": "1 \N{MINUS SIGN} JSD, disjoint halves",
    "effect_cosine": "likeness of causal effects",
    "logit_cosine": "likeness of direct logits",
    "true_phi": "true correlation of firing",
    "true_js": "1 \N{MINUS SIGN} JSD of the true outputs",
}
"""Measures by their names in compare/measures.py; what is not here goes by its name there."""

TERMS = {
    "co": "co-occurrence",
    "sim": "similarity",
    "co:sim": "their product",
}
"""Slopes by the names of compare.fit."""

TESTS = {
    "naive": "naive",
    "hc1": "HC1",
    "dyadic_floored": "dyadic sandwich",
    "jackknife": "jackknife",
    "default": "default (jackknife less HC1)",
    "mantel_moments": "permutation, exact moments",
    "mrqap_dsp": "permutation, semi-partialled",
}
"""Tests by their names in compare/calibration.py, those that forget shared features first."""

SLOPES = list(TERMS)

DIFFERENCE = "sim - co"
"""How much more one standard deviation of similarity does than one of co-occurrence."""

HELD = (0.03, 0.075)
"""Size of a test of 5 % that counts as kept."""

EFFECTS = {"none": "raw", "additive": "feature effects", "product": "effects, activity"}


def cell_name(cooccurrence: str, similarity: str) -> str:
    """A cell in words."""
    return f"{cooccurrence}, {similarity} outputs"


def measure_name(name: str) -> str:
    """A measure in words."""
    return MEASURES.get(name, name.replace("_", " "))


def term_name(name: str) -> str:
    """What a slope is on, in words."""
    return TERMS.get(name, name)


def test_name(name: str) -> str:
    """A test in words."""
    return TESTS.get(name, name)


def effects_name(name: str) -> str:
    """A specification's feature effects and covariates in words."""
    first, *more = name.split(" + ")
    return ", ".join([EFFECTS.get(first, first), *more])


def choice_name(choice: str, value: str) -> str:
    """A choice of the specification curve and what was chosen."""
    shown = {"cooccurrence": measure_name, "similarity": measure_name, "effects": effects_name}
    name = {"cooccurrence": "co-occurrence"}.get(choice, choice)
    return f"{name} · {shown.get(choice, str)(value)}"


def pair_name(cooccurrence: str, similarity: str) -> str:
    """Two measures, the one by the other."""
    return f"{measure_name(cooccurrence)} \N{MULTIPLICATION SIGN} {measure_name(similarity)}"
