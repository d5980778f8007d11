"""What passes over all pairs of a large dictionary take, beyond the divergence: time, and memory."""

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from compare.design import Prepared, interaction
from compare.evidence import Evidence
from compare.kernels import add_to_grid
from compare.pairs import PairTable
from compare.permutation import moments
from compare.regress import fit
from compare.tiles import unit_rows

COOCCURRENCE = ("phi", "log_odds", "jaccard")
N_TOKENS = 10_000_000


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
        activation_second=np.zeros((0, 0), np.float32),
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
        add_to_grid(tile["phi"], tile["log_odds"], tile["cosine"], (-0.1, 0.1, -5, 5), counts, sums)
        bins += np.histogram(tile["cosine"], 200, (-1, 1))[0]
        for features, axis in ((rows, 1), (cols, 0)):
            here = np.fmin.reduce(tile["cosine"], axis), np.fmax.reduce(tile["cosine"], axis)
            lowest[features] = np.fmin(lowest[features], here[0])
            highest[features] = np.fmax(highest[features], here[1])
    return counts, sums, bins, lowest, highest


def sums_by_feature(table: PairTable) -> Prepared:
    """What every regression and permutation needs of the pairs: means, then products by feature."""
    source = table.source("log_odds", "jaccard")
    given = {"mask": None, "covariates": None, "effects": "none", "center": True, "activity": None}
    return interaction(source, None, None, **given)


PASSES = {
    "one pass: cosines, three measures, grid, bins, extremes": one_pass,
    "sums by feature, and Mantel's moments from them": lambda table: moments(sums_by_feature(table)),
    "least squares, sandwich, jackknife": lambda table: fit(table.source("log_odds", "jaccard")),
}


def cost(name: str, n: int) -> dict:
    """CPU seconds of a pass over n features and the process's peak memory, inputs and code included."""
    table = drawn_table(n)
    PASSES[name](drawn_table(64))  # compiled before
    start = time.process_time()
    PASSES[name](table)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"pass": name, "n_features": n, "seconds": seconds, "peak_bytes": peak}


def costs(n: int, names: tuple[str, ...] = tuple(PASSES)) -> list[dict]:
    """The cost of passes, each in a process of its own."""
    rows = []
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            rows.append(pool.submit(cost, name, n).result())
    return rows
