"""Each kernel beside what it replaces, on the same data in one run: python tests/bench/bench_kernels.py

Times are CPU seconds of the process per unit of work (pair, token), so that two threads count twice; ratios
carry over to another machine. Compilation is done before.
"""

import time
from collections.abc import Callable

import numpy as np
import scipy.sparse
import torch
from scipy.spatial.distance import cdist

from compare.kernels import Events, add_cofiring, add_outputs, cofire_counts, js_divergence

RNG = np.random.default_rng(0)


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The least of a few runs, after one that compiles."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def machine() -> None:
    """The peaks that the kernels are held against."""
    a = torch.randn(2048, 2048)
    seconds = cpu_seconds(lambda: a @ a)
    print(f"{torch.get_num_threads()} threads; fp32 product {2 * 2048**3 / seconds / 1e9:.0f} GFlop/s a core")
    line = np.zeros(2**26, dtype=np.float32)
    print(f"memory read {line.nbytes / cpu_seconds(line.sum) / 1e9:.1f} GB/s a core\n")


def posts_divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """The post's algorithm: all pairs of a block at once, 1e-8 added to every probability, in float64."""
    p, q = p[:, None] + 1e-8, q[None] + 1e-8
    middle = (p + q) / 2
    return ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2


def divergence(vocab: int = 48_262) -> None:
    p = RNG.dirichlet(np.full(vocab, 0.1), 128).astype(np.float32)
    exact = p.astype(np.float64)
    few = torch.from_numpy(exact[:8])
    ours = cpu_seconds(lambda: js_divergence(p)) / (128 * 129 / 2)
    error = np.abs(js_divergence(p[:8], p) - cdist(exact[:8], exact, "jensenshannon") ** 2).max()
    rows = {
        "compare.kernels": ours,
        "scipy cdist, squared": cpu_seconds(lambda: cdist(exact[:8], exact[:8], "jensenshannon"), 1) / 64,
        "the post's way, fp64": cpu_seconds(lambda: posts_divergence(few, few), 1) / 64,
    }
    table(
        f"Jensen-Shannon divergence, vocabulary {vocab:,} (us a pair; largest error {error:.1e} nats)", rows
    )


def cofiring(n: int = 16_384, active: int = 32, n_tokens: int = 100_000) -> None:
    features = np.sort(
        RNG.integers(0, n // active, (n_tokens, active)) + np.arange(0, n, n // active), axis=1
    )
    features = features.astype(np.int32).ravel()
    values = RNG.random(len(features)).astype(np.float32)
    offsets = np.arange(0, len(features) + 1, active)
    events = Events(features, offsets, n, values)
    counts, second = np.zeros((n, n), np.int32), np.zeros((n, n), np.float32)
    sparse = scipy.sparse.csr_matrix(
        (np.ones(len(features), np.int32), features, offsets), shape=(n_tokens, n)
    )
    dense = torch.from_numpy(sparse[:256].toarray()).double()
    rows = {
        "compare.kernels": cpu_seconds(lambda: add_cofiring(Events(features, offsets, n), counts), 1)
        / n_tokens,
        "with second moments": cpu_seconds(lambda: add_cofiring(events, counts, second), 1) / n_tokens,
        "scipy.sparse X'X": cpu_seconds(lambda: sparse.T @ sparse, 1) / n_tokens,
        "the post's way, dense fp64": cpu_seconds(lambda: dense.T @ dense, 1) / 256,
    }
    assert (
        cofire_counts(features[: 100 * active], offsets[:101], n) == (sparse[:100].T @ sparse[:100])
    ).all()
    table(f"Co-firing counts, {n:,} features, {active} active (us a token)", rows)


def mean_outputs(n: int = 4096, active: int = 32, vocab: int = 8192, n_tokens: int = 2048) -> None:
    outputs = torch.randn(n_tokens, vocab).softmax(1).numpy()
    rows_of = (RNG.integers(0, n // active, (n_tokens, active)) + np.arange(0, n, n // active)).astype(
        np.int32
    )
    rows_of, tokens = rows_of.ravel(), np.repeat(np.arange(n_tokens, dtype=np.int32), active)
    weights = RNG.random(len(rows_of)).astype(np.float32)
    totals = np.zeros((n, vocab), dtype=np.float32)
    sparse = scipy.sparse.csr_matrix((weights, (tokens, rows_of)), shape=(n_tokens, n))
    dense, exact = torch.from_numpy(sparse.toarray()).double(), torch.from_numpy(outputs).double()
    rows = {
        "compare.kernels": cpu_seconds(lambda: add_outputs(rows_of, tokens, weights, outputs, totals))
        / n_tokens,
        "scipy.sparse A'P": cpu_seconds(lambda: sparse.T @ outputs, 1) / n_tokens,
        "the post's way, dense fp64": cpu_seconds(lambda: dense.T @ exact, 1) / n_tokens,
    }
    table(f"Mean outputs, {n:,} features, {active} active, vocabulary {vocab:,} (us a token)", rows)


def table(title: str, seconds: dict[str, float]) -> None:
    print(title)
    best = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:28}{value * 1e6:12.2f}{value / best:10.1f}x")
    print()


if __name__ == "__main__":
    machine()
    divergence()
    cofiring()
    mean_outputs()
