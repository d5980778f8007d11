"""Arms become results, and a run that was stopped goes on with what it has."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from synthetic import LinearSystem, planted_system

from compare.evidence import Evidence, measure
from compare.from_evidence import evidence_results, kept_as, results_of
from compare.hypotheses import judge, load
from compare.processes import in_processes
from compare.progress import step
from compare.run import (
    Arm,
    ReportConfig,
    entry_tasks,
    load_seeds,
    measured,
    run,
    surrogate_arm,
)
from compare.toy_arms import toy_arm
from toy.config import ToyConfig

QUIET = partial(step, quiet=True)
CONFIG = ReportConfig(min_count=5)


def arm_of(make, name="arm", **more) -> Arm:
    """An arm whose systems come from make(number), and the numbers of those that were made."""
    made = []

    def systems(before, step):
        for number in range(more.get("n_systems", 1)):
            made.append(number)
            yield make(number)

    return Arm(name=name, group="toy", note="", systems=systems, **more), made


def test_a_planted_effect_is_found_and_a_null_is_not(tmp_path):
    planted, _ = arm_of(lambda number: planted_system(n=48, seed=number), "planted", n_systems=3)
    null, _ = arm_of(lambda number: planted_system(n=48, seed=number, effect=None), "null", n_systems=3)
    results = run([planted, null], CONFIG, tmp_path, QUIET)
    slopes = {
        (arm["name"], row["term"]): (row["low"], row["high"])
        for arm in results["arms"]
        for row in arm["regression"]
        if row["effects"] == "product"
    }
    for term in ("co", "sim", "co:sim"):
        assert slopes["planted", term][0] > 0
        assert slopes["null", term][0] < 0 < slopes["null", term][1]


def test_the_same_config_and_seed_give_the_same_results(tmp_path):
    arm, _ = arm_of(lambda number: planted_system(n=24, n_tokens=2048))
    first, second = (run([arm], CONFIG, tmp_path / name, QUIET) for name in "ab")
    assert json.dumps(first) == json.dumps(second)


def test_arms_that_stand_alone_come_out_of_processes_as_they_would_here(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    toy = ToyConfig(n_features=32, width=16, n_seeds=2, steps=50, n_samples=4096, firing_rate=0.1)
    arms = [toy_arm(name, replace(toy, seed=seed)) for seed, name in enumerate(("one", "two"))]
    here = run(arms, CONFIG, tmp_path / "here", QUIET)
    in_processes(entry_tasks(arms, CONFIG, tmp_path / "there"), lambda done, total: None)
    there = run(arms, CONFIG, tmp_path / "there", QUIET)
    assert os.environ["OMP_NUM_THREADS"] == "3"
    for one, other in zip(here["arms"], there["arms"], strict=True):
        assert (one["name"], one["seeds"], one["n_pairs"]) == (
            other["name"],
            other["seeds"],
            other["n_pairs"],
        )
        for cell, same in zip(one["cells"], other["cells"], strict=True):
            for name in ("mean", "low", "high"):
                assert same[name] == pytest.approx(cell[name], rel=1e-4, nan_ok=True)
    (home,) = (tmp_path / "there").iterdir()
    kept = {path.name: path.stat().st_mtime_ns for path in home.iterdir()}
    assert {"one.json", "two.json", "one-0", "two-1"} < kept.keys()
    again = run(arms, CONFIG, tmp_path / "there", QUIET)
    assert json.dumps(again) == json.dumps(there)
    assert {path.name: path.stat().st_mtime_ns for path in home.iterdir()} == kept


def test_a_stopped_run_goes_on_with_the_evidence_it_has(tmp_path):
    first, made_first = arm_of(lambda number: planted_system(n=24, n_tokens=2048), "first")

    def breaks(number):
        if number == 1:
            raise KeyboardInterrupt
        return planted_system(n=24, n_tokens=2048, seed=number)

    second, _ = arm_of(breaks, "second", n_systems=2)
    with pytest.raises(KeyboardInterrupt):
        run([first, second], CONFIG, tmp_path, QUIET)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["first-0", "second-0"]
    mended, _ = arm_of(lambda number: planted_system(n=24, n_tokens=2048, seed=number), "second", n_systems=2)
    results = run([first, mended], CONFIG, tmp_path, QUIET)
    assert made_first == [0]
    assert [arm["seeds"] for arm in results["arms"]] == [1, 2]


def test_another_config_takes_up_nothing(tmp_path):
    arm, made = arm_of(lambda number: planted_system(n=24, n_tokens=2048))
    run([arm], CONFIG, tmp_path, QUIET)
    run([arm], replace(CONFIG, seed=1), tmp_path, QUIET)
    assert made == [0, 0]


def test_a_surrogate_keeps_the_slope_that_geometry_alone_writes(tmp_path):
    """Random directions, Gaussian inputs: the published measure finds a slope, and so does the surrogate."""
    linear, _ = arm_of(lambda number: LinearSystem(), "linear")
    results = run([linear, surrogate_arm(linear, seed=0)], CONFIG, tmp_path, QUIET)
    slope, null = (
        next(row["estimate"] for row in arm["regression"] if row["cooccurrence"].startswith("pre"))
        for arm in results["arms"]
    )
    assert slope > 0.9  # tied and isotropic: the correlation of pre-activations is the cosine
    assert null == pytest.approx(slope, abs=0.05)
    assert results["arms"][1]["control_of"] == "linear"


def test_seeds_that_are_measured_stay_when_the_rest_is_measured(tmp_path):
    def small(number, site="a"):
        system = planted_system(n=16, n_tokens=512, seed=number)
        system.provenance = {"config": {"site": site}, "sizes": (16, 32)}
        return system

    def breaks(number):
        if number == 1:
            raise KeyboardInterrupt
        return small(number)

    out = tmp_path / "evidence"
    with pytest.raises(KeyboardInterrupt):
        measured(arm_of(breaks, n_systems=3)[0], {}, out, QUIET)
    first = (out / "0" / "manifest.json").stat().st_mtime_ns
    other = arm_of(partial(small, site="b"), n_systems=3)[0]
    with pytest.raises(ValueError, match=r"expected Evidence of the same system in .*/0, .* another config"):
        measured(other, {}, out, QUIET)
    whole = arm_of(small, n_systems=3)[0]
    assert measured(whole, {}, out, QUIET) == [out / "0", out / "1", out / "2"]
    assert (out / "0" / "manifest.json").stat().st_mtime_ns == first
    assert [Evidence.load(out / name).directions[0, 0] for name in "012"] == [
        float(small(number).directions[0, 0]) for number in range(3)
    ]
    with pytest.raises(ValueError, match=r"expected a new folder, found .*evidence: remove it"):
        measured(whole, {}, out, QUIET)
    shutil.rmtree(out / "2")
    with pytest.raises(ValueError, match=r"same system in .*/0, .* another asked for"):
        measured(replace(whole, n_tokens=64), {}, out, QUIET)
    shutil.rmtree(out / "0")
    (out / "1").rename(out / "0")
    with pytest.raises(ValueError, match=r"same system in .*/0, .* another directions"):
        measured(whole, {}, out, QUIET)


def test_seeds_are_loaded_in_their_order(tmp_path):
    evidence = measure(planted_system(n=16, n_tokens=512))
    for number in range(11):
        replace(evidence, name=f"seed {number}").save(tmp_path / str(number))
    assert [one.name for one in load_seeds(tmp_path)] == [f"seed {number}" for number in range(11)]


def test_nothing_is_measured_beside_files_of_others(tmp_path):
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "notes.txt").write_text("mine")
    arm, made = arm_of(lambda number: planted_system(n=16, n_tokens=512, seed=number), n_systems=2)
    with pytest.raises(ValueError, match=r"expected a new folder, found .*notes\.txt: remove it"):
        measured(arm, {}, tmp_path / "evidence", QUIET)
    (tmp_path / "other" / "0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected a new folder, found .*other/0: remove it"):
        measured(arm, {}, tmp_path / "other", QUIET)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(
            ValueError, match=r"expected a folder to write .* in, found .*, where nothing can"
        ):
            measured(arm, {}, out, QUIET)
    assert made == []


def test_a_surrogate_needs_evidence_of_its_own_system(tmp_path):
    linear, _ = arm_of(lambda number: LinearSystem(), "linear")
    null = surrogate_arm(linear, seed=0)
    other = measure(LinearSystem(seed=1))
    with pytest.raises(ValueError, match=r"expected Evidence of .* for its surrogate, found that of other"):
        next(null.systems({"linear": [other]}, QUIET))
    with pytest.raises(ValueError, match="expected 1 Evidence for as many seeds of a surrogate, found 2"):
        next(null.systems({"linear": [other, other]}, QUIET))


def test_seeds_of_one_name_are_replicates_and_a_control_needs_one_system(tmp_path):
    from compare.evidence import measure

    folders = [
        measure(planted_system(n=24, n_tokens=2048, seed=seed)).save(tmp_path / str(seed)) for seed in (0, 1)
    ]
    null = measure(planted_system(n=24, n_tokens=2048, effect=None)).save(tmp_path / "null")
    results = evidence_results(folders, [null], CONFIG, QUIET)
    assert [(arm["seeds"], arm["group"]) for arm in results["arms"]] == [(2, "real"), (1, "control")]
    judged = judge(results, load())
    assert {row["arm"] for row in judged["verdicts"]} == {"planted"}
    with pytest.raises(ValueError, match="expected one system beside controls, found 2"):
        evidence_results([*folders, null], [null], CONFIG, QUIET)
    other = replace(
        measure(planted_system(n=24, n_tokens=2048, seed=2)), provenance={"config": {"site": "else"}}
    )
    with pytest.raises(ValueError, match="'planted' that differs by seed alone, found another site: measure"):
        evidence_results([*folders, other.save(tmp_path / "other")], [], CONFIG, QUIET)
    with pytest.raises(ValueError, match="expected a seed of its own in each Evidence of 'planted'"):
        evidence_results([*folders, folders[0]], [], CONFIG, QUIET)


def test_a_system_that_says_it_is_a_toy_is_judged_as_one(tmp_path):
    from compare.evidence import measure

    evidence = measure(planted_system(n=16, width=8, vocab=16, n_tokens=512))
    assert results_of([evidence], [], CONFIG, QUIET)["arms"][0]["group"] == "real"
    toy = {"name": "made", "kind": "toy", "note": "", "quality": {}}
    said = replace(evidence, provenance=evidence.provenance | {"models": [toy]})
    assert results_of([said], [], CONFIG, QUIET)["arms"][0]["group"] == "toy"


def test_evidence_tells_which_models_stand_behind_it_and_a_weak_one_shuts_the_gate(tmp_path):
    weak = {
        "name": "weak",
        "kind": "language model",
        "note": "",
        "quality": {"bits_per_byte": 2, "trigram": 1},
    }
    arm, _ = arm_of(lambda number: planted_system(n=64), "planted", models=(weak,))
    arm = replace(arm, group="real")
    measured(arm, {}, tmp_path / "evidence", QUIET)
    judged = judge(evidence_results([tmp_path / "evidence"], [], CONFIG, QUIET), load())
    assert judged["models"] == [weak]
    assert judged["arms"][0]["models"] == ["weak"]
    reasons = [row["reason"] for row in judged["verdicts"] if row["verdict"] == "UNDECIDED"]
    assert any("weak needs 2.00 bits per byte, no better than the trigram's 1.00" in one for one in reasons)


def test_a_system_may_name_models_of_its_own_beside_those_of_its_arm(tmp_path):
    def make(number):
        system = planted_system(n=32, n_tokens=2048, seed=number)
        own = {"name": f"SAE {number}", "kind": "sae", "note": "", "quality": {"l0": 4.0 + number}}
        system.provenance = {"models": [own]}
        return system

    shared = {"name": "a model", "kind": "language model", "note": "", "quality": {"bits_per_byte": 1.0}}
    arm, _ = arm_of(make, "several", n_systems=2, models=(shared,))
    results = run([arm], CONFIG, tmp_path, QUIET)
    assert results["arms"][0]["models"] == ["a model", "SAE 0", "SAE 1"]
    assert [model["quality"] for model in results["models"]] == [
        {"bits_per_byte": 1.0},
        {"l0": 4.0},
        {"l0": 5.0},
    ]
    assert json.dumps(run([arm], CONFIG, tmp_path, QUIET)) == json.dumps(
        results
    )  # from the Evidence that is kept


def test_directions_that_are_all_alike_are_refused():
    system = planted_system(n=24, n_tokens=2048)
    system.directions = torch.ones(24, 8)
    with pytest.raises(ValueError, match="expected directions that differ, found 24 that are all alike"):
        results_of([measure(system)], [], CONFIG, QUIET, [])


def test_models_of_one_name_that_differ_are_kept_apart():
    models: dict = {}
    first = {"name": "SAE sae", "kind": "sae", "note": "", "quality": {"l0": 3.0, "dead_share": float("nan")}}
    second = first | {"quality": {"l0": 4.0}}
    assert [kept_as(one, models) for one in (first, second, dict(first), second)] == [
        "SAE sae",
        "SAE sae (2)",
        "SAE sae",
        "SAE sae (2)",
    ]
    assert models["SAE sae (2)"]["quality"]["l0"] == 4.0
