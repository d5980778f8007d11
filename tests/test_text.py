import hashlib
import json
import lzma

import pytest
import torch

from real.text import Text, read_text, sample_blocks, token_blocks


class Letters:
    """A tokenizer whose tokens are code points; 0 ends a text."""

    bos_token_id = None
    eos_token_id = 0

    def __call__(self, text, *, add_special_tokens):
        return {"input_ids": [[ord(letter) for letter in document] for document in text]}


def write_documents(path, rows):
    raw = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(lzma.compress(raw) if path.suffix == ".xz" else raw)
    return path


def test_documents_are_joined_with_the_end_token_before_each_and_cut_into_blocks():
    blocks = token_blocks(Text(["AB", "CDE"], "example", ""), Letters(), context=3)
    assert blocks.tolist() == [[0, 65, 66], [0, 67, 68]]  # the last token fills no block


def test_a_first_token_begins_each_block_and_takes_none_of_the_text_away():
    blocks = token_blocks(Text(["AB", "CDE"], "example", ""), Letters(), context=3, first=7)
    assert blocks.tolist() == [[7, 0, 65], [7, 66, 0], [7, 67, 68]]


@pytest.mark.parametrize("name", ["documents.jsonl", "documents.jsonl.xz"])
def test_one_document_a_line_with_the_hash_of_the_file(tmp_path, name):
    rows = [{"text": "one\u2028line", "split": "train"}, {"text": "two", "split": "held-out"}, {"text": " "}]
    path = write_documents(tmp_path / name, rows)
    text = read_text(path)
    assert text.documents == ["one\u2028line", "two"]
    assert text.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_text(path, split="held-out").documents == ["two"]


def test_a_txt_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text('{"not": "json"}\nmore')
    assert read_text(tmp_path / "a.txt").documents == ['{"not": "json"}\nmore']


def test_sampled_blocks_are_distinct_and_depend_on_the_seed_alone():
    blocks = torch.arange(40).view(20, 2)
    drawn = sample_blocks(blocks, 15, seed=1)
    assert len(drawn.unique(dim=0)) == 15
    assert torch.equal(drawn, sample_blocks(blocks, 15, seed=1))
    assert not torch.equal(drawn, sample_blocks(blocks, 15, seed=2))
    assert len(sample_blocks(blocks, 100, seed=1)) == 20


def test_a_text_shorter_than_the_context_names_both():
    with pytest.raises(ValueError, match="sequence of 128 tokens, found 3 tokens in short"):
        token_blocks(Text(["AB"], "short", ""), Letters(), context=128)


def test_what_holds_no_text_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"expected text in .*empty.txt, found no document"):
        read_text(tmp_path / "empty.txt")
    path = write_documents(tmp_path / "d.jsonl", [{"text": "a", "split": "train"}])
    with pytest.raises(ValueError, match="no document of split 'test'"):
        read_text(path, split="test")
    with pytest.raises(ValueError, match="found nothing at"):
        read_text(tmp_path / "none.txt")


def test_broken_files_are_named(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\nplain words\n')
    with pytest.raises(ValueError, match=r"in line 2 of .*bad.jsonl"):
        read_text(tmp_path / "bad.jsonl")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="expected UTF-8"):
        read_text(tmp_path / "latin.txt")
    whole = lzma.compress(b'{"text": "a"}' * 1000)
    (tmp_path / "cut.jsonl.xz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="expected an xz file"):
        read_text(tmp_path / "cut.jsonl.xz")


@pytest.mark.parametrize(
    ("text", "found"), [(None, "null"), (5, "5"), (["a"], r'\["a"\]'), ("a \ud800 b", "a lone surrogate")]
)
def test_what_is_no_string_of_characters_is_refused_with_its_line(tmp_path, text, found):
    path = write_documents(tmp_path / "d.jsonl", [{"text": "a \U0001f600 b"}, {"text": text}])
    assert read_text(write_documents(tmp_path / "fine.jsonl", [{"text": "\U0001f600"}])).documents == [
        "\U0001f600"
    ]
    with pytest.raises(
        ValueError, match=f"string of whole characters .* line 2 of .*d.jsonl, found {found}:"
    ):
        read_text(path)
