"""What passes over all pairs of a large dictionary take, beyond the divergence: time, and memory."""

import resource
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from compare.evidence import Evidence
from compare.kernels import CofiringRows, Events, add_to_grid
from compare.pairs import PairSource, PairTable
from compare.permutation import Permutation, permute
from compare.regress import fit
from compare.tiles import unit_rows

COOCCURRENCE = ("phi", "log_odds", "jaccard")
N_TOKENS = 10_000_000
ONE_PASS = "one pass: cosines, three measures, grid, bins, extremes"
COFIRING = "co-firing with second moments, 262,144 tokens, 64 active"


def drawn_table(n: int, width: int = 512) -> PairTable:
    """Pairs of n features with random directions and counts; nothing but these is held.

    Co-firing counts are those of a Hankel matrix, symmetric and without memory of its own.
    """
    rng = np.random.default_rng(0)
    along = rng.integers(0, 50, 2 * n - 1).astype(np.int32)
    counts, halves = rng.integers(100, 100_000, n), np.ones((2, n))
    nothing = {"vocabulary": None, "encoder": None, "truth": None, "provenance": {}}
    evidence = Evidence(
        name="drawn",
        n_tokens=N_TOKENS,
        n_sequences=N_TOKENS // 128,
        directions=rng.standard_normal((n, width), dtype=np.float32),
        counts=counts,
        cofiring=np.lib.stride_tricks.sliding_window_view(along, n),
        activation_sums=counts.astype(float),
        activation_second=np.broadcast_to(np.float32(0), (n, n)),
        moments_mean=np.zeros(0),
        moments_covariance=np.zeros((0, 0)),
        output_halves=np.zeros((2, n, 0), np.float32),
        output_weights=halves,
        half_squared_weights=halves,
        half_counts=halves.astype(np.int64),
        base_output=np.zeros(0),
        **nothing,
    )
    return PairTable(evidence, np.arange(n), COOCCURRENCE, unit_rows(evidence.directions))


def one_pass(table: PairTable) -> tuple[np.ndarray, ...]:
    """Cosines and three measures of every pair, on a grid of 64 x 64 and in 200 bins, and their extremes."""
    counts, sums, bins = np.zeros((64, 64), np.int64), np.zeros((64, 64)), np.zeros(200, np.int64)
    lowest, highest = np.full(table.n, np.inf), np.full(table.n, -np.inf)
    for rows, cols, tile in table.tiles():
        add_to_grid(tile["phi"], tile["log_odds"], tile["cosine"], (-0.1, 0.1, -5.0, 5.0), counts, sums)
        bins += np.histogram(tile["cosine"], 200, (-1, 1))[0]
        for features, axis in ((rows, 1), (cols, 0)):
            here = np.fmin.reduce(tile["cosine"], axis), np.fmax.reduce(tile["cosine"], axis)
            lowest[features] = np.fmin(lowest[features], here[0])
            highest[features] = np.fmax(highest[features], here[1])
    return counts, sums, bins, lowest, highest


def source(table: PairTable) -> PairSource:
    """The cosine and two measures of such a table, for a regression."""
    return table.source("log_odds", "jaccard")


def mantel(table: PairTable) -> Permutation:
    """Permutation tests of the regression's slopes from exact moments."""
    return permute(source(table), method="moments")


def firings(n: int, active: int, n_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, offsets and activations of tokens that each fire so many features, spread evenly."""
    rng = np.random.default_rng(0)
    features = rng.integers(0, n // active, (n_tokens, active)) + np.arange(0, n, n // active)
    values = rng.random(n_tokens * active, dtype=np.float32)
    return features.astype(np.int32).ravel(), np.arange(0, n_tokens * active + 1, active), values


def count_pairs(features: np.ndarray, offsets: np.ndarray, values: np.ndarray, n: int) -> None:
    """Co-firing counts and second moments, some rows at a time and never all of them."""
    for _ in CofiringRows([Events(features, offsets, n, values)]):
        pass


PASSES: dict[str, Callable[[int], Callable[[], object]]] = {
    ONE_PASS: lambda n: partial(one_pass, drawn_table(n)),
    "sums by feature, and Mantel's moments from them": lambda n: partial(mantel, drawn_table(n)),
    "least squares with sandwich and jackknife": lambda n: partial(fit, source(drawn_table(n))),
    COFIRING: lambda n: partial(count_pairs, *firings(n, 64, 262_144), n),
}
"""What a pass does for n features, made ready."""


def cost(name: str, n: int) -> dict:
    """CPU seconds of a pass over n features on one thread, and its process's peak memory, all included."""
    torch.set_num_threads(1)
    PASSES[name](128)()  # compiled before
    work = PASSES[name](n)
    start = time.process_time()
    work()
    seconds = time.process_time() - start
    return {"pass": name, "n_features": n, "seconds": seconds, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Most memory that this process ever had; its parent's, which getrusage() counts as well, left out."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def costs(n: int, names: Iterable[str] = PASSES) -> list[dict]:
    """The cost of passes, each in a process of its own."""
    rows = []
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            rows.append(pool.submit(cost, name, n).result())
    return rows
