import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_language_model, tiny_model, tiny_text, tiny_tokenizer

from compare.analysis import is_signed
from compare.evidence import measure
from compare.nulls import GaussianSurrogate
from compare.system import HasEncoder, HasProvenance, HasSite, HasVocabulary, check_system
from real.config import BUNDLED, RealConfig, SAEConfig, sae_folder
from real.sae import SAE
from real.sae_files import load_sae, save_sae
from real.sae_on_text import (
    TextActivations,
    cross_entropy,
    record_agreement,
    splice_losses,
    store_of,
    train_on_model,
    train_on_text,
)
from real.system import RealSystem
from real.text import Text, token_blocks

WIDTH, FEATURES = 16, 24
CONFIG = RealConfig(context=16, batch_tokens=64, n_tokens=600, sae="made in the test")


def some_sae(width=WIDTH, **changes) -> SAE:
    def draw(*shape, seed):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

    parts = {
        "W_enc": draw(width, FEATURES, seed=1),
        "W_dec": draw(FEATURES, width, seed=2),
        "b_enc": draw(FEATURES, seed=3),
        "b_dec": draw(width, seed=4),
    }
    return SAE(**({"architecture": "topk", "k": 4} | parts | changes))


def some_blocks(n=20):
    text = Text([tiny_text()], "letters", "hash")
    return token_blocks(text, tiny_tokenizer(), context=16)[:n]


def some_system(**changes) -> RealSystem:
    config = dataclasses.replace(CONFIG, **changes)
    return RealSystem(tiny_language_model(), some_sae(), some_blocks(), config, text_sha256="hash")


def joined(batches) -> dict[str, torch.Tensor]:
    names = ("inputs", "activations", "outputs", "tokens", "sequences", "preactivations")
    batches = list(batches)
    values = {name: [getattr(batch, name) for batch in batches] for name in names}
    return {
        name: torch.cat([v.to_dense() if v.is_sparse_csr else v for v in vs]) for name, vs in values.items()
    }


def test_it_goes_through_the_door_with_all_its_abilities():
    system = some_system()
    check_system(system)
    assert all(isinstance(system, ability) for ability in (HasEncoder, HasSite, HasVocabulary, HasProvenance))
    assert system.provenance["inputs"]["text"] == "hash"
    assert len(system.vocabulary) == 257


@pytest.mark.parametrize("dropped", [True, False])
def test_a_stream_is_what_the_model_does_token_by_token(dropped):
    system = some_system(drop_first_position=dropped)
    seen = joined(system.stream())
    first, blocks = int(dropped), some_blocks()
    site, outputs = system.language_model.run(blocks, CONFIG.site)
    assert torch.equal(seen["tokens"], blocks[:, first:].flatten())
    assert torch.equal(seen["sequences"], torch.arange(20).repeat_interleave(16 - first))
    torch.testing.assert_close(seen["inputs"], site[:, first:].flatten(0, 1))
    torch.testing.assert_close(seen["outputs"], outputs[:, first:].flatten(0, 1))
    expected = system.sae.activations(seen["inputs"]).to_dense()
    torch.testing.assert_close(seen["activations"], expected)
    assert system.n_tokens == len(seen["tokens"]) == 20 * (16 - first)


def test_a_stream_starts_afresh_and_does_not_depend_on_the_batches():
    system = some_system()
    once, again = joined(system.stream()), joined(system.stream())
    at_once = joined(some_system(batch_tokens=10_000).stream())
    for name, values in once.items():
        assert torch.equal(values, again[name])
        torch.testing.assert_close(values, at_once[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_preactivations_are_affine_in_the_inputs_with_slope_encoder(normalisation):
    sae = some_sae(normalize_activations=normalisation)
    system = RealSystem(tiny_language_model(), sae, some_blocks(), CONFIG)
    seen = joined(system.stream())
    slope_part = seen["inputs"] @ system.encoder.T
    constant = seen["preactivations"] - slope_part
    torch.testing.assert_close(constant, constant[:1].expand_as(constant), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("normalisation", ["none", "layer_norm"])
def test_replacing_the_inputs_by_themselves_changes_nothing(normalisation):
    sae = some_sae(normalize_activations=normalisation)
    system = RealSystem(tiny_language_model(), sae, some_blocks(), CONFIG)
    one, other = joined(system.stream()), joined(system.stream_with(lambda inputs: inputs.clone()))
    for name, values in one.items():
        torch.testing.assert_close(values, other[name], rtol=1e-4, atol=1e-5)
    _, untouched = system.language_model.run(system.blocks, CONFIG.site)
    torch.testing.assert_close(one["outputs"], untouched[:, 1:].flatten(0, 1), rtol=1e-4, atol=1e-5)


def test_shares_of_its_surrogate_are_drawn_at_their_own_cost(monkeypatch):
    system = some_system()
    mean, covariance = np.zeros(WIDTH), np.eye(WIDTH)
    surrogate = GaussianSurrogate(system, mean, covariance)
    whole = list(surrogate.stream())
    assert len(whole) > 2
    runs, run = [], system.language_model.run
    monkeypatch.setattr(system.language_model, "run", lambda *a, **b: runs.append(a) or run(*a, **b))
    for place, _, batch in surrogate.share(1, 2):
        torch.testing.assert_close(batch.inputs, whole[place].inputs, rtol=0, atol=0)
        torch.testing.assert_close(batch.outputs, whole[place].outputs)
    assert len(runs) == len(whole) // 2


def test_replaced_inputs_reach_features_and_outputs_but_not_the_dropped_position():
    system = some_system()
    seen = joined(system.stream_with(torch.zeros_like))
    assert not seen["inputs"].any()
    assert (seen["preactivations"] == seen["preactivations"][0]).all()

    def blank(site):
        changed = site.clone()
        changed[:, 1:] = 0
        return changed

    _, outputs = system.language_model.run(some_blocks(), CONFIG.site, replace=blank)
    torch.testing.assert_close(seen["outputs"], outputs[:, 1:].flatten(0, 1))


def test_an_sae_of_another_width_is_refused_naming_both():
    with pytest.raises(ValueError, match="width 12, which the SAE reads, found width 16"):
        RealSystem(tiny_language_model(), some_sae(width=12), some_blocks(), CONFIG)


def of_metadata(**metadata) -> RealSystem:
    return RealSystem(tiny_language_model(), some_sae(metadata=metadata), some_blocks(), CONFIG)


@pytest.mark.parametrize(
    "site", ["blocks.1.hook_resid_pre", "blocks.0.hook_resid_post", "ln2.hook_normalized"]
)
def test_an_sae_of_another_site_is_refused_naming_both(site):
    with pytest.raises(
        ValueError, match=f"site {site}, where .* was trained, found {CONFIG.site}: give --site"
    ):
        of_metadata(hook_name=site)


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        ("", CONFIG.site),
        (CONFIG.site, CONFIG.site),
        ("transformer.h.0.mlp", CONFIG.site),
        ("blocks.0.hook_resid_post", "blocks.1.hook_resid_pre"),
        ("blocks.1.hook_resid_pre", "transformer.h.0"),
    ],
)
def test_another_name_of_the_same_site_is_no_other_site(trained, asked):
    config, sae = dataclasses.replace(CONFIG, site=asked), some_sae(metadata={"hook_name": trained})
    check_system(RealSystem(tiny_language_model(), sae, some_blocks(), config))


def test_an_sae_of_other_weights_is_refused_naming_both():
    own = tiny_language_model().sha256
    check_system(of_metadata(model_sha256=own))
    with pytest.raises(ValueError, match=f"sha256 0123456789ab..., found {own[:12]}"):
        of_metadata(model_sha256="0123456789abcdef")


def test_the_middle_of_the_stream_cannot_be_measured_and_is_refused_at_once():
    with pytest.raises(ValueError, match="stream passes by"):
        some_system(site="blocks.0.hook_resid_mid")


def test_a_bos_stands_first_where_the_sae_was_trained_with_one_and_it_is_no_eos(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "!"
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text(tiny_text())
    save_sae(some_sae(metadata={"prepend_bos": True}), tmp_path / "with")
    save_sae(some_sae(metadata={"prepend_bos": False}), tmp_path / "without")
    names = {"model": str(tmp_path / "model"), "text": str(tmp_path / "text.txt")}
    config = dataclasses.replace(CONFIG, **names, sae=str(tmp_path / "with"))
    system = RealSystem.load(config)
    assert set(system.blocks[:, 0].tolist()) == {tokenizer.bos_token_id}
    assert tokenizer.bos_token_id not in system.blocks[:, 1:]
    plain = RealSystem.load(dataclasses.replace(config, sae=str(tmp_path / "without")))
    assert tokenizer.bos_token_id not in plain.blocks
    with pytest.raises(ValueError, match="found sequences without"):
        plain.with_sae(str(tmp_path / "with"))
    tiny_tokenizer().save_pretrained(tmp_path / "model")  # bos and eos are one: it stands between texts
    assert (RealSystem.load(config).blocks == 256).sum() <= 1


def test_a_system_is_loaded_from_what_its_config_names(tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    save_sae(some_sae(), tmp_path / "sae")
    save_sae(some_sae(k=2), tmp_path / "other")
    (tmp_path / "text.txt").write_text(tiny_text())
    config = dataclasses.replace(
        CONFIG, model=str(tmp_path / "model"), sae=str(tmp_path / "sae"), text=str(tmp_path / "text.txt")
    )
    system = RealSystem.load(config)
    assert system.n_tokens == 600
    check_system(system)
    other = system.with_sae(str(tmp_path / "other"))
    assert torch.equal(other.blocks, system.blocks)
    assert next(other.stream()).activations.values().numel() <= 2 * 60


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"context": 2}, "expected a context of 3 tokens or more"),
        ({"batch_tokens": 8}, "expected batch_tokens >= context"),
        ({"n_tokens": 0}, "expected n_tokens of 1 or more"),
        ({"site": ""}, "expected a site, found nothing"),
        ({"seed": -1}, "expected a seed from 0"),
    ],
)
def test_configs_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **wrong)


def test_training_activations_pass_over_the_whole_text_and_repeat_part_by_part():
    model, blocks = tiny_language_model(), some_blocks(8)
    source = TextActivations(model, blocks, CONFIG, seed=0)
    whole = torch.cat([source(part, 60) for part in range(2)])  # 15 positions a sequence: 8 sequences
    site = model.activations(blocks, CONFIG.site)[:, 1:].flatten(0, 1)
    torch.testing.assert_close(whole.sum(0), site.sum(0), rtol=1e-4, atol=1e-3)
    assert torch.equal(source(1, 60), whole[60:])
    assert not torch.allclose(torch.cat([source(2, 60), source(3, 60)]), whole)  # another order
    assert source(5, 100).shape == (100, WIDTH)  # more than a whole pass holds no surprise


def test_kept_activations_are_the_same_rows_in_half_precision(tmp_path):
    model, blocks = tiny_language_model(), some_blocks(8)
    fresh = TextActivations(model, blocks, CONFIG, seed=0)
    kept = dataclasses.replace(fresh, store=store_of(tmp_path, model, blocks, CONFIG))
    for part in (0, 3, 0):
        assert torch.equal(kept(part, 60), fresh(part, 60).half().float())
    with pytest.raises(ValueError, match="expected activations of site"):
        store_of(tmp_path, model, blocks, dataclasses.replace(CONFIG, site="blocks.1.hook_mlp_out"))


def test_cross_entropy_is_the_models_own():
    model, blocks = tiny_language_model(), some_blocks()
    config = dataclasses.replace(CONFIG, drop_first_position=False)
    theirs = model.model(blocks, labels=blocks).loss.item()
    assert cross_entropy(model, blocks, config, None) == pytest.approx(theirs, rel=1e-5)


def test_an_sae_that_loses_nothing_costs_nothing_and_one_that_writes_zeros_costs_all():
    eye = torch.eye(WIDTH)
    both_signs = {"W_enc": torch.cat([eye, -eye], 1), "W_dec": torch.cat([eye, -eye])}
    perfect = some_sae(architecture="standard", b_enc=torch.zeros(32), b_dec=torch.zeros(16), **both_signs)
    model, blocks = tiny_language_model(), some_blocks()
    found = splice_losses(model, perfect, blocks, CONFIG)
    assert found["loss_recovered"] == pytest.approx(1.0, abs=1e-4)
    silent = some_sae(W_dec=torch.zeros(FEATURES, WIDTH), b_dec=torch.zeros(WIDTH))
    assert splice_losses(model, silent, blocks, CONFIG)["loss_recovered"] == pytest.approx(0.0, abs=1e-6)


def test_an_sae_trained_on_a_text_is_saved_with_its_quality(tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text(tiny_text())
    config = dataclasses.replace(CONFIG, model=str(tmp_path / "model"), text=str(tmp_path / "text.txt"))
    small = SAEConfig(n_features=32, k=4, n_activations=4096, batch=64, part=512, learning_rate=1e-2)
    train_on_text(small, config, tmp_path / "sae")
    metadata = load_sae(tmp_path / "sae").metadata
    assert 0 < metadata["quality"]["explained_variance"] < 1
    assert metadata["quality"]["l0"] <= 4
    assert metadata["hook_name"] == CONFIG.site
    assert metadata["note"] == "32 features, TopK, k = 4, decoder trained, 4,096 activations"
    trained = load_sae(tmp_path / "sae")
    turned = {"W_enc": trained.W_enc.flip(1), "W_dec": trained.W_dec.flip(0), "b_enc": trained.b_enc.flip(0)}
    save_sae(dataclasses.replace(trained, **turned), tmp_path / "other")  # the same features, last first
    found = record_agreement(tmp_path / "sae", tmp_path / "other", config)
    assert found.mean == pytest.approx(1.0)
    quality = load_sae(tmp_path / "sae").metadata["quality"]
    assert quality == metadata["quality"] | {"agreement": found.mean, "agreement_null": found.null_mean}


SMALL = SAEConfig(n_features=32, k=4, n_activations=1024, batch=64, part=512, checkpoint_every=4)


def test_a_site_where_nothing_can_be_spliced_in_is_told_before_training(tmp_path):
    config = dataclasses.replace(CONFIG, site="blocks.0.hook_resid_mid")
    with pytest.raises(ValueError, match=r"expected a site .*, found .*hook_resid_mid"):
        train_on_model(tiny_language_model(), some_blocks(), SMALL, config, tmp_path / "sae")
    assert not list(tmp_path.iterdir())


def test_a_text_of_one_sequence_leaves_nothing_to_judge_by(tmp_path):
    with pytest.raises(ValueError, match=r"expected 2 sequences of 16 tokens or more.*, found 1"):
        train_on_model(tiny_language_model(), some_blocks(1), SMALL, CONFIG, tmp_path / "sae")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", ["site", "text", "model"])
def test_a_stopped_training_does_not_go_on_with_something_else(tmp_path, changed):
    def stop(done, of):
        if done > 512:
            raise KeyboardInterrupt

    model, blocks, out = tiny_language_model(), some_blocks(), tmp_path / "sae"
    with pytest.raises(KeyboardInterrupt):
        train_on_model(model, blocks, SMALL, CONFIG, out, progress=stop)
    site = "blocks.1.hook_mlp_out" if changed == "site" else CONFIG.site
    config = dataclasses.replace(CONFIG, site=site)
    if changed == "model":
        model.model.get_output_embeddings().weight += 1.0
    other = some_blocks(19) if changed == "text" else blocks
    with pytest.raises(ValueError, match=r"expected activations of .*, with which .* began, found"):
        train_on_model(model, other, SMALL, config, out)
    assert not out.exists()


def test_a_name_is_that_of_a_bundled_sae_unless_a_folder_with_an_sae_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "topk-4096-seed0"
    bundled = BUNDLED / "saes" / name
    assert sae_folder(name) == bundled
    (tmp_path / name).mkdir()
    assert sae_folder(name) == bundled  # there is no SAE in it
    save_sae(some_sae(), tmp_path / name)
    assert sae_folder(name) == Path(name)
    for path in (".", "..", f"./{name}/", f"../saes/{name}", str(bundled)):
        assert sae_folder(path) == Path(path)
    with pytest.raises(
        ValueError, match=r"found nothing at topk: check the path; bundled are .*topk-4096-seed0"
    ):
        sae_folder("topk")


def test_features_of_a_signed_sae_fire_in_both_senses_by_their_size():
    sae = some_sae(architecture="abstopk")
    system = RealSystem(tiny_language_model(), sae, some_blocks(), CONFIG)
    batch = check_system(system)
    signed = sae.activations(batch.inputs).to_dense()
    assert (signed < 0).any()
    torch.testing.assert_close(batch.activations.to_dense(), signed.abs(), rtol=0, atol=0)
    evidence = measure(system)
    assert evidence.counts.sum() == 4 * evidence.n_tokens
    assert is_signed(evidence.provenance)
    assert is_signed(GaussianSurrogate(system, np.zeros(WIDTH), np.eye(WIDTH)).provenance)
    assert not is_signed(measure(some_system()).provenance)
