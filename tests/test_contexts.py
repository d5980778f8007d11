"""The strongest firings of each feature, with the tokens around them."""

import numpy as np
import pytest
import torch
from one_job import as_one_job
from synthetic import Batch

from compare.contexts import AFTER, BEFORE, NONE, TOP, Contexts
from compare.evidence import Evidence, measure
from compare.kernels import fired


def world(n_tokens=240, n_features=5, seed=0):
    """Activations (the last feature is dead, the one before fires twice), token ids, sequences of 12."""
    generator = torch.Generator().manual_seed(seed)
    activations = (torch.randn(n_tokens, n_features, generator=generator) - 0.3).relu()
    activations[:, -2:] = 0
    activations[[30, 77], -2] = torch.tensor([1.0, 2.0])
    return activations, 100 + torch.arange(n_tokens), torch.arange(n_tokens) // 12


def read(parts) -> Contexts:
    contexts = Contexts(5)
    for activations, tokens, sequences in parts:
        contexts.update(*fired(activations), tokens, sequences, int(tokens[0]) - 100)
    return contexts


def cut(size):
    return zip(*(part.split(size) for part in world()), strict=True)


def test_the_strongest_firings_are_kept_strongest_first_with_their_tokens():
    values, tokens = read(cut(240)).result()
    activations, ids, _ = world()
    expected, places = activations.topk(TOP, dim=0)
    np.testing.assert_array_equal(values[:3], expected.T[:3])
    np.testing.assert_array_equal(tokens[:3, :, BEFORE], ids[places.T[:3]])
    assert values[3].tolist() == [2, 1, 0, 0, 0]
    assert not values[4].any()
    assert (tokens[4] == NONE).all()


def test_a_context_ends_with_its_sequence():
    _, tokens = read(cut(240)).result()
    row = np.arange(177 - BEFORE, 178 + AFTER)  # the token at place 77 has id 177; its sequence is 172 to 183
    assert tokens[3, 0].tolist() == np.where((row >= 172) & (row < 184), row, NONE).tolist()


@pytest.mark.parametrize("size", [12, 36, 120])
def test_how_whole_sequences_are_batched_changes_nothing(size):
    for one, other in zip(read(cut(size)).result(), read(cut(240)).result(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_processes_pool_is_one_run(monkeypatch):
    parts = list(cut(60))
    shares = [lambda k=k: read(parts[k::3]).pool().result() for k in range(3)]
    for found in as_one_job(shares, monkeypatch):
        for one, other in zip(found, read(parts).result(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_of_equal_activations_the_earliest_are_kept():
    ones = torch.ones(20, 1)
    contexts = Contexts(1)
    for start in (0, 10):
        part = slice(start, start + 10)
        contexts.update(*fired(ones[part]), torch.arange(20)[part], torch.zeros(10).long(), 0)
    assert contexts.result()[1][0, :, BEFORE].tolist() == [0, 1, 2, 3, 4]


def test_a_batch_that_does_not_fit_is_refused():
    activations, tokens, sequences = world()
    with pytest.raises(ValueError, match="expected 240 token ids, found 3"):
        Contexts(5).update(*fired(activations), tokens[:3], sequences, 0)


class Reads:
    """A system whose batches may say which tokens they read."""

    name, directions = "reads", torch.eye(5)

    def __init__(self, tells: bool) -> None:
        self.tells = tells

    def stream(self):
        for activations, tokens, sequences in cut(60):
            batch = Batch(activations, activations, torch.full((60, 2), 0.5), sequences=sequences)
            if self.tells:
                batch.tokens = tokens
            yield batch


def test_contexts_are_part_of_evidence_where_a_system_tells_its_tokens(tmp_path):
    told = Evidence.load(measure(Reads(True), n_tokens=150).save(tmp_path / "told"))
    contexts = read(
        (part[:30] if k == 2 else part for part in parts) for k, parts in enumerate(cut(60)) if k < 3
    )
    values, tokens = contexts.result()
    np.testing.assert_array_equal(told.context_values, values)
    np.testing.assert_array_equal(told.context_tokens, tokens)
    untold = Evidence.load(measure(Reads(False)).save(tmp_path / "untold"))
    assert untold.context_values is None
    assert untold.context_tokens is None
