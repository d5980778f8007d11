"""Claims as data, verdicts by rule: CONFIRMED, REFUTED or UNDECIDED, each with its reason in plain words.

The rules read numbers that are in results.json and nothing else, so a verdict can be checked by hand. A
claim is CONFIRMED where the whole interval lies on its side (for "= 0": within the margin; for "!= 0": on
one side of zero), REFUTED where the whole interval lies on the other side or, for a sign and for "!= 0",
within the margin of zero (for "= 0": outside the margin), and UNDECIDED in all other cases, or where a gate
is shut. A hypothesis about one arm is not judged in a run without that arm, and the results say so.
"""

import copy
import hashlib
import math
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from scipy import stats

from compare.cells import CONFIDENCE, MARGIN, estimate
from compare.claims import CELL_MEANS, Agreement, Gates, Hypotheses, Hypothesis, Overall
from compare.config import make_config, nearest, read_toml
from compare.verdicts import CONFIRMED, REFUTED, UNDECIDED, Scene, cell_of, number_of, shut_gate, verdict

PRESETS = "presets.toml"
LEVEL = 1 - CONFIDENCE
SAES_ON_TOYS = "SAEs on toys"
"""Name under which claims are about the numbers of results["sae_bias"]."""


def load(path: Path | None = None) -> Hypotheses:
    """Hypotheses from a TOML file, by default the presets; a key that does not exist is refused by name."""
    if path is None:
        with resources.as_file(resources.files("compare") / PRESETS) as preset:
            return load(preset)
    values = read_toml(path)
    known = {"format", "margin", "gates", "hypothesis", "overall", "agreement"}
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
    margin = values.get("margin", MARGIN)
    if type(margin) not in (int, float) or not 0 < margin < math.inf:
        raise ValueError(f"expected margin > 0 in {path}, found {margin!r}: give a number of noise floors.")
    overall = tuple(make_config(Overall, one, source=source) for one in values.get("overall", []))
    agreement = tuple(make_config(Agreement, one, source=source) for one in values.get("agreement", []))
    for one in (*overall, *agreement):
        if not one.parts:
            raise ValueError(f"expected parts of {one.id!r} in {path}, found none: name hypotheses.")
        for part in one.parts:
            if part not in ids:
                raise ValueError(
                    f"expected ids of hypotheses as parts of {one.id!r} in {path}, found {part!r}: "
                    f"{nearest(part, ids)}"
                )
    return Hypotheses(
        hypotheses=hypotheses,
        overall=overall,
        agreement=agreement,
        gates=make_config(Gates, values.get("gates", {}), source=source),
        margin=margin,
        name=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def are_own(results: dict) -> bool:
    """Whether judged results are held against another file than the presets: a copy may bear their name."""
    return results["hypotheses"]["sha256"] != load().sha256


def judge(results: dict, hypotheses: Hypotheses) -> dict:
    """The same results with `verdicts` and, in each cell, claim, verdict and reason; the input is left alone.

    Added: results["hypotheses"] (name and sha256 of the file, margin, gates, ids of hypotheses about arms
    that were not run) and results["verdicts"], a row for each arm and hypothesis, then for each arm and
    overall claim, then for each agreement of two arms.
    """
    results = copy.deepcopy(results)
    arms = [*results["arms"], *on_toys(results)]
    scene = Scene(arms, results["models"], hypotheses.gates, hypotheses.margin)
    for arm in scene.arms:
        for part in (arm, arm["centred"]):
            for cell in part["cells"]:
                cell |= estimate(cell["mean"], cell["se"], cell["df"], scene.margin / part["d_eff"] ** 0.5)
                cell |= {"claim": None, "verdict": None, "reason": None}
    rows = [row for arm in scene.arms for row in judge_arm(arm, hypotheses, scene)]
    rows += [agree(one, hypotheses, scene) for one in hypotheses.agreement if is_run(one.arms, scene)]
    judged = {row["id"] for row in rows}
    claims = (*hypotheses.hypotheses, *hypotheses.overall, *hypotheses.agreement)
    results["hypotheses"] = {
        "file": hypotheses.name,
        "sha256": hypotheses.sha256,
        "margin": hypotheses.margin,
        "gates": asdict(hypotheses.gates),
        "not_run": [one.id for one in claims if one.id not in judged],
    }
    results["verdicts"] = rows
    return results


def on_toys(results: dict) -> list[dict]:
    """SAEs on toys as an arm whose `shape` are their numbers, for claims that name it; none if not run."""
    shape = results.get("sae_bias", {}).get("shape")
    about = {"name": SAES_ON_TOYS, "group": "across", "control_of": None, "models": []}
    about |= {"cells": [], "centred": {"cells": []}}
    return [about | {"shape": shape}] if shape else []


def is_run(names: tuple[str, ...], scene: Scene) -> bool:
    """Whether all arms of these names are there."""
    return set(names) <= {arm["name"] for arm in scene.arms}


def judge_arm(arm: dict, hypotheses: Hypotheses, scene: Scene) -> list[dict]:
    """Rows of verdicts of one arm, whose cells are given theirs."""
    rows = []
    for one in hypotheses.hypotheses:
        if arm["name"] != one.arm if one.arm else arm["group"] not in one.groups:
            continue
        said = verdict(one, arm, scene)
        rows.append(row_of(one, arm["name"], arm["group"], one.claim) | said)
        if one.measure in CELL_MEANS and not one.less and not one.arm:
            cell_of(one, arm).update(claim=one.claim, verdict=said["verdict"], reason=said["reason"])
    found = {row["id"]: row for row in rows}
    for whole in hypotheses.overall:
        if all(part in found for part in whole.parts):
            rows.append(together(whole, arm, [found[part] for part in whole.parts]))
    return rows


def row_of(claim: Hypothesis | Overall | Agreement, arm: str, group: str, claimed: str) -> dict:
    """What a row of verdicts says before the verdict."""
    about = {"arm": arm, "group": group, "id": claim.id, "statement": claim.statement, "claim": claimed}
    headline = isinstance(claim, Overall) and claim.headline
    return about | {"overall": not isinstance(claim, Hypothesis), "headline": headline}


def together(whole: Overall, arm: dict, parts: list[dict]) -> dict:
    """An overall claim from its parts.

    All must hold, an intersection-union test: its p-value is the largest of theirs. One that is refuted is
    enough to refute it, so that each of k parts is asked for 5 % / k (Bonferroni): its p-value against the
    claim is k times the smallest of theirs.
    """
    failed = [part for part in parts if part["verdict"] == REFUTED]
    open_ = [part["id"] for part in parts if part["verdict"] == UNDECIDED]
    p = [part["p"] for part in parts]
    against = min((len(parts) * part["p_against"] for part in failed), default=None)
    is_refuted = against is not None and against < LEVEL
    counts = [f"refuted: {', '.join(part['id'] for part in failed)}"] * bool(failed)
    if failed and not is_refuted:
        counts = [
            f"{counts[0]}, though not by one of {len(parts)} tests (p = {against:.3f} with that number)"
        ]
    counts += [f"undecided: {', '.join(open_)}"] * bool(open_)
    return row_of(whole, arm["name"], arm["group"], "all of " + ", ".join(whole.parts)) | {
        "verdict": REFUTED if is_refuted else UNDECIDED if failed or open_ else CONFIRMED,
        "reason": "; ".join(counts) or "all parts hold",
        "p": None if any(one is None or one != one for one in p) else max(p),
        "p_against": None if against is None else min(against, 1.0),
    }


def agree(claim: Agreement, hypotheses: Hypotheses, scene: Scene) -> dict:
    """Whether each part's number has the same sign in both arms; both within the margin is the same as well.

    REFUTED where no sign is left to both intervals, widened to 5 % for all 2 k numbers of k parts together
    (Bonferroni); CONFIRMED where each leaves one and the same, UNDECIDED else. It has no p-value.
    """
    pair = [next(arm for arm in scene.arms if arm["name"] == name) for name in claim.arms]
    parts = [one for one in hypotheses.hypotheses if one.id in claim.parts]
    signs = [[signs_of(one, arm, scene) for arm in pair] for one in parts]
    wider = [[signs_of(one, arm, scene, of=2 * len(parts)) for arm in pair] for one in parts]
    apart = any(not first & second for first, second in wider)
    same = all(first == second and len(first) == 1 for first, second in signs)
    shown = "; ".join(
        f"{one.id}: {in_words(first)}, {in_words(second)}"
        for one, (first, second) in zip(parts, signs, strict=True)
    )
    return row_of(claim, " and ".join(claim.arms), "across", "same signs") | {
        "verdict": REFUTED if apart else CONFIRMED if same else UNDECIDED,
        "reason": shown,
        "p": None,
        "p_against": None,
    }


SIGNS = ("below zero", "zero", "above zero")


def signs_of(hypothesis: Hypothesis, arm: dict, scene: Scene, of: int = 1) -> set[str]:
    """Which of SIGNS an interval leaves open, one `of` several that hold at 95 % together, zero being the
    margin; all of them where a gate is shut.
    """
    number = number_of(hypothesis, arm, scene)
    if shut_gate(number, hypothesis, arm, scene):
        return set(SIGNS)
    half = stats.t.isf(LEVEL / of / 2, number["df"]) * number["se"]
    margin, low, high = number.get("margin", 0.0), number["mean"] - half, number["mean"] + half
    reached = (low < -margin, low < margin and high > -margin, high > margin)
    return {sign for sign, is_open in zip(SIGNS, reached, strict=True) if is_open}


def in_words(signs: set[str]) -> str:
    """What an interval leaves open, as a reader says it."""
    return "unknown" if len(signs) == len(SIGNS) else " or ".join(sign for sign in SIGNS if sign in signs)
