"""The regressions that every report shows: which measures, which feature effects, which covariates."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from compare.evidence import Evidence
from compare.specifications import sample_size


class Specification(NamedTuple):
    """One way to run the regression."""

    cooccurrence: str
    similarity: str
    effects: str
    """Of features, as in compare.fit; SAMPLE_SIZE behind it adds covariates of sampling noise."""

    def arguments(self, evidence: Evidence, features: Int[np.ndarray, " n"]) -> dict:
        """What compare.fit takes beside the measures: effects, activity, covariates."""
        effects = self.effects.removesuffix(SAMPLE_SIZE)
        counts = np.asarray(evidence.counts, dtype=np.float64)[features]
        covariates = None
        if effects != self.effects:
            covariates = sample_size(counts, np.asarray(evidence.cofiring)[np.ix_(features, features)])
            if effects != "none":
                del covariates["1/n_i + 1/n_j"]  # levels of features, which the effects take out
        activity = np.log(counts) if effects == "product" else None
        return {"effects": effects, "activity": activity, "covariates": covariates}


SAMPLE_SIZE = " + sample size"
AS_PUBLISHED = Specification("preactivation_correlation", "js", "none")
DEFAULT = Specification("log_odds", "js_split", "product")
SPECIFICATIONS = (
    AS_PUBLISHED,
    Specification("phi", "js_split", "none"),
    AS_PUBLISHED._replace(similarity="js_split", effects="product"),
    DEFAULT._replace(effects="none"),
    DEFAULT._replace(effects="none" + SAMPLE_SIZE),
    DEFAULT._replace(effects="additive"),
    DEFAULT,
    DEFAULT._replace(effects="product" + SAMPLE_SIZE),
)
"""The third: the published slope, with outputs over disjoint halves and activity held fixed."""

WITH_NULLS = (
    AS_PUBLISHED,
    DEFAULT._replace(effects="none"),
    DEFAULT,
    DEFAULT._replace(effects="product" + SAMPLE_SIZE),
)
"""Specifications whose slopes are held against nulls and controls one by one."""

TRUE = Specification("true_phi", "true_js", "product")
"""Run beside the others where the world is known."""

CAUSAL = (DEFAULT._replace(similarity="effect_cosine"), DEFAULT._replace(similarity="logit_cosine"))
"""Run beside the others where causal effects were measured; the second is a control for tautology."""
