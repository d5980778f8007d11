"""The text sample beside the bundled model: held-out documents, and train documents drawn by hash."""

import hashlib
import json
import lzma
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from real.corpus import load_documents
from real.sources import SOURCES, Source


def write_sample(
    corpus: Path, path: Path, n_bytes: int, *, sources: Iterable[Source] = SOURCES
) -> dict[str, int]:
    """Write `path` (.jsonl.xz) with about `n_bytes` of text; returns the bytes of text of each split.

    Only sources that may be redistributed take part. All their held-out documents go in, first; then train
    documents that `draw` picks to fill what is left. ValueError if the held-out documents alone are more.
    """
    free = {source.package for source in sources if source.redistributed}
    held_out = [one for one in load_documents(corpus, "held-out") if one["source"] in free]
    used = sum(map(_size, held_out))
    if used > n_bytes:
        raise ValueError(f"expected n_bytes to hold {used} held-out bytes, found {n_bytes}: raise n_bytes.")
    train = draw([one for one in load_documents(corpus, "train") if one["source"] in free], n_bytes - used)
    unfinished = path.with_name(path.name + ".partial")
    with lzma.open(unfinished, "wt", encoding="utf-8", preset=9) as out:
        for document in held_out + train:
            out.write(json.dumps(document, ensure_ascii=False) + "\n")
    unfinished.replace(path)
    return {"held-out": used, "train": sum(map(_size, train))}


def draw(documents: list[dict], n_bytes: int) -> list[dict]:
    """About n_bytes of documents, from each source its share, in the order of a hash of their names.

    A document too long for what is left of its source's share is passed over.
    """
    by_source = defaultdict(list)
    for document in documents:
        by_source[document["source"]].append(document)
    total = sum(map(_size, documents))
    drawn = []
    for group in by_source.values():
        left = n_bytes * sum(map(_size, group)) / total
        for document in sorted(group, key=_hash):
            if _size(document) <= left:
                drawn.append(document)
                left -= _size(document)
    return drawn


def _size(document: dict) -> int:
    return len(document["text"].encode())


def _hash(document: dict) -> bytes:
    return hashlib.sha256(f"{document['source']}/{document['document']}".encode()).digest()
