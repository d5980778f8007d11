"""The toys among the compared systems: the default ones, those that wear measured statistics, and the atlas.

The one module of compare that knows toy and not real.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from compare.processes import Task, in_processes
from compare.progress import Progress, Step
from compare.run import Arm, Measured, ReportConfig
from compare.system import System
from toy.config import ToyConfig, default_arms

if TYPE_CHECKING:
    from toy.model import Trained
    from toy.system import ToySystem
    from toy.world import World

ANCHOR_WORLDS = 3
"""Worlds, with starts of their own, in which each of the atlas' anchors is asked."""


def toy_arms(config: ReportConfig) -> list[Arm]:
    """The toys of the default report, each with its seeds."""
    toys = default_arms(config.quick)
    return [toy_arm(f"toy: {name}", replace(toy, seed=config.seed)) for name, toy in toys.items()]


def toy_arm(name: str, config: ToyConfig) -> Arm:
    """One toy; its seeds are trained together on the same samples."""
    note = (
        f"{config.n_features} features in {config.width} dimensions, firing rate {config.firing_rate:g}, "
        f"reconstruction {config.reconstruction_share:.0%} of the loss"
    )
    return Arm(
        name=name,
        group="toy",
        note=note,
        systems=partial(systems_of, name, config),
        n_systems=config.n_seeds,
        stands_alone=True,
        cost=seconds_of(config),
        knows_outputs=config.reconstruction_share < 1,
    )


def seconds_of(config: ToyConfig) -> int:
    """How long a toy takes on one thread, roughly: its training, and two seconds a seed beside."""
    share = config.reconstruction_share
    read = config.n_features * (share > 0) + config.vocabulary * (share < 1)
    products = config.steps * config.batch * config.width * read
    return round(config.n_seeds * (2 + products / 1e10))


def systems_of(name: str, config: ToyConfig, before: Measured, step: Step) -> Iterator[System]:
    """A toy's systems, as an Arm makes them."""
    from toy.world import World

    yield from toy_systems(name, config, World(config), step)


def toy_systems(name: str, config: ToyConfig, world: "World", step: Step) -> Iterator[System]:
    """The networks trained in a world, a system each."""
    from toy.model import train
    from toy.system import ToySystem

    with step(f"{name}: training {config.n_seeds} seeds") as progress:
        trained = train(config, world, progress)
    for instance in range(config.n_seeds):
        yield ToySystem(name, world, trained, instance)


def worn_arm(worn: str, config: ReportConfig) -> Arm:
    """A toy whose features have the rates and the co-firing that were measured of an arm before it."""
    name = f"toy: wearing the {worn}'s statistics"
    size = (
        {"n_seeds": 2, "steps": 500, "n_samples": 20_000} if config.quick else {"n_seeds": 3, "steps": 2000}
    )

    def systems(before: Measured, step: Step) -> Iterator[System]:
        from compare.worn import worn_statistics
        from toy.copula import Copula
        from toy.world import World

        evidence = before[worn][0]
        n_features = min(128, int(evidence.is_alive(config.min_count).sum()) // 2 * 2)
        seen = worn_statistics(evidence, n_features, seed=config.seed, min_count=config.min_count)
        toy = ToyConfig(
            n_features=n_features,
            width=n_features // 2,
            firing_rate=float(seen.rates.mean()),
            grouped_share=1.0,
            conditionals=("independent",),
            reconstruction_share=0.95,
            batch=512,
            seed=config.seed,
            **size,
        )
        law = Copula(seen.rates, seen.joint_rates, seed=config.seed)
        yield from toy_systems(name, toy, World(toy, law), step)

    note = (
        f"rates and joint rates of up to 128 features of the {worn}, through a Gaussian copula, two features "
        "a dimension; every other pair has the same outputs; reconstruction 95% of the loss"
    )
    return Arm(name=name, group="toy", note=note, systems=systems, n_systems=size["n_seeds"])


def known_toys(config: ReportConfig) -> "Iterator[ToySystem]":
    """Worlds in which measures are held against the truth: groups of six at levels of co-occurrence and of
    shared outputs, frequencies by Zipf's law, directions at random.
    """
    from toy.system import ToySystem

    base = ToyConfig(
        n_features=96, width=48, group_size=6, grouped_share=1.0, rates="zipf", firing_rate=0.02,
        conditionals=(0.0, 0.1, 0.3, 0.6), overlaps=(0.0, 0.5, 1.0), vocabulary=64, magnitudes="lognormal",
        directions="given", steps=1, n_seeds=1, n_samples=16_384 if config.quick else 32_768,
    )  # fmt: skip
    for number in range(2 if config.quick else 3):
        world, found = trained_toy(replace(base, seed=3 * config.seed + number))
        yield ToySystem(f"known world {number}", world, found)


def measures_on_toys(config: ReportConfig) -> dict:
    """How well every measure recovers what is true in known worlds: rows, and what they say."""
    from compare.scored import score_measures, score_sentences

    rows = score_measures(known_toys(config), (4, 2) if config.quick else (8, 2))
    return {"rows": rows, "sentences": score_sentences(rows)}


def trained_toy(config: ToyConfig) -> "tuple[World, Trained]":
    """A world, and the networks trained in it."""
    from toy.model import train
    from toy.world import World

    world = World(config)
    return world, train(config, world)


def explore_atlas(seed: int, runs: Path, step: Step) -> dict:
    """Every point of the toys' atlas, the anchors and the scores of measures, as results (compare.atlas).

    What the same code left in `runs` is not run again.
    """
    from compare.anchors import pooled
    from compare.atlas import atlas_results
    from compare.provenance import versions
    from toy.atlas import anchor_tasks, toy_sha256

    worlds = []
    for number in range(ANCHOR_WORLDS):
        tasks = [Task(*task) for task in anchor_tasks(ANCHOR_WORLDS * seed + number, runs / "atlas")]
        with step(f"anchors, world {number + 1} of {ANCHOR_WORLDS}") as progress:
            worlds.append(list(chain.from_iterable(in_processes(tasks, progress))))
    with step("atlas") as progress:
        found = explored(seed, runs / "atlas", progress)
    about = {"seed": seed, "toy_sha256": toy_sha256(), "versions": versions()}
    results = atlas_results(found, pooled(worlds), atlas_theory(), about)
    with step("measures on known worlds"):
        return results | {"measures": measures_on_toys(ReportConfig(seed=seed))}


def explored(seed: int, folder: Path, progress: Progress) -> list[tuple[str, dict]]:
    """What was found at every point, with the name of its slice; points in the folder are not run again."""
    from toy.atlas import point_tasks

    names, paths, makes = zip(*point_tasks(seed, folder), strict=True)
    return list(zip(names, in_processes(list(map(Task, paths, makes)), progress), strict=True))


def atlas_theory() -> list[dict]:
    """What the cost of two features in one dimension predicts for each kind of network of the atlas."""
    from toy.energy import Two, flip_of_equal_lengths, flip_share
    from toy.grid import KINDS, TWO

    rows = []
    for kind, changes in KINDS.items():
        config = replace(TWO, **changes)
        free = None
        if config.readout == "softmax":
            free = flip_share(Two(config.firing_rate, 0.0, 1.0, config.tied, config.votes, config.vocabulary))
        row = {"kind": kind, "tied": config.tied, "readout": config.readout, "flip_free": free}
        rows.append(row | {"flip": flip_of_equal_lengths(config.readout)})
    return rows
