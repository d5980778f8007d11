"""Each kernel beside what it replaces, on the same data in one run on one thread, and the machine's peaks.

Times are CPU seconds of the process, the least of a few runs, compilation done before; ratios carry over to
another machine. Data are drawn at the sizes of the post or, if quick, at a fraction of them.
"""

import json
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from scipy.spatial.distance import cdist

from compare.bench_pairs import COFIRING, ONE_PASS, costs, count_pairs, firings
from compare.bench_whole import divergence_to_the_end
from compare.kernels import add_outputs, as_rows, cofire_blocks, js_divergence, output_totals
from compare.progress import TIMINGS, Step, duration
from compare.provenance import code_sha256, versions
from compare.regress import fit

OURS, POST = "cofire", "the post's way, float64"


class Case(NamedTuple):
    """Ways to do one thing; each takes its seconds for one unit of work."""

    title: str
    unit: str
    seconds: dict[str, float]
    error: float | None = None
    """Largest difference of ours from the most exact of the others."""


def bench(quick: bool, step: Step, whole: Path | None = None, report: Path | None = None) -> dict:
    """Every case as plain numbers: machine, versions, and seconds a unit with the ratio to ours.

    With `whole`, a folder that holds its tiles, the divergence of all pairs at the post's size as well, on as
    many threads as torch uses. With `report`, a folder that a report lies in, where the minutes of that went.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with step("the machine's peaks"):
            found = {"quick": quick, "machine": machine()}
        cases = []
        for make in (divergence, cofiring, mean_outputs, regression):
            with step(f"bench: {make.__name__.replace('_', ' ')}"):
                cases.append(make(quick))
        n, large = (1024, 2048) if quick else (16_384, 65_536)
        with step(f"bench: passes over all pairs of {n:,} features"):
            found["passes"] = costs(n)
        with step(f"bench: passes over all pairs of {large:,} features"):
            found["passes"] += costs(large, (ONE_PASS, COFIRING))
    finally:
        torch.set_num_threads(threads)
    if whole is not None:
        with step("bench: the whole divergence") as progress:
            sizes = (1100, 500) if quick else (16_384, 48_262)
            found["whole"] = divergence_to_the_end(whole, *sizes, progress)
    if report is not None:
        found["minutes"] = minutes_of(report)
    rows = [
        {"case": case.title, "way": way, "unit": case.unit, "seconds": taken}
        | {"times_ours": taken / case.seconds[OURS], "largest_error": case.error if way == OURS else None}
        for case in cases
        for way, taken in case.seconds.items()
    ]
    return found | {"versions": versions(), "code": code_sha256(), "rows": rows}


def write_bench(found: dict, folder: Path) -> Path:
    """bench.json and the same as a table in bench.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(table(found), encoding="utf-8")
    return folder / "bench.md"


def table(found: dict) -> str:
    """What was found, in Markdown."""
    peaks = found["machine"]
    lines = [
        "# Speed",
        "",
        f"One thread of {peaks['processor']}: float32 product {peaks['gemm_float32']:.0f} GFlop/s, float64 "
        f"{peaks['gemm_float64']:.0f} GFlop/s, memory read {peaks['memory_read']:.1f} GB/s. CPU time; "
        + ("sizes cut down by --quick." if found["quick"] else "the post's sizes."),
    ]
    for title, rows in pd.DataFrame(found["rows"]).groupby("case", sort=False):
        lines += ["", f"## {title}", "", f"| | microseconds per {rows['unit'].iloc[0]} | times ours |"]
        lines += ["|---|---:|---:|"]
        for row in rows.itertuples():
            lines.append(f"| {row.way} | {row.seconds * 1e6:,.2f} | {row.times_ours:,.1f} |")
        error = rows["largest_error"].iloc[0]
        if pd.notna(error):
            lines += ["", f"Largest difference from float64: {error:.1e}."]
    lines += pass_lines(found["passes"])
    lines += whole_lines(found["whole"]) if "whole" in found else []
    lines += minute_lines(found["minutes"]) if "minutes" in found else []
    return "\n".join(lines) + "\n"


def pass_lines(passes: list[dict]) -> list[str]:
    """What passes over all pairs cost."""
    lines = ["", "## Passes over all pairs, beyond the divergence", ""]
    lines += ["| | features | core-seconds | ns a pair | peak memory, GB |", "|---|---:|---:|---:|---:|"]
    for row in passes:
        n, seconds = row["n_features"], row["seconds"]
        each = seconds / (n * (n - 1) / 2) * 1e9
        lines.append(
            f"| {row['pass']} | {n:,} | {seconds:,.1f} | {each:,.0f} | {row['peak_bytes'] / 1e9:.2f} |"
        )
    return lines


def whole_lines(whole: dict) -> list[str]:
    """The whole divergence in a sentence."""
    sizes = f"{whole['n_features']:,} features, vocabulary {whole['vocabulary']:,}"
    return [
        "",
        f"## The whole divergence, {sizes}",
        "",
        f"All {whole['pairs']:,} pairs, {whole['threads']} threads: {whole['cpu']:,.0f} core-seconds, "
        f"{whole['wall']:,.0f} s by the clock. Largest difference from float64 at {whole['checked']} pairs "
        f"drawn at random: {whole['error']:.1e} nats; two equal rows in different tiles are "
        f"{whole['equal_rows']:g} apart.",
    ]


def minutes_of(report: Path) -> dict:
    """The steps of a report with their seconds, by the clock and of the processor; and if it was quick."""
    texts = [(report / name).read_text(encoding="utf-8") for name in ("results.json", TIMINGS)]
    results, steps = map(json.loads, texts)
    return {"quick": results["quick"], "steps": steps}


def minute_lines(minutes: dict) -> list[str]:
    """Where the time of a report went, longest first."""
    steps, kind = minutes["steps"], "quick" if minutes["quick"] else "default"
    lines = [
        "",
        f"## Where the time of the {kind} report goes: {duration(sum(wall for wall, _ in steps.values()))}",
        "",
    ]
    lines += ["| | seconds | core-seconds |", "|---|---:|---:|"]
    longest = sorted(steps.items(), key=lambda item: -item[1][0])
    return lines + [f"| {title} | {wall:.0f} | {cpu:.0f} |" for title, (wall, cpu) in longest if wall >= 0.5]


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The least of a few runs."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def machine() -> dict:
    """The peaks of one core that kernels are held against, in GFlop/s and GB/s."""
    a = torch.randn(2048, 2048)
    b, line = a.double(), np.ones(2**26, dtype=np.float32)
    return {
        "processor": processor(),
        "gemm_float32": 2 * 2048**3 / cpu_seconds(lambda: a @ a) / 1e9,
        "gemm_float64": 2 * 2048**3 / cpu_seconds(lambda: b @ b) / 1e9,
        "memory_read": line.nbytes / cpu_seconds(line.max) / 1e9,
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def posts_divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """The post's algorithm: all pairs of a block at once, 1e-8 added to every probability, in float64."""
    p, q = p[:, None] + 1e-8, q[None] + 1e-8
    middle = (p + q) / 2
    return ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2


def posts_side(vocabulary: int) -> int:
    """Rows and columns of the post's blocks of pairs: 100, or as many as memory can hold five float64 of."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(100, math.isqrt(int(0.8 * memory) // (5 * 8 * vocabulary)))


def divergence(quick: bool) -> Case:
    """Jensen-Shannon divergence of all pairs."""
    n, few, vocab = (128, 8, 4096) if quick else (256, 32, 48_262)
    side = posts_side(vocab)
    logits = 2 * np.random.default_rng(0).standard_normal((n, vocab), dtype=np.float32)
    p = torch.from_numpy(logits).softmax(1).numpy()
    exact = p[:few].astype(np.float64)
    block = torch.from_numpy(p[:side].astype(np.float64))
    error = np.abs(js_divergence(p)[:few, :few] - cdist(exact, exact, "jensenshannon") ** 2).max()
    seconds = {
        OURS: cpu_seconds(lambda: js_divergence(p)) / (n * (n + 1) / 2),
        "scipy cdist, squared": cpu_seconds(lambda: cdist(exact, exact, "jensenshannon")) / few**2,
        f"{POST}, {side} x {side} pairs at once": cpu_seconds(lambda: posts_divergence(block, block), 2)
        / side**2,
    }
    title = f"Jensen-Shannon divergence, {n} features, vocabulary {vocab:,}"
    return Case(title, "pair", seconds, float(error))


def cofiring(quick: bool) -> Case:
    """Co-firing counts with and without second moments."""
    n, active, n_tokens = (2048, 32, 20_000) if quick else (16_384, 32, 262_144)
    features, offsets, values = firings(n, active, n_tokens)
    sparse = scipy.sparse.csr_matrix((np.ones_like(values), features, offsets), shape=(n_tokens, n))
    weighted = scipy.sparse.csr_matrix((values, features, offsets), shape=(n_tokens, n))
    dense = torch.from_numpy(sparse[:256].toarray()).double()

    def with_moments() -> None:
        count_pairs(features, offsets, values, n)

    def counts_alone() -> None:
        for _ in cofire_blocks(features, offsets, n):
            pass

    with_moments()
    counts_alone()
    seconds = {
        OURS: cpu_seconds(with_moments) / n_tokens,
        "cofire, counts alone": cpu_seconds(counts_alone) / n_tokens,
        "scipy.sparse, counts alone": cpu_seconds(lambda: sparse.T @ sparse, 2) / n_tokens,
        "scipy.sparse, second moments alone": cpu_seconds(lambda: weighted.T @ weighted, 2) / n_tokens,
        f"{POST}, counts alone": cpu_seconds(lambda: dense.T @ dense, 2) / len(dense),
    }
    return Case(f"Co-firing with second moments, {n:,} features, {active} active", "token", seconds)


def mean_outputs(quick: bool) -> Case:
    """Activation-weighted sums of output distributions."""
    n, active, vocab, n_tokens = (2048, 32, 1024, 512) if quick else (16_384, 32, 12_066, 4096)
    features, offsets, values = firings(n, active, n_tokens)
    tokens = np.repeat(np.arange(n_tokens, dtype=np.int32), active)
    outputs = torch.randn(n_tokens, vocab).softmax(1)
    totals = output_totals(n, vocab)
    sparse = scipy.sparse.csr_matrix((values, features, offsets), shape=(n_tokens, n))
    dense, exact = torch.from_numpy(sparse[:256].toarray()).double(), outputs[:256].double()
    add_outputs(features, tokens, values, outputs.numpy(), totals)
    error = np.abs(
        as_rows(totals, np.ones(n, np.float32), vocab) - sparse.astype(np.float64).T @ outputs.numpy()
    ).max()
    seconds = {
        OURS: cpu_seconds(lambda: add_outputs(features, tokens, values, outputs.numpy(), totals)) / n_tokens,
        "scipy.sparse": cpu_seconds(lambda: sparse.T @ outputs.numpy(), 2) / n_tokens,
        POST: cpu_seconds(lambda: dense.T @ exact, 2) / len(dense),
    }
    title = f"Mean outputs, {n:,} features, {active} active, vocabulary {vocab:,}"
    return Case(title, "token", seconds, float(error))


def regression(quick: bool) -> Case:
    """Least squares over all pairs with naive, sandwich and jackknife errors, beside least squares alone."""
    import statsmodels.api as sm

    n = 512 if quick else 2048
    rng = np.random.default_rng(0)
    cosine, co, sim = (a + a.T for a in rng.standard_normal((3, n, n)))
    above = np.triu_indices(n, 1)

    def least_squares() -> np.ndarray:
        x, y = co[above] - co[above].mean(), sim[above] - sim[above].mean()
        design = np.stack([np.ones(len(x)), x, y, x * y], axis=1)
        return sm.OLS(cosine[above], design).fit(cov_type="HC1").params

    error = np.abs(fit(cosine, co, sim).params.to_numpy() - least_squares()).max()
    n_pairs = n * (n - 1) / 2
    seconds = {
        OURS: cpu_seconds(lambda: fit(cosine, co, sim), 2) / n_pairs,
        "statsmodels OLS, HC1 alone": cpu_seconds(least_squares, 2) / n_pairs,
    }
    return Case(f"Regression over the pairs of {n:,} features, all errors", "pair", seconds, float(error))
