import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import quad
from synthetic import LinearSystem, planted_system

from compare.evidence import measure
from compare.measures import preactivation_correlation
from compare.nulls import (
    GaussianSurrogate,
    cosine_cdf,
    cosine_density,
    cosine_quantile,
    effective_dimension,
    matched,
    matched_density,
)
from compare.pairs import pair_table
from compare.system import HasEncoder, HasTruth, HasVocabulary, check_system

ALL = slice(None)


def skewed(width, seed=0):
    root = torch.randn(width, width, generator=torch.Generator().manual_seed(seed)) / width**0.5
    return root @ root.T + 0.1 * torch.eye(width)


def test_the_surrogate_has_the_mean_and_covariance_that_it_was_given():
    system = LinearSystem(covariance=skewed(24), n_tokens=10_000)
    evidence = measure(system)
    mean = evidence.input_mean + 0.5
    found = measure(GaussianSurrogate(system, mean, evidence.input_covariance))
    covariance, n = evidence.input_covariance, evidence.n_tokens
    # five standard errors: of a mean sd / sqrt(n), of a covariance sqrt((s_ii s_jj + s_ij^2) / n)
    spread = np.sqrt(covariance.diagonal())
    assert (np.abs(found.input_mean - mean) < 5 * spread / n**0.5).all()
    error = np.sqrt((np.outer(spread, spread) ** 2 + covariance**2) / n)
    assert (np.abs(found.input_covariance - covariance) < 5 * error).all()


def test_the_surrogate_is_a_system_that_repeats_itself_and_depends_on_its_seed():
    system = LinearSystem()
    surrogate = GaussianSurrogate(system, np.zeros(24), np.eye(24), seed=3)
    check_system(surrogate)
    first, again = ([batch.inputs for batch in surrogate.stream()] for _ in range(2))
    torch.testing.assert_close(torch.cat(first), torch.cat(again), rtol=0, atol=0)
    other = next(iter(GaussianSurrogate(system, np.zeros(24), np.eye(24), seed=4).stream()))
    assert not torch.equal(other.inputs, first[0])
    moved = next(iter(surrogate.stream_with(lambda inputs: inputs + 1)))
    torch.testing.assert_close(moved.inputs, first[0] + 1)


def test_shares_of_a_surrogate_are_the_batches_of_its_stream():
    surrogate = GaussianSurrogate(LinearSystem(n_tokens=8000), np.ones(24), np.eye(24), seed=3)
    whole = [batch.inputs for batch in surrogate.stream_with(torch.abs)]
    assert len(whole) == 8
    places = []
    for number, of in ((0, 3), (4, 3), (2, 3)):  # the second of three goes on after its first
        for place, first, batch in surrogate.share(number, of, torch.abs):
            assert first == 1024 * place
            torch.testing.assert_close(batch.inputs, whole[place], rtol=0, atol=0)
            places.append(place)
    assert places == [0, 3, 6, 4, 7, 2, 5]


def test_the_surrogate_draws_tokens_that_have_nothing_to_do_with_each_other():
    system = LinearSystem(n_tokens=10_000)
    system.inputs = system.inputs[:1].expand(10_000, -1)  # in the system all tokens are one
    surrogate = GaussianSurrogate(system, np.zeros(24), np.eye(24))
    drawn = torch.cat([batch.inputs for batch in surrogate.stream()])
    neighbours = (drawn[1:] * drawn[:-1]).mean()
    assert abs(neighbours) < 5 / drawn.numel() ** 0.5


def test_the_surrogate_keeps_what_the_system_can_but_not_its_truth():
    system = LinearSystem()
    system.true_rates = system.true_joint_rates = system.true_outputs = torch.zeros(1)
    surrogate = GaussianSurrogate(system, np.zeros(24), np.eye(24))
    assert isinstance(system, HasTruth)
    assert not isinstance(surrogate, HasTruth)
    assert isinstance(surrogate, HasEncoder)
    assert not isinstance(surrogate, HasVocabulary)
    assert surrogate.provenance["of"] == {"name": "linear"}


def test_a_system_without_a_site_has_no_surrogate():
    with pytest.raises(ValueError, match="found 'random directions' without stream_with"):
        GaussianSurrogate(planted_system(n=4, n_tokens=64, effect=None), np.zeros(2), np.eye(2))


def test_what_is_no_covariance_is_refused():
    with pytest.raises(ValueError, match="expected a covariance, found an eigenvalue of -1"):
        GaussianSurrogate(LinearSystem(), np.zeros(24), np.diag([-1.0] + [1.0] * 23))


def test_the_mechanical_link_makes_the_published_correlation_the_cosine_itself():
    evidence = measure(LinearSystem(n=64, width=48, n_tokens=20_000))
    cosine = evidence.directions @ evidence.directions.T
    correlation = preactivation_correlation(evidence, ALL, ALL)
    above = np.triu_indices(64, 1)
    assert np.corrcoef(cosine[above], correlation[above])[0, 1] > 0.99
    np.testing.assert_allclose(correlation, cosine, atol=5 / 20_000**0.5)  # five standard errors


def test_the_link_survives_counting_firings():
    evidence = measure(LinearSystem(n=64, width=48, n_tokens=20_000))
    table = pair_table(evidence, cooccurrence=["phi"])
    above = np.triu_indices(64, 1)
    assert np.corrcoef(table.cosine[above], table["phi"][above])[0, 1] > 0.9


@pytest.mark.parametrize("d", [2, 3, 16, 512, 37.5])
def test_density_distribution_and_quantile_of_the_cosine_agree(d):
    low, high = cosine_quantile(0.1, d), cosine_quantile(0.7, d)
    assert quad(lambda c: float(cosine_density(np.asarray(c), d)), low, high)[0] == pytest.approx(
        0.6, abs=1e-6
    )
    assert cosine_cdf(np.asarray(high), d) == pytest.approx(0.7)


def test_in_three_dimensions_the_cosine_is_uniform():
    np.testing.assert_allclose(cosine_density(np.linspace(-0.9, 0.9, 7), 3), 0.5)


@pytest.mark.parametrize("d", [2.5, 16, 512, 5000])
def test_density_is_scipys(d):
    cosine, shape = np.linspace(-0.95, 0.95, 9), (d - 1) / 2
    expected = scipy.stats.beta.pdf((cosine + 1) / 2, shape, shape) / 2
    np.testing.assert_allclose(cosine_density(cosine, d), expected, rtol=1e-9)


def test_the_null_of_the_posts_width_is_as_published_in_tables():
    assert cosine_quantile(0.9995, 512) == pytest.approx(0.145, abs=5e-4)


def test_random_directions_follow_the_null():
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((2000, 20))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosine = (unit[:1000] * unit[1000:]).sum(1)
    for share in (0.05, 0.5, 0.9):
        found = (cosine < cosine_quantile(share, 20)).mean()
        assert abs(found - share) < 5 * (share * (1 - share) / 1000) ** 0.5


def test_a_line_has_no_null():
    with pytest.raises(ValueError, match="expected a dimension above 1"):
        cosine_quantile(0.5, 1)


def test_the_effective_dimension_counts_equal_axes():
    both_ways = np.concatenate([np.eye(8)[:5], -np.eye(8)[:5]])
    assert effective_dimension(np.tile(both_ways, (200, 1))) == pytest.approx(5, rel=0.005)
    assert effective_dimension(np.eye(8)[:5] * 3.0) == pytest.approx(8)  # orthogonal: as many as there are
    assert effective_dimension(np.tile([[3.0, 4.0]], (9, 1))) == pytest.approx(1)


def test_matched_directions_are_as_lopsided_as_the_ones_they_match():
    rng = np.random.default_rng(0)
    lopsided = rng.standard_normal((4000, 30)) * np.geomspace(1, 0.1, 30)
    unit = lopsided / np.linalg.norm(lopsided, axis=1, keepdims=True)
    drawn = matched(unit, rng).draw(4000, rng)
    assert effective_dimension(drawn) == pytest.approx(effective_dimension(lopsided), rel=0.05)
    assert effective_dimension(drawn) < 15


@pytest.mark.parametrize("length", [0.0, 0.5, 2.0])
def test_matched_directions_have_the_mean_and_covariance_of_those_they_match(length):
    rng = np.random.default_rng(1)
    towards = rng.standard_normal(30)
    lopsided = rng.standard_normal((20_000, 30)) * np.geomspace(1, 0.1, 30) / 2
    lopsided += length * towards / np.linalg.norm(towards)
    unit = lopsided / np.linalg.norm(lopsided, axis=1, keepdims=True)
    drawn = matched(unit[:4000], rng).draw(20_000, rng).astype(np.float64)
    # the eigenbasis and the fixed point come from some 4,000 draws each: errors of order sd / sqrt(4000)
    np.testing.assert_allclose(drawn.mean(0), unit.mean(0), atol=5 * unit.std(0).max() / 2000**0.5)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(unit.T), atol=5 * unit.var(0).max() / 2000**0.5)


def test_a_mean_cosine_is_matched_without_what_each_row_adds():
    """Of 100 rows without a common direction the mean has a length of 1 / 10, which is no mean of theirs."""
    rng = np.random.default_rng(2)
    found = [matched(cosine_rows(rng, 100, 40), rng).mean for _ in range(50)]
    squares = [float(mean @ mean) for mean in found]
    # n |mean|^2 - 1 has mean 0 and sd sqrt(2 / width): half the runs give 0, the rest about .0018
    assert np.mean(squares) < 0.003
    assert sum(square < 1e-12 for square in squares) > 10


def cosine_rows(rng, n, width):
    rows = rng.standard_normal((n, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_matched_density_is_a_density_whose_mean_square_is_that_of_the_second_moment():
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((800, 16)).astype(np.float32) * np.linspace(1, 3, 16, dtype=np.float32)
    edges = np.linspace(-1, 1, 201)
    density = matched_density(directions, edges, seed=1)
    middles = (edges[1:] + edges[:-1]) / 2
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    second_moment = unit.T @ unit / len(unit)
    expected = (second_moment**2).sum()  # E[cos^2] between independent draws is tr(S^2)
    # 800 draws of about ten effective dimensions: their own second moment errs by a few percent
    assert (density * middles**2 * np.diff(edges)).sum() == pytest.approx(expected, rel=0.05)
    np.testing.assert_array_equal(density, matched_density(directions, edges, seed=1))


@pytest.mark.parametrize(("n", "width"), [(512, 512), (1024, 256), (100, 400)])
def test_random_directions_have_all_dimensions_however_few_were_drawn(n, width):
    """Their own second moment alone would have n width / (n + width) of them."""
    drawn = np.random.default_rng(n).standard_normal((n, width)).astype(np.float32)
    assert effective_dimension(drawn) == pytest.approx(width, rel=0.03)
