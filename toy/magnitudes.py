"""The value of a feature that is on: how it is drawn, its moments, and its Laplace transform."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import gamma, gammainc
from torch import Tensor

LOG_SD = 0.5
MOMENTS = {"binary": (1.0, 1.0), "uniform": (1 / 2, 1 / 3), "lognormal": (1.0, float(np.exp(LOG_SD**2)))}
"""E[x] and E[x^2] of a feature that is on."""
QUADRATURE_NODES = 400


def draw_magnitudes(magnitudes: str, n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """Values of n features that are on, all above 0."""
    if magnitudes == "uniform":
        return 1 - torch.rand(n, generator=generator)  # in (0, 1]
    if magnitudes == "lognormal":
        return torch.exp(LOG_SD * torch.randn(n, generator=generator) - LOG_SD**2 / 2)
    return torch.ones(n)


def laplace(magnitudes: str) -> tuple[np.ndarray, ...]:
    """Weights of nodes t > 0, and f_0, f_1 / f_0, f_2 / f_0 there; f_r(t) = E[x^r exp(-t x)] of one on."""
    node, weight = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    u = (node + 1) / 2
    t, dt = u / (1 - u), weight / 2 / (1 - u) ** 2
    if magnitudes == "binary":
        return dt, np.exp(-t), np.ones_like(t), np.ones_like(t)
    if magnitudes == "uniform":
        f0, f1, f2 = (gammainc(r + 1, t) * gamma(r + 1) / t ** (r + 1) for r in range(3))
    else:
        z, share = np.polynomial.hermite_e.hermegauss(128)
        x = np.exp(LOG_SD * z - LOG_SD**2 / 2)
        kernel = share / share.sum() * np.exp(-np.outer(t, x))
        f0, f1, f2 = (kernel @ x**r for r in range(3))
    f0 = np.maximum(f0, np.finfo(float).tiny)
    return dt, f0, f1 / f0, f2 / f0
