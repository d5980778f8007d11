import numpy as np
import pytest
import torch
from one_job import as_one_job

import compare.big_arrays
import compare.kernels
import compare.moments
from compare.kernels import fired
from compare.moments import BUFFERED, CoFiring, Covariance, MeanOutputs

CUTS = [[100], [1, 99], [30, 0, 70]]


def world(n_tokens=100, n_features=7, vocab=11, seed=0):
    generator = torch.Generator().manual_seed(seed)
    activations = (torch.randn(n_tokens, n_features, generator=generator) - 0.5).relu() * 3
    activations[:, -1] = 0  # a feature that is dead
    outputs = torch.rand(n_tokens, vocab, generator=generator) ** 4
    return activations, outputs / outputs.sum(1, keepdim=True), torch.arange(n_tokens) // 3


def read(parts, accumulators):
    cofiring, outputs = accumulators
    for activations, probabilities, sequences in parts:
        events = fired(activations)
        cofiring.update(*events)
        outputs.update(*events, probabilities, sequences)
    return accumulators


def cut(cuts):
    return zip(*(part.split(cuts) for part in world()), strict=True)


def fresh():
    return CoFiring(7), MeanOutputs(7, 11)


@pytest.mark.parametrize("cuts", CUTS)
def test_sums_do_not_depend_on_the_batches_and_are_what_a_dense_product_gives(cuts):
    cofiring, means = (one.result() for one in read(cut(cuts), fresh()))
    activations, outputs, sequences = (part.double().numpy() for part in world())
    on = (activations > 0).astype(int)
    np.testing.assert_array_equal(cofiring.cofiring, on.T @ on)
    np.testing.assert_array_equal(cofiring.counts, on.sum(0))
    np.testing.assert_allclose(cofiring.activation_sums, activations.sum(0))
    np.testing.assert_allclose(cofiring.activation_second, activations.T @ activations, rtol=1e-6)
    for half in (0, 1):
        mine = sequences % 2 == half
        weight = activations[mine].sum(0)
        expected = activations[mine].T @ outputs[mine] / np.where(weight > 0, weight, 1)[:, None]
        np.testing.assert_allclose(means.means[half], expected, atol=1e-7)
        np.testing.assert_allclose(means.weights[half], weight)
        np.testing.assert_allclose(means.squared_weights[half], (activations[mine] ** 2).sum(0))
        np.testing.assert_array_equal(means.counts[half], on[mine].sum(0))
    np.testing.assert_allclose(means.base, outputs.mean(0), atol=1e-8)


def test_means_are_distributions_and_a_dead_feature_has_zeros():
    means = read(cut([100]), fresh())[1].result().means
    np.testing.assert_allclose(means[:, :-1].sum(2), 1, atol=1e-6)
    assert not means[:, -1].any()


def test_what_processes_pool_is_one_run(monkeypatch):
    whole = [one.result() for one in read(cut([100]), fresh())]
    parts = list(cut([30, 70]))

    def of(*mine):
        return lambda: [one.pool().result() for one in read(mine, fresh())]

    for found in as_one_job([of(parts[0]), of(parts[1]), of()], monkeypatch):
        for expected, pooled in zip(whole, found, strict=True):
            for one, other in zip(expected, pooled, strict=True):
                np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(found[0].cofiring, whole[0].cofiring)


def test_counting_goes_on_when_the_buffer_has_been_emptied():
    n_tokens = BUFFERED // 6 + 10  # every token fires features 0 to 5: the buffer fills once, then has a rest
    features = np.tile(np.arange(6, dtype=np.int32), n_tokens)
    running = CoFiring(7)
    for size in (n_tokens, 5):
        running.update(
            features[: 6 * size], np.full(6 * size, 0.5, np.float32), np.arange(0, 6 * size + 1, 6)
        )
    result = running.result()
    assert result.counts.tolist() == [n_tokens + 5] * 6 + [0]
    np.testing.assert_allclose(result.activation_second[:6, :6], (n_tokens + 5) / 4, rtol=1e-7)


def test_what_does_not_fit_into_memory_is_counted_from_files_some_rows_at_a_time(monkeypatch):
    expected = read(cut([100]), fresh())[0].result()
    monkeypatch.setattr(compare.moments, "BUFFERED", 20)
    monkeypatch.setattr(compare.kernels, "ROW_ENTRIES", 14)
    monkeypatch.setattr(compare.big_arrays, "IN_MEMORY", 0)
    running = read(cut([30, 0, 30, 40]), fresh())[0]
    assert len(running.rows()._parts) > 2
    assert running.rows().n_rows == 2
    found = running.result()
    assert isinstance(found.cofiring, np.memmap)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("cuts", CUTS)
def test_covariance_is_numpys_however_the_tokens_are_cut_and_far_from_zero(cuts):
    values = torch.randn(100, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 1e4
    running = Covariance(5)
    for batch in values.split(cuts):
        running.update(batch)
    mean, covariance = running.result()
    np.testing.assert_allclose(mean, values.mean(0).numpy(), rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(values.numpy().T, ddof=0), rtol=1e-9)


def test_covariances_of_processes_are_pooled_also_where_one_read_nothing(monkeypatch):
    values = torch.randn(100, 3, generator=torch.Generator().manual_seed(2)) * 5 + 3

    def of(part):
        return lambda: Covariance(3).update(part).pool().result()

    for mean, covariance in as_one_job([of(values[:17]), of(values[17:]), of(values[:0])], monkeypatch):
        np.testing.assert_allclose(mean, values.double().mean(0).numpy(), rtol=1e-6)
        np.testing.assert_allclose(covariance, np.cov(values.numpy().T, ddof=0), rtol=1e-6)


def test_the_covariance_of_nothing_is_undefined():
    assert np.isnan(Covariance(2).result()[1]).all()


def test_a_refused_batch_changes_nothing():
    cofiring, means = read(cut([100]), fresh())
    covariance = Covariance(2).update(torch.eye(2))
    before = [*cofiring.result(), *means.result(), *covariance.result()]
    features, values, offsets = np.array([9], np.int32), np.ones(1, np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match="expected feature ids below 7, found 9"):
        cofiring.update(features, values, offsets)
    with pytest.raises(ValueError, match=r"expected outputs \[1, 11\], found \[1, 12\]"):
        means.update(
            features % 7, values, offsets, torch.full((1, 12), 1 / 12), torch.zeros(1, dtype=torch.long)
        )
    with pytest.raises(ValueError, match="expected 2 columns, found 3"):
        covariance.update(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="expected finite values"):
        covariance.update(torch.full((1, 2), torch.inf))
    after = [*cofiring.result(), *means.result(), *covariance.result()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
