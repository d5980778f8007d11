"""What one process has read of a system's stream so far, and how it outlives a kill."""

import hashlib
import json
import os
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from compare import ranks
from compare.contexts import Contexts, tokens_of
from compare.folders import whole_folder
from compare.kernels import fired
from compare.moments import CoFiring, Covariance, MeanOutputs
from compare.provenance import code_sha256
from compare.system import (
    Batch,
    HasEncoder,
    HasProvenance,
    System,
    check_batch,
    inputs_of,
    sequences_of,
)
from compare.windows import SequenceFirings

SECONDS_BETWEEN = 300.0
"""Between two times that a reading is kept: a kill loses at most so much, and a short pass keeps nothing."""

ABOUT = "about.json"


class Reading:
    """Everything that runs over the tokens of a pass; what follows from it is read off its parts."""

    def __init__(self, system: System, batch: Batch) -> None:
        self._name = system.name
        self.n_features = len(system.directions)
        self.encoder = system.encoder if isinstance(system, HasEncoder) else None
        self.cofiring = CoFiring(self.n_features)
        self.moments = Covariance(self.n_features if self.encoder is None else self.encoder.shape[1])
        self.outputs = MeanOutputs(self.n_features, batch.outputs.shape[1])
        self.contexts = None if tokens_of(batch) is None else Contexts(self.n_features)
        has_sequences = getattr(batch, "sequences", None) is not None
        self.windows = SequenceFirings(self.n_features) if has_sequences else None
        self.seen: list[tuple[int, int, int, int]] = []
        """Place, sequences, first and last sequence's id of every batch."""

        self.reached = 0
        """Tokens of the stream up to the end of the last batch."""

    def update(self, place: int, first: int, batch: Batch, size: int) -> "Reading":
        """Take in the first `size` tokens of the batch at a place, `first` tokens into the stream."""
        sequences = sequences_of(batch, first)[:size]
        check_batch(batch, n_features=self.n_features, name=self._name)
        features, values, offsets = fired(batch.activations)
        features, values, offsets = features[: offsets[size]], values[: offsets[size]], offsets[: size + 1]
        self.moments.update((batch.preactivations if self.encoder is None else inputs_of(batch))[:size])
        self.cofiring.update(features, values, offsets)
        self.outputs.update(features, values, offsets, batch.outputs[:size], sequences)
        tokens = tokens_of(batch)
        if self.contexts is not None and tokens is not None:
            self.contexts.update(features, values, offsets, tokens[:size], sequences, first)
        if self.windows is not None:
            self.windows.update(features, offsets, sequences)
        self.seen.append((place, len(torch.unique(sequences)), int(sequences[0]), int(sequences[-1])))
        self.reached = first + size
        return self

    @property
    def next_place(self) -> int:
        """Place of the next batch of this process."""
        return self.seen[-1][0] + ranks.count() if self.seen else ranks.number()

    def state(self) -> dict[str, np.ndarray]:
        """All that a reading holds."""
        parts = {name: part.state() for name, part in self._parts()}
        flat = {f"{part}.{name}": array for part, found in parts.items() for name, array in found.items()}
        seen = np.array(self.seen, dtype=np.int64).reshape(-1, 4)
        return flat | {"seen": seen, "reached": np.array(self.reached)}

    def restore(self, state: dict[str, np.ndarray]) -> "Reading":
        """Become the reading of this state."""
        self.seen = [(int(place), int(n), int(one), int(last)) for place, n, one, last in state["seen"]]
        self.reached = int(state["reached"])
        for part, running in self._parts():
            begin = f"{part}."
            running.restore({n.removeprefix(begin): a for n, a in state.items() if n.startswith(begin)})
        return self

    def _parts(self):
        named = ("cofiring", "moments", "outputs", "contexts", "windows")
        return [(name, getattr(self, name)) for name in named if getattr(self, name) is not None]


class Unfinished:
    """A folder that keeps a process's reading while a pass goes on.

    It says what it is a reading of (system, tokens, code) and is taken up by nothing else; a job of another
    number of processes starts anew. A pass that was taken up ends where one that was not ends, to the last
    bit.
    """

    def __init__(self, folder: Path, system: System, n_tokens: int | None) -> None:
        self.folder = folder
        self.mine = folder / f"{ranks.number()}-of-{ranks.count()}"
        self._system, self._n_tokens = system, n_tokens
        self._last = time.monotonic()

    @cached_property
    def about(self) -> dict:
        """What it is a reading of; made when it is asked for, since a short pass never does."""
        directions = self._system.directions.detach().float().cpu().numpy()
        return {
            "system": self._system.name,
            "provenance": self._system.provenance if isinstance(self._system, HasProvenance) else {},
            "directions": hashlib.sha256(directions.tobytes()).hexdigest(),
            "n_tokens": self._n_tokens,
            "code": code_sha256(),
        }

    def take_up(self, reading: Reading) -> Reading:
        """The reading as it was kept last, or as it is."""
        if not (self.mine / ABOUT).is_file():
            return reading
        kept = json.loads((self.mine / ABOUT).read_text(encoding="utf-8"))
        asked = json.loads(json.dumps(self.about))
        for name, value in asked.items():
            if kept.get(name) != value:
                raise ValueError(
                    f"expected to go on with the same {name} in {self.folder}, found another: remove that "
                    "folder, or name another output."
                )
        return reading.restore({path.stem: np.load(path) for path in self.mine.glob("*.npy")})

    def keep_now_and_then(self, reading: Reading) -> None:
        """Keep the reading if the last time is long ago."""
        if time.monotonic() - self._last >= SECONDS_BETWEEN:
            self.keep(reading)
            self._last = time.monotonic()

    def keep_last(self, reading: Reading) -> None:
        """Keep the whole pass if it was long enough to be kept before: saving it may be a while off."""
        if self.mine.exists():
            self.keep(reading)

    def keep(self, reading: Reading) -> None:
        """Keep the reading, in place of the one before."""
        with whole_folder(self.mine) as partial:
            for name, array in reading.state().items():
                before = self.mine / f"{name}.npy"
                if ".full-" in name and before.is_file():  # never changes once it is there, and may be large
                    os.link(before, partial / before.name)
                else:
                    np.save(partial / f"{name}.npy", array)
            (partial / ABOUT).write_text(json.dumps(self.about, indent=1), encoding="utf-8")
