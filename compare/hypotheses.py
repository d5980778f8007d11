"""Claims as data, verdicts by rule: CONFIRMED, REFUTED or UNDECIDED, each with its reason in plain words.

The rules read numbers that are in results.json and nothing else, so a verdict can be checked by hand. A
claim is CONFIRMED where the whole interval lies on its side (for "= 0": within the margin), REFUTED where
the whole interval lies on the other side or, for a sign, within the margin of zero (for "= 0": outside the
margin), and UNDECIDED in all other cases, or where a gate is shut.
"""

import copy
import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from compare.cells import MARGIN, estimate
from compare.config import make_config, nearest, read_toml

CONFIRMED, REFUTED, UNDECIDED = "CONFIRMED", "REFUTED", "UNDECIDED"
PRESETS = "presets.toml"
P_VALUE = {"< 0": "p_below", "> 0": "p_above", "= 0": "p_equivalence"}
SIDE = {"< 0": "below zero", "> 0": "above zero"}


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One claim about one number of an arm."""

    id: str
    """Short name, used in results."""

    statement: str
    """The claim as a sentence."""

    measure: Literal["cell mean", "difference in differences", "slope"]
    """Which number of an arm is judged."""

    claim: Literal["< 0", "> 0", "= 0"]
    """What it is claimed to be; "= 0", within the margin, is for cell means only."""

    cooccurrence: Literal["", "exclusive", "independent", "co-occurring"] = ""
    """Of a cell mean: the cell's co-occurrence."""

    similarity: Literal["", "similar", "different"] = ""
    """Of a cell mean: the cell's output similarity."""

    against: Literal["exclusive", "independent"] = "exclusive"
    """Of a difference in differences: what co-occurring pairs are compared with."""

    slope: tuple[str, ...] = ("log_odds", "js_split", "product", "co:sim")
    """Of a slope: measure of co-occurrence, measure of output similarity, feature effects, term."""

    groups: tuple[str, ...] = ("toy", "real")
    """Groups of arms that are judged."""

    def __post_init__(self) -> None:
        if self.measure == "cell mean" and not (self.cooccurrence and self.similarity):
            raise ValueError(
                f"expected cooccurrence and similarity for the cell mean of {self.id!r}, found "
                f"{self.cooccurrence!r} and {self.similarity!r}: name the cell."
            )
        if len(self.slope) != 4:
            raise ValueError(
                f"expected 4 words for the slope of {self.id!r} (two measures, effects, term), found "
                f"{len(self.slope)}: write them all."
            )
        if self.claim == "= 0" and self.measure != "cell mean":
            raise ValueError(
                f'expected "< 0" or "> 0" for the {self.measure} of {self.id!r}, found "= 0": '
                "only cell means have a margin."
            )


@dataclass(frozen=True, kw_only=True)
class Overall:
    """A claim that holds only if all its parts hold: an intersection-union test."""

    id: str
    statement: str
    parts: tuple[str, ...]
    """Ids of hypotheses."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What has to be there before anything but UNDECIDED is said."""

    min_pairs: int = 10
    min_features: int = 20
    min_similarity_sd: float = 0.005
    min_alive: int = 50
    beats: Literal["", "unigram", "bigram", "trigram"] = "trigram"
    min_agreement: float = 0.25
    controlled: tuple[str, ...] = ("real",)


@dataclass(frozen=True, kw_only=True)
class Hypotheses:
    """All claims of one file."""

    hypotheses: tuple[Hypothesis, ...]
    overall: tuple[Overall, ...] = ()
    gates: Gates = field(default_factory=Gates)
    margin: float = MARGIN
    name: str = PRESETS
    sha256: str = ""


def load(path: Path | None = None) -> Hypotheses:
    """Hypotheses from a TOML file, by default the presets; a key that does not exist is refused by name."""
    if path is None:
        with resources.as_file(resources.files("compare") / PRESETS) as preset:
            return load(preset)
    values = read_toml(path)
    known = {"format", "margin", "gates", "hypothesis", "overall"}
    for key in values:
        if key not in known:
            raise ValueError(f"expected a key of hypotheses in {path}, found {key!r}: {nearest(key, known)}")
    if values.get("format") != 1:
        raise ValueError(
            f"expected format = 1 in {path}, found {values.get('format')!r}: write that line first."
        )
    source = str(path)
    hypotheses = tuple(make_config(Hypothesis, one, source=source) for one in values.get("hypothesis", []))
    ids = [one.id for one in hypotheses]
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(
            f"expected one [[hypothesis]] or more with different ids in {path}, found {ids}: mend them."
        )
    overall = tuple(make_config(Overall, one, source=source) for one in values.get("overall", []))
    for one in overall:
        for part in one.parts:
            if part not in ids:
                raise ValueError(
                    f"expected ids of hypotheses as parts of {one.id!r} in {path}, found {part!r}: "
                    f"{nearest(part, ids)}"
                )
    return Hypotheses(
        hypotheses=hypotheses,
        overall=overall,
        gates=make_config(Gates, values.get("gates", {}), source=source),
        margin=float(values.get("margin", MARGIN)),
        name=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def judge(results: dict, hypotheses: Hypotheses) -> dict:
    """The same results with `verdicts` and, in each cell, claim, verdict and reason; the input is left alone.

    Added: results["hypotheses"] (name and sha256 of the file, margin) and results["verdicts"], a row for
    each arm and hypothesis, then for each arm and overall claim.
    """
    results = copy.deepcopy(results)
    results["hypotheses"] = {
        "file": hypotheses.name,
        "sha256": hypotheses.sha256,
        "margin": hypotheses.margin,
    }
    results["verdicts"] = []
    for arm in results["arms"]:
        for cell in arm["cells"]:
            margin = hypotheses.margin / arm["d_eff"] ** 0.5
            cell |= estimate(cell["mean"], cell["se"], cell["df"], margin)
            cell |= {"claim": None, "verdict": None, "reason": None}
        controls = [other for other in results["arms"] if other["control_of"] == arm["name"]]
        results["verdicts"] += judge_arm(arm, controls, results["models"], hypotheses)
    return results


def judge_arm(arm: dict, controls: list[dict], models: list[dict], hypotheses: Hypotheses) -> list[dict]:
    """Rows of verdicts of one arm, whose cells are given theirs."""
    rows = []
    for one in hypotheses.hypotheses:
        if arm["group"] not in one.groups:
            continue
        said = verdict(one, arm, controls, models, hypotheses.gates)
        row = {"arm": arm["name"], "group": arm["group"], "id": one.id, "statement": one.statement}
        rows.append(row | {"claim": one.claim, "overall": False} | said)
        if one.measure == "cell mean":
            find_cell(one, arm).update(claim=one.claim, verdict=said["verdict"], reason=said["reason"])
    found = {row["id"]: row for row in rows}
    for whole in hypotheses.overall:
        if all(part in found for part in whole.parts):
            rows.append(together(whole, arm, [found[part] for part in whole.parts]))
    return rows


def verdict(
    hypothesis: Hypothesis, arm: dict, controls: list[dict], models: list[dict], gates: Gates
) -> dict:
    """Verdict, reason and p-value of one claim in one arm."""
    number = find(hypothesis, arm)
    p = number.get(P_VALUE[hypothesis.claim])
    reason = shut_gate(number, arm, models, gates)
    if reason:
        return {"verdict": UNDECIDED, "reason": reason, "p": p}
    said, reason = by_interval(number, hypothesis.claim)
    if said == CONFIRMED and hypothesis.claim in SIDE and (controls or arm["group"] in gates.controlled):
        doubt = not_beyond(number, hypothesis, controls)
        if doubt:
            return {"verdict": UNDECIDED, "reason": f"{reason}; but {doubt}", "p": p}
        reason += f"; beyond {' and '.join(control['name'] for control in controls)} as well"
    return {"verdict": said, "reason": reason, "p": p}


def find(hypothesis: Hypothesis, arm: dict) -> dict:
    """The number that a hypothesis is about: mean, se, low, high, df, p-values, or a `problem` in words."""
    if hypothesis.measure == "cell mean":
        return find_cell(hypothesis, arm)
    if hypothesis.measure == "difference in differences":
        for row in arm["difference_in_differences"]:
            if row["against"] == hypothesis.against:
                return row
        return {"problem": f"no difference in differences against {hypothesis.against} was measured"}
    for row in arm["regression"]:
        if tuple(row[key] for key in ("cooccurrence", "similarity", "effects", "term")) == hypothesis.slope:
            return estimate(row["estimate"], row["se"], row["df"])
    return {"problem": f"no slope {' '.join(hypothesis.slope)} was estimated in this arm"}


def find_cell(hypothesis: Hypothesis, arm: dict) -> dict:
    """The cell of an arm that a hypothesis names."""
    name = (hypothesis.cooccurrence, hypothesis.similarity)
    return next(cell for cell in arm["cells"] if (cell["cooccurrence"], cell["similarity"]) == name)


def shut_gate(number: dict, arm: dict, models: list[dict], gates: Gates) -> str | None:
    """Why nothing can be said, or None."""
    spread = arm["spread"]["similarity_sd"]
    if number.get("problem"):
        return number["problem"]
    for what, found, asked in (
        ("pairs are in this cell", number.get("n_pairs"), gates.min_pairs),
        ("features take part in this cell", number.get("n_features"), gates.min_features),
        ("features are alive", arm["n_alive"], gates.min_alive),
    ):
        if found is not None and found < asked:
            return f"only {found:,} {what}, {asked:,} are asked for"
    if spread < gates.min_similarity_sd:
        return f"output similarity hardly varies: sd {spread:.4f}, {gates.min_similarity_sd:g} is asked for"
    weak = [weakness(model, gates) for model in models if model["name"] in arm["models"]]
    if any(weak):
        return "; ".join(one for one in weak if one)
    if not number["low"] <= number["high"]:
        return "there is no interval: the error is undefined (too few replicates, or no spread at all)"
    return None


def weakness(model: dict, gates: Gates) -> str | None:
    """What a model behind an arm falls short of, or None."""
    quality = model["quality"]
    if gates.beats and gates.beats in quality and quality["bits_per_byte"] >= quality[gates.beats]:
        return (
            f"{model['name']} needs {quality['bits_per_byte']:.2f} bits per byte, no better than the "
            f"{gates.beats}'s {quality[gates.beats]:.2f}: its features may not be those of a model that "
            "learned the language"
        )
    if "agreement" in quality:
        null = quality["agreement_null"]
        share = (quality["agreement"] - null) / (1 - null)
        if share < gates.min_agreement:
            return (
                f"two seeds of {model['name']} agree {quality['agreement']:.2f} (mean largest cosine), and "
                f"random directions of the same second moment {null:.2f}: {share:.0%} of the way to "
                f"identity, {gates.min_agreement:.0%} is asked for"
            )
    return None


def by_interval(number: dict, claim: str) -> tuple[str, str]:
    """Which side of the claim the interval lies on."""
    low, high, margin = number["low"], number["high"], number.get("margin")
    shown = f"{number['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
    small = margin is not None and -margin < low and high < margin
    if claim == "= 0":
        if small:
            wide = number["sd"] > 1.5 * number["null_sd"]
            note = (
                f", but single pairs spread wider than random directions (sd {number['sd']:.3f} against "
                f"{number['null_sd']:.3f})"
            )
            return CONFIRMED, f"{shown} lies within ±{margin:.4f} of zero" + note * wide
        if low > margin or high < -margin:
            return REFUTED, f"{shown} lies outside ±{margin:.4f} of zero"
        return UNDECIDED, f"{shown} reaches across the margin of ±{margin:.4f}"
    if small:  # n unit vectors average about -1/n whatever they mean: such a sign is no finding
        return REFUTED, f"{shown} lies within ±{margin:.4f} of zero, too small to count as {SIDE[claim]}"
    sign = 1 if claim == "> 0" else -1
    if min(sign * low, sign * high) > 0:
        return CONFIRMED, f"{shown} is {SIDE[claim]}"
    if max(sign * low, sign * high) < 0:
        return REFUTED, f"{shown} is {SIDE['< 0' if sign > 0 else '> 0']}"
    return UNDECIDED, f"{shown} holds both signs"


def not_beyond(number: dict, hypothesis: Hypothesis, controls: list[dict]) -> str | None:
    """Which control shows the same, or why none can be compared; None where the number stands beyond all."""
    if not controls:
        return "no control stands beside this arm, so the sign may be the method's own"
    sign = 1 if hypothesis.claim == "> 0" else -1
    for control in controls:
        other = find(hypothesis, control)
        excess = {}
        if not other.get("problem"):
            error = (number["se"] ** 2 + other["se"] ** 2) ** 0.5
            excess = estimate(number["mean"] - other["mean"], error, min(number["df"], other["df"]))
        if not excess or not excess["low"] <= excess["high"]:
            return f"{control['name']} has no number to compare with"
        if min(sign * excess["low"], sign * excess["high"]) <= 0:
            return (
                f"{control['name']} shows {other['mean']:+.4f}, and the excess over it, "
                f"{excess['mean']:+.4f} [{excess['low']:+.4f}, {excess['high']:+.4f}], "
                f"is not {SIDE[hypothesis.claim]}"
            )
    return None


def together(whole: Overall, arm: dict, parts: list[dict]) -> dict:
    """An overall claim from its parts: all must hold; its p-value is the largest of theirs."""
    failed = [part["id"] for part in parts if part["verdict"] == REFUTED]
    open_ = [part["id"] for part in parts if part["verdict"] == UNDECIDED]
    said = REFUTED if failed else UNDECIDED if open_ else CONFIRMED
    counts = [f"refuted: {', '.join(failed)}"] * bool(failed) + [f"undecided: {', '.join(open_)}"] * bool(
        open_
    )
    p = [part["p"] for part in parts]
    return {
        "arm": arm["name"],
        "group": arm["group"],
        "id": whole.id,
        "statement": whole.statement,
        "claim": "all of " + ", ".join(whole.parts),
        "overall": True,
        "verdict": said,
        "reason": "; ".join(counts) or "all parts hold",
        "p": None if any(one is None or one != one for one in p) else max(p),
    }
