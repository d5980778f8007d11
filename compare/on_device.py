"""The divergence in plain torch, for devices that compiled loops do not run on.

Within `with torch.device("cuda"):`, as by --device cuda, kernels.js_divergence() goes through here.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import entr

ROWS, CHUNK = 64, 4096
"""Rows on a side of a block, and vocabulary entries at a time: 64 MB in float32."""


def device_of(p: np.ndarray | Tensor) -> torch.device | None:
    """Where a tensor lies, or arrays shall go; None for the processor."""
    device = p.device if isinstance(p, Tensor) else torch.get_default_device()
    return None if device.type == "cpu" else device


def check(name: str) -> None:
    """Raise ValueError where there is no such device."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"expected a device of this machine, found {name!r} ({str(error).splitlines()[0]}): use cpu."
        ) from error


def divergence(
    p: Float[Tensor, "a vocab"], q: Float[Tensor, "b vocab"] | None = None
) -> Float[Tensor, "a b"]:
    """Jensen-Shannon divergence of rows of probabilities (or zeros: NaN) on the device they lie on, in nats.

    The sum over tokens of h((p + q) / 2) - (h(p) + h(q)) / 2, h(s) = -s log s: exactly 0 for equal rows.
    Terms are float32 and sums float64: within 2e-6 of the exact value, as the compiled loops are.
    """
    columns = p if q is None else q
    result = torch.zeros(len(p), len(columns), dtype=torch.float64, device=p.device)
    for i in range(0, len(p), ROWS):
        for j in range(0 if q is not None else i, len(columns), ROWS):
            for v in range(0, p.shape[1], CHUNK):
                a = p[i : i + ROWS, None, v : v + CHUNK]
                b = columns[None, j : j + ROWS, v : v + CHUNK]
                apart = entr((a + b) / 2) - (entr(a) + entr(b)) / 2
                result[i : i + ROWS, j : j + ROWS] += apart.sum(-1, dtype=torch.float64)
    if q is None:
        result = torch.triu(result) + torch.triu(result, 1).T
    result = result.clamp(min=0).float()
    result[~p.any(1)] = torch.nan
    result[:, ~columns.any(1)] = torch.nan
    return result
