"""A pass that was interrupted goes on where it was kept, and ends as if nothing had happened."""

import numpy as np
import pytest
import torch
from synthetic import Batch, Recorded, planted_system
from test_evidence import assert_same

import compare.moments
from compare import ranks, reading
from compare.evidence import measure


class Interrupted(Exception):
    """Stands for a kill."""


def system(*, shares: bool, dies_at: int | None = None) -> Recorded:
    """1,600 tokens in batches of 100 (and an empty one), with token ids; `dies_at` is the batch that is not
    reached.
    """
    made = planted_system(n=12, width=8, vocab=20, effect=None, n_tokens=1600)
    made.reached = []

    def batch(place: int) -> Batch:
        if place == dies_at:
            raise Interrupted
        made.reached.append(place)
        at = slice(100 * place, 100 * (place + 1)) if place < 5 else slice(100 * (place - 1), 100 * place)
        at = slice(500, 500) if place == 5 else at
        tokens = torch.arange(1600)[at]
        parts = made.preactivations[at], made.preactivations[at].relu(), made.outputs[at]
        return Batch(*parts, sequences=tokens // 8, tokens=tokens % 20)

    made.stream = lambda: (batch(place) for place in range(17))
    if shares:
        made.share = lambda number, of: (
            (place, 100 * (place - (place > 5)), batch(place)) for place in range(17)[number::of]
        )
    return made


@pytest.fixture
def keeps_always(monkeypatch):
    """Readings are kept after every batch, and events go to files early."""
    monkeypatch.setattr(reading, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(compare.moments, "BUFFERED", 400)


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("dies_at", [1, 9, 16])
def test_a_pass_that_was_interrupted_ends_as_one_that_was_not(shares, dies_at, keeps_always, tmp_path):
    expected = measure(system(shares=shares))
    folder = tmp_path / "evidence.unfinished"
    with pytest.raises(Interrupted):
        measure(system(shares=shares, dies_at=dies_at), unfinished=folder)
    again, seen = system(shares=shares), []
    found = measure(again, unfinished=folder, progress=lambda done, total: seen.append(done))
    assert_same(found, expected)
    assert found.context_values.any()
    assert len(found.sequence_offsets) == 201
    assert seen == list(range(100, 1700 - 100 * (dies_at - (dies_at > 5)), 100))
    if shares:  # the first batch is looked at to check the system
        assert again.reached == [0, *range(dies_at, 17)]


def test_processes_of_a_job_keep_their_own(keeps_always, tmp_path, monkeypatch):
    """As each of three processes, interrupted and taken up; what is pooled then is what each alone reads."""
    monkeypatch.setattr(ranks, "count", lambda: 3)
    monkeypatch.setattr(ranks, "total", lambda *arrays: None)
    monkeypatch.setattr(ranks, "gathered", lambda array: array[None])
    for number in range(3):
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        expected = measure(system(shares=True))
        with pytest.raises(Interrupted):
            measure(system(shares=True, dies_at=9 + number), unfinished=tmp_path / "kept")
        again = system(shares=True)
        assert_same(measure(again, unfinished=tmp_path / "kept"), expected)
        assert again.reached == [0, *range(9 + number, 17, 3)]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["0-of-3", "1-of-3", "2-of-3"]


def test_parts_that_are_full_are_written_once(keeps_always, tmp_path):
    with pytest.raises(Interrupted):
        measure(system(shares=True, dies_at=12), unfinished=tmp_path / "kept")
    parts = sorted((tmp_path / "kept" / "0-of-1").glob("cofiring.full-*-features.npy"))
    assert len(parts) > 2
    first = parts[0].stat().st_ino
    with pytest.raises(Interrupted):
        measure(system(shares=True, dies_at=14), unfinished=tmp_path / "kept")
    assert parts[0].stat().st_ino == first


def test_a_short_pass_keeps_nothing(tmp_path):
    measure(system(shares=True), unfinished=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("change", ["directions", "n_tokens", "provenance", "code"])
def test_what_was_kept_of_something_else_is_refused_and_stays(change, keeps_always, tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        measure(system(shares=True, dies_at=3), unfinished=tmp_path / "kept")
    other = system(shares=True)
    if change == "directions":
        other.directions = other.directions * 2
    elif change == "provenance":
        other.provenance = {"seed": 1}
    elif change == "code":
        monkeypatch.setattr(reading, "code_sha256", lambda: "changed")
    with pytest.raises(
        ValueError, match=f"expected to go on with the same {change} in .*: remove that folder"
    ):
        measure(other, unfinished=tmp_path / "kept", n_tokens=900 if change == "n_tokens" else None)
    monkeypatch.undo()
    measure(system(shares=True), unfinished=tmp_path / "kept")


def test_a_reading_holds_what_it_held(keeps_always):
    whole, parts = system(shares=False), []
    for place, batch in enumerate(whole.stream()):
        if place == 0:
            one = reading.Reading(whole, batch)
        if len(batch.outputs):
            one.update(place, 0, batch, len(batch.outputs))
        parts.append(batch)
    other = reading.Reading(whole, parts[0]).restore(one.state())
    assert list(other.state()) == list(one.state())
    for name, array in one.state().items():
        np.testing.assert_array_equal(other.state()[name], array, err_msg=name)
