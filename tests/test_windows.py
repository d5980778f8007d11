"""What fired in which sequence, however the tokens are cut into batches."""

import numpy as np
import pytest
import torch
from synthetic import Recorded, planted_system

from compare.evidence import measure
from compare.kernels import fired
from compare.measures import COOCCURRENCE
from compare.specifications import material
from compare.windows import SequenceFirings


def run(activations: torch.Tensor, sequences: torch.Tensor, cuts: list[int]) -> tuple[list, list]:
    found = SequenceFirings(activations.shape[1])
    for part, ids in zip(activations.split(cuts), sequences.split(cuts), strict=True):
        features, _, offsets = fired(part)
        found.update(features, offsets, ids)
    features, offsets = found.pool().result()
    return features.tolist(), offsets.tolist()


@pytest.mark.parametrize("cuts", [[7], [1, 6], [3, 1, 3], [1] * 7])
def test_features_of_a_sequence_are_those_that_fired_at_any_of_its_tokens(cuts):
    on = torch.zeros(7, 4)
    on[0, 3] = on[1, 0] = on[2, 3] = on[5, 1] = on[6, 1] = 1  # the second sequence is silent
    sequences = torch.tensor([0, 0, 0, 2, 2, 9, 9])
    assert run(on, sequences, cuts) == ([0, 3, 1], [0, 2, 2, 3])


def test_cooccurrence_by_sequence_is_that_of_a_dense_table():
    system = planted_system(n=12, width=8, vocab=10, effect=None, n_tokens=1600)
    evidence = measure(system)
    by_hand = (system.preactivations > 0).reshape(200, 8, 12).any(1).numpy()
    assert len(evidence.sequence_offsets) - 1 == evidence.n_sequences == 200
    varies = by_hand.std(0) > 0
    found = COOCCURRENCE["phi_by_sequence"](evidence, slice(None), slice(None))
    np.testing.assert_allclose(found[np.ix_(varies, varies)], np.corrcoef(by_hand[:, varies].T), atol=1e-12)
    some = np.array([5, 2])
    tile = COOCCURRENCE["log_odds_by_sequence"](evidence, some, slice(0, 3))
    whole = COOCCURRENCE["log_odds_by_sequence"](evidence, slice(None), slice(None))
    np.testing.assert_array_equal(tile, whole[some, :3])


def test_sequences_come_back_from_disk_and_are_a_choice_of_the_curve(tmp_path):
    from compare.evidence import Evidence

    evidence = measure(planted_system(n=30, width=8, vocab=10, effect=None, n_tokens=800))
    loaded = Evidence.load(evidence.save(tmp_path / "evidence"))
    np.testing.assert_array_equal(loaded.sequence_features, evidence.sequence_features)
    given = material(loaded, np.arange(30))
    assert "log_odds_by_sequence" in given.cooccurrences


def test_tokens_that_belong_to_no_sequence_have_none():
    system = planted_system(n=12, width=8, vocab=10, effect=None, n_tokens=400)

    class Alone(Recorded):
        def stream(self):
            for batch in super().stream():
                batch.sequences = None
                yield batch

    evidence = measure(Alone("alone", system.directions, system.preactivations, system.outputs))
    assert evidence.sequence_features is None
    with pytest.raises(ValueError, match="expected to know the sequences of 'alone', found none"):
        COOCCURRENCE["phi_by_sequence"](evidence, slice(None), slice(None))
    assert "log_odds_by_sequence" not in material(evidence, np.arange(12)).cooccurrences
