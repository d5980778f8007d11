import dataclasses
import json
from pathlib import Path

import pytest
import torch

from real.sae import SAE, sparse_rows, top_k
from real.sae_files import add_metadata, load_sae, save_sae

WIDTH, FEATURES, TOKENS = 6, 20, 50


def draw(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(architecture="topk", **changes) -> SAE:
    extra = {
        "topk": {"k": 3},
        "abstopk": {"k": 3},
        "jumprelu": {"threshold": draw(FEATURES, seed=5).abs()},
        "gated": {"b_mag": draw(FEATURES, seed=6), "r_mag": draw(FEATURES, seed=7, scale=0.3)},
    }
    parts = {
        "W_enc": draw(WIDTH, FEATURES, seed=1),
        "W_dec": draw(FEATURES, WIDTH, seed=2),
        "b_enc": draw(FEATURES, seed=3, scale=0.3),
        "b_dec": draw(WIDTH, seed=4),
    }
    return SAE(architecture=architecture, **(parts | extra.get(architecture, {}) | changes))


SITE = draw(TOKENS, WIDTH, seed=9) + 0.5


def dense(activations):
    return activations.to_dense() if activations.is_sparse_csr else activations


def by_definition(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    """Activations as the papers define them, one line an architecture."""
    centred = x - sae.b_dec * sae.apply_b_dec_to_input
    before = centred @ sae.W_enc + sae.b_enc
    if sae.architecture == "standard":
        return before.clamp(min=0)
    if sae.architecture == "jumprelu":
        return torch.where(before > sae.threshold, before, 0.0)
    if sae.architecture == "gated":
        magnitude = centred @ (sae.W_enc * sae.r_mag.exp()) + sae.b_mag
        return (before > 0) * magnitude.clamp(min=0)
    score = before.abs() if sae.architecture == "abstopk" else before
    kth = score.sort(descending=True).values[:, sae.k - 1 : sae.k]
    kept = torch.where(score >= kth, before, 0.0)
    return kept if sae.architecture == "abstopk" else kept.clamp(min=0)


ALL = ["standard", "topk", "abstopk", "jumprelu", "gated"]


@pytest.mark.parametrize("is_shifted", [True, False])
@pytest.mark.parametrize("architecture", ALL)
def test_activations_are_those_of_the_definition(architecture, is_shifted):
    sae = make(architecture, apply_b_dec_to_input=is_shifted)
    found = dense(sae.activations(sae.read(SITE)))
    torch.testing.assert_close(found, by_definition(sae, SITE), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.reconstruct(SITE), found @ sae.W_dec + sae.b_dec, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ALL)
def test_preactivations_are_affine_in_the_inputs_with_the_encoder_as_slope(architecture):
    sae = make(architecture)
    moved = sae.preactivations(SITE + 1.0) - sae.preactivations(SITE)
    torch.testing.assert_close(
        moved, (torch.ones(1, WIDTH) @ sae.W_enc).expand_as(moved), rtol=1e-4, atol=1e-4
    )


def test_the_largest_are_kept_and_negative_ones_are_off():
    before = torch.tensor([[3.0, -9.0, 1.0, 2.0], [-1.0, -2.0, -3.0, 0.5]])
    found = sparse_rows(*top_k(before, 2, signed=False), n_features=4)
    assert found.to_dense().tolist() == [[3, 0, 0, 2], [0, 0, 0, 0.5]]
    assert found.values().tolist() == [3, 2, 0.5]  # zeros are not stored
    signed = sparse_rows(*top_k(before, 2, signed=True), n_features=4)
    assert signed.to_dense().tolist() == [[3, -9, 0, 0], [0, -2, -3, 0]]


def test_layer_norm_is_undone_in_the_sites_own_scale():
    sae = make("standard", normalize_activations="layer_norm")
    centred = SITE - SITE.mean(1, keepdim=True)
    spread = centred.std(1, keepdim=True)
    inputs = centred / (spread + 1e-5)
    torch.testing.assert_close(sae.read(SITE), inputs)
    written = by_definition(sae, inputs) @ sae.W_dec + sae.b_dec
    expected = written * spread + SITE.mean(1, keepdim=True)
    torch.testing.assert_close(sae.reconstruct(SITE), expected, rtol=1e-4, atol=1e-4)


def test_constant_norm_gives_every_token_the_same_length():
    sae = make("standard", normalize_activations="constant_norm_rescale")
    read = sae.read(SITE)
    torch.testing.assert_close(read.norm(dim=1), torch.full((TOKENS,), WIDTH**0.5))
    torch.testing.assert_close(sae.write(read, SITE), SITE)


@pytest.mark.parametrize("architecture", ALL)
def test_what_is_saved_is_loaded(tmp_path, architecture):
    sae = make(architecture, metadata={"hook_name": "blocks.0.hook_mlp_out", "of_ours": [1, 2]})
    save_sae(sae, tmp_path / "sae")
    save_sae(sae, tmp_path / "sae")  # a second time, in place of the first
    loaded = load_sae(tmp_path / "sae")
    for field in dataclasses.fields(SAE):
        mine, back = getattr(sae, field.name), getattr(loaded, field.name)
        if field.name == "metadata":
            mine = mine | {"sae_lens_version": "6.0.0"}
        assert torch.equal(mine, back) if isinstance(mine, torch.Tensor) else mine == back, field.name
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]


def test_half_precision_on_disk_is_read_as_float32(tmp_path):
    save_sae(make(), tmp_path / "sae", dtype=torch.float16)
    loaded = load_sae(tmp_path / "sae")
    assert loaded.W_dec.dtype == torch.float32
    assert torch.equal(loaded.W_dec, make().W_dec.half().float())


def test_the_config_has_the_keys_that_saelens_writes(tmp_path):
    save_sae(make(), tmp_path / "sae")
    add_metadata(tmp_path / "sae", {"l0": 3.0})
    config = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    wanted = (
        "architecture d_in d_sae dtype device apply_b_dec_to_input normalize_activations reshape_activations"
    )
    assert set(config) == {*wanted.split(), "metadata", "k", "rescale_acts_by_decoder_norm"}
    assert (config["d_in"], config["d_sae"], config["k"]) == (WIDTH, FEATURES, 3)
    # of a config without a version of 6 or newer SAELens keeps no key of metadata that it does not know
    assert load_sae(tmp_path / "sae").metadata == {"sae_lens_version": "6.0.0", "l0": 3.0}


def edit(folder, **changes):
    path = folder / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_decoder_norms_that_choose_the_top_k_are_folded_in(tmp_path):
    sae = make()
    save_sae(sae, tmp_path / "sae")
    edit(tmp_path / "sae", rescale_acts_by_decoder_norm=True)
    loaded = load_sae(tmp_path / "sae")
    norms = sae.W_dec.norm(dim=1)
    before = ((SITE - sae.b_dec) @ sae.W_enc + sae.b_enc) * norms
    expected = sparse_rows(*top_k(before, 3, signed=False), n_features=FEATURES).to_dense()
    torch.testing.assert_close(dense(loaded.activations(SITE)), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        loaded.reconstruct(SITE), expected / norms @ sae.W_dec + sae.b_dec, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(loaded.W_dec.norm(dim=1), torch.ones(FEATURES))


def test_a_topk_of_an_older_config_is_not_read_as_relu(tmp_path):
    save_sae(make(), tmp_path / "sae")
    edit(
        tmp_path / "sae",
        architecture="standard",
        k=None,
        activation_fn_str="topk",
        activation_fn_kwargs={"k": 3},
    )
    loaded = load_sae(tmp_path / "sae")
    assert (loaded.architecture, loaded.k) == ("topk", 3)


def trained_on(hook_name: str, *, model_name: str = "gpt2-small", is_centred: bool = True) -> dict:
    """Metadata of an SAE that SAELens trained."""
    kwargs = {"center_writing_weights": is_centred}
    return {"hook_name": hook_name, "model_name": model_name, "model_from_pretrained_kwargs": kwargs}


@pytest.mark.parametrize("site", ["hook_resid_pre", "hook_resid_mid", "hook_mlp_out", "hook_attn_out"])
def test_an_sae_of_a_model_with_centred_writing_weights_centres_what_it_reads(tmp_path, site):
    save_sae(make(metadata=trained_on(f"blocks.3.{site}")), tmp_path / "sae")
    loaded = load_sae(tmp_path / "sae")
    torch.testing.assert_close(loaded.read(SITE), SITE - SITE.mean(1, keepdim=True))
    torch.testing.assert_close(loaded.write(loaded.read(SITE), SITE), SITE)


@pytest.mark.parametrize(
    "metadata",
    [
        trained_on("blocks.3.mlp.hook_post"),  # not written to the residual stream
        trained_on("blocks.3.hook_resid_pre", model_name="gemma-2b"),  # has no LayerNorm
        trained_on("blocks.3.hook_resid_pre", is_centred=False),
    ],
)
def test_what_transformer_lens_does_not_centre_is_read_as_it_is(tmp_path, metadata):
    save_sae(make(metadata=metadata), tmp_path / "sae")
    assert torch.equal(load_sae(tmp_path / "sae").read(SITE), SITE)


def test_activations_are_centred_before_their_length_is_set(tmp_path):
    sae = make(normalize_activations="constant_norm_rescale", metadata=trained_on("blocks.3.hook_resid_pre"))
    save_sae(sae, tmp_path / "sae")
    loaded = load_sae(tmp_path / "sae")
    centred = SITE - SITE.mean(1, keepdim=True)
    torch.testing.assert_close(loaded.read(SITE), centred * WIDTH**0.5 / centred.norm(dim=1, keepdim=True))
    torch.testing.assert_close(loaded.write(loaded.read(SITE), SITE), SITE)


@pytest.mark.parametrize("rescale", [False, True])
def test_the_factor_of_an_sae_still_in_training_is_folded_in(tmp_path, rescale):
    sae, factor = make(), 0.25
    save_sae(sae, tmp_path / "sae")
    edit(tmp_path / "sae", rescale_acts_by_decoder_norm=rescale)
    theirs = load_sae(tmp_path / "sae")
    edit(tmp_path / "sae", normalize_activations="expected_average_only_in")
    scaler = {"scaling_factor": factor, "has_whitening": False}
    (tmp_path / "sae" / "activation_scaler.json").write_text(json.dumps(scaler))
    loaded = load_sae(tmp_path / "sae")
    # in training the SAE sees activations times the factor, and what it gives is divided by it
    torch.testing.assert_close(
        loaded.reconstruct(SITE), theirs.reconstruct(factor * SITE) / factor, rtol=1e-4, atol=1e-4
    )
    assert loaded.normalize_activations == "none"


@pytest.mark.parametrize(
    ("normalisation", "scaler"),
    [
        ("expected_average_only_in", None),
        (True, None),  # how SAELens 2 called it
        ("covariance_whitening", {"scaling_factor": None, "has_whitening": True}),
    ],
)
def test_weights_into_which_nothing_was_folded_yet_are_refused(tmp_path, normalisation, scaler):
    save_sae(make(), tmp_path / "sae")
    edit(tmp_path / "sae", normalize_activations=normalisation)
    if scaler is not None:
        (tmp_path / "sae" / "activation_scaler.json").write_text(json.dumps(scaler))
    with pytest.raises(ValueError, match="folded into the weights, found it still to be done"):
        load_sae(tmp_path / "sae")


@pytest.mark.parametrize(
    "changes",
    [
        {"normalize_activations": False},
        {"normalize_activations": None},
        {"reshape_activations": None},
        {"metadata": None},
        {"finetuning_scaling_factor": True},  # and no tensor of that name
    ],
)
def test_configs_of_older_versions_mean_what_they_meant(tmp_path, changes):
    save_sae(make(), tmp_path / "sae")
    edit(tmp_path / "sae", **changes)
    assert torch.equal(load_sae(tmp_path / "sae").reconstruct(SITE), make().reconstruct(SITE))


def test_the_site_is_known_under_its_oldest_name(tmp_path):
    save_sae(make(), tmp_path / "sae")
    edit(tmp_path / "sae", hook_point="blocks.8.hook_resid_pre", metadata={})
    assert load_sae(tmp_path / "sae").metadata["hook_name"] == "blocks.8.hook_resid_pre"


def test_finetuning_factors_of_one_are_left_out_and_others_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    save_sae(make(), tmp_path / "sae")
    weights = tmp_path / "sae" / "sae_weights.safetensors"
    tensors = load_file(weights)
    save_file(tensors | {"scaling_factor": torch.ones(FEATURES)}, weights)
    assert torch.equal(load_sae(tmp_path / "sae").reconstruct(SITE), make().reconstruct(SITE))
    save_file(tensors | {"scaling_factor": torch.full((FEATURES,), 1.1)}, weights)
    with pytest.raises(ValueError, match="expected a scaling_factor of 1"):
        load_sae(tmp_path / "sae")


def test_saving_replaces_nothing_but_an_sae(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    save_sae(make(), full)  # an empty folder is taken
    (full / "training.jsonl").write_text("")
    save_sae(make(), full)
    assert not (full / "training.jsonl").exists()
    (full / "thesis.txt").write_text("five years of work")
    (tmp_path / "file").write_text("a letter")
    for folder, found in ((full, "thesis.txt"), (tmp_path / "file", "a file")):
        with pytest.raises(ValueError, match=f"found .*{found}.*: name another folder"):
            save_sae(make(), folder)
    assert (full / "thesis.txt").read_text() == "five years of work"
    assert (tmp_path / "file").read_text() == "a letter"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_folder_that_cannot_be_replaced_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected a folder with a name of its own"):
        save_sae(make(), Path(name))


def test_a_site_of_another_width_is_refused_naming_both():
    with pytest.raises(ValueError, match=f"width {WIDTH}, which the SAE reads, found width 8"):
        make().read(torch.zeros(3, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "transcoder"}, "found 'transcoder'"),
        ({"normalize_activations": "odd"}, "found 'odd'"),
        ({"k": 0}, "expected k from 1 to 20"),
        ({"k": None}, "found k=None"),
        ({"b_dec": torch.full((WIDTH,), float("nan"))}, "6 of 6 numbers in b_dec NaN"),
        ({"architecture": "jumprelu", "threshold": None}, "expected threshold in a jumprelu"),
    ],
)
def test_parts_that_do_not_make_an_sae_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def damaged(tmp_path, how):
    """A saved SAE to which `how` has been done."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "sae"
    save_sae(make(), folder)
    weights = folder / "sae_weights.safetensors"
    tensors = load_file(weights)
    if how == "transposed":
        save_file(tensors | {"W_dec": tensors["W_dec"].T.contiguous()}, weights)
    elif how == "lacks a tensor":
        save_file({name: tensors[name] for name in ("W_enc", "W_dec", "b_dec")}, weights)
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "no weights":
        weights.unlink()
    elif how == "pickle":
        weights.rename(folder / "ae.pt")
    elif how == "no json":
        (folder / "cfg.json").write_text("{")
    elif how == "other json":
        (folder / "cfg.json").write_text("[]")
    elif how == "heads":
        edit(folder, reshape_activations="hook_z")
    elif how == "metadata":
        edit(folder, metadata=["gpt2"])
    elif how == "k as text":
        edit(folder, k="3")
    elif how == "k broken":
        edit(folder, k=3.0)
    return folder


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("transposed", r"expected W_dec of shape \[20, 6\], .* found \[6, 20\]"),
        ("lacks a tensor", "found W_dec, W_enc, b_dec in"),
        ("truncated", "found [0-9]+ damaged bytes"),
        ("no weights", "found cfg.json: fetch sae_weights.safetensors"),
        ("pickle", "found ae.pt, a pickle.*Convert it"),
        ("no json", "expected JSON"),
        ("other json", "expected d_in and d_sae"),
        ("heads", "found 'hook_z'"),
        ("metadata", r"found \['gpt2'\]"),
        ("k as text", "expected a whole number as k in cfg.json, found '3'"),
        ("k broken", "found 3.0: mend it"),
    ],
)
def test_damaged_folders_are_refused_in_one_line(tmp_path, how, message):
    with pytest.raises(ValueError, match=message) as error:
        load_sae(damaged(tmp_path, how))
    assert "\n" not in str(error.value)


def test_a_missing_folder_and_a_lone_pickle_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found nothing at"):
        load_sae(tmp_path / "none")
    (tmp_path / "ae.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="a pickle"):
        load_sae(tmp_path / "ae.pt")


@pytest.mark.parametrize("architecture", ALL)
def test_saelens_loads_what_we_write_and_fires_the_same_features(tmp_path, architecture):
    sae_lens = pytest.importorskip("sae_lens")
    sae = make(architecture)
    save_sae(sae, tmp_path / "sae")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    torch.testing.assert_close(theirs.encode(SITE), dense(sae.activations(SITE)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs(SITE), sae.reconstruct(SITE), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["BatchTopK", "MatryoshkaBatchTopK"])
def test_we_load_what_saelens_makes_of_a_batch_topk_for_use(tmp_path, kind):
    """It writes one as a JumpReLU whose threshold is the mean least activation that training kept."""
    saes = pytest.importorskip("sae_lens.saes")
    shape = {"d_in": WIDTH, "d_sae": FEATURES, "k": 3.0}
    more = {"matryoshka_widths": [8, FEATURES]} if kind.startswith("Matryoshka") else {}
    trained = getattr(saes, f"{kind}TrainingSAE")(getattr(saes, f"{kind}TrainingSAEConfig")(**shape, **more))
    with torch.no_grad():
        trained.W_enc.copy_(draw(WIDTH, FEATURES, seed=1))
        trained.topk_threshold.fill_(0.5)
    trained.save_inference_model(tmp_path / "sae")
    theirs = saes.SAE.load_from_disk(tmp_path / "sae")
    loaded = load_sae(tmp_path / "sae")
    assert loaded.architecture == "jumprelu"
    found = dense(loaded.activations(SITE))
    assert 0 < (found > 0).double().mean() < 0.5
    torch.testing.assert_close(found, theirs.encode(SITE), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ALL)
def test_we_load_what_saelens_writes(tmp_path, architecture):
    sae_lens = pytest.importorskip("sae_lens")
    save_sae(make(architecture), tmp_path / "ours")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "ours")
    theirs.save_model(tmp_path / "theirs")
    loaded = load_sae(tmp_path / "theirs")
    torch.testing.assert_close(dense(loaded.activations(SITE)), theirs.encode(SITE), rtol=1e-5, atol=1e-5)
