"""What runs over tokens: update() takes a batch, result() answers at any time.

pool() takes in what all processes of a job read (compare/ranks.py); every one of them calls it. state() is
all that a run holds and restore() takes it back, so that a pass can be interrupted (compare/reading.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compare import big_arrays, ranks
from compare.kernels import CofiringRows, Events, add_outputs, as_rows, mirror, output_totals

BUFFERED = 2**23
"""Events that wait in memory before they go to a file."""


class Firings(NamedTuple):
    """Events of a batch: token t fires features[offsets[t]:offsets[t + 1]], this much each."""

    features: Int[np.ndarray, " events"]
    values: Float[np.ndarray, " events"]
    offsets: Int[np.ndarray, " tokens_and_one"]


class FiringSums(NamedTuple):
    """Counts and sums over tokens."""

    counts: Int[np.ndarray, " n"]
    cofiring: Int[np.ndarray, "n n"]
    activation_sums: Float[np.ndarray, " n"]
    activation_second: Float[np.ndarray, "n n"]


class CoFiring:
    """How often every pair of features fires at the same token, and the second moments of their activations.

    Counts are exact. Events are kept, those beyond a few million in a temporary file, and are counted when
    the result is asked for, some rows at a time: memory does not grow with tokens or with pairs.
    """

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features
        self._counts = np.zeros(n_features, dtype=np.int64)
        self._sums = np.zeros(n_features)
        self._full: list[Firings] = []
        self._waiting: list[Firings] = []
        self._n_waiting = 0
        self._is_pooled = False

    def update(
        self,
        features: Int[np.ndarray, " events"],
        values: Float[np.ndarray, " events"],
        offsets: Int[np.ndarray, " tokens_and_one"],
    ) -> "CoFiring":
        """Take in the events of a batch: token t fires features[offsets[t]:offsets[t + 1]] this much."""
        if len(features) and not 0 <= features.min() <= features.max() < self.n_features:
            raise ValueError(
                f"expected feature ids below {self.n_features}, found {features.max()}: give every batch the "
                "features of the first."
            )
        self._counts += np.bincount(features, minlength=self.n_features)
        self._sums += np.bincount(features, values, self.n_features)
        self._waiting.append(Firings(features, values, offsets))
        self._n_waiting += len(features)
        if self._n_waiting >= BUFFERED:
            self._full.append(Firings(*map(big_arrays.put_aside, _joined(self._waiting))))
            self._waiting, self._n_waiting = [], 0
        return self

    def pool(self) -> "CoFiring":
        """Take in what all processes read; all of them then ask for the result, and only once pooled."""
        ranks.total(self._counts, self._sums)
        self._is_pooled = True
        return self

    def result(self) -> FiringSums:
        """Counts, co-firing counts, and sums and second moments of activations."""
        cofiring = big_arrays.zeros((self.n_features, self.n_features), np.int32)
        second = big_arrays.zeros((self.n_features, self.n_features), np.float32)
        for rows, counts, sums in self.rows():
            if self._is_pooled:
                ranks.total(counts, sums)
            for part, whole in ((counts, cofiring), (sums.astype(np.float32), second)):
                mirror(part, rows.start, whole)
                big_arrays.release(whole)
        return FiringSums(self._counts.copy(), cofiring, self._sums.copy(), second)

    def rows(self) -> CofiringRows:
        """Rows of co-firing counts and second moments, each from its first feature's column on."""
        parts = [self._events(part).put_aside() for part in self._full]
        return CofiringRows([*parts, self._events(_joined(self._waiting))])

    def state(self) -> dict[str, np.ndarray]:
        """All that was taken in; what is full-... stays as it is from then on."""
        parts = {f"full-{number}": part for number, part in enumerate(self._full)}
        parts |= {"waiting": _joined(self._waiting)} if self._waiting else {}
        events = {
            f"{name}-{kind}": array
            for name, part in parts.items()
            for kind, array in zip(Firings._fields, part, strict=True)
        }
        return events | {"counts": self._counts, "sums": self._sums}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Become the run of this state."""
        self._counts, self._sums = state["counts"], state["sums"]

        def part(name: str) -> Firings:
            return Firings(*(state[f"{name}-{kind}"] for kind in Firings._fields))

        n_full = sum(name.startswith("full-") for name in state) // len(Firings._fields)
        self._full = [Firings(*map(big_arrays.put_aside, part(f"full-{k}"))) for k in range(n_full)]
        self._waiting = [part("waiting")] if "waiting-offsets" in state else []
        self._n_waiting = sum(len(part.features) for part in self._waiting)

    def _events(self, part: Firings) -> Events:
        return Events(part.features, part.offsets, self.n_features, part.values)


def _joined(parts: Sequence[Firings]) -> Firings:
    """The events of some batches as those of one."""
    nothing = Firings(np.empty(0, np.int32), np.empty(0, np.float32), np.zeros(1, np.int64))
    features, values, offsets = zip(*parts or [nothing], strict=True)
    first = np.cumsum([0, *map(len, features)])
    starts = [o[:-1] + f for o, f in zip(offsets, first[:-1], strict=True)]
    return Firings(np.concatenate(features), np.concatenate(values), np.concatenate([*starts, first[-1:]]))


class Covariance:
    """Mean and covariance (divided by the number of tokens) of real values over tokens, in float64."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self._scatter = torch.zeros(width, width, dtype=torch.float64)

    def update(self, values: Float[Tensor, "tokens width"]) -> "Covariance":
        """Take in one batch."""
        if values.shape[1] != len(self.mean):
            raise ValueError(
                f"expected {len(self.mean)} columns, found {values.shape[1]}: give every batch the same "
                "width."
            )
        if not torch.isfinite(values).all():
            raise ValueError(
                "expected finite values, found NaN or infinity: look for an overflow in the network."
            )
        if len(values) == 0:
            return self
        values = values.double()
        mean = values.mean(0)
        centred = values - mean
        return self._join(len(values), mean.cpu(), (centred.T @ centred).cpu())

    def pool(self) -> "Covariance":
        """Take in what all processes read."""
        counts, means, scatters = (
            ranks.gathered(part)
            for part in (np.array([self.count]), self.mean.numpy(), self._scatter.numpy())
        )
        whole = Covariance(len(self.mean))
        for count, mean, scatter in zip(counts[:, 0].tolist(), means, scatters, strict=True):
            if count:
                whole._join(count, torch.from_numpy(mean), torch.from_numpy(scatter))
        self.count, self.mean, self._scatter = whole.count, whole.mean, whole._scatter
        return self

    def result(self) -> tuple[Float[np.ndarray, " width"], Float[np.ndarray, "width width"]]:
        """Mean and covariance; NaN where no token came in."""
        return self.mean.numpy().copy(), (self._scatter / (self.count or np.nan)).numpy()

    def state(self) -> dict[str, np.ndarray]:
        """All that was taken in."""
        return {
            "count": np.array(self.count),
            "mean": self.mean.numpy(),
            "scatter": self._scatter.numpy(),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Become the run of this state."""
        self.count = int(state["count"])
        self.mean, self._scatter = torch.from_numpy(state["mean"]), torch.from_numpy(state["scatter"])

    def _join(self, count: int, mean: Tensor, scatter: Tensor) -> "Covariance":
        total = self.count + count
        apart = mean - self.mean
        self._scatter += scatter + torch.outer(apart, apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total
        return self


class OutputSums(NamedTuple):
    """Per half (even, odd sequences) and feature; and the plain mean over tokens."""

    means: Float[np.ndarray, "2 n vocab"]
    weights: Float[np.ndarray, "2 n"]
    squared_weights: Float[np.ndarray, "2 n"]
    counts: Int[np.ndarray, "2 n"]
    base: Float[np.ndarray, " vocab"]


class MeanOutputs:
    """Activation-weighted mean of the outputs for every feature, apart for even and odd sequences."""

    def __init__(self, n_features: int, n_vocabulary: int) -> None:
        self.n_features = n_features
        self.n_tokens = 0
        self._totals = output_totals(2 * n_features, n_vocabulary)
        self._weights = np.zeros((3, 2 * n_features))  # sums of 1, a and a^2
        self._base = np.zeros(n_vocabulary)

    def update(
        self,
        features: Int[np.ndarray, " events"],
        values: Float[np.ndarray, " events"],
        offsets: Int[np.ndarray, " tokens_and_one"],
        outputs: Float[Tensor, "tokens vocab"],
        sequences: Int[Tensor, " tokens"],
    ) -> "MeanOutputs":
        """Take in the events of a batch, the outputs of its tokens and the sequences they belong to."""
        if outputs.shape[1] != len(self._base) or len(outputs) != len(offsets) - 1:
            raise ValueError(
                f"expected outputs [{len(offsets) - 1}, {len(self._base)}], found {list(outputs.shape)}: "
                "give every token one distribution over the vocabulary of the first batch."
            )
        probabilities = np.ascontiguousarray(outputs.detach().float().cpu().numpy())
        tokens = np.repeat(np.arange(len(outputs), dtype=np.int32), np.diff(offsets))
        halves = (sequences.cpu().numpy() % 2).astype(np.int32)
        rows = features + halves[tokens] * np.int32(self.n_features)
        add_outputs(rows, tokens, values, probabilities, self._totals)
        for power, sums in enumerate(self._weights):
            sums += np.bincount(rows, values.astype(np.float64) ** power, 2 * self.n_features)
        self._base += probabilities.sum(0, dtype=np.float64)
        self.n_tokens += len(outputs)
        return self

    def pool(self) -> "MeanOutputs":
        """Take in what all processes read."""
        n_tokens = np.array(self.n_tokens)
        ranks.total(self._totals, self._weights, self._base, n_tokens)
        self.n_tokens = int(n_tokens)
        return self

    def result(self) -> OutputSums:
        """Means that sum to 1, or rows of zeros where a feature did not fire in that half."""
        counts, weights, squared = self._weights.reshape(3, 2, self.n_features)
        scale = np.divide(1, weights, out=np.zeros_like(weights), where=weights > 0).astype(np.float32)
        means = as_rows(self._totals, scale.ravel(), len(self._base)).reshape(2, self.n_features, -1)
        base = self._base / (self.n_tokens or np.nan)
        return OutputSums(means, weights, squared, counts.astype(np.int64), base)

    def state(self) -> dict[str, np.ndarray]:
        """All that was taken in."""
        counts = {"n_tokens": np.array(self.n_tokens)}
        return counts | {"totals": self._totals, "weights": self._weights, "base": self._base}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Become the run of this state."""
        self.n_tokens = int(state["n_tokens"])
        self._totals, self._weights, self._base = state["totals"], state["weights"], state["base"]
