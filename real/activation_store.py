"""A site's activations on disk, so that many SAEs on one model compute them once."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

ROWS, FILLED, ABOUT = "activations.npy", "filled.npy", "about.json"
Compute = Callable[[Int[Tensor, "some context"]], Float[Tensor, "tokens width"]]
"""A site's activations at the kept positions of some sequences, one sequence after the other."""


class ActivationStore:
    """Activations of every sequence of a text, computed when first asked for and kept as float16.

    Float16 takes 2 bytes x width a token and rounds to 11 bits. `about` says what they are of (model, site,
    positions); a folder that says otherwise, or of other sequences, is refused. What a killed run has kept
    stays good: a sequence counts as kept only after its numbers were written.
    """

    def __init__(
        self, folder: Path, blocks: Int[Tensor, "sequences context"], compute: Compute, about: dict
    ) -> None:
        self.folder, self.blocks, self.compute = folder, blocks, compute
        self.about = about | {"blocks_sha256": hashlib.sha256(blocks.numpy().tobytes()).hexdigest()}
        self._rows: np.ndarray | None = None
        if (folder / ABOUT).is_file():
            self._open()

    def __call__(self, order: Int[Tensor, " some"], *, at_once: int = 64) -> Float[Tensor, "tokens width"]:
        """Activations of the sequences of these numbers, as float32; `at_once` are computed side by side."""
        missing = order if self._rows is None else order[~torch.from_numpy(self._filled[order.numpy()])]
        for start in range(0, len(missing), at_once):
            self._keep(missing[start : start + at_once])
        kept = torch.from_numpy(self._rows[order.numpy()])
        return kept.flatten(0, 1).float()

    def _keep(self, order: Int[Tensor, " some"]) -> None:
        rows = self.compute(self.blocks[order])
        rows = rows.view(len(order), -1, rows.shape[-1]).half().cpu()
        if not torch.isfinite(rows).all():
            raise ValueError(
                "expected activations within ±65,504, the range of float16, found larger ones or NaN: name "
                "another site, or train without keeping activations."
            )
        if self._rows is None:
            self._create(rows.shape[1:])
        self._rows[order.numpy()] = rows.numpy()
        self._rows.flush()
        self._filled[order.numpy()] = True
        self._filled.flush()

    def _create(self, shape: tuple[int, ...]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        n = len(self.blocks)
        for name, dtype, size in ((ROWS, np.float16, (n, *shape)), (FILLED, np.bool_, (n,))):
            np.lib.format.open_memmap(self.folder / name, mode="w+", dtype=dtype, shape=size).flush()
        (self.folder / ABOUT).write_text(json.dumps(self.about, indent=1) + "\n", encoding="utf-8")
        self._open()

    def _open(self) -> None:
        found = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
        for name, wanted in self.about.items():
            if found.get(name) != wanted:
                raise ValueError(
                    f"expected activations of {name} {str(wanted)[:40]} in {self.folder}, found those of "
                    f"{str(found.get(name))[:40]}: name another folder to keep them in."
                )
        self._rows, self._filled = (np.load(self.folder / name, mmap_mode="r+") for name in (ROWS, FILLED))
