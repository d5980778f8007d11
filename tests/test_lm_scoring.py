"""Scores of any model on any text: exact for a model that knows nothing, fair to the n-grams beside it."""

import math
from types import SimpleNamespace

import pytest
import torch
from tiny_models import tiny_language_model, tiny_model, tiny_text, tiny_tokenizer
from torch import nn

from real.hooked import Hooked
from real.language_model import LanguageModel
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


class Inner(nn.Module):
    """GPT-2 as TransformerLens has its models: logits from a call, a config of its own."""

    def __init__(self):
        super().__init__()
        self.gpt2, self.cfg = tiny_model("gpt2"), SimpleNamespace(n_layers=2, n_ctx=32)
        self.W_U = self.gpt2.lm_head.weight.T

    def forward(self, tokens):
        return self.gpt2(tokens).logits


def test_a_transformer_lens_model_is_scored_as_the_same_weights_in_hugging_face_are():
    text = text_of(tiny_text(3000))
    hooked = LanguageModel(Hooked(Inner()), tiny_tokenizer(), name="gelu-2l")
    expected = score(tiny_language_model("gpt2"), text, context=16)["quality"]
    assert score(hooked, text, context=16)["quality"] == pytest.approx(expected)


def test_what_cannot_be_scored_is_refused_before_any_pass():
    model = tiny_language_model("gpt2")
    with pytest.raises(ValueError, match="at most 32 tokens, the context of tiny gpt2, found 33"):
        score(model, text_of(tiny_text(3000)), context=33)
    with pytest.raises(ValueError, match="long enough to score a model on, found 5 characters in made up"):
        score(model, text_of("hello"), context=16)
    model.tokenizer.add_tokens(["the"])  # number 257, which the embeddings do not have
    with pytest.raises(ValueError, match="numbers below 257, the vocabulary of tiny gpt2, found 257"):
        score(model, text_of("the " * 2000), context=16)
