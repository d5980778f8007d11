"""The post's whole divergence to its end: every pair of so many mean outputs, tile by tile.

A tile that is done is a line of a file, so a run that was stopped goes on; tiles that other loops made
(compare/compiled.py), or another number of threads, are not taken up.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from compare import compiled
from compare.dyads import squares
from compare.kernels import js_divergence
from compare.progress import Progress
from compare.provenance import file_sha256

CHECKED = 4
"""Pairs of a tile that are compared with float64."""


def divergence_to_the_end(folder: Path, n: int, vocabulary: int, progress: Progress) -> dict:
    """What all pairs cost in CPU and wall seconds, and how far they are from float64.

    Two rows in different tiles are equal: `equal_rows` is their divergence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threads, loops = torch.get_num_threads(), file_sha256(Path(compiled.__file__))[:12]
    file = folder / f"divergence-{n}-{vocabulary}-{threads}-{loops}.jsonl"
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    wanted = list(squares(n))
    outputs = drawn_outputs(n, vocabulary) if len(done) < len(wanted) else np.empty((0, 0), np.float32)
    for number in range(len(done), len(wanted)):
        progress(number, len(wanted))
        done.append(one_tile(outputs, *wanted[number], seed=number))
        with file.open("a") as lines:
            lines.write(json.dumps(done[-1]) + "\n")
    sums = {name: sum(tile[name] for tile in done) for name in ("pairs", "cpu", "wall", "checked")}
    highest = {name: max(tile[name] for tile in done) for name in ("error", "highest", "equal_rows")}
    return {"n_features": n, "vocabulary": vocabulary, "threads": threads} | sums | highest


def one_tile(outputs: np.ndarray, rows: slice, cols: slice, *, seed: int) -> dict:
    """The divergence of a tile: time, largest value, and largest error of a few pairs."""
    wall, cpu = time.monotonic(), time.process_time()
    found = js_divergence(outputs[rows], None if rows == cols else outputs[cols])
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    picked = np.random.default_rng(seed).integers(0, found.shape, (CHECKED, 2))
    errors = [abs(exact(outputs[rows][i], outputs[cols][j]) - float(found[i, j])) for i, j in picked]
    is_corner = rows.start == 0 and cols.stop == len(outputs)
    return {
        "pairs": found.size if rows != cols else len(found) * (len(found) - 1) // 2,
        "cpu": cpu,
        "wall": wall,
        "checked": CHECKED,
        "error": max(errors),
        "highest": float(found.max()),
        "equal_rows": float(found[0, -1]) if is_corner else 0.0,
    }


def exact(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions in nats, in float64."""

    def entropy(s: np.ndarray) -> float:
        return float(-(s[s > 0] * np.log(s[s > 0])).sum())

    p, q = p.astype(np.float64), q.astype(np.float64)
    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def drawn_outputs(n: int, vocabulary: int) -> np.ndarray:
    """Distributions that share a base and 32 topics; the last equals the first."""
    rng = np.random.default_rng(0)
    base = 2 * rng.standard_normal(vocabulary, dtype=np.float32)
    topics = rng.standard_normal((32, vocabulary), dtype=np.float32)
    outputs = np.empty((n, vocabulary), np.float32)
    for first in range(0, n, 1024):
        rows = outputs[first : first + 1024]
        logits = base + 0.4 * rng.standard_normal((len(rows), 32), dtype=np.float32) @ topics
        rows[:] = torch.from_numpy(logits).softmax(1).numpy()
    outputs[-1] = outputs[0]
    return outputs
