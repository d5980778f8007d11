"""Which features fired in which sequence: co-occurrence in a window wider than a token (Li et al. 2024)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from torch import Tensor

from compare import ranks

MOST_SEQUENCES = 50_000
"""Sequences numbered from here on are not kept, so that memory does not grow with the stream."""


class SequenceFirings:
    """The features that fired at any token of a sequence, however batches cut the sequences."""

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features
        self._parts = [np.empty(0, dtype=np.int64)]

    def update(
        self,
        features: Int[np.ndarray, " events"],
        offsets: Int[np.ndarray, " tokens_and_one"],
        sequences: Int[Tensor, " tokens"],
    ) -> "SequenceFirings":
        """Take in a batch: token t of sequences[t] fires features[offsets[t]:offsets[t + 1]]."""
        ids = sequences.cpu().numpy().astype(np.int64)
        base = self.n_features + 1  # the last place says that the sequence was there, whatever fired in it
        events = np.repeat(ids, np.diff(offsets)) * base + features
        keys = np.concatenate([events, ids * base + self.n_features])
        self._parts.append(np.unique(keys[keys < MOST_SEQUENCES * base]))
        return self

    def pool(self) -> "SequenceFirings":
        """Take in what all processes read."""
        mine = np.concatenate(self._parts)
        longest = ranks.gathered(np.array([len(mine)])).max()
        padded = np.full(longest, -1, dtype=np.int64)
        padded[: len(mine)] = mine
        found = ranks.gathered(padded).ravel()
        self._parts = [found[found >= 0]]
        return self

    def state(self) -> dict[str, np.ndarray]:
        """All that was taken in."""
        return {"keys": np.concatenate(self._parts)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Become the run of this state."""
        self._parts = [state["keys"]]

    def result(self) -> tuple[Int[np.ndarray, " events"], Int[np.ndarray, " sequences_and_one"]]:
        """Sequence s, of those kept, in their order, has features[offsets[s]:offsets[s + 1]], rising."""
        feature = np.unique(np.concatenate(self._parts)) % (self.n_features + 1)
        is_end = feature == self.n_features  # the last of each sequence's keys
        ends = np.flatnonzero(is_end) - np.arange(is_end.sum())
        return feature[~is_end].astype(np.int32), np.concatenate([[0], ends]).astype(np.int64)


def count_sequences(batches: Sequence[tuple[int, int, int, int]]) -> int:
    """Sequences over all processes' batches: (place, sequences, first and last one's id) of each."""
    last = ranks.gathered(np.array([max((place for place, *_ in batches), default=-1)])).max()
    table = np.zeros((last + 1, 3), dtype=np.int64)
    for place, *row in batches:
        table[place] = row
    ranks.total(table)
    table = table[table[:, 0] > 0]
    return int(table[:, 0].sum() - (table[1:, 1] == table[:-1, 2]).sum())
