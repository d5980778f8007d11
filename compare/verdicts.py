"""The number that a claim is about, and which side of the claim its interval lies on, in plain words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from compare import reliability
from compare.cells import difference, estimate, find_cell, p_against, p_of
from compare.claims import CELL_MEANS, Gates, Hypothesis, Quantity
from compare.names import DIFFERENCE
from compare.reliability import LEAST, corrected, is_reliable

CONFIRMED, REFUTED, UNDECIDED = "CONFIRMED", "REFUTED", "UNDECIDED"
SLOPE_KEYS = ("cooccurrence", "similarity", "effects", "term")
SIDE = {"< 0": "below zero", "> 0": "above zero"}


class Scene(NamedTuple):
    """What a verdict may look at."""

    arms: list[dict]
    models: list[dict]
    gates: Gates
    margin: float
    """Half-width of zero, in noise floors."""

    def controls_of(self, arm: dict) -> list[dict]:
        """The controls of an arm."""
        return [other for other in self.arms if other["control_of"] == arm["name"]]

    def named(self, name: str, beside: dict) -> dict | None:
        """The arm of this name: a control of `beside` if it has one that is called so, else any arm."""
        own = [one for one in self.controls_of(beside) if one["name"].split(": ")[-1] == name]
        return next(iter(own + [one for one in self.arms if one["name"] == name]), None)


def verdict(hypothesis: Hypothesis, arm: dict, scene: Scene) -> dict:
    """Verdict and reason of one claim in one arm, with the p-values for it and against it: None where the arm
    lacks what a number asks for to be believed.
    """
    number = number_of(hypothesis, arm, scene)
    reason = shut_gate(number, hypothesis, arm, scene)
    if reason:
        return {"verdict": UNDECIDED, "reason": reason, "p": None, "p_against": None}
    p = {"p": p_of(number, hypothesis.claim), "p_against": p_against(number, hypothesis.claim)}
    said, reason = by_interval(number, hypothesis.claim)
    controls = scene.controls_of(arm) if hypothesis.beyond_controls else []
    must = hypothesis.beyond_controls and arm["group"] in scene.gates.controlled
    if said == CONFIRMED and hypothesis.claim in SIDE and (controls or must):
        doubt = not_beyond(arm, hypothesis, controls, scene)
        if doubt:
            return {"verdict": UNDECIDED, "reason": f"{reason}; but {doubt}"} | p
        reason += f"; also beyond {' and '.join(control['name'] for control in controls)}"
        reason += dealt_by_chance(hypothesis, controls)
    return {"verdict": said, "reason": reason} | p


def dealt_by_chance(hypothesis: Hypothesis, controls: Sequence[dict]) -> str:
    """What a reason must add that rests on how controls tell similar outputs from different ones."""
    noisy = [one["name"] for one in controls if not is_reliable(one["reliability"]["sim"])]
    by_outputs = (one.is_cell or one.measure == "difference in differences" for one in hypothesis.quantities)
    if not noisy or not any(by_outputs):
        return ""
    return (
        f" (in {' and '.join(noisy)} similar outputs are told from different ones partly by chance: their "
        f"reliability is below {LEAST:g})"
    )


def number_of(hypothesis: Hypothesis, arm: dict, scene: Scene, *, beside_others: bool = False) -> dict:
    """What a hypothesis is about: mean, se, low, high, df, p-values, or a `problem` in words.

    Numbers of different arms are taken as independent, so their variances add; a surrogate has the directions
    of its arm and a frozen decoder their moments, which makes the error of their difference too large and
    never too small. Of one arm's numbers
    how they depend is not kept, so their errors add: no dependence makes the error of a sum larger. Slopes
    that are held against others or against a margin are corrected for the noise in their measures first.
    """
    has_size = beside_others or hypothesis.has_margin or hypothesis.margin is not None
    parts = parts_of(hypothesis, arm, scene, has_size)
    margin = None
    if hypothesis.margin is not None or hypothesis.has_margin:
        margin = scene.margin if hypothesis.margin is None else hypothesis.margin
        margin *= geometry_of(hypothesis, arm)["d_eff"] ** -0.5 if hypothesis.has_margin else 1
    if len(parts) == 1 and hypothesis.times == 1:
        (_, number, _) = parts[0]
        return number if number.get("problem") else number | with_margin(number, margin)
    for quantity, number, _ in parts:
        if number.get("problem"):
            return {"problem": f"{quantity.arm or arm['name']}: {number['problem']}"}
    mean, errors = 0.0, {}
    for place, (quantity, number, owner) in enumerate(parts):
        weight = -quantity.times if place else quantity.times
        mean += weight * number["mean"]
        errors[owner] = errors.get(owner, 0.0) + abs(weight) * number["se"]
    se = sum(error**2 for error in errors.values()) ** 0.5
    return estimate(mean, se, min(number["df"] for _, number, _ in parts), margin)


def with_margin(number: dict, margin: float | None) -> dict:
    """The same number tested against a margin."""
    return estimate(number["mean"], number["se"], number["df"], margin)


def parts_of(
    hypothesis: Hypothesis, arm: dict, scene: Scene, has_size: bool
) -> list[tuple[Quantity, dict, str]]:
    """The number itself and those taken off, each with the arm that it comes from."""
    first, *others = hypothesis.quantities
    has_size |= bool(others)
    parts = [(first, find(first, arm, has_size), arm["name"])]
    for one in others:
        owner = arm if one.arm in ("", first.arm) else scene.named(one.arm, arm)
        if owner is None:
            parts.append((one, {"problem": "this arm was not run"}, one.arm))
        else:
            parts.append((one, find(one, owner, has_size), owner["name"]))
    return parts


def find(quantity: Quantity, arm: dict, has_size: bool) -> dict:
    """A number of an arm with its error, or a `problem` in words; a slope whose size counts is corrected."""
    if quantity.is_cell:
        cell = cell_of(quantity, arm)
        if quantity.measure in CELL_MEANS or cell["problem"]:
            return cell
        side = quantity.measure.removeprefix("share ")
        return estimate(cell[f"share_{side}"] - cell["null_share"], cell[f"share_{side}_se"], cell["df"])
    if quantity.measure == "difference in differences":
        for row in arm["difference_in_differences"]:
            if row["against"] == quantity.against:
                return row
        return {"problem": f"no difference in differences against {quantity.against} was measured"}
    if quantity.measure == "rule":
        for row in arm["rules"]["scores"]:
            if row["rule"] == quantity.rule:
                number = row[quantity.score]
                return estimate(number["mean"], number["se"], number["df"])
        return {"problem": arm["rules"]["problem"] or f"no rule {quantity.rule!r} was scored in this arm"}
    if quantity.measure == "shape":
        for row in arm.get("shape", []):
            if row["name"] == quantity.shape:
                return row
        return {"problem": f"no shape {quantity.shape!r} was measured in this arm"}
    if quantity.measure == "corrected slope":
        return corrected(arm, quantity.slope[:3], quantity.slope[3])
    row = slope_row(quantity, arm)
    if row is None:
        why = arm.get("unfitted", {}).get(" ".join(quantity.slope[:3]), "")
        return {
            "problem": f"no slope {' '.join(quantity.slope)} was estimated in this arm{why and ': '}{why}"
        }
    if row["term"] == DIFFERENCE:
        return difference_of_slopes(quantity, arm, row)
    unit = row["sd"] if quantity.per_sd else 1.0
    if has_size and is_reliable(row["reliability"]):
        unit = (row["sd_true"] if quantity.per_sd else 1.0) / row["reliability"]
    return estimate(unit * row["estimate"], unit * row["se"], row["df"])


def difference_of_slopes(quantity: Quantity, arm: dict, row: dict) -> dict:
    """The slope on similarity less that on co-occurrence, a comparison of sizes: each is corrected by itself
    where both can be, and errors add, since how the two depend is not kept; else it is the row's own.
    """
    if not is_reliable(row["reliability"]):
        return estimate(row["estimate"], row["se"], row["df"])
    sim, co = (
        find(replace(quantity, slope=(*quantity.slope[:3], term), per_sd=True), arm, has_size=True)
        for term in ("sim", "co")
    )
    return estimate(sim["mean"] - co["mean"], sim["se"] + co["se"], min(sim["df"], co["df"]))


def slope_row(quantity: Quantity, arm: dict) -> dict | None:
    """The row of an arm's regressions that a slope names."""
    rows = (row for row in arm["regression"] if tuple(row[key] for key in SLOPE_KEYS) == quantity.slope)
    return next(rows, None)


def cell_of(quantity: Quantity, arm: dict) -> dict:
    """The cell of an arm that a quantity names."""
    return find_cell(geometry_of(quantity, arm), (quantity.cooccurrence, quantity.similarity))


def geometry_of(quantity: Quantity, arm: dict) -> dict:
    """What has the cells and effective dimension that a quantity is about: the arm, or its centred part."""
    return arm["centred"] if quantity.measure == "centred cell mean" else arm


def shut_gate(number: dict, hypothesis: Hypothesis, arm: dict, scene: Scene) -> str | None:
    """Why nothing can be said, or None."""
    if number.get("problem"):
        return number["problem"]
    first, *others = hypothesis.quantities
    by_itself = hypothesis.claim == "= 0" or is_small(number)
    has_size = by_itself or bool(others) or first.slope[3] == DIFFERENCE
    for one in (first, *others):
        owner = arm if one.arm in ("", first.arm) else scene.named(one.arm, arm)
        noisy = too_noisy(one, owner, must_know=by_itself and not others) if has_size else None
        reason = too_little(one, owner, scene) or noisy
        if reason:
            return reason if owner is arm else f"{owner['name']}: {reason}"
    if not number["low"] <= number["high"]:
        return "there is no interval: the error is undefined (too few replicates, or no spread at all)"
    return None


def too_little(quantity: Quantity, arm: dict, scene: Scene) -> str | None:
    """What an arm lacks for one number to be believed, or None."""
    gates = scene.gates
    if arm.get("signed") and quantity.measure != "shape":
        return (
            "features of a signed dictionary fire in both senses, so that the sign of a cosine means nothing"
        )
    few = [("features are alive", arm["n_alive"], gates.min_alive)] if "n_alive" in arm else []
    for cell in cells_behind(quantity, arm):
        which = "this cell" if quantity.is_cell else f"{cell['cooccurrence']}, {cell['similarity']}"
        few.append((f"pairs are in {which}", cell["n_pairs"], gates.min_pairs))
        few.append((f"features take part in {which}", cell["n_features"], gates.min_features))
    row = slope_row(quantity, arm) if quantity.measure == "slope" else None
    if row and "n_pairs" in row:
        few.append(("pairs have these measures", row["n_pairs"], gates.min_pairs))
        few.append(("features have these measures", row["n_features"], gates.min_alive))
    for what, found, asked in few:
        if found < asked:
            return f"only {found:,} {what}, {asked:,} are asked for"
    spread = arm["spread"]["similarity_sd"] if quantity.measure not in ("shape", "rule") else np.inf
    if spread < gates.min_similarity_sd:
        return f"output similarity hardly varies: sd {spread:.4f}, {gates.min_similarity_sd:g} is asked for"
    if arm["group"] != "real":  # a toy's truth is known, and a control is made to be bad at language
        return None
    if quantity.measure not in ("shape", "rule") and not is_reliable(arm["reliability"]["sim"]):
        return (
            "output similarity is not known to be more than sampling noise: reliability "
            f"{reliability.number(arm['reliability']['sim'])}, {LEAST:g} is asked for"
        )
    behind = [model for model in scene.models if model["name"] in arm["models"]]
    weak = [*weak_models(arm, behind, gates), *weak_dictionaries(arm, behind, gates), *blind(arm, gates)]
    return "; ".join(weak) or None


def cells_behind(quantity: Quantity, arm: dict) -> list[dict]:
    """The cells that a number is made of."""
    if quantity.is_cell:
        return [cell_of(quantity, arm)]
    if quantity.measure != "difference in differences":
        return []
    return [cell for cell in arm["cells"] if cell["cooccurrence"] in ("co-occurring", quantity.against)]


def too_noisy(quantity: Quantity, arm: dict, *, must_know: bool = False) -> str | None:
    """Why the size of a slope says nothing: its measures are mostly sampling noise, or may be."""
    row = slope_row(quantity, arm) if quantity.measure == "slope" else None
    if row is None or is_reliable(row["reliability"]):
        return None
    shown = reliability.number(row["reliability"])
    if shown == "unknown" and not must_know:
        return None
    return (
        f"{' '.join(quantity.slope)} rests on measures of reliability {shown}, {LEAST:g} is asked for: noise "
        "makes any slope small"
    )


def weak_models(arm: dict, behind: Sequence[dict], gates: Gates) -> list[str]:
    """Which language models behind an arm fall short of what is asked, or that none is known."""
    if not gates.beats:
        return []
    known = with_quality(behind, "bits_per_byte", gates.beats)
    named = {one["name"] for one in known}
    if not known or any(one["kind"] == "language model" and one["name"] not in named for one in behind):
        return [
            f"how good the language model behind {arm['name']} is is not known: give models with "
            f"bits_per_byte and {gates.beats} (cofire measure scores a model, compare.test takes models=), "
            'or ask for nothing by beats = "" in the hypotheses\' [gates]'
        ]
    return [
        f"{one['name']} needs {one['bits_per_byte']:.2f} bits per byte, no better than the "
        f"{gates.beats}'s {one[gates.beats]:.2f}: its features may not be those of a model that "
        "learned the language"
        for one in known
        if not one["bits_per_byte"] < one[gates.beats]
    ]


def weak_dictionaries(arm: dict, behind: Sequence[dict], gates: Gates) -> list[str]:
    """Which SAEs behind an arm agree too little with another seed, or that this is known of none.

    SAEs of one arm are seeds of one recipe, so that one recorded pair speaks for all of them.
    """
    if gates.min_agreement <= 0:
        return []
    known = with_quality(behind, "agreement", "agreement_null")
    if not known:
        return [
            f"whether two seeds of the SAE behind {arm['name']} agree is not known: record it for one pair "
            "by cofire agreement SAE OTHER_SEED and measure again, or ask for nothing by min_agreement = 0 "
            "in the hypotheses' [gates]"
        ]
    shares = [(one["agreement"] - one["agreement_null"]) / (1 - one["agreement_null"]) for one in known]
    return [
        f"two seeds of {one['name']} agree {one['agreement']:.2f} (mean largest cosine), and "
        f"random directions of the same mean and covariance {one['agreement_null']:.2f}: {share:.0%} of the "
        f"way to identity, {gates.min_agreement:.0%} is asked for"
        for one, share in zip(known, shares, strict=True)
        if not share >= gates.min_agreement
    ]


def blind(arm: dict, gates: Gates) -> list[str]:
    """Whether a slope that is there by construction is not found: then the measurement sees nothing."""
    if not gates.positive_control:
        return []
    shown = " ".join(gates.positive_control)
    for row in arm["regression"]:
        if tuple(row[key] for key in SLOPE_KEYS) == gates.positive_control:
            if row["low"] is not None and row["low"] > 0:
                return []
            return [f"the positive control was not found: the slope {shown} is not above zero"]
    return [f"the positive control was not measured: no slope {shown}"]


def with_quality(models: Sequence[dict], *names: str) -> list[dict]:
    """Name and quality of the models of which all these numbers are known."""
    found = [one["quality"] | {"name": one["name"]} for one in models if isinstance(one["quality"], dict)]
    return [one for one in found if all(one.get(name) is not None for name in names)]


def is_small(number: dict) -> bool:
    """Whether the whole interval lies within the margin of zero."""
    margin = number.get("margin")
    return margin is not None and -margin < number["low"] and number["high"] < margin


def by_interval(number: dict, claim: str) -> tuple[str, str]:
    """Which side of the claim the interval lies on."""
    low, high, margin = number["low"], number["high"], number.get("margin")
    shown = f"{number['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
    small = is_small(number)
    if claim == "= 0":
        if small:
            wide = number.get("sd", 0.0) > 1.5 * number.get("null_sd", 1.0)
            note = (
                f", but single pairs spread wider than random directions (sd {number['sd']:.3f} against "
                f"{number['null_sd']:.3f})"
                if wide
                else ""
            )
            return CONFIRMED, f"{shown} lies within ±{margin:.4f} of zero" + note
        if low > margin or high < -margin:
            return REFUTED, f"{shown} lies outside ±{margin:.4f} of zero"
        return UNDECIDED, f"{shown} reaches across the margin of ±{margin:.4f}"
    if small:  # n unit vectors average about -1/n whatever they mean: such a sign is no finding
        side = SIDE.get(claim, "other than zero")
        return REFUTED, f"{shown} lies within ±{margin:.4f} of zero, too small to count as {side}"
    if claim == "!= 0":
        if low > 0 or high < 0:
            return CONFIRMED, f"{shown} is {SIDE['> 0' if low > 0 else '< 0']}"
        return UNDECIDED, f"{shown} holds both signs"
    sign = 1 if claim == "> 0" else -1
    if min(sign * low, sign * high) > 0:
        return CONFIRMED, f"{shown} is {SIDE[claim]}"
    if max(sign * low, sign * high) < 0:
        return REFUTED, f"{shown} is {SIDE['< 0' if sign > 0 else '> 0']}"
    return UNDECIDED, f"{shown} holds both signs"


def not_beyond(arm: dict, hypothesis: Hypothesis, controls: Sequence[dict], scene: Scene) -> str | None:
    """Which control shows the same, or why none can be compared; None where the number stands beyond all."""
    if not controls:
        return "no control stands beside this arm, so the sign may be the method's own"
    sign = 1 if hypothesis.claim == "> 0" else -1
    number = number_of(hypothesis, arm, scene, beside_others=True)
    for one in hypothesis.quantities:
        if not one.arm and (noisy := too_noisy(one, arm)):
            return f"it cannot be held against controls: {noisy}"
    for control in controls:
        other = number_of(hypothesis, control, scene, beside_others=True)
        excess = {} if other.get("problem") else difference(number, other)
        if not excess or not excess["low"] <= excess["high"]:
            return f"{control['name']} has no number to compare with"
        for one in hypothesis.quantities:
            small = None if one.arm else too_little(one, control, scene) or too_noisy(one, control)
            if small:
                return f"{control['name']} cannot be compared with: {small}"
        if min(sign * excess["low"], sign * excess["high"]) <= 0:
            return (
                f"{control['name']} shows {other['mean']:+.4f}, and the excess over it, "
                f"{excess['mean']:+.4f} [{excess['low']:+.4f}, {excess['high']:+.4f}], "
                f"is not {SIDE[hypothesis.claim]}"
            )
    return None
