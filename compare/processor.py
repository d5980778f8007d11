"""What the processor is, and what linear algebra has to be told of it before it is loaded."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
SKYLAKE_X = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
"""What kernels of OpenBLAS' that name ask for."""


def name(told: Path = CPUINFO) -> str:
    """The processor's name, where the system tells it."""
    return field("model name", told) or platform.processor() or platform.machine()


def use_wide_vectors(told: Path = CPUINFO) -> None:
    """Let numpy and scipy, if not loaded yet, multiply by AVX-512 where only they do not see it.

    Who has set OPENBLAS_CORETYPE is not overruled.
    """
    if wants_wide_vectors(told):
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


def wants_wide_vectors(told: Path = CPUINFO) -> bool:
    """Whether this is a processor of AMD's with AVX-512.

    The OpenBLAS in numpy's and scipy's wheels has kernels that wide for Intel's names alone, and takes those
    half as wide for AMD's: on Zen 5 a product takes 1.9 times as long.
    """
    return field("vendor_id", told) == "AuthenticAMD" and set(field("flags", told).split()) >= SKYLAKE_X


def field(wanted: str, told: Path) -> str:
    """What the system tells of its first processor under a name; nothing where it tells nothing."""
    lines = told.read_text().splitlines() if told.is_file() else []
    found = (line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == wanted)
    return next(found, "")
