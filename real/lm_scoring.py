"""How good any language model is on a text, beside n-grams fitted to the rest of that text."""

import math

import numpy as np
import torch

from real.config import BUNDLED
from real.language_model import LanguageModel
from real.lm_evaluation import BASELINES, log_probabilities
from real.ngram import KneserNey
from real.text import Text
from real.token_stream import encode

PIECE = 4_000
"""Characters in a piece of a document at most: what is scored is spread over the whole text."""

SCORED_BYTES = 50_000
"""Text that is scored; a minute for a model of 135M parameters on one core."""

SHARE = 10
"""At most one piece in so many is scored, of twice as many or more: the n-grams need the rest."""


def score(model: LanguageModel, text: Text, *, context: int) -> dict:
    """Bits per byte of a model on pieces of a text, and of n-grams fitted to all other pieces.

    The n-grams read the bundled tokenizer's tokens whatever the model's own are: bits per byte compare across
    tokenizers. They have seen the pieces' neighbours; the model may have seen the pieces, if it was
    trained on this text. Each token but the first of a piece's windows of `context` has at least half a
    context before it.
    """
    fitted, scored = split_pieces(text)
    if not scored:
        raise ValueError(
            f"expected a text long enough to score a model on, found {sum(map(len, fitted))} characters in "
            f"{text.name}: give more text."
        )
    n_bytes = sum(len(piece.encode()) for piece in scored)
    between = model.tokenizer.eos_token_id or 0
    ids = model.tokenizer(scored, add_special_tokens=False)["input_ids"]
    documents = [torch.tensor([between, *row]) for row in ids]
    nats = -log_probabilities(model, documents, context=context).double().sum().item()
    quality = {"bits_per_byte": nats / math.log(2) / n_bytes}
    for name, log_p in ngram_log_probabilities(fitted, scored).items():
        quality[name] = -float(log_p.sum()) / math.log(2) / n_bytes
    quality |= {"scored_bytes": n_bytes, "scored_tokens": sum(len(row) for row in ids)}
    note = (
        f"{quality['bits_per_byte']:.3f} bits per byte on {n_bytes:,} bytes of {text.name}; a trigram "
        f"fitted to the rest of it {quality['trigram']:.3f}"
    )
    return {
        "name": f"language model {model.name}",
        "kind": "language model",
        "note": note,
        "quality": quality,
    }


def split_pieces(text: Text) -> tuple[list[str], list[str]]:
    """Pieces of a text that n-grams are fitted to, and those that are scored, evenly spread."""
    characters = sum(len(document) for document in text.documents)
    long = max(1, min(PIECE, characters // (2 * SHARE)))
    pieces = [
        document[start : start + long]
        for document in text.documents
        for start in range(0, len(document), long)
    ]
    size = sum(len(piece.encode()) for piece in pieces)
    every = max(SHARE, -(-size // SCORED_BYTES))
    scored = pieces[every - 1 :: every]
    del pieces[every - 1 :: every]
    return pieces, scored


def ngram_log_probabilities(fitted: list[str], scored: list[str]) -> dict[str, np.ndarray]:
    """Log-probabilities of the scored pieces' tokens under each baseline, in nats."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(BUNDLED / "model" / "tokenizer.json"))
    train, stream = encode(fitted, tokenizer), encode(scored, tokenizer)
    vocab = tokenizer.get_vocab_size()
    return {
        name: KneserNey(train, order, vocab).log_probabilities(stream) for name, order in BASELINES.items()
    }
