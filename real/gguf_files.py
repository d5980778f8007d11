"""A language model from a GGUF file of the Llama family, as a folder in Hugging Face format."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

TENSORS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
"""Name within a block in a GGUF file -> in Hugging Face's Llama."""

OUTSIDE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
"""The same outside the blocks; `output` is there only where the embeddings are not tied."""

CONTROL = 3
"""The type that a GGUF file gives a token that is no text."""


def convert_gguf(path: Path, folder: Path) -> Path:
    """Read a GGUF file, dequantised to float32, and write model and tokenizer to a folder as safetensors.

    ValueError where the package gguf is missing, the file is damaged, or its architecture is not Llama.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ValueError(
            "expected the package gguf, found none: install it with pip install 'cofire[smollm]'."
        ) from error
    if not path.is_file():
        raise ValueError(f"expected a GGUF file, found nothing at {path}: check the path.")
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"expected a GGUF file at {path}, found {error}: fetch it again.") from error
    values = {name: field.contents() for name, field in reader.fields.items()}
    architecture = values.get("general.architecture")
    if architecture != "llama":
        raise ValueError(f"expected a model of the Llama family in {path}, found {architecture!r}: take one.")
    save_model(reader, values, folder)
    save_tokenizer(values, folder)
    return folder


def save_model(reader, values: dict, folder: Path) -> None:
    """Config and weights."""
    from gguf import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    heads, key_heads = values["llama.attention.head_count"], values["llama.attention.head_count_kv"]
    is_tied = not any(tensor.name == "output.weight" for tensor in reader.tensors)
    config = LlamaConfig(
        vocab_size=len(values["tokenizer.ggml.tokens"]),
        hidden_size=values["llama.embedding_length"],
        intermediate_size=values["llama.feed_forward_length"],
        num_hidden_layers=values["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        rms_norm_eps=values["llama.attention.layer_norm_rms_epsilon"],
        max_position_embeddings=values["llama.context_length"],
        rope_theta=values.get("llama.rope.freq_base", 10_000.0),
        tie_word_embeddings=is_tied,
        bos_token_id=values["tokenizer.ggml.bos_token_id"],
        eos_token_id=values["tokenizer.ggml.eos_token_id"],
    )
    model = LlamaForCausalLM(config)
    weights = {}
    for tensor in reader.tensors:
        name, weight = (
            hugging_face_name(tensor.name),
            torch.tensor(dequantize(tensor.data, tensor.tensor_type)),
        )
        if ".q_proj." in name or ".k_proj." in name:
            weight = unpermuted(weight, heads if ".q_proj." in name else key_heads)
        weights[name] = weight
    expected = set(model.state_dict()) - ({"lm_head.weight"} if is_tied else set())
    if set(weights) != expected:
        odd = sorted(set(weights) ^ expected)
        raise ValueError(
            f"expected the {len(expected)} tensors of a Llama, found {len(weights)}, differing in {odd[0]}: "
            "the file is cut short, or of a kind that is not understood."
        )
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    model.save_pretrained(folder)


def hugging_face_name(name: str) -> str:
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{TENSORS.get(parts[2], parts[2])}.{parts[3]}"
    return ".".join([OUTSIDE.get(parts[0], parts[0]), *parts[1:]])


def unpermuted(weight: Float[Tensor, "rows width"], heads: int) -> Float[Tensor, "rows width"]:
    """Rows of a query or key matrix in Hugging Face's order: llama.cpp interleaves a head's two halves."""
    halves = weight.view(heads, weight.shape[0] // heads // 2, 2, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)


def save_tokenizer(values: dict, folder: Path) -> None:
    """The byte-level BPE in a GGUF file; where it is of SmolLM's kind, digits stand alone."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if values.get("tokenizer.ggml.model") != "gpt2":
        raise ValueError(
            f"expected a byte-level BPE tokenizer, found {values.get('tokenizer.ggml.model')!r}: "
            "it is not understood; take the model from Hugging Face."
        )
    tokens, types = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in values["tokenizer.ggml.merges"]]
    bpe = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=merges))
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    is_smollm = values.get("tokenizer.ggml.pre") == "smollm"
    digits = [pre_tokenizers.Digits(individual_digits=True)] if is_smollm else []
    bpe.pre_tokenizer = pre_tokenizers.Sequence([*digits, by_bytes])
    bpe.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    bpe.add_special_tokens([AddedToken(token, special=True) for token in control])
    PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=tokens[values["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[values["tokenizer.ggml.eos_token_id"]],
    ).save_pretrained(folder)
