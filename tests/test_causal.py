"""Effects of features on the next token, where they are known beforehand."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from tiny_models import FAMILIES, SIZE, tiny_language_model, tiny_tokenizer
from torch import nn

from compare.causes import causal_results, with_effects
from compare.evidence import Evidence, measure
from compare.measures import ablation_cosine, effect_cosine, logit_cosine
from compare.pairs import pair_table
from compare.system import HasEffects
from real.causal import causal_effects, check_replay
from real.config import RealConfig
from real.language_model import LanguageModel
from real.sae import SAE
from real.system import RealSystem

WIDTH, FEATURES, VOCAB = 6, 5, 257
CONFIG = RealConfig(context=8, site="mlp", effect_sequences=6, effect_positions=3, effect_firings=4)


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """Logits are a linear image of a token's embedding, passed through a module that changes nothing."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=1)
        self.embed, self.mlp, self.out = nn.Embedding(VOCAB, WIDTH), nn.Identity(), nn.Linear(WIDTH, VOCAB)
        self.embed.weight.data = draw(VOCAB, WIDTH, seed=1)
        self.out.weight.data, self.out.bias.data = draw(VOCAB, WIDTH, seed=2), draw(VOCAB, seed=3)

    def get_output_embeddings(self):
        return self.out

    def forward(self, tokens, **_):
        return SimpleNamespace(logits=self.out(self.mlp(self.embed(tokens))), past_key_values=None)


def linear_model() -> LanguageModel:
    return LanguageModel(Linear(), tiny_tokenizer(), name="linear")


def some_sae(**changes) -> SAE:
    weights = {
        "W_enc": draw(WIDTH, FEATURES, seed=4),
        "W_dec": draw(FEATURES, WIDTH, seed=5),
        "b_enc": torch.tensor([0.0, 0.0, 0.0, 0.0, -1e6]),  # the last never fires
        "b_dec": draw(WIDTH, seed=6),
    }
    return SAE(**({"architecture": "standard"} | weights | changes))


def blocks(n=8):
    return torch.randint(256, (n, 8), generator=torch.Generator().manual_seed(7))


def by_hand(model, sae, config, features, amounts):
    """The same means by formula, token by token: on this model a token's logits depend on itself alone."""
    net, first = model.model, int(config.drop_first_position)
    places = torch.randint(first, 8, (3,), generator=torch.Generator().manual_seed(config.seed)).tolist()

    def shift(x, step):
        return net.out(x + step).log_softmax(-1) - net.out(x).log_softmax(-1)

    added, ablated, n_ablated = [], [], []
    for feature, amount in zip(features.tolist(), amounts, strict=True):
        direction = sae.W_dec[feature]
        at = [net.embed.weight[blocks()[n, place]] for n, place in enumerate(places)]
        added.append(torch.stack([shift(x, amount * direction) for x in at]).mean(0))
        inputs = net.embed(blocks()[:6, first:].flatten())
        activation = sae.activations(sae.read(inputs))[:, feature]
        fired = activation.nonzero()[:, 0][: config.effect_firings]
        steps = [shift(inputs[t], -activation[t] * direction) for t in fired]
        n_ablated.append(len(steps))
        ablated.append(torch.stack(steps).mean(0) if steps else torch.full((VOCAB,), torch.nan))
    return torch.stack(added), torch.stack(ablated), n_ablated


@pytest.mark.parametrize("dropped", [True, False])
def test_effects_on_a_linear_model_are_exact(dropped):
    model, sae = linear_model(), some_sae()
    config = dataclasses.replace(CONFIG, drop_first_position=dropped)
    features, amounts = torch.tensor([3, 0, 4]), torch.tensor([0.5, 2.0, 1.0])
    found = causal_effects(model, sae, blocks(), config, features, amounts)
    added, ablated, n_ablated = by_hand(model, sae, config, features, amounts)
    torch.testing.assert_close(found.added, added, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.ablated, ablated, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert found.n_ablated.tolist() == n_ablated
    assert n_ablated[0] == CONFIG.effect_firings
    assert n_ablated[2] == 0


def test_a_scaled_sae_writes_on_the_scale_of_the_site():
    model, sae = linear_model(), some_sae(normalize_activations="constant_norm_rescale")
    one = torch.tensor([0])
    config = dataclasses.replace(CONFIG, effect_positions=1, drop_first_position=False)
    found = causal_effects(model, sae, blocks(), config, one, torch.ones(1)).added
    place = torch.randint(0, 8, (1,), generator=torch.Generator().manual_seed(0)).item()
    x = model.model.embed(blocks()[0, place])
    step = sae.W_dec[0] * x.norm() / WIDTH**0.5
    expected = model.model.out(x + step).log_softmax(-1) - model.model.out(x).log_softmax(-1)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def measured() -> tuple[RealSystem, Evidence]:
    sae = some_sae(b_enc=torch.zeros(FEATURES))
    system = RealSystem(linear_model(), sae, blocks(40), dataclasses.replace(CONFIG, n_tokens=280))
    return system, measure(system)


def test_evidence_keeps_effects_of_the_features_that_are_looked_at(tmp_path):
    system, evidence = measured()
    assert isinstance(system, HasEffects)
    evidence = with_effects(evidence, system, min_count=5, max_features=4, seed=0)
    loaded = Evidence.load(evidence.save(tmp_path / "evidence"))
    ids = loaded.effect_features
    assert ids.tolist() == evidence.sample(min_count=5, max_features=4, seed=0).tolist()
    seen = torch.cat([batch.activations for batch in system.stream()])[:, ids.tolist()]
    typical = (seen.square().sum(0) / (seen != 0).sum(0)).sqrt()
    again = causal_effects(
        system.language_model, system.sae, blocks(40), system.config, torch.tensor(ids), typical
    )
    torch.testing.assert_close(torch.tensor(loaded.effect_added), again.added, rtol=1e-4, atol=1e-5)
    assert (loaded.effect_firings == CONFIG.effect_firings).all()
    table = pair_table(
        loaded, cooccurrence=["log_odds"], similarity=["js_split", "effect_cosine", "logit_cosine"],
        min_count=5, max_features=4,
    )  # fmt: skip
    found = causal_results([table])
    assert found["n_features"] == 4
    assert found["undone"] > 0.5  # on a linear model the one nearly undoes the other


def test_likeness_of_effects_is_the_correlation_of_shifts_under_the_base_output():
    system, evidence = measured()
    evidence = with_effects(evidence, system, min_count=5, max_features=4, seed=0)
    share, ids = torch.tensor(evidence.base_output).double(), evidence.effect_features
    for measure_of, name in ((effect_cosine, "effect_added"), (ablation_cosine, "effect_ablated")):
        shifts = torch.tensor(getattr(evidence, name)).double()
        expected = weighted_correlation(shifts, share)
        found = torch.tensor(measure_of(evidence, ids, ids[:2])).double()
        torch.testing.assert_close(found, expected[:, :2], rtol=1e-4, atol=1e-4)
    direct = torch.tensor(evidence.directions[ids]).double() @ system.unembedding.double().T
    torch.testing.assert_close(
        torch.tensor(logit_cosine(evidence, ids, ids)).double(),
        weighted_correlation(direct, share),
        rtol=1e-4,
        atol=1e-4,
    )
    left_out = [i for i in range(FEATURES) if i not in ids]
    assert torch.tensor(effect_cosine(evidence, torch.tensor(left_out).numpy(), ids)).isnan().all()


def weighted_correlation(rows, share):
    """Pearson correlation of rows with weights on the columns, spelled out."""
    centred = rows - (rows * share).sum(1, keepdim=True) / share.sum()
    covariance = (centred * share) @ centred.T
    spread = covariance.diagonal().sqrt()
    return covariance / torch.outer(spread, spread)


def test_a_system_that_cannot_be_changed_is_refused():
    _, evidence = measured()
    with pytest.raises(ValueError, match=r"expected a system whose features can be added"):
        with_effects(evidence, object_named("still"), min_count=1, max_features=4, seed=0)


def object_named(name):
    return SimpleNamespace(name=name, directions=torch.eye(3), stream=lambda: iter(()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("site", ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_pre"])
def test_changes_made_side_by_side_are_those_made_one_by_one(family, site):
    model, tokens = tiny_language_model(family), blocks()[0]
    positions = torch.tensor([0, 3, 3, 7, 5])
    values = model.activations(tokens[None], site)[0, positions] + draw(5, 16, seed=8)
    found = torch.cat(list(model.shifts(tokens, site, positions, values, chunk=2)))
    _, clean = model.run(tokens[None], site)
    for row, position, value in zip(found, positions, values, strict=True):

        def put(seen, position=position, value=value):
            changed = seen.clone()
            changed[0, position] = value
            return changed

        _, outputs = model.run(tokens[None], site, replace=put)
        torch.testing.assert_close(
            row, outputs[0, position].log() - clean[0, position].log(), rtol=1e-4, atol=2e-5
        )


def model_with(family, **changes) -> LanguageModel:
    """A small random model whose attention is as the changes say."""
    import transformers

    config = getattr(transformers, f"{family}Config")(**SIZE, **changes, pad_token_id=None)
    config.num_key_value_heads = 1
    torch.manual_seed(0)
    return LanguageModel(getattr(transformers, f"{family}ForCausalLM")(config), tiny_tokenizer(), name="tiny")


def test_a_window_as_long_as_the_sequence_is_no_limit_however_many_go_side_by_side():
    model, tokens = model_with("Mistral", sliding_window=8, initializer_range=0.3), blocks()[0]
    positions, site = (
        torch.arange(8).repeat(4),
        "blocks.0.hook_mlp_out",
    )  # far more keys than the window holds
    values = model.activations(tokens[None], site)[0, positions] + draw(32, 16, seed=8)
    at_once, by_one = (
        torch.cat(list(model.shifts(tokens, site, positions, values, chunk=n))) for n in (32, 1)
    )
    torch.testing.assert_close(at_once, by_one, rtol=1e-4, atol=2e-5)
    outputs = []
    for position, value in zip(positions, values, strict=True):
        put = torch.where(torch.arange(8)[:, None] == position, value, torch.nan)
        _, changed = model.run(
            tokens[None], site, replace=lambda seen, put=put: torch.where(put.isnan(), seen, put)
        )
        outputs.append(changed[0, position].log())
    _, clean = model.run(tokens[None], site)
    torch.testing.assert_close(
        at_once, torch.stack(outputs) - clean[0, positions].log(), rtol=1e-4, atol=2e-5
    )
    check_replay(model, tokens, site)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Mistral", {"sliding_window": 5}),
        ("GPTNeo", {"attention_types": [[["global", "local"], 1]], "window_size": 5}),
    ],
)
def test_local_attention_over_less_than_the_sequence_is_refused_naming_both(family, changes):
    model = model_with(family, **changes, initializer_range=0.3)
    sae, config = (
        some_sae(W_enc=draw(16, 5, seed=1), W_dec=draw(5, 16, seed=2), b_dec=draw(16, seed=3)),
        CONFIG,
    )
    config = dataclasses.replace(config, site="blocks.0.hook_resid_post")
    with pytest.raises(ValueError, match=r"on sequences of 8 tokens: tiny does .* window: 5\)"):
        causal_effects(model, sae, blocks(), config, torch.tensor([0]), torch.ones(1))


@pytest.mark.parametrize(("family", "changes"), [("Bloom", {}), ("Falcon", {"alibi": True})])
def test_models_that_tell_positions_by_alibi_are_refused(family, changes):
    model = model_with(family, **changes)
    with pytest.raises(
        ValueError, match=r"found tiny, which tells positions by ALiBi .* leave --effects out"
    ):
        check_replay(model, blocks()[0], "blocks.0.hook_resid_post")
