"""Tokenizer and token streams of a corpus: `<|endoftext|>` before each document, one uint16 file a split."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt16

from real.corpus import load_documents, write_atomically

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
"""The one special token, number 0: begins each document, and is BOS and EOS of the Hugging Face tokenizer."""

STREAMS = {"train": "train.npy", "held-out": "held_out.npy"}
"""Split -> file of its token stream."""


def train_tokenizer(texts: Iterable[str], vocab: int, folder: Path) -> "Tokenizer":
    """Byte-level BPE on the texts, written to `folder` as Hugging Face tokenizer files.

    ValueError if the texts hold too little to fill the vocabulary, or it cannot hold all 256 bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if not 257 <= vocab <= 65536:
        raise ValueError(
            f"expected a vocabulary of 257 (each byte, and {END_OF_TEXT}) to 65,536 (uint16), found {vocab}: "
            "choose one between."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocab:
        raise ValueError(
            f"expected text that fills a vocabulary of {vocab}, found only {tokenizer.get_vocab_size()} "
            "tokens worth merging: give more text or a smaller vocabulary."
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
    }
    write_atomically(folder / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")
    return tokenizer


def write_streams(corpus: Path, tokenizer: "Tokenizer", folder: Path) -> dict[str, int]:
    """Encode both splits of a corpus into `folder`; returns the number of tokens of each."""
    sizes = {}
    for split, name in STREAMS.items():
        stream = encode(texts_of(corpus, split), tokenizer)
        unfinished = folder / (name + ".partial")
        with unfinished.open("wb") as out:
            np.save(out, stream)
        unfinished.replace(folder / name)
        sizes[split] = len(stream)
    return sizes


def encode(texts: Iterable[str], tokenizer: "Tokenizer") -> UInt16[np.ndarray, " tokens"]:
    """The texts as one stream of token numbers, END_OF_TEXT before each."""
    first = tokenizer.token_to_id(END_OF_TEXT)
    pieces = [np.empty(0, np.uint16)]
    texts = iter(texts)
    while group := list(islice(texts, 256)):
        for encoding in tokenizer.encode_batch(group, add_special_tokens=False):
            pieces.append(np.array([first, *encoding.ids], dtype=np.uint16))
    return np.concatenate(pieces)


def texts_of(corpus: Path, split: str) -> Iterator[str]:
    """Only the texts of a split's documents."""
    return (document["text"] for document in load_documents(corpus, split))
