"""The toys among the compared systems: the default ones, those that wear measured statistics, and the atlas.

The one module of compare that knows toy and not real.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.progress import Progress, Step
from compare.run import Arm, Measured, ReportConfig, Task
from compare.system import System
from toy.config import ToyConfig, default_arms

if TYPE_CHECKING:
    from toy.model import Trained
    from toy.system import ToySystem
    from toy.world import World

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that say how many threads OpenMP, numpy's linear algebra and compiled kernels may have."""

ANCHOR_WORLDS = 3
"""Worlds, with starts of their own, in which each of the atlas' anchors is asked."""


def toy_arms(config: ReportConfig) -> list[Arm]:
    """The toys of the default report, each with its seeds."""
    toys = default_arms(config.quick)
    return [toy_arm(f"toy: {name}", replace(toy, seed=config.seed)) for name, toy in toys.items()]


def in_processes(tasks: Sequence[Task], progress: Progress) -> Iterator[Any]:
    """What each task gives, in order: made by processes of one thread each, as the atlas' points are.

    Numbers do not depend on how many there are.
    """
    from toy.atlas import in_turn

    before = os.environ.copy()
    os.environ |= dict.fromkeys(THREADS, "1")  # which a library reads when it is loaded: by the new processes
    try:
        yield from in_turn(tasks, progress)
    except BrokenProcessPool as error:
        raise ValueError(
            "expected processes that work to their end, found one that was ended from outside, for want of "
            "memory perhaps: run again with OMP_NUM_THREADS=1; what is done is kept."
        ) from error
    finally:
        os.environ.clear()
        os.environ |= before


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
        knows_outputs=config.reconstruction_share < 1,
    )


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


def sae_toys(config: ReportConfig) -> dict[str, ToyConfig]:
    """A toy with room that learns its directions, and the same world with random ones."""
    base = ToyConfig(n_features=128, width=64, firing_rate=0.04, magnitudes="lognormal", seed=config.seed)
    base = replace(base, n_seeds=2, steps=200) if config.quick else replace(base, n_seeds=3, steps=1500)
    return {"learned": base, "given": replace(base, directions="given", steps=1)}


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


def measures_on_toys(config: ReportConfig, step: Step) -> dict:
    """How well every measure recovers what is true in known worlds: rows, and what they say."""
    from compare.scored import score_measures, score_sentences

    with step("measures on known worlds"):
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
    from toy.atlas import explore, explore_anchors, toy_sha256

    worlds = []
    for number in range(ANCHOR_WORLDS):
        with step(f"anchors, world {number + 1} of {ANCHOR_WORLDS}") as progress:
            worlds.append(explore_anchors(ANCHOR_WORLDS * seed + number, runs / "atlas", progress))
    with step("atlas") as progress:
        found = list(explore(seed, runs / "atlas", progress))
    about = {"seed": seed, "toy_sha256": toy_sha256(), "versions": versions()}
    results = atlas_results(found, pooled(worlds), atlas_theory(), about)
    return results | {"measures": measures_on_toys(ReportConfig(seed=seed), step)}


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
