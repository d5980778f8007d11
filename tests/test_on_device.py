"""The divergence in torch passes the tests of the compiled one, on the processor and on a GPU if any."""

import math

import numpy as np
import pytest
import torch
from test_kernels import TOLERANCE, distributions, js_oracle

from compare import on_device
from compare.kernels import js_divergence
from compare.run import ReportConfig

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def divergence(request):
    def on(p, q=None):
        there = [None if x is None else torch.from_numpy(x).to(request.param) for x in (p, q)]
        return on_device.divergence(*there).cpu().numpy()

    return on


@pytest.mark.parametrize(("n", "m", "vocab"), [(1, 1, 1), (3, 5, 2), (70, 66, 100), (7, 9, 9000)])
@pytest.mark.parametrize("concentration", [0.01, 0.3, 30.0])
def test_it_agrees_with_float64_and_with_the_compiled_loops(n, m, vocab, concentration, divergence):
    p, q = distributions(n, vocab, concentration), distributions(m, vocab, concentration)
    found = divergence(p, q)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, js_oracle(p, q), atol=TOLERANCE)
    np.testing.assert_allclose(found, js_divergence(p, q), atol=TOLERANCE)


def test_within_one_set_it_is_symmetric_and_the_same_as_between_two(divergence):
    p = distributions(77, 500)
    within = divergence(p)
    np.testing.assert_array_equal(within, within.T)
    np.testing.assert_allclose(within, divergence(p, p.copy()), atol=1e-7)


def test_equal_rows_are_exactly_zero_apart_and_disjoint_ones_ln_2(divergence):
    assert not divergence(np.repeat(distributions(1, 5001), 71, axis=0)).any()
    np.testing.assert_allclose(
        divergence(np.eye(5, dtype=np.float32)), math.log(2) * (1 - np.eye(5)), atol=1e-7
    )


def test_a_row_without_a_distribution_has_no_divergence(divergence):
    found = divergence(np.float32([[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]]))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[1:, 1:]).all()


def test_arrays_go_to_the_device_that_was_chosen_and_come_back(monkeypatch):
    p, q = distributions(5, 40), distributions(3, 40)
    monkeypatch.setattr(on_device, "device_of", lambda p: torch.device("cpu"))  # stands in for a GPU
    for given in ((p,), (p, q)):
        found = js_divergence(*given)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, on_device.divergence(*map(torch.from_numpy, given)).numpy())


def test_tensors_are_compared_where_they_lie_and_arrays_where_asked():
    assert on_device.device_of(torch.zeros(2)) is None
    assert on_device.device_of(torch.zeros(2, device="meta")) == torch.device("meta")
    with torch.device("meta"):
        assert on_device.device_of(np.zeros(2)) == torch.device("meta")
    assert on_device.device_of(np.zeros(2)) is None


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="expected a device of this machine, found 'abacus'"):
        ReportConfig(device="abacus")
