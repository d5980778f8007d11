"""What the README shows is what happens."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert "co:sim" in capsys.readouterr().out
    assert (tmp_path / "evidence/mine/manifest.json").is_file()


def test_every_file_that_it_names_is_there():
    named = re.findall(r"`((?:toy|real|compare|reports)/[\w./-]+)`|\]\(((?!http)[\w./-]+)\)", README)
    assert len(named) > 10
    for path in (one or other for one, other in named):
        assert (ROOT / path).exists(), path
