"""Kept activations are those of the model, computed once, of one model and text only."""

import pytest
import torch

from real.activation_store import ActivationStore

BLOCKS = torch.arange(40).view(10, 4)


def compute(asked: list):
    """Width 2; remembers which sequences it was asked for."""

    def rows(blocks):
        asked.extend((blocks[:, 0] // 4).tolist())
        return torch.stack([blocks / 3, -blocks.float()], dim=-1).flatten(0, 1)

    return rows


def test_what_is_kept_is_what_was_computed_in_the_order_asked_for(tmp_path):
    order = torch.tensor([7, 2, 9])
    asked: list[int] = []
    kept = ActivationStore(tmp_path / "a", BLOCKS, compute(asked), {"site": "s"})(order, at_once=2)
    torch.testing.assert_close(kept, compute([])(BLOCKS[order]), rtol=2**-11, atol=0)
    assert asked == [7, 2, 9]


def test_a_sequence_is_computed_once_also_by_a_later_run(tmp_path):
    asked: list[int] = []
    for order in ([1, 2], [2, 3], [3, 1, 4]):
        store = ActivationStore(tmp_path, BLOCKS, compute(asked), {"site": "s"})
        got = store(torch.tensor(order))
        torch.testing.assert_close(got, compute([])(BLOCKS[order]), rtol=2**-11, atol=0)
    assert asked == [1, 2, 3, 4]


def test_a_killed_run_leaves_only_whole_sequences(tmp_path):
    def breaks(blocks):
        if blocks[0, 0] > 20:
            raise KeyboardInterrupt
        return compute([])(blocks)

    with pytest.raises(KeyboardInterrupt):
        ActivationStore(tmp_path, BLOCKS, breaks, {})(torch.tensor([0, 9]), at_once=1)
    asked: list[int] = []
    ActivationStore(tmp_path, BLOCKS, compute(asked), {})(torch.tensor([0, 9]))
    assert asked == [9]


def test_activations_of_something_else_are_refused(tmp_path):
    ActivationStore(tmp_path, BLOCKS, compute([]), {"site": "s"})(torch.tensor([0]))
    with pytest.raises(ValueError, match=r"expected activations of site t in .*, found those of s"):
        ActivationStore(tmp_path, BLOCKS, compute([]), {"site": "t"})
    with pytest.raises(ValueError, match="blocks_sha256"):
        ActivationStore(tmp_path, BLOCKS + 1, compute([]), {"site": "s"})


def test_numbers_beyond_float16_are_refused(tmp_path):
    store = ActivationStore(tmp_path, BLOCKS, lambda blocks: torch.full((len(blocks) * 4, 2), 1e6), {})
    with pytest.raises(ValueError, match="range of float16"):
        store(torch.tensor([0]))
    assert not (tmp_path / "about.json").exists()
