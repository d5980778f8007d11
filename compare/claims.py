"""What a hypothesis is made of: a number of an arm, by name, and what it is claimed to be."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from compare.battery import SAMPLE_SIZE, Specification
from compare.cells import MARGIN
from compare.config import make_config, nearest
from compare.measures import COOCCURRENCE, SIMILARITY
from compare.names import DIFFERENCE, EFFECTS, SLOPES

Claim = Literal["< 0", "> 0", "= 0", "!= 0"]
CELL_MEANS = ("cell mean", "centred cell mean")
IN_COSINES = (*CELL_MEANS, "difference in differences")
"""Measures in units of the cosine, whose zero has a width: the margin. A slope is one of them if `per_sd`."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number of one arm."""

    measure: Literal[
        "cell mean",
        "centred cell mean",
        "difference in differences",
        "slope",
        "corrected slope",
        "share below",
        "share above",
        "shape",
        "rule",
    ]
    """Which number: of a cell its mean, the same with the mean direction taken out of every direction, or its
    share of pairs below (above) the null's quantile less the null's own share; a slope, or it divided by the
    reliability of its measure; a number of the dictionary's shape; a rule's score on features that it has not
    seen."""

    cooccurrence: Literal["", "exclusive", "independent", "co-occurring"] = ""
    """Of a cell: its co-occurrence."""

    similarity: Literal["", "similar", "different"] = ""
    """Of a cell: its output similarity."""

    against: Literal["exclusive", "independent"] = "exclusive"
    """Of a difference in differences: what co-occurring pairs are compared with."""

    slope: tuple[str, ...] = ("log_odds", "js_split", "product", "co:sim")
    """Of a slope: measure of co-occurrence, measure of output similarity, feature effects, term."""

    per_sd: bool = False
    """Of a slope: in cosines for one standard deviation of its measures over pairs."""

    shape: str = ""
    """Of a dictionary's shape: the name of one of the arm's `shape` numbers."""

    rule: str = ""
    """Of a rule: its name, as in compare.rules."""

    score: Literal["r2", "rank", "over_post", "over_first"] = "r2"
    """Of a rule: share of variation predicted, rank correlation, or r2 less that of the post's table, or of
    first-order co-occurrence."""

    arm: str = ""
    """Name of the arm; empty for every arm that is judged."""

    times: float = 1.0
    """Counted so many times."""

    @property
    def is_cell(self) -> bool:
        """Whether it is a number of one cell."""
        return self.measure in (*CELL_MEANS, "share below", "share above")

    @property
    def has_margin(self) -> bool:
        """Whether it is in units of the cosine."""
        return self.measure in IN_COSINES or (self.measure == "slope" and self.per_sd)


@dataclass(frozen=True, kw_only=True)
class Hypothesis(Quantity):
    """One claim about a number of an arm, or about that number less others."""

    id: str
    """Short name, used in results."""

    statement: str
    """The claim as a sentence."""

    claim: Claim
    """What it is claimed to be; "= 0" is within the margin, "!= 0" beyond zero on either side."""

    less: tuple[dict[str, Any], ...] = ()
    """What is taken off: each entry names what differs from this number, so {arm = "..."} is the same number
    of another arm; {slope = [...], times = 0.5} half of another slope of this arm."""

    margin: float | None = None
    """Half-width of zero, in noise floors 1 / sqrt(effective dimension) for a number in cosines, else in its
    own units; without it, the file's for cell means and per-sd slopes, none for the rest."""

    groups: tuple[Literal["toy", "real"], ...] = ("toy", "real")
    """Groups of arms that are judged where `arm` is empty."""

    beyond_controls: bool = True
    """Whether a sign counts only if it stands beyond each control, in groups where gates ask for that."""

    def __post_init__(self) -> None:
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise ValueError(f"expected margin > 0 in {self.id!r}, found {self.margin}: give a number.")
        for one in self.quantities:
            if one.is_cell and not (one.cooccurrence and one.similarity):
                raise ValueError(
                    f"expected cooccurrence and similarity for the {one.measure} of {self.id!r}, found "
                    f"{one.cooccurrence!r} and {one.similarity!r}: name the cell."
                )
            check_slope(one.slope, self.id)
            if one.measure == "shape" and not one.shape:
                raise ValueError(f"expected a shape for {self.id!r}, found none: name the number.")
            if one.measure == "rule" and not one.rule:
                raise ValueError(f"expected a rule for {self.id!r}, found none: name one of compare.rules.")
            known = one.slope[:2] == ("log_odds", "js_split") and one.slope[3] in ("co", "sim")
            if one.measure == "corrected slope" and not known:
                raise ValueError(
                    f"expected co or sim on log_odds and js_split for the corrected slope of {self.id!r}, "
                    f"found {' '.join(one.slope)}: only their reliability is known."
                )
        if self.claim in ("= 0", "!= 0") and self.margin is None and not self.has_margin:
            raise ValueError(
                f'expected "< 0" or "> 0" for the {self.measure} of {self.id!r}, found "{self.claim}": '
                "without a margin it has no zero to be at; give one (a slope may be per_sd = true)."
            )

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The number itself, then those that are taken off."""
        mine = {one.name: getattr(self, one.name) for one in fields(Quantity)}
        others = [mine | {"times": 1.0} | entry for entry in self.less]
        return tuple(make_config(Quantity, one, source=f"hypothesis {self.id!r}") for one in (mine, *others))


def check_slope(slope: tuple[str, ...], of: str) -> None:
    """ValueError for a slope that no regression has."""
    if len(slope) != 4:
        raise ValueError(
            f"expected 4 words for the slope of {of!r} (two measures, effects, term), found {len(slope)}: "
            "write them all."
        )
    effects = [f"{one}{more}" for one in EFFECTS for more in ("", SAMPLE_SIZE)]
    known = (
        ("a measure of co-occurrence", COOCCURRENCE),
        ("a measure of output similarity", SIMILARITY),
        ("feature effects", effects),
        ("a term", [*SLOPES, DIFFERENCE]),
    )
    for word, (what, words) in zip(slope, known, strict=True):
        if word not in words:
            raise ValueError(
                f"expected {what} in the slope of {of!r}, found {word!r}: {nearest(word, words)}"
            )


@dataclass(frozen=True, kw_only=True)
class Overall:
    """A claim that holds only if all its parts hold: an intersection-union test."""

    id: str
    statement: str
    parts: tuple[str, ...]
    """Ids of hypotheses."""

    headline: bool = True
    """Whether it is shown below the cells, where every arm has its place."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A claim that the same numbers have the same signs in two arms."""

    id: str
    statement: str
    parts: tuple[str, ...]
    """Ids of hypotheses; what they claim plays no part."""

    arms: tuple[str, str]
    """Names of the two arms."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What has to be there before anything but UNDECIDED is said."""

    min_pairs: int = 10
    min_features: int = 20
    min_similarity_sd: float = 0.005
    min_alive: int = 50
    beats: Literal["", "unigram", "bigram", "trigram"] = "trigram"
    min_agreement: float = 0.25
    positive_control: tuple[str, ...] = ("preactivation_correlation", "js", "none", "co")
    controlled: tuple[Literal["toy", "real"], ...] = ("real",)

    def __post_init__(self) -> None:
        if self.positive_control:
            check_slope(self.positive_control, "positive_control")
        for name in ("min_pairs", "min_features", "min_similarity_sd", "min_alive", "min_agreement"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"expected {name} of 0 or more in [gates], found {getattr(self, name)}: 0 asks nothing."
                )


@dataclass(frozen=True, kw_only=True)
class Hypotheses:
    """All claims of one file."""

    hypotheses: tuple[Hypothesis, ...]
    overall: tuple[Overall, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    gates: Gates = field(default_factory=Gates)
    margin: float = MARGIN
    name: str = ""
    sha256: str = ""

    @property
    def slopes(self) -> tuple[Specification, ...]:
        """Regressions that the slopes of its claims are of."""
        numbers = [one for claim in self.hypotheses for one in claim.quantities]
        named = {one.slope[:3] for one in numbers if one.measure == "slope"}
        named |= {self.gates.positive_control[:3]} if self.gates.positive_control else set()
        return tuple(Specification(*words) for words in sorted(named))
