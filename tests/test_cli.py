import json
import os
import subprocess
import sys
import tomllib
from dataclasses import fields

import pytest
import typer
from example_results import example_results
from synthetic import planted_system

from compare import cli
from compare.arms import configs
from compare.config import make_config
from compare.evidence import measure
from compare.hypotheses import judge, load
from compare.results_file import to_json

TOY = """
n_features = 24
width = 8
firing_rate = 0.1
vocabulary = 64
steps = 50
n_seeds = 2
n_samples = 4000
"""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Evidence of a system in which the effect is planted."""
    return measure(planted_system(n=40)).save(tmp_path_factory.mktemp("evidence") / "planted")


def cofire(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command."""
    monkeypatch.setattr("sys.argv", ["cofire", *map(str, words)])
    try:
        cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


BAD = {
    "a config that is not there": (["report", "--config", "none.toml"], "found nothing at none.toml"),
    "a mistyped key": (["report", "--config", "typo.toml"], "found 'sed': did you mean 'seed'?"),
    "a value out of range": (["validate", "--config", "range.toml"], "expected n_tokens of 2 or more"),
    "a folder that is no report": (["report", "--out", "full"], "found something else at full"),
    "no Evidence": (["test", "full"], "found no manifest.json in full"),
    "a toy that cannot be": (["measure", "toy.toml", "-o", "new"], "expected width"),
    "a model that is not there": (["measure", "./nowhere", "-o", "new"], "nowhere"),
    "an Evidence that is there": (["measure", "good.toml", "-o", "full"], "expected a new folder"),
    "a device that is not there": (["measure", "bundled", "--device", "gpu0", "-o", "new"], "found 'gpu0'"),
    "a page below a file": (["test", "EVIDENCE", "-q", "-o", "full/note.txt/page"], "full/note.txt"),
    "a config of no command": (["config", "tyo"], "found 'tyo': did you mean 'toy'?"),
    "two reports of which one is none": (["report", "--compare", "full", "full"], "found no results.json"),
    "hypotheses with a mistyped key": (["test", "EVIDENCE", "--hypotheses", "rules.toml"], "did you mean"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case, tmp_path, monkeypatch, capsys, evidence):
    monkeypatch.chdir(tmp_path)
    files = {
        "typo.toml": "sed = 1",
        "range.toml": "n_tokens = 1",
        "toy.toml": "width = 0",
        "good.toml": TOY,
        "rules.toml": 'format = 1\nmargins = 0.1\n[[hypothesis]]\nid = "x"\n',
        "full/note.txt": "mine",
        "full/0/note.txt": "mine",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = sorted(tmp_path.rglob("*"))
    words, expected = BAD[case]
    words = [evidence if word == "EVIDENCE" else word for word in words]
    status, _, err = cofire(monkeypatch, capsys, *words)
    assert status == 2
    assert expected in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_evidence_is_tested_without_its_system(tmp_path, monkeypatch, capsys, evidence):
    monkeypatch.chdir(tmp_path)
    status, out, err = cofire(monkeypatch, capsys, "test", evidence, "-o", "page", "--quiet")
    assert (status, out, err) == (0, "The page lies at page/index.html\n", "")
    results = json.loads((tmp_path / "page/results.json").read_text())
    assert results["run"]["command"].startswith("cofire test")
    slopes = {row["term"]: row for row in results["arms"][0]["regression"] if row["effects"] == "product"}
    assert slopes["co"]["low"] > 0  # planted
    assert slopes["sim"]["low"] > 0


def test_a_gate_exits_with_1_where_not_all_is_confirmed(tmp_path, monkeypatch, capsys, evidence):
    monkeypatch.chdir(tmp_path)
    assert cofire(monkeypatch, capsys, "test", evidence, "--gate", "--quiet")[0] == 1


def test_a_toy_goes_from_toml_to_verdicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TOY)
    status, out, _ = cofire(monkeypatch, capsys, "measure", "mine.toml", "-o", "ev", "--quiet")
    assert status == 0
    assert "ev/0" in out
    status, out, _ = cofire(monkeypatch, capsys, "test", "ev", "--quiet", "-o", "page")
    assert status == 0
    arm = json.loads((tmp_path / "page/results.json").read_text())["arms"][0]
    assert (arm["seeds"], arm["group"]) == (2, "toy")


@pytest.mark.parametrize("command", ["report", "measure", "toy", "train-lm", "train-sae"])
def test_the_printed_config_is_whole_and_gives_the_defaults(command, monkeypatch, capsys):
    status, out, _ = cofire(monkeypatch, capsys, "config", command)
    assert status == 0
    printed = tomllib.loads(out)
    for name, kind in configs()[command].items():
        table = printed.pop(name) if name else {key: one for key, one in printed.items() if key != "reads"}
        assert make_config(kind, table) == kind()
        for field in fields(kind):
            assert f"\n{field.name} =" in out or f"\n# {field.name} =" in out


def test_every_command_has_an_example_that_parses(monkeypatch, capsys):
    for name in typer.main.get_command(cli.app).commands:
        status, out, _ = cofire(monkeypatch, capsys, name, "--help")
        assert status == 0
        words = " ".join(out.replace("│", " ").split())
        assert f"Example: cofire {name}" in words


def test_two_reports_are_shown_side_by_side(tmp_path, monkeypatch, capsys):
    judged = to_json(judge(example_results(), load()))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(judged, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    status, out, _ = cofire(monkeypatch, capsys, "report", "--compare", "one", "two", "-o", "both")
    assert (status, out) == (0, "The page lies at both/index.html\n")


def test_help_is_quick_and_completion_works():
    command = [sys.executable, "-m", "compare.cli"]
    before = os.times()
    subprocess.run([*command, "--help"], check=True, capture_output=True)
    after = os.times()
    work = after.children_user + after.children_system - before.children_user - before.children_system
    assert work < 0.5  # seconds of processor time; a busy machine makes no difference
    asked = os.environ | {"_COFIRE_COMPLETE": "complete_bash", "COMP_WORDS": "cofire va", "COMP_CWORD": "1"}
    found = subprocess.run(command, env=asked, check=False, capture_output=True, text=True)
    assert found.stdout.split() == ["validate"]


def test_calibrate_writes_a_table(evidence, tmp_path, monkeypatch, capsys):
    out = tmp_path / "calibration.csv"
    words = ("calibrate", evidence, "-o", out, "--replicates", 2, "--features", 16, "-q")
    status, shown, _ = cofire(monkeypatch, capsys, *words)
    assert status == 0
    assert "size under the null" in shown
    assert out.read_text().startswith("world,effects,test,term,rejected,error,replicates")
