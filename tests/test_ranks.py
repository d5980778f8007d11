"""Jobs that several processes share give what one process gives, also after one of them died."""

import json
import math
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import planted_system
from test_real_system import FEATURES, WIDTH, some_sae
from tiny_models import tiny_model, tiny_text, tiny_tokenizer

from compare import ranks
from compare.evidence import Evidence
from real.sae_files import save_sae

JOB = Path(__file__).parent / "job_of_ranks.py"
TOY = """
n_features = 40
width = 16
firing_rate = 0.1
vocabulary = 64
steps = 50
n_seeds = 1
n_samples = 30_000
"""


def cofire(n_ranks: int, *words, dies: int | None = None) -> subprocess.CompletedProcess:
    """A command as so many processes; rank `dies` is killed halfway."""
    start = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", n_ranks] if n_ranks > 1 else []
    )
    asked = os.environ | {"PYTHONPATH": str(JOB.parent.parent), "OMP_NUM_THREADS": "1"}
    asked |= {} if dies is None else {"DIES": str(dies)}
    command = [sys.executable, *map(str, [*start, JOB, *words])]
    return subprocess.run(command, env=asked, capture_output=True, text=True, check=False)


def assert_same_evidence(found: Evidence, expected: Evidence):
    """Counts and contexts exactly, sums to 1e-6."""
    for field in fields(Evidence):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray) and other.dtype.kind == "f":
            np.testing.assert_allclose(
                one, other, rtol=1e-6, atol=1e-6 * np.abs(other).max(initial=0), err_msg=field.name
            )
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        elif field.name != "truth":
            assert one == other, field.name


def assert_same_numbers(found, expected, where=""):
    """Every number of two results, however deep, to 1e-6; all else exactly."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_same_numbers(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same_numbers(one, other, f"{where}[{number}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9), (where, found, expected)
    else:
        assert found == expected, where


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy.toml"
    path.write_text(TOY)
    return path


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> list:
    """The words of `measure` for a tiny language model with a tiny SAE."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    save_sae(some_sae(), folder / "sae")
    (folder / "text.txt").write_text(tiny_text(40_000))
    (folder / "config.toml").write_text("context = 16\nbatch_tokens = 128\nn_tokens = 2000\n")
    options = ["--sae", folder / "sae", "--site", "blocks.0.hook_mlp_out", "--text", folder / "text.txt"]
    return [folder / "model", *options, "--config", folder / "config.toml", "--effects"]


def test_one_process_has_every_part_and_its_sums_are_what_they_were():
    values = np.arange(3.0)
    ranks.total(values)
    assert values.tolist() == [0, 1, 2]
    assert ranks.gathered(values).tolist() == [[0, 1, 2]]
    assert list(ranks.share(range(5))) == [0, 1, 2, 3, 4]
    assert ranks.is_first()


@pytest.mark.parametrize("of", [2, 3, 9])
def test_shares_of_a_stream_hold_every_batch_once_and_know_their_place(of, monkeypatch):
    from compare.evidence import _batches

    system = planted_system(n=12, width=8, vocab=20, effect=None, n_tokens=2000)
    whole = [batch.outputs for batch in system.stream()]
    monkeypatch.setattr(ranks, "count", lambda: of)
    found = {}
    for number in range(of):
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        mine = _batches(system, 1600, number)
        found |= {place: (first, batch.outputs, size) for place, first, batch, size in mine}
    assert sorted(found) == [0, 1, 2, 3]
    for place, (first, outputs, size) in found.items():
        assert first == 512 * place
        assert size == min(512, 1600 - first)
        torch.testing.assert_close(outputs, whole[place])


PARTED = """
import os
import numpy
from compare import ranks

def threads():
    return sorted(open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task"))

with ranks.joined("measure"):
    import torch._dynamo
    ranks.total(numpy.ones(1))
    ranks.gathered(numpy.ones(1))
    assert any("gloo" in name for name in threads()), threads()
assert not any("gloo" in name for name in threads()), threads()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="lists threads in /proc")
def test_threads_of_a_job_end_with_it():
    """Those that do not may touch the interpreter while it is torn down, which aborts the process."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run([sys.executable, "-c", PARTED], env=os.environ | alone, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


JOBS = """
import os, sys
from compare import ranks

def job(name):
    if name == sys.argv[1]:
        raise ValueError("expected another job, found this one: choose.")
    return [name, ranks.count(), float("nan"), 0.1 + 0.2]

with ranks.joined("test"):
    assert ranks.count() == 2
    try:
        found = ranks.each({name: lambda name=name: job(name) for name in "cabed"})
    except ValueError as error:
        found = str(error)
    assert ranks.count() == 2
    with open(f"{ranks.number()}.txt", "w") as file:  # one line of both would run into one another
        file.write(str(found))
"""


@pytest.mark.parametrize("fails", ["none", "a"])
def test_jobs_are_each_done_by_one_process_and_their_results_and_errors_known_to_all(fails, tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "jobs.py", fails]
    here = os.environ | {"PYTHONPATH": str(JOB.parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch], env=here, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    told = "expected another job, found this one: choose."
    expected = {name: [name, 1, math.nan, 0.1 + 0.2] for name in "cabed"} if fails == "none" else told
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == [str(expected)] * 2
    assert "Warning" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [2, 4])
def test_a_toy_that_processes_share_is_measured_and_tested_as_by_one(n_ranks, toy, tmp_path):
    for number in (1, n_ranks):
        done = cofire(number, "measure", toy, "-o", tmp_path / f"ev{number}", "--quiet")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"The Evidence lies in {tmp_path / f'ev{number}'}\n"
        words = ("--quick", "--quiet", "-o", tmp_path / f"page{number}")
        done = cofire(number, "test", tmp_path / "ev1", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"The page lies at {tmp_path / f'page{number}/index.html'}\n"
    assert_same_evidence(*(Evidence.load(tmp_path / f"ev{number}") for number in (n_ranks, 1)))
    one, other = (json.loads((tmp_path / f"page{n}/results.json").read_text()) for n in (n_ranks, 1))
    assert_same_numbers(one["arms"], other["arms"])
    assert_same_numbers(one["verdicts"], other["verdicts"])


@pytest.mark.slow
def test_after_a_process_died_nothing_is_there_and_the_job_can_be_started_again(language_model, tmp_path):
    words = ["measure", *language_model, "--quiet", "-o"]
    for n_ranks, name in ((1, "one"), (2, "two"), (4, "four")):
        if n_ranks > 1:
            assert cofire(n_ranks, *words, tmp_path / name, dies=1).returncode != 0
            assert not (tmp_path / name).exists()
            kept = tmp_path / f"{name}.unfinished"
            assert {path.name for path in kept.iterdir()} >= {f"1-of-{n_ranks}"}
        done = cofire(n_ranks, *words, tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / f"{name}.unfinished").exists()
    expected = Evidence.load(tmp_path / "one")
    assert expected.directions.shape == (FEATURES, WIDTH)
    assert expected.effect_features.size > 3
    for name in ("two", "four"):
        assert_same_evidence(Evidence.load(tmp_path / name), expected)


@pytest.mark.slow
def test_a_command_that_processes_cannot_share_says_so(tmp_path):
    done = cofire(2, "report", "--quick", "--out", tmp_path / "page")
    assert done.returncode != 0
    assert "expected measure or test under torchrun, found 'report': run it as one process." in done.stderr
    assert not (tmp_path / "page").exists()
