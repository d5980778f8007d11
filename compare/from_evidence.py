"""Results from Evidence alone, as `test` and the library are given it: nothing is measured, nothing kept."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from compare.battery import Specification
from compare.evidence import MANIFEST, Evidence
from compare.progress import Step
from compare.run import Measured, ReportConfig, about_run, assemble, entry, load_seeds, models_of


def evidence_results(
    folders: Sequence[Path],
    controls: Sequence[Path],
    config: ReportConfig,
    step: Step,
    slopes: tuple[Specification, ...] = (),
) -> dict:
    """Results from folders of Evidence alone; `slopes` as in results_of."""
    arms, beside = ([one for folder in some for one in load_seeds(folder)] for some in (folders, controls))
    manifests = [path for folder in (*folders, *controls) for path in sorted(folder.rglob(MANIFEST))]
    return results_of(arms, beside, config, step, manifests, slopes)


def results_of(
    evidence: Sequence[Evidence],
    controls: Sequence[Evidence],
    config: ReportConfig,
    step: Step,
    inputs: Iterable[Path] = (),
    slopes: tuple[Specification, ...] = (),
) -> dict:
    """Results from Evidence alone. What has one name is taken as seeds of one arm.

    `slopes` are regressions to run beside those of every report (Hypotheses.slopes); an arm that lacks what
    their measures are made of goes without.
    An arm is a toy if its truth is known or if it says that only models of kind "toy" stand behind it; else
    it is real, and held to what gates ask of language models and SAEs.
    """
    arms, beside = by_name(evidence), by_name(controls)
    if beside and len(arms) != 1:
        raise ValueError(
            f"expected one system beside controls, found {len(arms)}: test {', '.join(arms)} one by one."
        )
    for name in arms.keys() & beside.keys():
        raise ValueError(
            f"expected a control of another name than its system, found {name!r} twice: measure it again "
            "with --name."
        )
    for name, seeds in {**arms, **beside}.items():
        if len({digest_of(one) for one in seeds}) < len(seeds):
            raise ValueError(
                f"expected a seed of its own in each Evidence of {name!r}, found one twice, which is no "
                "replicate of itself: name each folder once."
            )
        first, *others = map(recipe, seeds)
        unlike = {key for other in others for key in first.keys() | other if first.get(key) != other.get(key)}
        if unlike:
            raise ValueError(
                f"expected Evidence of {name!r} that differs by seed alone, found another {min(unlike)}: "
                "measure one again with --name."
            )
    entries: list[dict] = []
    models: dict[str, dict] = {}
    for group, found in (("real", arms), ("control", beside)):
        for name, seeds in found.items():
            control_of = next(iter(arms)) if group == "control" else None
            behind = models_of(seeds)
            names = sorted({kept_as(model, models) for model in behind})
            is_toy = seeds[0].truth is not None or {model["kind"] for model in behind} == {"toy"}
            known = "toy" if group == "real" and is_toy else group
            about: dict = {"name": name, "group": known, "control_of": control_of, "models": names}
            about |= {"note": "", "knows_outputs": True}
            entries.append(entry(about, seeds, config, step, slopes))
    return assemble(config, about_run(config, inputs), entries, list(models.values()))


def kept_as(model: dict, models: dict[str, dict]) -> str:
    """The name that a model has among those of other Evidence: its own, numbered if another has that name."""
    number, name = 1, model["name"]
    while name in models and json.dumps(models[name]) != json.dumps(model | {"name": name}):
        number += 1
        name = f"{model['name']} ({number})"
    models[name] = model | {"name": name}
    return name


def recipe(evidence: Evidence) -> dict:
    """What seeds of one arm share: all of a toy's config but its seed, site and text of a language model."""
    about = evidence.provenance.get("of", evidence.provenance)
    config = about.get("config", {})
    if about.get("kind") == "toy":
        return {key: value for key, value in config.items() if key != "seed"}
    shared = {key: config[key] for key in ("site", "context", "split") if key in config}
    return shared | {"text": about.get("inputs", {}).get("text")}


def digest_of(evidence: Evidence) -> bytes:
    """Of what tells one seed from another: directions, and how often they fired."""
    parts = (np.ascontiguousarray(one).tobytes() for one in (evidence.directions, evidence.counts))
    return hashlib.sha256(b"".join(parts)).digest()


def by_name(evidence: Sequence[Evidence]) -> Measured:
    """Evidence by its system's name."""
    found: Measured = {}
    for one in evidence:
        found.setdefault(one.name, []).append(one)
    return found
