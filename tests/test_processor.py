import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compare.processor import SKYLAKE_X, name, use_wide_vectors

WIDE = "fpu sse2 avx2 " + " ".join(sorted(SKYLAKE_X))


def told(folder: Path, vendor: str, flags: str) -> Path:
    """A file as Linux tells of two processors."""
    lines = (
        f"processor\t: {number}\nvendor_id\t: {vendor}\nmodel name\t: A Processor: 2\nflags\t\t: {flags}\n"
        for number in range(2)
    )
    path = folder / "cpuinfo"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", WIDE, "SkylakeX"),
        ("AuthenticAMD", WIDE.replace("avx512vl", ""), None),
        ("AuthenticAMD", "fpu sse2 avx2", None),
        ("GenuineIntel", WIDE, None),
    ],
)
def test_wide_vectors_where_the_processor_has_them_and_openblas_does_not_see_it(
    tmp_path, monkeypatch, vendor, flags, expected
):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    use_wide_vectors(told(tmp_path, vendor, flags))
    assert os.environ.pop("OPENBLAS_CORETYPE", None) == expected


def test_a_choice_of_the_users_is_not_overruled(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    use_wide_vectors(told(tmp_path, "AuthenticAMD", WIDE))
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"


def test_a_system_that_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    use_wide_vectors(tmp_path / "none")
    assert "OPENBLAS_CORETYPE" not in os.environ
    assert name(tmp_path / "none")


def test_the_name_is_that_of_the_first_processor(tmp_path):
    assert name(told(tmp_path, "GenuineIntel", WIDE)) == "A Processor: 2"


def test_numpy_is_not_loaded_before_it_is_told():
    script = """
import sys, json
from compare import cli
early = "numpy" in sys.modules
sys.argv = ["cofire", "--help"]
try:
    cli.main()
except SystemExit:
    pass
from compare.processor import wants_wide_vectors
import numpy, threadpoolctl
found = [one["architecture"] for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"]
print(json.dumps([early, wants_wide_vectors(), found]))
"""
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    early, wanted, architectures = json.loads(told.stdout.splitlines()[-1])
    assert not early
    assert architectures == ["SkylakeX"] if wanted else architectures
