"""Scores of any model on any text: exact for a model that knows nothing, fair to the n-grams beside it."""

import math

import pytest
import torch
from tiny_models import tiny_language_model, tiny_text

from real.lm_scoring import SHARE, score, split_pieces
from real.text import Text


def text_of(*documents: str) -> Text:
    return Text(list(documents), "made up", "")


def test_pieces_part_the_text_and_a_tenth_is_scored():
    documents = [chr(97 + k) * 10_000 for k in range(8)]
    fitted, scored = split_pieces(text_of(*documents))
    assert sorted("".join(fitted + scored)) == sorted("".join(documents))
    assert len(scored) == len(fitted + scored) // SHARE
    assert len(set("".join(scored))) > 1  # from several documents


def test_a_large_text_is_scored_on_a_bounded_part():
    _, scored = split_pieces(text_of("x" * 2_000_000))
    assert 40_000 < len("".join(scored)) <= 50_000


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary():
    model = tiny_language_model("gpt2")
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.zero_()
    found = score(model, text_of(tiny_text(3000)), context=16)["quality"]
    assert found["bits_per_byte"] == pytest.approx(math.log2(257))  # every byte is a token
    assert found["scored_tokens"] == found["scored_bytes"]


def test_n_grams_see_the_rest_of_the_text_and_not_what_is_scored():
    model = tiny_language_model("llama")
    repeated = score(model, text_of("one two three four five six seven. " * 400), context=16)["quality"]
    noise = score(model, text_of(tiny_text(14_000)), context=16)["quality"]
    assert repeated["trigram"] < 0.2 < 2 < noise["trigram"]
    assert repeated["trigram"] < repeated["bigram"] < repeated["unigram"]
