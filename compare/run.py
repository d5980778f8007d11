"""From arms to results: measure each, analyse each, and say where every number came from.

An arm is a name and a way to make its systems, one a seed; what it is made of is not asked.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compare import on_device, ranks
from compare.analysis import analyse
from compare.battery import DEFAULT, Specification
from compare.causes import with_effects
from compare.dictionary import Choices
from compare.evidence import MANIFEST, Evidence, measure
from compare.folders import check_place
from compare.nulls import GaussianSurrogate
from compare.processes import Task, kept
from compare.progress import Step
from compare.progress import step as steps
from compare.provenance import ROOT, code_sha256, file_sha256, versions
from compare.reliability import comparison
from compare.system import HasProvenance, System

Measured = dict[str, list[Evidence]]
"""Evidence of the seeds of each arm, by the arm's name."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a report is made of. Saved in results.json; the same config gives the same numbers."""

    quick: bool = False
    """Fewer seeds, steps, tokens and features: every section is there, no number is final."""

    seed: int = 0
    """Decides every random draw: toys, text, surrogates, null directions."""

    n_tokens: int = 100_000
    """Tokens that each arm of the language model is measured on, 2 or more."""

    max_features: int = 2048
    """At most so many live features of an arm enter its pairs, drawn at random; 3 or more."""

    device: str = "cpu"
    """Where language models run and outputs are compared: cpu, cuda, or cuda:1 and so on."""

    min_count: int = 30
    """A feature counts as alive if it fired on so many tokens or more."""

    def __post_init__(self) -> None:
        for name, least in (("n_tokens", 2), ("max_features", 3), ("min_count", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"expected {name} of {least} or more, found {getattr(self, name)}: raise {name}."
                )
        on_device.check(self.device)

    @property
    def sized(self) -> "ReportConfig":
        """The config with its sizes cut down if it is quick."""
        if not self.quick:
            return self
        return replace(self, n_tokens=min(self.n_tokens, 15_000), max_features=min(self.max_features, 512))

    @property
    def choices(self) -> Choices:
        """What the analysis of an arm needs to know."""
        names = ("min_count", "max_features", "seed", "device")
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        small = {"curve_features": 160, "curve_permutations": 99} if self.quick else {}
        return Choices(**given | small)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Systems that are seeds of the same thing, and what to call them."""

    name: str
    group: str
    """toy, real or control."""

    note: str
    """What it is, in one sentence."""

    systems: Callable[[Measured, Step], Iterator[System]]
    """Makes the systems; is given what was measured of the arms before, and a way to show progress."""

    n_systems: int = 1
    n_tokens: int | None = None
    """Tokens that each system is measured on; None for its whole stream."""

    effects: Choices | None = None
    """Which features' causal effects are measured as well; None where none are."""

    control_of: str | None = None
    """Name of the arm that this one is a control of."""

    knows_outputs: bool = True
    """Whether outputs had a part in what its directions are, as in all but toys that only reconstruct."""

    stands_alone: bool = False
    """Whether its systems can be made in another process: they ask for nothing measured before."""

    cost: int = 1
    """Seconds that one that stands alone takes, roughly."""

    models: tuple[dict, ...] = ()
    """The models behind it: name, kind, note and measured quality of each."""

    inputs: tuple[Path, ...] = ()
    """Files that it reads."""

    @property
    def about(self) -> dict:
        """What the results say of it before any number."""
        names = ("name", "group", "control_of", "note", "knows_outputs")
        return {name: getattr(self, name) for name in names} | {"models": []}


def surrogate_arm(arm: Arm, seed: int) -> Arm:
    """A control: the arm's own systems fed Gaussian inputs of the mean and covariance measured."""

    def systems(before: Measured, step: Step) -> Iterator[System]:
        if len(before[arm.name]) != arm.n_systems:
            raise ValueError(
                f"expected {arm.n_systems} Evidence for as many seeds of a surrogate, found "
                f"{len(before[arm.name])}: name the Evidence of these seeds, and no other."
            )
        for system, evidence in zip(arm.systems(before, step), before[arm.name], strict=True):
            mean, covariance = evidence.input_mean, evidence.input_covariance
            if not has_directions_of(evidence, system):
                raise ValueError(
                    f"expected Evidence of {system.name!r} for its surrogate, found that of other features, "
                    f"{evidence.name!r}: measure this system first and name that Evidence."
                )
            if mean is None or covariance is None:
                raise ValueError(
                    f"expected an encoder in {evidence.name!r}, found none: a surrogate draws what it reads."
                )
            yield GaussianSurrogate(system, mean, covariance, seed=seed)

    note = (
        "Gaussian inputs of the same mean and covariance, through the same features and all that follows them"
    )
    return replace(
        arm,
        systems=systems,
        name="Gaussian surrogate",
        group="control",
        note=note,
        control_of=arm.name,
        effects=None,
        stands_alone=False,
    )


def run(arms: Sequence[Arm], config: ReportConfig, runs: Path, step: Step) -> dict:
    """Measure and analyse every arm: the results that a page is made of, all but the verdicts.

    Evidence is kept in a folder of `runs` named after config, code, inputs and versions, so a run that was
    stopped goes on with what it has, and nothing stale is ever taken up. Arms that stand alone and were made
    before (entry_tasks) are read.
    """
    about = about_run(config, inputs_of(arms))
    home = run_folder(runs, about)
    entries: list[dict] = []
    measured: Measured = {}
    for arm in arms:
        if arm.stands_alone and entry_path(arm, home).is_file():
            entries.append(kept(entry_path(arm, home)))
        else:
            seeds = measured[arm.name] = evidence_of(arm, home, measured, step)
            names = list(dict.fromkeys(model["name"] for model in models_of(seeds)))
            entries.append(entry(arm.about | {"models": names}, seeds, config, step))
    models = {model["name"]: model for seeds in measured.values() for model in models_of(seeds)}
    return assemble(config, about, entries, list(models.values()))


def models_of(seeds: Sequence[Evidence]) -> list[dict]:
    """What Evidence says of the models that it is of, those of every seed."""
    return [model for one in seeds for model in one.provenance.get("models", [])]


def entry_tasks(arms: Sequence[Arm], config: ReportConfig, runs: Path) -> list[Task]:
    """What makes the part of the results of each arm that stands alone, in the folder where run() looks."""
    home = run_folder(runs, about_run(config, inputs_of(arms)))
    return [
        Task(entry_path(arm, home), partial(entry_alone, arm, config, home), arm.cost)
        for arm in arms
        if arm.stands_alone
    ]


def entry_path(arm: Arm, home: Path) -> Path:
    """Where the part of an arm that stands alone is kept."""
    return home / f"{slug(arm.name)}.json"


def inputs_of(arms: Sequence[Arm]) -> list[Path]:
    """Files that any of the arms reads."""
    return [path for arm in arms for path in arm.inputs]


def run_folder(runs: Path, about: dict) -> Path:
    """The folder in `runs` of what about_run says and of the libraries that are installed."""
    key = json.dumps([about, versions()], sort_keys=True)
    return runs / hashlib.sha256(key.encode()).hexdigest()[:16]


def evidence_of(arm: Arm, home: Path, before: Measured, step: Step) -> list[Evidence]:
    """The Evidence of an arm's seeds, measured unless it lies in the run's folder."""
    folders = [home / f"{slug(arm.name)}-{number}" for number in range(arm.n_systems)]
    if not all(is_evidence(folder) for folder in folders):
        measure_arm(arm, folders, before, step)
    return [Evidence.load(folder) for folder in folders]


def entry_alone(arm: Arm, config: ReportConfig, home: Path) -> dict:
    """The part of an arm that needs no other, made in silence: in a process of its own."""
    silent = partial(steps, quiet=True)
    return entry(arm.about, evidence_of(arm, home, {}, silent), config, silent)


def measure_arm(arm: Arm, folders: Sequence[Path], before: Measured, step: Step) -> None:
    """One pass over each of an arm's systems, each into its folder; one that was stopped goes on, and what is
    measured stays.
    """
    for number, (system, folder) in enumerate(zip(arm.systems(before, step), folders, strict=True)):
        if is_evidence(folder):
            check_same(Evidence.load(folder), arm, system, folder)
            continue
        which = which_seed(number, arm.n_systems)
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        try:
            with step(f"{arm.name}: measuring{which}") as progress:
                evidence = measure(system, n_tokens=arm.n_tokens, progress=progress, unfinished=unfinished)
        except KeyboardInterrupt:
            if unfinished.exists():
                print(f"Stopped; the same command goes on from {unfinished}.", file=sys.stderr)
            raise
        if arm.effects is not None:
            with step(f"{arm.name}: causal effects{which}") as progress:
                sample = {name: getattr(arm.effects, name) for name in ("min_count", "max_features", "seed")}
                evidence = with_effects(evidence, system, **sample, progress=progress)
        models = [*arm.models, *evidence.provenance.get("models", [])]
        provenance = evidence.provenance | {"models": models, "asked for": arm.n_tokens}
        evidence = replace(evidence, name=arm.name, provenance=provenance)  # seeds share the arm's name
        if ranks.is_first():
            evidence.save(folder, overwrite=True)
            shutil.rmtree(unfinished, ignore_errors=True)


def which_seed(number: int, n: int) -> str:
    """How a step's title ends that does one of n seeds."""
    return f", seed {number + 1} of {n}" if n > 1 else ""


def check_same(found: Evidence, arm: Arm, system: System, folder: Path) -> None:
    """ValueError unless what lies in a folder is what the arm would measure of this system."""
    said = system.provenance if isinstance(system, HasProvenance) else {}
    asked = said | {"name": arm.name, "causal effects": arm.effects is not None, "asked for": arm.n_tokens}
    there = found.provenance | {"name": found.name, "causal effects": found.logit_metric is not None}
    asked["directions"], there["directions"] = True, has_directions_of(found, system)
    other = [name for name, value in asked.items() if json.dumps(there.get(name)) != json.dumps(value)]
    if other:
        raise ValueError(
            f"expected Evidence of the same system in {folder}, to go on beside it, found another "
            f"{other[0]}: remove it or name another --out."
        )


def has_directions_of(evidence: Evidence, system: System) -> bool:
    """Whether an Evidence is of this system's features."""
    return np.array_equal(system.directions.detach().float().cpu().numpy(), evidence.directions)


def entry(
    about: dict,
    seeds: Sequence[Evidence],
    config: ReportConfig,
    step: Step,
    slopes: tuple[Specification, ...] = (),
) -> dict:
    """An arm's part of the results, with the slopes that hypotheses name beside those of every report."""
    choices = replace(config.choices, slopes=slopes)
    with step(f"{about['name']}: pairs, regressions, cells"):
        return about | analyse(seeds, choices, power=about["group"] != "control")


def assemble(config: ReportConfig, about: dict, entries: list[dict], models: list[dict]) -> dict:
    """The results of a run from its arms' parts: toys first, controls last, each group in its own order."""
    entries = sorted(entries, key=lambda arm: ("toy", "real", "control").index(arm["group"]))
    beside = comparison(entries, (DEFAULT.cooccurrence, DEFAULT.similarity, DEFAULT.effects))
    return {
        "format": 1,
        "quick": config.quick,
        "run": about | {"versions": versions()},
        "models": models,
        "arms": entries,
        **({"comparison": beside} if beside else {}),
    }


def about_run(config: ReportConfig, inputs: Iterable[Path]) -> dict:
    """All that decides the numbers of a run: config, code and the bytes that it reads."""
    hashes = {shown(path): file_sha256(path) for path in inputs}
    return {"seed": config.seed, "config": asdict(config), "inputs": hashes, "code": code_sha256()}


def shown(path: Path) -> str:
    """A path as a reader elsewhere can use it: from the packages' folder if it lies there."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def slug(name: str) -> str:
    """A name as part of a path."""
    return "-".join("".join(char if char.isalnum() else " " for char in name).split())


def is_evidence(folder: Path) -> bool:
    """Whether a folder holds one Evidence."""
    return (folder / MANIFEST).is_file()


def measured(arm: Arm, before: Measured, out: Path, step: Step) -> list[Path]:
    """Measure an arm into a new folder, or into a numbered folder for each of its seeds: those written.

    Of several seeds, those that are there already stay, so that a stopped run goes on with the rest.
    """
    folders = [out] if arm.n_systems == 1 else [out / str(number) for number in range(arm.n_systems)]
    strangers = [out] if arm.n_systems == 1 and out.exists() else []
    if not strangers:
        check_place(folders[0])
    if arm.n_systems > 1:
        unfinished = [folder.with_name(f"{folder.name}.unfinished") for folder in folders]
        mine = {*filter(is_evidence, folders), *unfinished}
        strangers = [each for each in sorted(out.glob("[!.]*")) if each not in mine]
    if strangers or all(map(is_evidence, folders)):
        raise ValueError(
            f"expected a new folder, found {(strangers or [out])[0]}: remove it or name another --out."
        )
    measure_arm(arm, folders, before, step)
    return folders if ranks.is_first() else []


def load_seeds(folder: Path) -> list[Evidence]:
    """The Evidence in a folder, or in the numbered folders that it holds."""
    inside = (
        [folder]
        if is_evidence(folder)
        else sorted(filter(is_evidence, folder.glob("*")), key=lambda each: (len(each.name), each.name))
    )
    return [Evidence.load(each) for each in inside or [folder]]
