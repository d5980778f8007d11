"""How good a language model is: bits per byte on held-out documents, beside n-gram baselines."""

import json
import math
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from real.language_model import LanguageModel
from real.lm_blocks import open_stream, seen_tokens
from real.lm_config import LMConfig
from real.ngram import KneserNey
from real.token_stream import encode

LOGITS_AT_ONCE = 2**26
"""Numbers in one pass's logits at most: 256 MB."""

BASELINES = {"unigram": 1, "bigram": 2, "trigram": 3}
"""Name -> order."""


def measure_quality(out_folder: Path, documents: list[str]) -> dict:
    """Bits per byte of a finished run's model and of n-gram models on documents that it has not seen.

    The n-grams are fitted twice: to exactly the tokens that the model was trained on, and to the whole
    training split (`..._whole_corpus`).
    """
    config = LMConfig(**json.loads((out_folder / "config.json").read_text()))
    train = open_stream(out_folder, "train", config)
    seen = seen_tokens(train, config)
    model = evaluate_lm(out_folder / "model", documents)
    fair = evaluate_baselines(out_folder / "model", train, documents, seen)
    strong = evaluate_baselines(out_folder / "model", train, documents)
    quality = {"bits_per_byte": model["bits_per_byte"]}
    quality |= {name: score["bits_per_byte"] for name, score in fair.items()}
    quality |= {f"{name}_whole_corpus": score["bits_per_byte"] for name, score in strong.items()}
    quality |= {
        "nats_per_token": model["nats_per_token"],
        "tokens_trained": config.steps * config.batch * config.context,
        "tokens_in_corpus": len(train),
        "distinct_tokens_seen": int(seen.sum()),
        "held_out_documents": model["documents"],
        "held_out_tokens": model["tokens"],
        "held_out_bytes": model["bytes"],
        "seed": config.seed,
    }
    note = (
        f"{quality['bits_per_byte']:.3f} bits per byte on {model['documents']} held-out documents after "
        f"{quality['tokens_trained'] / 1e6:.1f}M training tokens; a trigram fitted to the same tokens "
        f"{quality['trigram']:.3f}, to all {len(train) / 1e6:.1f}M of the corpus "
        f"{quality['trigram_whole_corpus']:.3f}"
    )
    versions = {name: version(name) for name in ("numpy", "tokenizers", "torch", "transformers")}
    return {"note": note, "quality": quality, "versions": versions}


def evaluate_lm(folder: Path, documents: list[str]) -> dict:
    """Bits per byte of a Hugging Face causal model on documents, with the counts behind it.

    Every token of a document is predicted once, the first from the end-of-text token alone; windows of the
    model's context overlap by half, so that beyond a document's beginning at least half a context is seen.
    Bits per byte is the sum of -log2 p over all tokens, divided by the documents' UTF-8 bytes. ValueError if
    there are no documents.
    """
    model = LanguageModel.load(str(folder))
    stream = _encoded(folder, documents)
    context = model.model.config.max_position_embeddings
    nats = -log_probabilities(model, _documents(stream), context=context).double().sum().item()
    return _quality(nats, stream, documents)


def evaluate_baselines(
    folder: Path,
    train: Integer[np.ndarray, " tokens"],
    documents: list[str],
    counted: Bool[np.ndarray, " tokens"] | None = None,
) -> dict[str, dict]:
    """The same for n-gram models by name, fitted to the counted tokens of a stream, or to all of them.

    `folder` is the model's, for its tokenizer.
    """
    stream = _encoded(folder, documents)
    vocab = _tokenizer(folder).get_vocab_size()
    scores = {}
    for name, order in BASELINES.items():
        ngrams = KneserNey(train, order, vocab, counted=counted)
        scores[name] = _quality(-ngrams.log_probabilities(stream).sum(), stream, documents)
    return scores


@torch.no_grad()
def log_probabilities(
    model: LanguageModel, documents: list[Tensor], *, context: int
) -> Float[Tensor, " predicted"]:
    """Natural log-probability of each token of each document but its first, in no particular order.

    A document is a vector of token numbers, the end-of-text token first; the model sees `context` at once.
    """
    model.check(torch.cat(documents), context=context)
    batch = max(1, min(16, LOGITS_AT_ONCE // (context * model.n_vocabulary)))
    windows = [window for ids in documents for window in _windows(ids, context)]
    windows.sort(key=lambda window: len(window[0]))  # alike lengths together, so that little is padded
    pieces = []
    for start in range(0, len(windows), batch):
        ids, known = zip(*windows[start : start + batch], strict=True)
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(model.device)
        logits = model.model(padded[:, :-1]).logits
        scores = logits.log_softmax(-1).gather(2, padded[:, 1:, None])[..., 0]
        scores = scores.cpu()
        pieces += [row[skip : len(one) - 1] for row, one, skip in zip(scores, ids, known, strict=True)]
    return torch.cat(pieces)


def _windows(ids: Int[Tensor, " tokens"], context: int) -> Iterator[tuple[Int[Tensor, " window"], int]]:
    """Windows of context + 1 tokens, half overlapping, and how many predictions an earlier one has made."""
    stride = max(1, context // 2)
    for start in range(0, max(1, len(ids) - context + stride - 1), stride):
        yield ids[start : start + context + 1], (context - stride if start else 0)


def _quality(nats: float, stream: np.ndarray, documents: list[str]) -> dict:
    n_bytes = sum(len(document.encode()) for document in documents)
    n_tokens = len(stream) - len(documents)
    return {
        "bits_per_byte": float(nats / math.log(2) / n_bytes),
        "nats_per_token": float(nats / n_tokens),
        "documents": len(documents),
        "tokens": n_tokens,
        "bytes": n_bytes,
    }


def _documents(stream: np.ndarray) -> list[Int[Tensor, " tokens"]]:
    starts = np.flatnonzero(stream == 0)
    return [torch.from_numpy(ids.astype(np.int64)) for ids in np.split(stream, starts[1:])]


def _encoded(folder: Path, documents: list[str]) -> np.ndarray:
    if not any(documents):
        raise ValueError("expected documents to score, found none with text: give at least one.")
    return encode(documents, _tokenizer(folder))


def _tokenizer(folder: Path):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))
