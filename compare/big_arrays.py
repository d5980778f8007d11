"""Arrays that may not fit into memory lie in unnamed temporary files (of TMPDIR), mapped page by page."""

import mmap
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import DTypeLike

IN_MEMORY = 2**28
"""Bytes of an array beyond which a file holds it: [n, n] of int32 up to n = 8,192 stay in memory."""


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """A writable array of zeros; its file, if it has one, is gone with it."""
    if np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize <= IN_MEMORY:
        return np.zeros(shape, dtype)
    with TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def put_aside(array: np.ndarray) -> np.ndarray:
    """The same values from a file, whatever their size."""
    if not array.size:
        return array
    with TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)


def release(array: np.ndarray) -> None:
    """Let go of the pages of a mapped file that were touched; its values stay. Nothing for other arrays."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
