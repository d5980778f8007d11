import pytest
import torch

from real.controls import isotropic_directions, matched_directions
from real.sae import SAE
from real.sae_quality import agreement, firing_counts, mean_max_cosine, reconstruction


def generator():
    return torch.Generator().manual_seed(0)


def identity_sae(**changes) -> SAE:
    """Reads each coordinate's positive part and writes it back."""
    eye = torch.eye(3)
    return SAE(
        architecture="standard", W_enc=eye, W_dec=eye, b_enc=torch.zeros(3), b_dec=torch.zeros(3), **changes
    )


def test_what_is_explained_what_fires_and_what_is_dead():
    site = torch.tensor([[1.0, 2.0, 0.0], [3.0, -2.0, 0.0]])
    found = reconstruction(identity_sae(), [site[:1], site[1:]])
    # error: the lost -2, squared: 4; spread about the mean (2, 0, 0): 1 + 4 + 1 + 4 = 10
    assert found.explained_variance == pytest.approx(1 - 4 / 10)
    assert found.l0 == 1.5
    assert found.dead_share == pytest.approx(1 / 3)
    assert found.n_tokens == 2


def test_firings_are_counted_over_batches():
    site = torch.tensor([[1.0, 2.0, 0.0], [3.0, -2.0, 0.0]])
    assert firing_counts(identity_sae(), [site[:1], site[1:]]).tolist() == [2, 1, 0]


def test_quality_of_nothing_is_refused():
    with pytest.raises(ValueError, match="found none"):
        reconstruction(identity_sae(), [])


def test_mean_max_cosine_by_hand():
    first = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    second = torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    assert mean_max_cosine(first, second, signed=False) == pytest.approx(2**-0.5)
    # signed, (2, 0) is the opposite of (-1, 0)
    assert mean_max_cosine(first, second, signed=True) == pytest.approx((1 + 2**-0.5) / 2)


def test_a_dictionary_agrees_with_itself_and_no_more_than_chance_with_another_draw():
    one = isotropic_directions(300, 32, generator=generator())
    other = isotropic_directions(300, 32, generator=torch.Generator().manual_seed(1))
    same = agreement(
        one, one[torch.randperm(300, generator=generator())], signed=False, generator=generator()
    )
    assert same.mean == pytest.approx(1.0)
    chance = agreement(one, other, signed=False, generator=generator())
    assert abs(chance.mean - chance.null_mean) < 0.02
    assert same.null_mean < 0.6


def test_signed_dictionaries_agree_whatever_the_signs_and_so_does_their_null():
    one = isotropic_directions(300, 32, generator=generator())
    turned = one * torch.where(torch.arange(300) % 2 == 0, 1.0, -1.0)[:, None]
    found = agreement(one, turned, signed=True, generator=generator())
    assert found.mean == pytest.approx(1.0)
    chance = agreement(
        one,
        isotropic_directions(300, 32, generator=torch.Generator().manual_seed(1)),
        signed=True,
        generator=generator(),
    )
    assert abs(chance.mean - chance.null_mean) < 0.02  # of signed cosines the null would lie .03 lower


def test_the_null_of_agreement_knows_the_second_moment():
    """Two draws within the same narrow cone agree, and the null says that this is no finding."""
    cone = torch.ones(400, 16) + 0.3 * torch.randn(400, 16, generator=generator())
    other = matched_directions(cone, 400, generator=generator())
    found = agreement(cone, other, signed=False, generator=torch.Generator().manual_seed(2))
    assert found.mean > 0.8
    assert abs(found.mean - found.null_mean) < 0.02
