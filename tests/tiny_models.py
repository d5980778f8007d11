"""Small random language models of four families, with a tokenizer of single bytes."""

import string

import torch

from real.language_model import LanguageModel

SIZE = {"vocab_size": 257, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = ("gpt2", "llama", "gpt_neox", "gemma2")


def tiny_tokenizer():
    """Every byte is a token; 256 is the end of text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)} | {"<|end|>": 256}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>")


def tiny_model(family: str = "gpt2"):
    """A Hugging Face model of width 16 with two layers, weights large enough to matter."""
    from transformers import (
        Gemma2Config,
        Gemma2ForCausalLM,
        GPT2Config,
        GPT2LMHeadModel,
        GPTNeoXConfig,
        GPTNeoXForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
    )

    torch.manual_seed(0)
    ends = {"bos_token_id": 256, "eos_token_id": 256, "pad_token_id": None}
    more = {"intermediate_size": 24, "max_position_embeddings": 32, "initializer_range": 0.3, **ends}
    if family == "gpt2":
        shape = {"vocab_size": 257, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, **ends}
        return GPT2LMHeadModel(GPT2Config(**shape, initializer_range=0.3))
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZE, **more, num_key_value_heads=1))
    if family == "gpt_neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**SIZE, **more))
    return Gemma2ForCausalLM(Gemma2Config(**SIZE, **more, num_key_value_heads=1, head_dim=8))


def tiny_language_model(family: str = "gpt2") -> LanguageModel:
    return LanguageModel(tiny_model(family), tiny_tokenizer(), name=f"tiny {family}")


def tiny_text(n_characters: int = 4000) -> str:
    """Letters and spaces without sense, the same at every call."""
    letters = string.ascii_lowercase + "    "
    drawn = torch.randint(len(letters), (n_characters,), generator=torch.Generator().manual_seed(0))
    return "".join(letters[index] for index in drawn.tolist())
