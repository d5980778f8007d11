"""From a package's files to plain documents: HTML, POD, dictd and WordNet formats, or text as it is."""

import gzip
import html
import re
import struct
import subprocess
from collections.abc import Callable, Iterator

Document = tuple[str, str]
"""Name within its package, text."""

ENTRIES_A_DOCUMENT = 40
"""Dictionary entries that make up one document, in headword order."""


def read_text(name: str, data: bytes) -> Iterator[Document]:
    """The file as it is, which for code is what we want."""
    yield name, data.decode("utf-8", errors="replace").replace("\r\n", "\n").expandtabs(4)


def read_html(name: str, data: bytes) -> Iterator[Document]:
    """The page's main part without markup; paragraphs stand apart by an empty line, <pre> keeps its lines."""
    page = data.decode("utf-8", errors="replace")
    page = _DROPPED.sub(" ", page)
    for mark in _MAIN:
        found = mark.search(page)
        if found:
            page = page[found.start() :]
            break
    page = re.split(_FOOTER, page, maxsplit=1)[0]
    parts = _PRE.split(page)
    parts[0::2] = [_flow(part) for part in parts[0::2]]
    parts[1::2] = ["\n\n" + html.unescape(_TAG.sub("", part)).strip("\n") + "\n\n" for part in parts[1::2]]
    yield name, "".join(parts)


_DROPPED = re.compile(
    r"<(script|style|head|nav|header|footer|svg|select|button)\b.*?</\1\s*>|<!--.*?-->"
    r'|<a class="headerlink".*?</a>|<p class="topic-title.*?</p>',
    re.DOTALL | re.IGNORECASE,
)
_MAIN = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (r'<div[^>]*role="main"', r'<div[^>]*class="body"', r"<main\b", r"<article\b", r"<body\b")
]
_FOOTER = re.compile(r'<div[^>]*(?:class|id)="(?:footer|navfooter|sphinxsidebar|bottomlang)', re.IGNORECASE)
_PRE = re.compile(r"<pre\b[^>]*>(.*?)</pre\s*>", re.DOTALL | re.IGNORECASE)
_BLOCK = re.compile(
    r"</?(?:p|div|h[1-6]|li|ul|ol|dl|dt|dd|table|tr|blockquote|section|hr|title)\b[^>]*>", re.IGNORECASE
)
_BREAK = re.compile(r"<br\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_END_OF_BLOCK, _END_OF_LINE = "\x00", "\x01"


def _flow(markup: str) -> str:
    """Flowing text: white space has no meaning, block tags end paragraphs."""
    marked = _BREAK.sub(_END_OF_LINE, _BLOCK.sub(_END_OF_BLOCK, markup))
    plain = re.sub(r"\s+", " ", html.unescape(_TAG.sub("", marked)))
    plain = re.sub(rf" ?{_END_OF_LINE} ?", "\n", plain)
    return re.sub(rf"[ \n]*(?:{_END_OF_BLOCK}[ \n]*)+", "\n\n", plain)


def read_pod(name: str, data: bytes) -> Iterator[Document]:
    """Perl's plain old documentation: commands dropped, formatting codes opened, verbatim blocks kept."""
    text = data.decode("utf-8", errors="replace")
    text = re.sub(r"^=(?:head\d|item)\s+", "", text, flags=re.MULTILINE)
    text = re.sub(r"^=\w+.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"E<(\w+)>", lambda code: html.unescape(f"&{code[1]};"), text)
    text = re.sub(r"[BCFILSXZ]<<+\s(.*?)\s>>+", r"\1", text, flags=re.DOTALL)
    for _ in range(3):  # codes nest
        text = re.sub(r"L<(?:([^<>|]*)\|)?([^<>]*)>", lambda link: link[1] or link[2], text)
        text = re.sub(r"[BCFIS]<([^<>]*)>", r"\1", text)
        text = re.sub(r"[XZ]<[^<>]*>", "", text)
    yield name, text


def read_dict(name: str, data: bytes) -> Iterator[Document]:
    """A dictd database: entries are headwords at the line's start, joined in groups of neighbours."""
    text = gzip.decompress(data).decode("utf-8", errors="replace")
    entries = re.split(r"\n\s*\n(?=\S)", text)
    for start in range(0, len(entries), ENTRIES_A_DOCUMENT):
        group = "\n\n".join(entries[start : start + ENTRIES_A_DOCUMENT])
        yield f"{name}#{start}", re.sub(r"[{}]|^\s*\[1913 Webster\]$", "", group, flags=re.MULTILINE)


def read_wordnet(name: str, data: bytes) -> Iterator[Document]:
    """A WordNet data file: each synset becomes 'word, word: gloss', joined in groups of neighbours."""
    entries = []
    for line in data.decode("utf-8", errors="replace").splitlines():
        if line.startswith("  ") or "|" not in line:
            continue  # the licence at the top
        record, gloss = line.split("|", 1)
        fields = record.split()
        words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
        entries.append(f"{', '.join(words)}: {gloss.strip()}")
    for start in range(0, len(entries), ENTRIES_A_DOCUMENT):
        yield f"{name}#{start}", "\n\n".join(entries[start : start + ENTRIES_A_DOCUMENT])


def read_bible(name: str, data: bytes) -> Iterator[Document]:
    """The compressed King James text of `bible-kjv-text`: 64 KiB windows of LZW, one document a book."""
    windows = data.find(_LZW_MAGIC) + len(_LZW_MAGIC)
    starts = [at for (at,) in struct.iter_unpack(">I", data[_BIBLE_INDEX : windows - len(_LZW_MAGIC)])]
    text = b"".join(
        subprocess.run(
            ["gzip", "-dc"], input=_LZW_MAGIC + data[start:end], capture_output=True, check=True
        ).stdout
        for start, end in zip(starts, [*starts[1:], len(data)], strict=True)
    ).decode("latin-1")
    books: dict[str, list[str]] = {}
    for book, verse in re.findall(r"^(\d?[A-Za-z]+)\d+:\d+ (.*)$", text, flags=re.MULTILINE):
        books.setdefault(book, []).append(verse)
    for book, verses in books.items():
        paragraphs = [" ".join(verses[i : i + 8]) for i in range(0, len(verses), 8)]
        yield f"{name}#{book}", "\n\n".join(paragraphs)


_LZW_MAGIC = b"\x1f\x9d\x90"
_BIBLE_INDEX = 0x5C
"""Where the file's table of window offsets starts; it ends at the first window's magic number."""

READERS: dict[str, Callable[[str, bytes], Iterator[Document]]] = {
    "text": read_text,
    "html": read_html,
    "pod": read_pod,
    "dict": read_dict,
    "wordnet": read_wordnet,
    "bible": read_bible,
}
