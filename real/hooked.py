"""TransformerLens models that Hugging Face does not have (gelu-2l, solu-4l, attn-only-1l, ...)."""

from types import SimpleNamespace

from jaxtyping import Int
from torch import Tensor, nn

ONLY_THERE = ("attn-only-", "gelu-", "solu-")
"""How the names of such models begin."""


class Hooked(nn.Module):
    """A HookedTransformer with the few members that LanguageModel asks of a Hugging Face model.

    Its hook points are modules under TransformerLens' own names, so that a site is found by its name alone.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.config = SimpleNamespace(
            num_hidden_layers=inner.cfg.n_layers, max_position_embeddings=inner.cfg.n_ctx
        )

    def named_modules(self, *arguments, **named):
        """Without the prefix that the wrapping would give them."""
        return self.inner.named_modules(*arguments, **named)

    def get_output_embeddings(self) -> SimpleNamespace:
        """The unembedding, [vocab, width] as Hugging Face has it."""
        return SimpleNamespace(weight=self.inner.W_U.T)

    def forward(self, tokens: Int[Tensor, "sequences context"], *, use_cache: bool = False, **changed):
        """Logits, where Hugging Face has them. Nothing is cached."""
        if changed:
            raise ValueError(
                "expected a model in Hugging Face format for causal effects, found a "
                "HookedTransformer: leave --effects out."
            )
        return SimpleNamespace(logits=self.inner(tokens), past_key_values=None)


def load_hooked(name: str) -> tuple[Hooked, object]:
    """Model and tokenizer by TransformerLens' name, weights as trained, nothing folded in."""
    try:
        from transformer_lens import HookedTransformer
    except ImportError as error:
        raise ValueError(
            f"expected the package transformer-lens, before its version 4, for {name!r}, found none: install "
            "it with pip install 'cofire[tl]'."
        ) from error
    inner = HookedTransformer.from_pretrained_no_processing(name, device="cpu")
    return Hooked(inner), inner.tokenizer
