"""Everything measured of one system in one pass, saved with its provenance and hashes."""

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from compare import ranks
from compare.folders import whole_folder
from compare.portrait import Portrait
from compare.provenance import file_sha256
from compare.reading import Reading, Unfinished
from compare.system import (
    Batch,
    HasProvenance,
    HasShares,
    HasTruth,
    HasVocabulary,
    System,
    check_system,
    share_of,
)
from compare.windows import count_sequences

FORMAT = 2
ARRAYS, VOCABULARY, MANIFEST = "arrays.safetensors", "vocabulary.json", "manifest.json"
LARGE = ("cofiring", "activation_second", "output_halves")
"""Arrays that may outgrow memory, each in a .npy file of its own."""


class Truth(NamedTuple):
    """What is exactly so in a world that is known: P(i), P(i, j) and output distributions."""

    rates: Float[np.ndarray, " n"]
    joint_rates: Float[np.ndarray, "n n"]
    outputs: Float[np.ndarray, "n vocab"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence(Portrait):
    """What one pass over a system's tokens found. Arrays of a loaded Evidence are memory-mapped."""

    name: str
    """Of the system."""

    n_tokens: int
    """Tokens that went in."""

    n_sequences: int
    """Sequences these tokens came from."""

    provenance: dict
    """What the system says of its own making; {} if nothing."""

    vocabulary: list[str] | None
    """Names of the output columns."""

    directions: Float[np.ndarray, "n width"]
    """As the network writes them."""

    encoder: Float[np.ndarray, "n width_in"] | None
    """As the network reads them, if the system has an encoder."""

    counts: Int[np.ndarray, " n"]
    """Tokens at which a feature fired."""

    cofiring: Int[np.ndarray, "n n"]
    """Tokens at which both fired; the diagonal is counts."""

    activation_sums: Float[np.ndarray, " n"]
    """Sum of activations over tokens."""

    activation_second: Float[np.ndarray, "n n"]
    """Sum of a_i a_j over tokens."""

    moments_mean: Float[np.ndarray, " m"]
    """Mean of the encoder's inputs, or of the pre-activations where there is no encoder."""

    moments_covariance: Float[np.ndarray, "m m"]
    """Their covariance."""

    output_halves: Float[np.ndarray, "2 n vocab"]
    """Activation-weighted mean output over even and over odd sequences; zeros where nothing fired."""

    output_weights: Float[np.ndarray, "2 n"]
    """Sum of activations in each half."""

    half_squared_weights: Float[np.ndarray, "2 n"]
    """Sum of squared activations in each half: weights^2 / this is the effective number of firings."""

    half_counts: Int[np.ndarray, "2 n"]
    """Tokens at which a feature fired, in each half."""

    base_output: Float[np.ndarray, " vocab"]
    """Mean output over all tokens."""

    truth: Truth | None
    """Where the world is known."""

    context_values: Float[np.ndarray, "n top"] | None = None
    """Strongest activations of each feature, 0 where it fired less often; None where tokens are not told."""

    context_tokens: Int[np.ndarray, "n top around"] | None = None
    """Ids of the tokens around each of them, as in compare/contexts.py."""

    sequence_features: Int[np.ndarray, " events"] | None = None
    """Features that fired in each sequence, one sequence after the other (compare/windows.py); None where
    batches do not tell, or each token is a sequence of its own."""

    sequence_offsets: Int[np.ndarray, " sequences_and_one"] | None = None
    """Where each sequence begins in the former."""

    effect_features: Int[np.ndarray, " known"] | None = None
    """Features whose causal effects were measured, rising; None where none were."""

    effect_added: Float[np.ndarray, "known vocab"] | None = None
    """Mean shift of log-probabilities, in nats, when each is added at its own root mean square activation."""

    effect_ablated: Float[np.ndarray, "known vocab"] | None = None
    """The same when each is taken away where it fires; NaN where it did not in the sample."""

    effect_firings: Int[np.ndarray, " known"] | None = None
    """Firings that the second is a mean over."""

    logit_metric: Float[np.ndarray, "width width"] | None = None
    """Covariance, over tokens of the base output, of the logits that directions give directly."""

    @property
    def n_features(self) -> int:
        return len(self.directions)

    @property
    def input_mean(self) -> np.ndarray | None:
        """Mean of what the encoder reads; None without an encoder."""
        return None if self.encoder is None else self.moments_mean

    @property
    def input_covariance(self) -> np.ndarray | None:
        """Covariance of what the encoder reads; None without an encoder."""
        return None if self.encoder is None else self.moments_covariance

    @property
    def preactivation_covariance(self) -> Float[np.ndarray, "n n"]:
        """Covariance of all pre-activations: E S E' where there is an encoder."""
        if self.encoder is None:
            return self.moments_covariance
        return self.encoder @ self.moments_covariance @ self.encoder.T

    @property
    def mean_outputs(self) -> Float[np.ndarray, "n vocab"]:
        """Activation-weighted mean output over all tokens; zeros where a feature never fired."""
        return self.mean_outputs_of(slice(None))

    def mean_outputs_of(self, features: slice | Int[np.ndarray, " k"]) -> Float[np.ndarray, "k vocab"]:
        """mean_outputs of some features."""
        weights = self.output_weights[:, features]
        total = weights.sum(0)
        share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0).astype(np.float32)
        even, odd = self.output_halves[:, features]
        return even * share[0][:, None] + odd * share[1][:, None]

    def is_alive(self, minimum: int = 1) -> Bool[np.ndarray, " n"]:
        """Features that fired at `minimum` tokens or more, and at least once in each half."""
        return (np.asarray(self.counts) >= minimum) & (np.asarray(self.half_counts) > 0).all(0)

    def is_in_use(self, minimum: int = 1) -> Bool[np.ndarray, " n"]:
        """Those of them that point somewhere."""
        return self.is_alive(minimum) & np.asarray(self.directions).any(1)

    def sample(self, *, min_count: int, max_features: int | None, seed: int) -> Int[np.ndarray, " m"]:
        """Features in use, rising; at most max_features, drawn at random."""
        alive = np.flatnonzero(self.is_in_use(min_count))
        if max_features is not None and len(alive) > max_features:
            alive = np.sort(np.random.default_rng(seed).choice(alive, max_features, replace=False))
        return alive

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write a folder that appears whole or not at all; one that is there stays, unless overwrite."""
        folder = Path(folder)
        if folder.exists() and not (folder / MANIFEST).is_file():
            raise ValueError(
                f"expected a new folder or an Evidence, found {folder} without a {MANIFEST}: choose another "
                "folder."
            )
        if folder.exists() and not overwrite:
            raise ValueError(
                f"expected a new folder, found an Evidence in {folder}: pass overwrite=True or choose "
                "another folder."
            )
        with whole_folder(folder) as partial:
            self._write(partial)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "Evidence":
        """Read a folder that save() wrote, after checking that no byte of it has changed."""
        folder = Path(folder)
        manifest = _read_manifest(folder)
        for name, expected in manifest["sha256"].items():
            found = file_sha256(folder / name) if (folder / name).is_file() else "no file"
            if found != expected:
                raise ValueError(
                    f"expected {folder / name} with sha256 {expected[:12]}..., found {found[:12]}: it was "
                    "cut short or changed; measure again."
                )
        try:
            with safe_open(folder / ARRAYS, framework="pt") as file:
                arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
            for name in LARGE:
                arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"expected arrays in {folder}, found {error}: measure again.") from error
        truth = [arrays.pop(f"truth_{name}", None) for name in Truth._fields]
        vocabulary = folder / VOCABULARY
        return cls(
            name=manifest["name"],
            n_tokens=manifest["n_tokens"],
            n_sequences=manifest["n_sequences"],
            provenance=manifest["provenance"],
            vocabulary=json.loads(vocabulary.read_text(encoding="utf-8")) if vocabulary.is_file() else None,
            encoder=arrays.pop("encoder", None),
            truth=None if truth[0] is None else Truth(*truth),
            **arrays,
        )

    def _write(self, folder: Path) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {
            name: np.ascontiguousarray(value)
            for name, value in values.items()
            if isinstance(value, np.ndarray)
        }
        if self.truth is not None:
            arrays |= {f"truth_{name}": value for name, value in self.truth._asdict().items()}
        for name in LARGE:  # written piece by piece, where safetensors would copy
            np.save(folder / f"{name}.npy", arrays[name])
        save_file({name: value for name, value in arrays.items() if name not in LARGE}, folder / ARRAYS)
        if self.vocabulary is not None:
            (folder / VOCABULARY).write_text(
                json.dumps(self.vocabulary, ensure_ascii=False), encoding="utf-8"
            )
        manifest = {
            "format": FORMAT,
            "name": self.name,
            "n_tokens": self.n_tokens,
            "n_sequences": self.n_sequences,
            "sizes": {name: list(array.shape) for name, array in arrays.items()},
            "provenance": self.provenance,
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "numpy", "numba", "safetensors")},
            "sha256": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def measure(
    system: System,
    *,
    n_tokens: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    unfinished: Path | None = None,
) -> Evidence:
    """One pass over a system's stream or its first n_tokens; progress(done, total) hears of each batch.

    A pass that takes long keeps what it has read in the folder `unfinished` every few minutes, and one that
    finds it there goes on from it (`done` and `total` then count the rest); whoever has saved the Evidence
    removes the folder. Processes that torchrun started share the batches, and all come to the same Evidence
    (compare/ranks.py).
    """
    batch = check_system(system)
    if n_tokens is not None and n_tokens < 2:
        raise ValueError(
            f"expected n_tokens of 2 or more, found {n_tokens}: leave it out to read the whole stream."
        )
    reading = Reading(system, batch)
    kept = None if unfinished is None else Unfinished(unfinished, system, n_tokens)
    if kept is not None:
        reading = kept.take_up(reading)
    before = reading.reached
    for place, first, batch, size in _batches(system, n_tokens, reading.next_place):
        reading.update(place, first, batch, size)
        if progress is not None:
            progress(reading.reached - before, None if n_tokens is None else n_tokens - before)
        if kept is not None:
            kept.keep_now_and_then(reading)
    if kept is not None:
        kept.keep_last(reading)
    n_sequences = count_sequences(reading.seen)
    outputs = reading.outputs.pool()
    means = outputs.result()
    if outputs.n_tokens == 0:
        raise ValueError(
            f"expected a stream of tokens, found none from {system.name!r}: give it text or samples."
        )
    sums = reading.cofiring.pool().result()
    mean, covariance = reading.moments.pool().result()
    sequence_features, sequence_offsets = None, None
    if reading.windows is not None and n_sequences < outputs.n_tokens:
        sequence_features, sequence_offsets = reading.windows.pool().result()
    context_values, context_tokens = reading.contexts.pool().result() if reading.contexts else (None, None)
    return Evidence(
        name=system.name,
        n_tokens=outputs.n_tokens,
        n_sequences=n_sequences,
        provenance=system.provenance if isinstance(system, HasProvenance) else {},
        vocabulary=list(system.vocabulary) if isinstance(system, HasVocabulary) else None,
        directions=_float32(system.directions),
        encoder=None if reading.encoder is None else _float32(reading.encoder),
        counts=sums.counts,
        cofiring=sums.cofiring,
        activation_sums=sums.activation_sums,
        activation_second=sums.activation_second,
        moments_mean=mean,
        moments_covariance=covariance,
        output_halves=means.means,
        output_weights=means.weights,
        half_squared_weights=means.squared_weights,
        half_counts=means.counts,
        base_output=means.base,
        truth=_truth(system) if isinstance(system, HasTruth) else None,
        context_values=context_values,
        context_tokens=context_tokens,
        sequence_features=sequence_features,
        sequence_offsets=sequence_offsets,
    )


def _batches(system: System, n_tokens: int | None, begin: int) -> Iterator[tuple[int, int, Batch, int]]:
    """This process's batches from a place on, but for empty ones: their place, the tokens before them, how
    many to read.
    """
    of = ranks.count()
    mine = system.share(begin, of) if isinstance(system, HasShares) else share_of(system.stream(), begin, of)
    for place, first, batch in mine:
        size = len(batch.outputs) if n_tokens is None else min(len(batch.outputs), n_tokens - first)
        if size > 0:
            yield place, first, batch, size
        if n_tokens is not None and first + size >= n_tokens:
            return


def _truth(system: HasTruth) -> Truth:
    return Truth(
        system.true_rates.detach().double().cpu().numpy(),
        system.true_joint_rates.detach().double().cpu().numpy(),
        _float32(system.true_outputs),
    )


def _float32(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().contiguous().numpy()


def _read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    if not path.is_file():
        inside = min(folder.glob(f"*/{MANIFEST}"), default=None)
        hint = f"name one seed's, such as {inside.parent}" if inside else "give what `measure` wrote"
        raise ValueError(f"expected an Evidence folder, found no {MANIFEST} in {folder}: {hint}.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = manifest["format"]
        if found == FORMAT and (
            lacking := {"name", "n_tokens", "n_sequences", "provenance", "sha256"} - {*manifest}
        ):
            raise KeyError(*sorted(lacking))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected a manifest in {path}, found {error!r}: it was changed; measure again."
        ) from error
    if found != FORMAT:
        raise ValueError(
            f"expected Evidence of format {FORMAT}, found format {found} in {folder}: measure again with "
            "this version."
        )
    return manifest
