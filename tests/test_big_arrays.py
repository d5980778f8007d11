import numpy as np

from compare import big_arrays


def test_an_array_beyond_the_limit_lies_in_a_file_and_keeps_its_values(monkeypatch):
    monkeypatch.setattr(big_arrays, "IN_MEMORY", 4096)
    small, large = big_arrays.zeros((32, 32), np.int32), big_arrays.zeros((33, 33), np.int32)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    for array in (small, large):
        array[5, 7] = 3
        big_arrays.release(array)
        assert array.sum() == array[5, 7] == 3


def test_what_is_put_aside_is_what_was_there():
    for values in (np.arange(100_000), np.empty(0, np.float32)):
        aside = big_arrays.put_aside(values)
        np.testing.assert_array_equal(aside, values)
        assert aside.dtype == values.dtype
