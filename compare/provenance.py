"""Where numbers come from: versions of packages, hashes of code and of files that were read."""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "cofire",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "statsmodels",
    "numba",
    "transformers",
    "tokenizers",
)
ROOT = Path(__file__).parent.parent


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout that was never installed
            found[name] = "not installed"
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_sha256() -> str:
    """SHA-256 of every module and preset of the three packages, names and bytes."""
    digest = hashlib.sha256()
    for package in ("compare", "real", "toy"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".toml"}:
                digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()
