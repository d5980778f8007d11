"""Blocks of a token stream, in an order that seed and step alone decide."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt16
from torch import Tensor

from real.lm_config import LMConfig
from real.token_stream import STREAMS


def open_stream(out_folder: Path, split: str, config: LMConfig) -> UInt16[np.ndarray, " tokens"]:
    """A split's tokens, memory-mapped; ValueError if they do not fill one block."""
    stream = np.load(out_folder / "tokens" / STREAMS[split], mmap_mode="r")
    if len(stream) <= config.context:
        raise ValueError(
            f"expected more than context={config.context} tokens in the {split} split, found {len(stream)}: "
            "give a larger corpus or lower context."
        )
    return stream


def batch_of(
    stream: UInt16[np.ndarray, " tokens"], step: int, config: LMConfig
) -> Int[Tensor, "batch window"]:
    """The blocks of a step: a fresh shuffle of all blocks each epoch, known from seed and step alone."""
    n_blocks = (len(stream) - 1) // config.context
    wanted = range(step * config.batch, (step + 1) * config.batch)
    blocks = [_shuffled(n_blocks, config.seed + at // n_blocks)[at % n_blocks] for at in wanted]
    return _cut(stream, blocks, config.context)


def seen_tokens(stream: UInt16[np.ndarray, " tokens"], config: LMConfig) -> Bool[np.ndarray, " tokens"]:
    """Which tokens of the training stream a whole run has been asked to predict."""
    seen = np.zeros(len(stream), bool)
    n_blocks = (len(stream) - 1) // config.context
    for at in range(config.steps * config.batch):
        block = _shuffled(n_blocks, config.seed + at // n_blocks)[at % n_blocks]
        seen[block * config.context + 1 : (block + 1) * config.context + 1] = True
    return seen


_orders: dict[tuple[int, int], np.ndarray] = {}


def _shuffled(n_blocks: int, seed: int) -> np.ndarray:
    """A permutation of the blocks; only the last one asked for is kept."""
    if (n_blocks, seed) not in _orders:
        _orders.clear()
        _orders[n_blocks, seed] = np.random.default_rng(seed).permutation(n_blocks)
    return _orders[n_blocks, seed]


def held_out_blocks(stream: UInt16[np.ndarray, " tokens"], config: LMConfig) -> Int[Tensor, "blocks window"]:
    """At most 256 blocks, evenly spread over the held-out stream."""
    n_blocks = (len(stream) - 1) // config.context
    return _cut(stream, np.linspace(0, n_blocks - 1, min(256, n_blocks)).astype(int), config.context)


def _cut(stream: np.ndarray, blocks, context: int) -> Int[Tensor, "blocks window"]:
    windows = [stream[block * context : block * context + context + 1] for block in blocks]
    return torch.from_numpy(np.stack(windows).astype(np.int64))
