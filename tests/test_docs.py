"""What the pages show is what happens: commands are run, files written, Python executed, in order."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from compare import cli, measures

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def fences(path: Path) -> list[tuple[str, str, str]]:
    """Language, what follows it, and text of each code block."""
    return FENCE.findall(path.read_text(encoding="utf-8"))


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def parse(words: list[str]) -> None:
    """Ask of a command line whether it could be run; click raises if not."""
    group = typer.main.get_command(cli.app)
    context = group.make_context("cofire", list(words))
    name, command, rest = group.resolve_command(context, list(words))
    command.make_context(name, rest)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_could_be_run_and_every_link_leads_somewhere(path):
    for language, _, text in fences(path):
        if language != "sh":
            continue
        for line in lines(text):
            program, *words = shlex.split(line)
            if program == "cofire":
                parse(words)
            elif program == "make":
                assert set(words) <= TARGETS
            else:
                assert program == "python"
                assert (ROOT / words[0]).is_file()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link
    for named in re.findall(r"`((?:toy|real|compare|reports|docs|tests)/[\w./-]*\w)`", path.read_text()):
        assert (ROOT / named).exists(), named


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [page for page in PAGES if "```sh\n" in page.read_text()], ids=lambda path: path.name
)
def test_the_page_works_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measures, "COOCCURRENCE", dict(measures.COOCCURRENCE))
    monkeypatch.setattr("compare.pairs.COOCCURRENCE", measures.COOCCURRENCE)
    blocks = fences(path)
    for _, about, text in blocks:
        if about.startswith("file="):
            Path(about.removeprefix("file=")).write_text(text)
    for language, about, text in blocks:
        if language == "python":
            exec(compile(text, str(path), "exec"), {})
        for line in lines(text) if (language, about) == ("sh", "") else []:
            program, *words = shlex.split(line)
            if program == "cofire":  # the examples have a test of their own
                monkeypatch.setattr("sys.argv", [program, *words])
                with pytest.raises(SystemExit) as stop:
                    cli.main()
                assert not stop.value.code, line


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "docs/examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [path.name, str(tmp_path / "out")])
    runpy.run_path(str(path), run_name="__main__")
    assert f"The page lies at {tmp_path / 'out/report/index.html'}" in capsys.readouterr().out
