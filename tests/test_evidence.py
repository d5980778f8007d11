import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import Batch, LinearSystem, Recorded, csr, planted_system

from compare.evidence import ARRAYS, LARGE, MANIFEST, VOCABULARY, Evidence, measure
from compare.folders import whole_folder


@pytest.fixture(scope="module")
def system():
    return planted_system(n=12, width=8, vocab=20, effect=None, n_tokens=1000)


@pytest.fixture(scope="module")
def evidence(system):
    return measure(system)


def assert_same(one, other):
    for field in fields(Evidence):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        elif field.name == "truth":
            assert all((x == y).all() for x, y in zip(a or (), b or (), strict=True))
        else:
            assert a == b


def test_a_world_of_four_tokens_is_measured_as_by_hand():
    preactivations = torch.tensor([[2.0, -1.0, -1.0], [4.0, 1.0, -1.0], [-1.0, 3.0, -1.0], [1.0, -1.0, -1.0]])
    outputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 1.0]])
    system = Recorded("by hand", torch.eye(3), preactivations, outputs, batch=3)
    system.sequences = torch.tensor([0, 0, 1, 1])
    system.stream = lambda: (
        Batch(preactivations[s], preactivations[s].relu(), outputs[s], sequences=system.sequences[s])
        for s in (slice(0, 3), slice(3, 3), slice(3, 4))
    )
    found = measure(system)
    assert found.n_tokens == 4
    assert found.n_sequences == 2
    assert found.counts.tolist() == [3, 2, 0]
    assert found.cofiring.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert found.activation_sums.tolist() == [7, 4, 0]
    assert found.activation_second.tolist() == [[21, 4, 0], [4, 10, 0], [0, 0, 0]]
    assert found.output_weights.tolist() == [[6, 1, 0], [1, 3, 0]]
    assert found.half_counts.tolist() == [[2, 1, 0], [1, 1, 0]]
    assert found.half_squared_weights.tolist() == [[20, 1, 0], [1, 9, 0]]
    expected = [[[2 / 6, 4 / 6], [0, 1], [0, 0]], [[0, 1], [0.5, 0.5], [0, 0]]]
    np.testing.assert_allclose(found.output_halves, expected, rtol=1e-6)
    np.testing.assert_allclose(found.mean_outputs, [[2 / 7, 5 / 7], [1.5 / 4, 2.5 / 4], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(found.base_output, [1.5 / 4, 2.5 / 4])
    np.testing.assert_allclose(found.moments_mean, [1.5, 0.5, -1])
    np.testing.assert_allclose(found.preactivation_covariance, np.cov(preactivations.numpy().T, ddof=0))
    assert found.is_alive().tolist() == [True, True, False]
    assert found.is_alive(3).tolist() == [True, False, False]
    assert found.vocabulary == ["word 0", "word 1"]
    assert found.provenance == {"recorded": "by hand"}
    assert found.truth is None


def test_how_the_stream_is_cut_changes_nothing_but_rounding(system):
    coarse = measure(system)
    finer = measure(Recorded("finer", system.directions, system.preactivations, system.outputs, batch=7))
    np.testing.assert_array_equal(coarse.cofiring, finer.cofiring)
    assert coarse.n_sequences == finer.n_sequences == 125
    for name in ("activation_second", "output_halves", "moments_covariance", "base_output"):
        np.testing.assert_allclose(getattr(coarse, name), getattr(finer, name), rtol=1e-6, atol=1e-9)


def test_the_stream_stops_after_the_tokens_that_were_asked_for(system):
    short = Recorded("short", system.directions, system.preactivations[:600], system.outputs[:600])
    seen = []
    found = measure(system, n_tokens=600, progress=lambda done, total: seen.append((done, total)))
    assert found.n_tokens == 600
    assert seen == [(512, 600), (600, 600)]
    np.testing.assert_array_equal(found.cofiring, measure(short).cofiring)
    assert measure(system, n_tokens=10**6).n_tokens == 1000


def test_moments_of_all_preactivations_follow_from_those_of_the_inputs():
    system = LinearSystem(n=10, width=6, vocab=5, n_tokens=3000)
    found = measure(system)
    preactivations = torch.cat([batch.preactivations for batch in system.stream()]).numpy()
    assert found.input_covariance.shape == (6, 6)
    np.testing.assert_allclose(found.preactivation_covariance, np.cov(preactivations.T, ddof=0), atol=1e-6)


def test_a_system_with_an_encoder_is_never_asked_for_preactivations():
    class Lazy:
        def __init__(self, batch):
            self.activations, self.outputs, self.inputs = batch.activations, batch.outputs, batch.inputs
            self.preactivations = torch.full_like(batch.activations, torch.nan)  # refused if read

    system = LinearSystem(n_tokens=64)
    batches = [Lazy(batch) for batch in system.stream()]
    system.stream = lambda: iter(batches)
    assert measure(system).n_tokens == 64


def test_sparse_and_dense_activations_give_the_same_evidence(system, evidence):
    def stream():
        for batch in system.stream():
            yield Batch(
                batch.preactivations, csr(batch.activations), batch.outputs, sequences=batch.sequences
            )

    other = Recorded(system.name, system.directions, system.preactivations, system.outputs)
    other.stream = stream
    assert_same(measure(other), evidence)


def test_truth_goes_along(system, tmp_path):
    known = Recorded("known", system.directions, system.preactivations, system.outputs)
    known.true_rates, known.true_joint_rates = torch.full((12,), 0.5), torch.full((12, 12), 0.25)
    known.true_outputs = torch.full((12, 20), 0.05)
    found = measure(known)
    assert found.truth.rates.tolist() == [0.5] * 12
    assert_same(Evidence.load(found.save(tmp_path / "known")), found)


def test_what_was_saved_is_loaded_to_the_last_bit(evidence, tmp_path):
    loaded = Evidence.load(evidence.save(tmp_path / "new" / "evidence"))
    assert_same(loaded, evidence)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"evidence"}


def test_the_manifest_says_what_a_reader_needs(evidence, tmp_path):
    manifest = json.loads((evidence.save(tmp_path / "e") / MANIFEST).read_text())
    assert manifest["n_tokens"] == 1000
    assert manifest["sizes"]["cofiring"] == [12, 12]
    assert manifest["provenance"] == {"recorded": "random directions"}
    assert set(manifest["sha256"]) == {ARRAYS, VOCABULARY, *(f"{name}.npy" for name in LARGE)}
    assert "torch" in manifest["versions"]


@pytest.mark.parametrize("name", [ARRAYS, VOCABULARY])
@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_file_that_was_cut_or_changed_is_refused_in_one_line(evidence, tmp_path, name, damage):
    path = evidence.save(tmp_path / "e") / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="measure again") as caught:
        Evidence.load(path.parent)
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_foreign_folder_and_another_format_are_refused(evidence, tmp_path):
    with pytest.raises(ValueError, match=f"found no {MANIFEST}"):
        Evidence.load(tmp_path)
    folder = evidence.save(tmp_path / "e")
    (folder / VOCABULARY).unlink()
    with pytest.raises(ValueError, match="found no file"):
        Evidence.load(folder)
    (folder / MANIFEST).write_text('{"format": 99}')
    with pytest.raises(ValueError, match="found format 99"):
        Evidence.load(folder)
    (folder / MANIFEST).write_text('{"form')
    with pytest.raises(ValueError, match="expected a manifest"):
        Evidence.load(folder)


@pytest.mark.parametrize("name", ["sha256", "provenance", "name"])
def test_a_manifest_that_lacks_something_is_refused_by_its_name(evidence, tmp_path, name):
    folder = evidence.save(tmp_path / "kept")
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest[name]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"expected a manifest in .*, found KeyError\\('{name}'"):
        Evidence.load(folder)


def test_evidence_that_is_there_is_not_overwritten_unless_asked(system, evidence, tmp_path):
    folder = evidence.save(tmp_path / "e")
    other = measure(system, n_tokens=100)
    with pytest.raises(ValueError, match="pass overwrite=True"):
        other.save(folder)
    assert_same(Evidence.load(folder), evidence)
    other.save(folder, overwrite=True)
    assert Evidence.load(folder).n_tokens == 100
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_a_folder_of_something_else_is_never_overwritten(evidence, tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(ValueError, match="choose another folder"):
        evidence.save(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_run_that_failed_leaves_nothing_behind(evidence, tmp_path, monkeypatch):
    monkeypatch.setattr("compare.evidence.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        evidence.save(tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_an_older_folder_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    rename = Path.rename

    def refuse_the_new(path, target):
        if target == tmp_path / "e" and not path.name.endswith("-replaced"):
            raise OSError("disk full")
        return rename(path, target)

    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "old").write_text("")
    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(OSError, match="disk full"), whole_folder(tmp_path / "e") as new:
        (new / "new").write_text("")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["e", "e/old"]


def test_what_a_killed_run_left_goes_away_and_a_living_one_keeps_its_own(evidence, tmp_path):
    code = (
        "import os, platform, pathlib, sys;"
        "pathlib.Path(sys.argv[1], f'.e.partial-{platform.node()}-{os.getpid()}-ab').mkdir()"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    living = tmp_path / f".e.partial-{os.uname().nodename}-{os.getpid()}-cd"
    living.mkdir()
    assert len(list(tmp_path.iterdir())) == 2
    evidence.save(tmp_path / "e")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, "e"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_tokens": 1}, "expected n_tokens of 2 or more, found 1"),
        ({"preactivations": torch.zeros(1000, 13)}, "expected 12 features .* found 13"),
        ({"outputs": torch.ones(1000, 20)}, "give probabilities, not logits"),
        ({"outputs": torch.eye(20)[:1].expand(1000, -1) * 1.5 - 0.025}, "outputs >= 0, found -0.025"),
        ({"directions": torch.full((12, 8), torch.nan)}, "expected finite directions, found 12 rows"),
        (
            {"preactivations": torch.zeros(0, 12), "outputs": torch.zeros(0, 20)},
            "expected a stream of tokens",
        ),
    ],
)
def test_systems_that_do_not_fit_the_seam_are_refused(system, change, message):
    n_tokens = change.pop("n_tokens", None)
    parts = {name: getattr(system, name) for name in ("directions", "preactivations", "outputs")} | change
    with pytest.raises(ValueError, match=message):
        measure(Recorded("odd", **parts), n_tokens=n_tokens)


def test_a_stream_of_empty_batches_is_refused(system):
    empty = Recorded("empty", system.directions, torch.zeros(0, 12), torch.zeros(0, 20))
    empty.stream = lambda: iter([Batch(torch.zeros(0, 12), torch.zeros(0, 12), torch.zeros(0, 20))])
    with pytest.raises(ValueError, match="expected a stream of tokens, found none from 'empty'"):
        measure(empty)
