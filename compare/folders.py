"""Folders that appear whole or not at all."""

import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_place(path: Path) -> None:
    """Refuse a path at which nothing can be written; worth asking before the work whose result goes there."""
    above = next((one for one in path.absolute().parents if one.exists()), path.absolute())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(
            f"expected a folder to write {path.name} in, found {above}, where nothing can be written: name "
            "another --out."
        )


def check_file(path: Path) -> None:
    """The same for a file, which a folder cannot be; one that is there may be written to, or not."""
    if not (path.exists() and os.access(path, os.W_OK)):
        check_place(path)
    if path.is_dir():
        raise ValueError(f"expected a file to write, found a folder at {path}: name a file in it.")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` in the end; after an error it is gone and an older
    `folder` stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    partial = folder.with_name(f"{_partial_prefix(folder)}{os.getpid()}-{uuid.uuid4().hex[:8]}")
    replaced = partial.with_name(f"{partial.name}-replaced")
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _partial_prefix(folder: Path) -> str:
    return f".{folder.name}.partial-{platform.node()}-"


def _remove_stale(folder: Path) -> None:
    """Remove what runs on this machine left beside the folder when they were killed."""
    for path in folder.parent.glob(f"{_partial_prefix(folder)}*"):
        process = int(path.name.removeprefix(_partial_prefix(folder)).split("-")[0])
        if not _is_running(process):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
