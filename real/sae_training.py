"""Training of an SAE on any stream of activations: resumable, deterministic, logged."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from real.config import SAEConfig
from real.sae import SAE
from real.sae_files import LOG_FILE, check_replaceable, load_sae, save_sae
from real.sae_state import Source, State, generator

CHECKPOINT_FILE = "checkpoint.safetensors"
UNFINISHED_FILE = "checkpoint.partial"
"""What a checkpoint is called while it is written."""

Progress = Callable[[int, int], None]
"""Called with how many activations have been seen, and how many will be."""


def train_sae(
    source: Source,
    config: SAEConfig,
    out: Path,
    *,
    reads: dict | None = None,
    progress: Progress | None = None,
) -> SAE:
    """Train an SAE and write it to the folder `out`, in SAELens' format, with its log beside the weights.

    Checkpoints lie in the folder `out`.training until the end; a run that finds one there goes on from it,
    if that is of the same config and of the same `reads`, which says what the source's activations are of.
    """
    check_replaceable(out)
    scratch, reads = out.with_name(out.name + ".training"), reads or {}
    found = {path.name for path in scratch.iterdir()} if scratch.is_dir() else set()
    if strangers := found - {CHECKPOINT_FILE, UNFINISHED_FILE, LOG_FILE}:
        raise ValueError(
            f"expected a checkpoint or nothing in {scratch}, which is removed at the end, found "
            f"{min(strangers)}: move that, or name another folder for the SAE."
        )
    state = State.resume(config, scratch / CHECKPOINT_FILE, reads) or State.start(config, source)
    scratch.mkdir(parents=True, exist_ok=True)
    started, first_step = time.monotonic(), state.step
    per_part = config.part // config.batch
    rows, loaded = torch.empty(0), -1
    with (scratch / LOG_FILE).open("a", encoding="utf-8") as log:
        while state.step < config.n_steps:
            part, place = divmod(state.step, per_part)
            if part != loaded:
                rows, loaded = shuffled(source(part, config.part), config.seed, part), part
            batch = rows[place * config.batch : (place + 1) * config.batch]
            found = state.update(batch)
            if state.step % 100 == 0 or state.step == config.n_steps:
                rate = (state.step - first_step) * config.batch / (time.monotonic() - started)
                log.write(json.dumps(state.describe(batch, found) | {"activations_per_second": rate}) + "\n")
                log.flush()
            if state.step % config.checkpoint_every == 0 and state.step < config.n_steps:
                state.save(scratch / CHECKPOINT_FILE, reads)
            if progress is not None:
                progress(state.step * config.batch, config.n_steps * config.batch)
    save_sae(state.result(), out, dtype=getattr(torch, config.dtype))
    shutil.move(scratch / LOG_FILE, out / LOG_FILE)
    shutil.rmtree(scratch)
    return load_sae(out)


def shuffled(rows: Float[Tensor, "rows width"], seed: int, part: int) -> Float[Tensor, "rows width"]:
    """The rows in an order that seed and part decide."""
    return rows[torch.randperm(len(rows), generator=generator(seed, part))]
