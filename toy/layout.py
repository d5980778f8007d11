"""Which features form groups, how often each fires, and the law by which they fire together."""

import zlib
from itertools import combinations
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from toy.config import ToyConfig
from toy.copula import Copula, joint_of
from toy.firing import StateTables
from toy.groups import clique_states, ring_states, tree_states

Group = tuple[list[int], float | str, float]
"""Members, conditional, overlap."""
ASYMMETRY = 1e-6
"""Difference of phi or joint rates across the diagonal that float32 may leave."""


def lay_out(config: ToyConfig) -> list[Group]:
    """The groups, cell after cell; what is left over are groups of one."""
    overlaps = (1.0,) if config.group_overlaps else config.overlaps
    cells = [(q, s) for q in config.conditionals for s in overlaps]
    size, n_groups = config.group_size, config.n_groups
    groups = [(list(range(k * size, (k + 1) * size)), *cells[k % len(cells)]) for k in range(n_groups)]
    return groups + [([feature], "independent", 0.0) for feature in range(n_groups * size, config.n_features)]


def firing_law(config: ToyConfig, layout: list[Group], rng: np.random.Generator) -> StateTables | Copula:
    """Independent groups, or one Gaussian for all features."""
    if config.statistics:
        return Copula(*read_statistics(Path(config.statistics), config.n_features), seed=config.seed)
    rates = firing_rates(config, layout, rng)
    if config.arrangement == "copula":
        wanted = grouped_joint_rates(np.array(rates), layout)
        law = Copula(np.array(rates), wanted, seed=config.seed)
        check_levels(law, wanted, layout)
        return law
    groups = []
    for members, conditional, _ in layout:
        own = [rates[member] for member in members]
        if conditional == "independent":
            groups += [([member], [((0,), rate)]) for member, rate in zip(members, own, strict=True)]
        elif config.arrangement == "ring":
            groups.append((members, ring_states(len(own), own[0], conditional)))
        elif config.arrangement == "tree":
            groups.append((members, tree_states(len(own), own[0], conditional)))
        else:
            groups.append((members, clique_states(own, conditional)))
    return StateTables(groups, config.n_features)


def firing_rates(config: ToyConfig, layout: list[Group], rng: np.random.Generator) -> list[float]:
    """Firing rate of each feature; Zipf's ranks go to whole groups in random order: cells share the range."""
    if config.rates == "equal":
        return (
            tree_rates(config, layout)
            if config.arrangement == "tree"
            else [config.firing_rate] * config.n_features
        )
    by_rank = 1 / np.arange(1, config.n_features + 1)
    by_rank *= config.firing_rate / by_rank.mean()
    if by_rank[0] >= 1:
        highest = config.firing_rate / by_rank[0]
        raise ValueError(
            f"expected every rate below 1, found {by_rank[0]:.3g} for the most frequent feature: with Zipf "
            f"rates and {config.n_features} features firing_rate has to be below {highest:.3g}."
        )
    sizes = [len(members) for members, _, _ in layout]
    groups = np.split(np.arange(config.n_features), np.cumsum(sizes)[:-1])
    rates = np.empty(config.n_features)
    rates[np.concatenate([groups[k] for k in rng.permutation(len(groups))])] = by_rank
    return rates.tolist()


def tree_rates(config: ToyConfig, layout: list[Group]) -> list[float]:
    """A parent's rate and its children's share of it, such that a group's mean is firing_rate."""
    rates = []
    for members, share, _ in layout:
        if len(members) == 1:
            rates.append(config.firing_rate)
            continue
        n_children = len(members) - 1
        parent = config.firing_rate * len(members) / (1 + n_children * float(share))
        if parent > 1:
            raise ValueError(
                f"expected a parent that fires in at most every sample, found {parent:.3g} for children with "
                f"{share:g} of its firings: lower firing_rate or raise the conditional."
            )
        rates += [parent, *[parent * float(share)] * n_children]
    return rates


def grouped_joint_rates(rates: np.ndarray, layout: list[Group]) -> np.ndarray:
    """P(i, j) as the conditional of a group says, by the rarer of the two; independent elsewhere."""
    joint = np.outer(rates, rates)
    for members, conditional, _ in layout:
        if conditional != "independent":
            block = np.ix_(members, members)
            joint[block] = float(conditional) * np.minimum.outer(rates[members], rates[members])
    return joint


def check_levels(law: Copula, wanted: np.ndarray, layout: list[Group]) -> None:
    """Raise ValueError where the nearest that a copula can do puts a designed pair at another level."""
    rates, found = law.rates.numpy(), law.joint_rates.numpy()
    for members, _, _ in layout:
        for i, j in combinations(members, 2):
            chance, rarer = rates[i] * rates[j], min(rates[i], rates[j])
            asked, given = (level(round(joint[i, j] / chance, 6)) for joint in (wanted, found))
            if asked != given:
                raise ValueError(
                    f"expected features {i} and {j} to be {asked} with a conditional of "
                    f"{wanted[i, j] / rarer:.4g}, found {found[i, j] / rarer:.4g}, which is {given}, as the "
                    f"nearest that a Gaussian copula reaches in groups of {len(members)}: lower group_size "
                    "or firing_rate, or ask for a level that can be had."
                )


def level(lift: float) -> str:
    """The co-occurrence of two features by P(i, j) / P(i) P(j): exclusive below 1/2, co-occurring above 2."""
    return "exclusive" if lift < 0.5 else "co-occurring" if lift > 2 else "independent"


def read_statistics(path: Path, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates [features] and joint rates [features, features] of a file that holds joint_rates or phi."""
    if not path.is_file():
        raise ValueError(
            f"expected a file of rates and joint_rates, found nothing at {path}: mend statistics."
        )
    found = arrays_of(path)
    rates = found.get("rates", np.empty(0))
    matrix = found.get("joint_rates", found.get("phi", np.empty(0)))
    if rates.shape != (n_features,) or matrix.shape != (n_features, n_features):
        shapes = {name: list(array.shape) for name, array in found.items()}
        raise ValueError(
            f"expected rates [{n_features}] and joint_rates or phi [{n_features}, {n_features}] in {path}, "
            f"found {shapes}: set n_features to what the file holds."
        )
    if not ((rates > 0) & (rates < 1)).all():
        raise ValueError(
            f"expected rates in (0, 1) in {path}, found {rates.min():g} to {rates.max():g}: leave out "
            "features that fire never or always."
        )
    is_good = np.isfinite(matrix) & np.isclose(matrix, matrix.T, rtol=0, atol=ASYMMETRY)
    if not is_good.all():
        i, j = np.argwhere(~is_good)[0]
        raise ValueError(
            f"expected joint_rates or phi that are finite and symmetric in {path}, found {matrix[i, j]:g} at "
            f"[{i}, {j}] and {matrix[j, i]:g} at [{j}, {i}]: mend the file."
        )
    return rates, matrix if "joint_rates" in found else joint_of(matrix, rates)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in a .npz or safetensors file, by name, in float64."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file) as arrays:  # numpy leaves a damaged one open
                found = dict(arrays)
        else:
            found = load_file(path)
    except (BadZipFile, EOFError, OSError, SafetensorError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(
            f"expected a .npz or safetensors file of float32 or float64 arrays, found something else, or "
            f"damage, in {path}: save it again, with .npz at the end of its name where numpy does."
        ) from error
    return {name: array.astype(float) for name, array in found.items() if array.dtype.kind in "biuf"}
