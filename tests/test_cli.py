import json

import pytest
from synthetic import planted_system

from compare import cli
from compare.evidence import measure

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
    status, out, _ = cofire(monkeypatch, capsys, "test", evidence, "-o", "page", "--quiet")
    assert status == 0
    results = json.loads((tmp_path / "page/results.json").read_text())
    assert results["run"]["command"].startswith("cofire test")
    slopes = {row["term"]: row for row in results["arms"][0]["regression"] if row["effects"] == "product"}
    assert slopes["co"]["low"] > 0  # planted
    assert slopes["sim"]["low"] > 0
    assert "page/index.html" in out


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
