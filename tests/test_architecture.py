"""The rooms stand where the README says, and imports point one way."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"toy", "real", "compare"}
KNOWN = {
    "compare/arms.py": {"toy", "real"},
    "compare/toy_arms.py": {"toy"},
    "compare/toy_saes.py": {"toy", "real"},
}
"""Rooms that a module may know beside its own."""
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in the file it does so."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    strays = ({name.split(".")[0] for name in imports(path)} & PACKAGES) - {package}
    strays -= KNOWN.get(str(path.relative_to(ROOT)), set())
    assert not strays, f"{path} must not import {strays}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_command_line_knows_the_arms(path):
    allowed = {
        "arms.py": {"compare.toy_arms", "compare.toy_saes"},
        "cli.py": {"compare.arms", "compare.toy_arms"},
        "toy_saes.py": {"compare.toy_arms"},
    }
    known = imports(path) & {"compare.arms", "compare.toy_arms", "compare.toy_saes"}
    assert known <= allowed.get(path.name, set())


def test_no_file_outgrows_a_screenful_of_screens():
    too_long = [path for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    assert not too_long


def test_the_constraints_pin_torch_and_everything_else():
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[^ ]+", line) for line in lines)
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_loads_a_pickle(path):
    assert not imports(path) & {"pickle", "dill", "joblib"}
    calls = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    assert "torch.load" not in {ast.unparse(call.func) for call in calls}
    assert "allow_pickle" not in {keyword.arg for call in calls for keyword in call.keywords}
