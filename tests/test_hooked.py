"""A stand-in of TransformerLens' format: hook points by name, logits from a call, an unembedding W_U."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from tiny_models import tiny_text, tiny_tokenizer
from torch import nn

from compare.system import check_system
from real.config import RealConfig
from real.language_model import LanguageModel
from real.sae import SAE
from real.system import RealSystem
from real.text import Text, token_blocks

WIDTH = 16


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp, self.hook_mlp_out = nn.Linear(WIDTH, WIDTH), nn.Identity()

    def forward(self, x):
        return x + self.hook_mlp_out(torch.tanh(self.mlp(x)))


class HookedTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cfg = SimpleNamespace(n_layers=2, n_ctx=16)
        self.tokenizer = tiny_tokenizer()
        self.embed, self.blocks = nn.Embedding(257, WIDTH), nn.ModuleList([Block(), Block()])
        self.W_U = nn.Parameter(torch.randn(WIDTH, 257))

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return x @ self.W_U

    @classmethod
    def from_pretrained_no_processing(cls, name, device):
        assert (name, device) == ("gelu-2l", "cpu")
        return cls()


@pytest.fixture
def there(monkeypatch):
    module = ModuleType("transformer_lens")
    module.HookedTransformer = HookedTransformer
    monkeypatch.setitem(sys.modules, "transformer_lens", module)


def test_the_posts_model_and_site_go_through_the_same_door(there):
    model = LanguageModel.load("gelu-2l")
    inner = HookedTransformer()
    tokens = torch.randint(256, (2, 16), generator=torch.Generator().manual_seed(1))
    site, outputs = model.run(tokens, "blocks.0.hook_mlp_out")
    expected = torch.tanh(inner.blocks[0].mlp(inner.embed(tokens)))
    torch.testing.assert_close(site, expected.detach())
    torch.testing.assert_close(outputs, inner(tokens).softmax(-1).detach())
    torch.testing.assert_close(model.activations(tokens, "blocks.0.hook_mlp_out"), site)
    assert model.n_vocabulary == len(model.vocabulary) == 257
    weights = torch.randn(24, WIDTH, generator=torch.Generator().manual_seed(2))
    sae = SAE(
        architecture="standard", W_enc=weights.T, W_dec=weights, b_enc=torch.zeros(24), b_dec=site[0, 0]
    )
    blocks = token_blocks(Text([tiny_text()], "letters", "hash"), model.tokenizer, context=16)[:8]
    system = RealSystem(model, sae, blocks, RealConfig(model="gelu-2l", context=16, batch_tokens=64))
    check_system(system)
    assert torch.equal(system.unembedding, inner.W_U.T)


def test_what_it_cannot_do_is_said_in_one_line(there):
    model = LanguageModel.load("gelu-2l")
    with pytest.raises(ValueError, match="expected a site of gelu-2l"):
        model.run(torch.zeros(1, 4, dtype=torch.int64), "blocks.7.hook_mlp_out")
    changes = torch.zeros(1, dtype=torch.int64), torch.zeros(1, WIDTH)
    with pytest.raises(ValueError, match="leave --effects out"):
        list(model.shifts(torch.zeros(4, dtype=torch.int64), "blocks.0.hook_mlp_out", *changes, chunk=2))


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformer_lens", None)
    with pytest.raises(ValueError, match=r"pip install 'cofire\[tl\]'"):
        LanguageModel.load("gelu-2l")


@pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated:DeprecationWarning")
def test_a_real_hooked_transformer_goes_through_the_same_door(monkeypatch):
    transformer_lens = pytest.importorskip("transformer_lens")
    config = transformer_lens.HookedTransformerConfig(
        n_layers=2, d_model=WIDTH, n_ctx=16, d_head=8, d_vocab=257, act_fn="gelu", seed=0
    )
    inner = transformer_lens.HookedTransformer(config)
    inner.tokenizer = tiny_tokenizer()
    monkeypatch.setattr(
        transformer_lens.HookedTransformer, "from_pretrained_no_processing", lambda *_, **__: inner
    )
    model = LanguageModel.load("gelu-2l")
    tokens = torch.randint(256, (2, 16), generator=torch.Generator().manual_seed(1))
    logits, cache = inner.run_with_cache(tokens)
    for site in ("blocks.0.hook_mlp_out", "blocks.1.hook_resid_pre", "blocks.1.mlp.hook_post"):
        seen, outputs = model.run(tokens, site)
        torch.testing.assert_close(seen, cache[site])
        torch.testing.assert_close(outputs, logits.softmax(-1))
    doubled, changed = model.run(tokens, "blocks.0.hook_mlp_out", replace=lambda site: 2 * site)
    torch.testing.assert_close(doubled, 2 * cache["blocks.0.hook_mlp_out"])
    assert not torch.allclose(changed, outputs)
