"""The corpus: extraction, de-duplication and the split, on archives made here."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from real.corpus import build_corpus, deduplicate, is_plain, load_documents, split_of
from real.readers import read_html, read_pod, read_wordnet
from real.sources import SOURCES, Source
from real.text_sample import write_sample

BUNDLED = Path(__file__).parent.parent / "real" / "bundled"
PARAGRAPH = "A paragraph that is long enough to be compared with all the others in the corpus."


def archive_of(folder, files: dict[str, str], package: str = "prose") -> Source:
    """A source whose archive lies in the cache already, so that nothing is fetched."""
    place = folder / "cache" / "npm" / package
    place.mkdir(parents=True)
    with tarfile.open(place / f"{package}-1.0.tgz", "w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return Source(
        package=package, registry="npm", version="1.0", licence="MIT", reader="text", files=("*.txt",),
        redistributed=True,
    )  # fmt: skip


def pages(count: int) -> dict[str, str]:
    return {
        f"page{n}.txt": f"{PARAGRAPH}\n\n" + f"Page {n} says something of its own. " * 12
        for n in range(count)
    }


def test_a_corpus_is_the_same_however_often_it_is_built(tmp_path):
    source = archive_of(tmp_path, pages(300))
    built = [tmp_path / "first", tmp_path / "second"]
    for folder in built:
        build_corpus(folder, tmp_path / "cache", sources=[source], progress=lambda line: None)
    for name in ("documents.jsonl", "manifest.json"):
        assert (built[0] / name).read_bytes() == (built[1] / name).read_bytes()


def test_each_document_is_in_one_split_and_each_paragraph_once(tmp_path):
    source = archive_of(tmp_path, pages(300))
    manifest = build_corpus(
        tmp_path / "out", tmp_path / "cache", sources=[source], progress=lambda line: None
    )
    train = list(load_documents(tmp_path / "out", "train"))
    held_out = list(load_documents(tmp_path / "out", "held-out"))
    assert not {one["document"] for one in train} & {one["document"] for one in held_out}
    assert sum(PARAGRAPH in one["text"] for one in train + held_out) == 1
    assert len(train) + len(held_out) == 300
    assert 0 < len(held_out) < 20  # 2 % of 300
    entry = manifest["sources"][0]
    assert entry["documents"] == {"train": len(train), "held-out": len(held_out)}
    assert entry["bytes"]["train"] == sum(len(one["text"].encode()) for one in train)
    assert sum(entry["bytes"].values()) < entry["bytes_extracted"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_works_in_several_editions_are_never_held_out(tmp_path):
    source = replace(archive_of(tmp_path, pages(300)), in_editions=True)
    build_corpus(tmp_path / "out", tmp_path / "cache", sources=[source], progress=lambda line: None)
    assert not list(load_documents(tmp_path / "out", "held-out"))
    assert all(
        split_of("prose", one["document"]) == "train" for one in load_documents(tmp_path / "out", "train")
    )


def test_repeats_are_found_whatever_their_case_and_white_space():
    seen: set[bytes] = set()
    assert deduplicate(f"Title\n\n{PARAGRAPH}\n\n\n  Other words,  \nbriefly", seen) == (
        f"Title\n\n{PARAGRAPH}\n\n  Other words,\nbriefly"
    )
    assert deduplicate(f"Title\n\n  {PARAGRAPH.upper()}  ", seen) == "Title"


def test_other_scripts_are_not_plain():
    assert is_plain("naïve café, " + 9 * "plain English ")
    assert not is_plain("Добро пожаловать")


def test_html_loses_its_markup_and_keeps_its_code():
    page = b"""<html><head><title>T</title></head><body><nav>Home | Up</nav><div role="main">
    <h1>Names &amp; places</h1><p>Some <b>bold</b>
      words.</p><ul><li>one<li>two</ul><pre>if x:
    <span>y</span> &lt; 1</pre></div><div class="footer">Made by</div></body></html>"""
    ((_, text),) = read_html("page", page)
    assert deduplicate(text, set()) == "Names & places\n\nSome bold words.\n\none\n\ntwo\n\nif x:\n    y < 1"


def test_pod_codes_are_opened():
    ((_, text),) = read_pod(
        "p", b"=head1 NAME\n\nUse C<< a->b >> and L<the manual|perldoc>, I<not B<that>>.\n\n=cut\n"
    )
    assert deduplicate(text, set()) == "NAME\n\nUse a->b and the manual, not that."


def test_wordnet_synsets_become_glosses():
    line = b"00002684 03 n 02 object 0 physical_object 0 001 @ 00001930 n 0000 | a visible thing  \n"
    assert list(read_wordnet("data.noun", b"  1 licence\n" + line)) == [
        ("data.noun#0", "object, physical object: a visible thing")
    ]


def test_a_sample_holds_all_held_out_documents_and_only_free_ones(tmp_path):
    free = archive_of(tmp_path, pages(300))
    other = Source(
        package="copyleft", registry="npm", version="1.0", licence="GPL-2.0-only", reader="text", files=("*",)
    )
    corpus = tmp_path / "out"
    build_corpus(corpus, tmp_path / "cache", sources=[free], progress=lambda line: None)
    with (corpus / "documents.jsonl").open("a") as out:
        for split in ("train", "held-out"):
            out.write(
                json.dumps({"source": "copyleft", "document": split, "split": split, "text": "x" * 500})
                + "\n"
            )
    sizes = write_sample(corpus, tmp_path / "text.jsonl.xz", 20_000, sources=[free, other])
    held_out = load_documents(tmp_path / "text.jsonl.xz", "held-out")
    assert [one["document"] for one in held_out] == [
        one["document"] for one in load_documents(corpus, "held-out") if one["source"] == "prose"
    ]
    assert 19_000 < sum(sizes.values()) <= 20_000
    assert {one["source"] for one in load_documents(tmp_path / "text.jsonl.xz", "train")} == {"prose"}
    with pytest.raises(ValueError, match=r"expected n_bytes to hold .* held-out bytes, found 10"):
        write_sample(corpus, tmp_path / "text.jsonl.xz", 10, sources=[free])


def test_a_file_of_ones_own_is_a_corpus_whose_split_its_lines_decide(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(2000)))
    held_out, train = (list(load_documents(path, split)) for split in ("held-out", "train"))
    assert len(held_out) + len(train) == 2000
    assert 15 < len(held_out) < 65  # 2 % of 2,000 by hash: 40, standard deviation 6.3
    assert {one["split"] for one in train} == {"train"}
    path.write_text(json.dumps({"text": "a", "split": "held-out"}) + "\n")
    assert [one["text"] for one in load_documents(path, "held-out")] == ["a"]
    path.write_text('{"txt": 1}\n')
    with pytest.raises(ValueError, match=r'expected JSON with a key "text" in line 1 of .*mine.jsonl'):
        list(load_documents(path, "train"))


def test_patterns_that_match_nothing_are_refused(tmp_path):
    source = archive_of(tmp_path, {"readme.md": "no text file here"})
    with pytest.raises(ValueError, match=r"expected files like \*\.txt in prose-1\.0\.tgz, found none"):
        build_corpus(tmp_path / "out", tmp_path / "cache", sources=[source])
    with pytest.raises(ValueError, match=r"expected a corpus with documents.jsonl in"):
        list(load_documents(tmp_path / "out", "train"))


def test_every_source_is_named_once_and_has_a_licence():
    assert len({source.package for source in SOURCES}) == len(SOURCES)
    assert all(source.licence for source in SOURCES)
    copyleft = [source for source in SOURCES if source.licence.startswith(("GPL", "GFDL", "MPL"))]
    assert not any(source.redistributed for source in copyleft)
    with pytest.raises(ValueError, match="expected a registry among pypi, debian, npm, found 'disk'"):
        Source(package="p", registry="disk", version="1", licence="MIT", reader="text", files=("*",))


def test_the_bundled_sample_and_manifest_agree_with_the_sources():
    sources = {source.package: source for source in SOURCES}
    manifest = json.loads((BUNDLED / "corpus.json").read_text())["sources"]
    assert [(one["package"], one["version"], one["licence"]) for one in manifest] == [
        (one.package, one.version, one.licence) for one in SOURCES
    ]
    notice = (BUNDLED / "NOTICE.md").read_text()
    for split in ("train", "held-out"):
        for document in load_documents(BUNDLED / "text.jsonl.xz", split):
            assert sources[document["source"]].redistributed
            assert f"| {document['source']} " in notice
            assert split_of(document["source"], document["document"]) == split
