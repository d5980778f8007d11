"""Kneser-Ney baselines against a case solved by hand and the laws of probability."""

import math

import numpy as np
import pytest

from real.ngram import UNDEFINED_DISCOUNT, KneserNey, discounts

A, B, C = 1, 2, 3
TINY = np.array([0, A, B, A, B, 0, A, C])
"""Two documents, 'abab' and 'ac', in a vocabulary of four (0 begins a document)."""


def test_a_unigram_solved_by_hand():
    # a: 3, b: 2, c: 1 of 6; each gives 0.75 to the uniform distribution over 4
    unigram = KneserNey(TINY, 1, vocab=4)
    passed_down = 3 * 0.75 / 6 / 4
    expected = [passed_down, 2.25 / 6 + passed_down, 1.25 / 6 + passed_down, 0.25 / 6 + passed_down]
    np.testing.assert_allclose(unigram.distribution(np.array([], int)), expected)


def test_a_bigram_solved_by_hand():
    # bigrams: ^a 2, ab 2, ba 1, ac 1; distinct tokens before a: 2 (^, b), before b: 1, before c: 1
    bigram = KneserNey(TINY, 2, vocab=4)
    low = [3 * 0.75 / 4 / 4 + kept / 4 for kept in (0, 1.25, 0.25, 0.25)]
    after_a = [kept / 3 + 2 * 0.75 / 3 * p for kept, p in zip((0, 0, 1.25, 0.25), low, strict=True)]
    np.testing.assert_allclose(bigram.distribution(np.array([A])), after_a)


def test_a_history_never_seen_falls_back_to_the_lower_order():
    trigram = KneserNey(TINY, 3, vocab=4)
    # nothing followed c, so both c-b and c-c leave what the orders below say: after b, and nothing at all
    np.testing.assert_allclose(trigram.distribution(np.array([C, C])), trigram.distribution(np.array([B, C])))
    assert not np.allclose(trigram.distribution(np.array([C, C])), trigram.distribution(np.array([C, B])))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one_after_any_history(order):
    generator = np.random.default_rng(0)
    stream = np.append(0, generator.zipf(1.5, 4000) % 12).astype(np.uint16)
    model = KneserNey(stream, order, vocab=15)  # three tokens that never occur
    for history in generator.integers(0, 15, size=(50, order - 1)):
        probabilities = model.distribution(history)
        assert probabilities.sum() == pytest.approx(1)
        assert (probabilities > 0).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_tokens_are_scored_within_their_document(order):
    model = KneserNey(TINY, order, vocab=4)
    apart = [model.log_probabilities(np.array(one)) for one in ([0, A, C, B], [0, B, B])]
    together = model.log_probabilities(np.array([0, A, C, B, 0, B, B]))
    np.testing.assert_allclose(together, np.concatenate(apart))


def test_a_score_is_the_logarithm_of_the_distribution():
    model = KneserNey(TINY, 3, vocab=4)
    expected = [model.distribution(np.array(h))[t] for h, t in (([0, 0], A), ([0, A], B), ([A, B], C))]
    np.testing.assert_allclose(model.log_probabilities(np.array([0, A, B, C])), np.log(expected))


def test_discounts_follow_chen_and_goodman():
    counts = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4] + [9])
    # Y = 8 / 16; D1 = 1 - 2 Y 4/8, D2 = 2 - 3 Y 2/4, D3 = 3 - 4 Y 1/2
    np.testing.assert_allclose(discounts(counts), [0, 0.5, 1.25, 2.0])
    np.testing.assert_allclose(discounts(np.array([1, 1, 7])), [0] + 3 * [UNDEFINED_DISCOUNT])


def test_a_discount_that_would_take_nothing_is_not_used():
    counts = np.array([1] * 8 + [2] * 2 + [3] * 8 + [4])
    # Y = 8 / 12; D1 = 1 - 2 Y 2/8 > 0, but D2 = 2 - 3 Y 8/2 = -6
    np.testing.assert_allclose(discounts(counts), [0] + 3 * [UNDEFINED_DISCOUNT])


@pytest.mark.parametrize("order", [2, 3])
def test_a_text_of_repeats_leaves_no_token_impossible(order):
    """After 5 came 6 alone, twice, which is discounted by nothing where thrice is common; yet 7 may come."""
    once, twice, thrice = [1, 2, 3, 4, 1], [5, 6], [7, 8, 9, 10, 11, 7, 9, 8, 10, 7, 11]
    stream = np.array([0, *once, *2 * [0, *twice], *3 * [0, *thrice], *4 * [0, 12, 13]])
    model = KneserNey(stream, order, vocab=14)
    for history in [[5], [0, 5]]:
        probabilities = model.distribution(np.array(history[-(order - 1) :]))
        assert (probabilities[1:] > 0).all()
        assert probabilities.sum() == pytest.approx(1)


def test_longer_histories_help_on_a_chain_of_second_order():
    generator = np.random.default_rng(1)
    stream = [0, 1, 2]
    for surprise in generator.random(20_000):
        stream.append(
            1 + (stream[-1] + 2 * stream[-2]) % 7 if surprise < 0.9 else 1 + int(surprise * 1e6) % 7
        )
    train, held_out = np.array(stream[:15_000]), np.array([0, *stream[15_000:]])
    bits = [-KneserNey(train, n, vocab=8).log_probabilities(held_out).mean() / math.log(2) for n in (1, 2, 3)]
    assert bits[2] < bits[1] - 0.5
    assert bits[1] < bits[0] + 0.1
    entropy = -(0.9 + 0.1 / 7) * math.log2(0.9 + 0.1 / 7) - 0.6 / 7 * math.log2(0.1 / 7)
    assert bits[2] == pytest.approx(entropy, abs=0.1)  # 200 histories, 75 tokens each: estimation error


@pytest.mark.parametrize("order", [1, 2, 3])
def test_only_counted_tokens_are_learned_from(order):
    counted = np.array([False] * 5 + [True] * 3)
    some = KneserNey(TINY, order, vocab=4, counted=counted)
    second_document = KneserNey(TINY[5:], order, vocab=4)
    np.testing.assert_array_equal(some.log_probabilities(TINY), second_document.log_probabilities(TINY))


def test_a_stream_that_does_not_begin_a_document_is_refused():
    with pytest.raises(ValueError, match="expected a stream that begins with 0, found"):
        KneserNey(np.array([1, 2, 3]), 2, vocab=4)
    with pytest.raises(ValueError, match="expected order 1, 2 or 3, found 4"):
        KneserNey(TINY, 4, vocab=4)
    with pytest.raises(ValueError, match="expected tokens other than 0 to count, found none"):
        KneserNey(np.array([0, 0]), 1, vocab=4)
