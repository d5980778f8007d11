"""Text -> blocks of tokens, with a hash of what was read.

Documents are joined into one stream, the tokenizer's end-of-text token before each, and the stream is cut
into blocks of equal length: a block may begin inside a document, and hold parts of several.
"""

import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from real.hashes import file_sha256

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can write and UTF-8 cannot."""


@runtime_checkable
class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of Hugging Face fit."""

    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict: ...


@dataclass(frozen=True)
class Text:
    """Documents, and the hash of the file that they came from."""

    documents: list[str]
    name: str
    sha256: str


def read_text(path: Path, *, split: str = "") -> Text:
    """The documents of a .txt (one document), .jsonl or .jsonl.xz file (one a line, under the key "text")."""
    if not path.is_file():
        raise ValueError(f"expected a text file, found nothing at {path}: check the path.")
    if path.suffix == ".txt" and split:
        raise ValueError(
            f"expected documents with splits, found {path}, which is one document: give a .jsonl file, or no "
            "split."
        )
    if path.suffix == ".txt":
        documents = ["".join(_lines(path))]
    else:
        documents = [row["text"] for row in read_rows(path) if not split or row.get("split") == split]
    documents = [document for document in documents if document.strip()]
    if not documents:
        of = f" of split {split!r}" if split else ""
        raise ValueError(
            f"expected text in {path}, found no document{of} that is not empty: give another file."
        )
    return Text(documents, path.name, file_sha256(path))


def read_rows(path: Path) -> Iterator[dict]:
    """The objects of a .jsonl or .jsonl.xz file, one a line, each with a string under "text"."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            document = row["text"]
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise ValueError(
                f'expected JSON with a key "text" in line {number} of {path}, found {line.strip()[:60]!r}: '
                "write one JSON object a line, or name the file .txt."
            ) from error
        if not isinstance(document, str) or SURROGATE.search(document):
            found = "a lone surrogate" if isinstance(document, str) else json.dumps(document)[:60]
            raise ValueError(
                f'expected a string of whole characters under "text" in line {number} of {path}, found '
                f"{found}: mend or remove the line."
            )
        yield row


def token_blocks(
    text: Text, tokenizer: Tokenizer, *, context: int, first: int | None = None
) -> Int[Tensor, "sequences context"]:
    """The text as blocks of `context` tokens, in the text's order; a rest too short is left out.

    With `first`, that token begins each block, before the text's own.
    """
    between = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.bos_token_id
    pieces = []
    for document_ids in tokenizer(text.documents, add_special_tokens=False)["input_ids"]:
        pieces.append(torch.tensor(([] if between is None else [between]) + document_ids, dtype=torch.int64))
    stream = torch.cat(pieces)
    n_of_text = context - (first is not None)
    n_sequences = len(stream) // n_of_text
    if n_sequences == 0:
        raise ValueError(
            f"expected at least one sequence of {context} tokens, found {len(stream)} tokens in {text.name}: "
            "give more text or lower context."
        )
    blocks = stream[: n_sequences * n_of_text].view(n_sequences, n_of_text)
    if first is None:
        return blocks
    return torch.cat([torch.full((n_sequences, 1), first), blocks], dim=1)


def sample_blocks(
    blocks: Int[Tensor, "sequences context"], n_sequences: int, *, seed: int
) -> Int[Tensor, "some context"]:
    """At most `n_sequences` blocks, drawn without replacement; the same for the same seed."""
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))
    return blocks[order[:n_sequences]]


def _lines(path: Path) -> Iterator[str]:
    """A text's lines as they are, one at a time: a corpus is larger than what one wants in memory."""
    opened = lzma.open if path.suffix == ".xz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="\n") as lines:
            yield from lines
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(
            f"expected an xz file at {path}, found a broken one ({error}): fetch it again."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected UTF-8 text in {path}, found {error}: convert the file to UTF-8."
        ) from error
