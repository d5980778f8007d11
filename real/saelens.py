"""SAEs that SAELens knows by name: fetched once, into a folder that is read like any other."""

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "saelens:"
"""saelens:RELEASE:SAE_ID, RELEASE one of SAELens' own or a Hugging Face repository."""


def release_folder(name: str) -> Path:
    """The folder of a release's SAE, fetched with SAELens at the first call.

    It lies in the user's cache and appears there whole or not at all. ValueError where the name has another
    form, SAELens is not installed, or it cannot reach or does not know the SAE.
    """
    release, found, sae_id = name.removeprefix(PREFIX).partition(":")
    if not (release and found and sae_id):
        raise ValueError(f"expected saelens:RELEASE:SAE_ID, found {name!r}: name both, a colon between them.")
    folder = _cache() / "--".join(f"{release}/{sae_id}".split("/"))
    if not folder.is_dir():
        _fetch(release, sae_id, folder)
    return folder


def _fetch(release: str, sae_id: str, folder: Path) -> None:
    try:
        from sae_lens import SAE
    except ImportError as error:
        raise ValueError(
            f"expected the package sae-lens for {release!r}, found none: install it with pip install "
            "'cofire[saelens]'."
        ) from error
    try:
        sae = SAE.from_pretrained(release, sae_id, device="cpu")
    except Exception as error:  # whatever hub and library raise: their own words say it best
        raise ValueError(
            f"expected the SAE {sae_id!r} of the release {release!r}, found: "
            f"{' '.join(str(error).split())[:300]}: check the names and the network."
        ) from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        sae.save_model(Path(scratch) / "sae")
        shutil.move(Path(scratch) / "sae", folder)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cofire" / "saes"
