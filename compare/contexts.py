"""Where each feature fired most: the tokens, with a few before and after, for a person to judge it by."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compare import ranks

TOP = 5
"""Firings that are kept of each feature."""

BEFORE, AFTER = 7, 3
"""Tokens that are kept before and after the one at which a feature fired."""

NOWHERE = np.iinfo(np.int64).max
"""The place in the stream of a firing that there was not."""

NONE = -1
"""Stands in a context where the sequence, or the batch, had no token."""


class Contexts:
    """The TOP strongest firings of every feature and the tokens around them; memory does not grow.

    Of equal activations the earlier counts. Contexts end where a sequence or a batch does, so batches of
    whole sequences give the same contexts however many sequences they hold.
    """

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features
        self._values = np.zeros((n_features, TOP), dtype=np.float32)
        self._tokens = np.full((n_features, TOP, BEFORE + 1 + AFTER), NONE, dtype=np.int32)
        self._places = np.full((n_features, TOP), NOWHERE)

    def update(
        self,
        features: Int[np.ndarray, " events"],
        values: Float[np.ndarray, " events"],
        offsets: Int[np.ndarray, " tokens_and_one"],
        tokens: Int[Tensor, " ids"],
        sequences: Int[Tensor, " tokens"],
        first: int,
    ) -> "Contexts":
        """Take in the events of a batch, the ids of its tokens, their sequences, and the place of its first
        token in the stream; batches come in their order there.
        """
        if len(tokens) != len(offsets) - 1:
            raise ValueError(
                f"expected {len(offsets) - 1} token ids, found {len(tokens)}: give one a row of activations."
            )
        worth = np.flatnonzero(values > self._values[features, -1])
        places = np.searchsorted(offsets, worth, side="right") - 1
        order = np.lexsort((places, -values[worth], features[worth]))
        worth, places = worth[order], places[order]
        touched, begins, inverse = np.unique(features[worth], return_index=True, return_inverse=True)
        rank = np.arange(len(worth)) - begins[inverse]
        best = rank < TOP
        fresh_values = np.zeros((len(touched), TOP), dtype=np.float32)
        fresh_tokens = np.full((len(touched), *self._tokens.shape[1:]), NONE, dtype=np.int32)
        fresh_places = np.full((len(touched), TOP), NOWHERE)
        slots = inverse[best], rank[best]
        fresh_values[slots] = values[worth[best]]
        fresh_tokens[slots] = _around(places[best], tokens.cpu().numpy(), sequences.cpu().numpy())
        fresh_places[slots] = first + places[best]
        self._join(touched, fresh_values, fresh_tokens, fresh_places)
        return self

    def pool(self) -> "Contexts":
        """Take in what all processes read."""
        runs = zip(*map(ranks.gathered, (self._values, self._tokens, self._places)), strict=True)
        self._values, self._tokens, self._places = next(runs)
        for run in runs:
            self._join(np.arange(self.n_features), *run)
        return self

    def result(self) -> tuple[Float[np.ndarray, "n top"], Int[np.ndarray, "n top around"]]:
        """Activations, strongest first and 0 where a feature fired less often, and token ids around them."""
        return self._values.copy(), self._tokens.copy()

    def state(self) -> dict[str, np.ndarray]:
        """All that was taken in."""
        return {"values": self._values, "tokens": self._tokens, "places": self._places}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Become the run of this state."""
        self._values, self._tokens, self._places = state["values"], state["tokens"], state["places"]

    def _join(self, features: np.ndarray, values: np.ndarray, tokens: np.ndarray, places: np.ndarray) -> None:
        """Of what is kept and what is new, keep the strongest; what comes first in the stream wins a tie."""
        values = np.concatenate([self._values[features], values], axis=1)
        tokens = np.concatenate([self._tokens[features], tokens], axis=1)
        places = np.concatenate([self._places[features], places], axis=1)
        best = np.lexsort((places, -values))[:, :TOP]
        self._values[features] = np.take_along_axis(values, best, axis=1)
        self._tokens[features] = np.take_along_axis(tokens, best[:, :, None], axis=1)
        self._places[features] = np.take_along_axis(places, best, axis=1)


def _around(places: np.ndarray, tokens: np.ndarray, sequences: np.ndarray) -> np.ndarray:
    """Token ids from BEFORE before each place to AFTER after it, NONE outside its sequence."""
    where = places[:, None] + np.arange(-BEFORE, AFTER + 1)
    inside = (where >= 0) & (where < len(tokens))
    where = where.clip(0, len(tokens) - 1)
    inside &= sequences[where] == sequences[places][:, None]
    return np.where(inside, tokens[where], NONE).astype(np.int32)


def tokens_of(batch: object) -> Int[Tensor, " tokens"] | None:
    """Ids of the tokens that a batch read, where it says."""
    found = getattr(batch, "tokens", None)
    return found if isinstance(found, torch.Tensor) else None
