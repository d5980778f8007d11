import json

import pytest
import torch
from tiny_models import FAMILIES, SIZE, tiny_language_model, tiny_model, tiny_text, tiny_tokenizer

from real.language_model import LanguageModel
from real.lm_scoring import score
from real.sites import HOOKS
from real.text import Text

TOKENS = torch.randint(256, (3, 10), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_add_up_to_the_residual_stream(family):
    model = tiny_language_model(family)

    def at(site):
        return model.activations(TOKENS, f"blocks.{site}")

    hidden = model.model(TOKENS, output_hidden_states=True).hidden_states
    torch.testing.assert_close(at("0.hook_resid_pre"), hidden[0])
    torch.testing.assert_close(at("0.hook_resid_post"), hidden[1])
    torch.testing.assert_close(at("1.hook_resid_pre"), hidden[1])
    written = at("1.hook_attn_out") + at("1.hook_mlp_out")
    torch.testing.assert_close(at("1.hook_resid_pre") + written, at("1.hook_resid_post"))
    if family != "gpt_neox":  # attention and MLP side by side: nothing lies between them
        torch.testing.assert_close(at("1.hook_resid_pre") + at("1.hook_attn_out"), at("1.hook_resid_mid"))


def model_of(family, **changes):
    """A small random model of any of transformers' families."""
    import transformers

    config = getattr(transformers, f"{family}Config")(
        **SIZE, **changes, intermediate_size=24, pad_token_id=None
    )
    config.num_key_value_heads = 1
    torch.manual_seed(0)
    return LanguageModel(getattr(transformers, f"{family}ForCausalLM")(config), tiny_tokenizer(), name="tiny")


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Olmo2", {}),  # a norm after attention and MLP, and none before
        ("Granite", {"residual_multiplier": 0.5}),
        ("Bloom", {}),  # the modules add the stream themselves
        ("Glm4", {"head_dim": 8}),  # four norms, and the names of Llama's for other ones
    ],
)
def test_sites_that_do_not_add_up_are_refused_and_the_stream_itself_is_not(family, changes):
    model = model_of(family, **changes)
    for site in ("hook_attn_out", "hook_mlp_out", "hook_resid_mid"):
        with pytest.raises(ValueError, match=rf"{site} of tiny to add up.* in the family {family.lower()}"):
            model.activations(TOKENS, f"blocks.1.{site}")
    hidden = model.model(TOKENS, output_hidden_states=True).hidden_states
    torch.testing.assert_close(model.activations(TOKENS, "blocks.0.hook_resid_post"), hidden[1])


def test_what_a_model_adds_in_place_does_not_reach_the_site():
    changes = {"new_decoder_architecture": False, "parallel_attn": True, "alibi": False}
    model = model_of("Falcon", **changes)  # its MLP's output takes up the attention's
    seen, _ = model.run(TOKENS, "blocks.1.hook_mlp_out")
    normed = model.activations(TOKENS, "transformer.h.1.mlp.input")
    torch.testing.assert_close(seen, model.model.transformer.h[1].mlp(normed))


def test_whether_sites_add_up_is_looked_at_once_and_only_where_it_is_in_doubt():
    model = tiny_language_model("llama")
    calls = []
    model.model.model.embed_tokens.register_forward_hook(lambda *_: calls.append("a pass"))
    model.activations(TOKENS, "blocks.0.hook_resid_post")
    assert len(calls) == 1
    for n_passes in (3, 4):
        model.activations(TOKENS, "blocks.0.hook_mlp_out")
        assert len(calls) == n_passes


@pytest.mark.parametrize(
    ("family", "down"), [("gpt2", "c_proj"), ("llama", "down_proj"), ("gpt_neox", "dense_4h_to_h")]
)
def test_the_mlps_hidden_layer_maps_to_its_output(family, down):
    model = tiny_language_model(family)
    last = next(module for path, module in model.model.named_modules() if path.endswith(f"0.mlp.{down}"))
    hidden = model.activations(TOKENS, "blocks.0.mlp.hook_post")
    torch.testing.assert_close(last(hidden), model.activations(TOKENS, "blocks.0.hook_mlp_out"))


def test_a_modules_path_is_a_site_too():
    model = tiny_language_model()
    mlp = model.activations(TOKENS, "transformer.h.1.mlp")
    assert torch.equal(mlp, model.activations(TOKENS, "blocks.1.hook_mlp_out"))
    normed = model.activations(TOKENS, "transformer.h.1.mlp.input")
    assert torch.equal(normed, model.activations(TOKENS, "transformer.h.1.ln_2"))


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_are_the_models_and_the_site_is_what_was_seen(family):
    model = tiny_language_model(family)
    site, probabilities = model.run(TOKENS, "blocks.0.hook_mlp_out")
    assert torch.equal(site, model.activations(TOKENS, "blocks.0.hook_mlp_out"))
    torch.testing.assert_close(probabilities, model.model(TOKENS).logits.softmax(-1))


def test_nothing_after_the_site_is_computed():
    model = tiny_language_model()
    calls = []
    model.model.transformer.h[1].register_forward_hook(lambda *_: calls.append("block 1"))
    model.activations(TOKENS, "blocks.0.hook_mlp_out")
    assert calls == []
    model.run(TOKENS, "blocks.0.hook_mlp_out")
    assert calls == ["block 1"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_replaced_site_changes_all_that_follows_and_leaves_no_trace(family):
    model = tiny_language_model(family)
    _, clean = model.run(TOKENS, "blocks.1.hook_resid_post")
    kept = model.activations(TOKENS, "blocks.1.hook_resid_post")
    site, spliced = model.run(TOKENS, "blocks.0.hook_mlp_out", replace=torch.zeros_like)
    assert not site.any()
    changed = model.activations(TOKENS, "blocks.1.hook_resid_post")
    assert torch.equal(changed, kept)  # the hook is gone
    assert not torch.allclose(clean, spliced)
    _, again = model.run(TOKENS, "blocks.1.hook_resid_post", replace=lambda _: kept)
    torch.testing.assert_close(again, clean)


def test_zeros_at_the_mlp_equal_a_model_whose_mlp_writes_nothing():
    model, silent = tiny_language_model(), tiny_language_model()
    with torch.no_grad():
        silent.model.transformer.h[0].mlp.c_proj.weight.zero_()
        silent.model.transformer.h[0].mlp.c_proj.bias.zero_()
    _, spliced = model.run(TOKENS, "blocks.0.hook_mlp_out", replace=torch.zeros_like)
    torch.testing.assert_close(spliced, silent.run(TOKENS, "blocks.0.hook_mlp_out")[1])


def test_vocabulary_names_every_output_column():
    names = tiny_language_model().vocabulary
    assert len(names) == 257
    assert names[256] == "<|end|>"
    assert {"a", " ", "\n"} <= set(names)
    assert "\ufffd" not in "".join(names)


def test_a_saved_folder_loads_with_the_same_weights(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded, made = LanguageModel.load(str(tmp_path)), tiny_language_model()
    assert loaded.sha256 == made.sha256
    assert torch.equal(
        loaded.run(TOKENS, "blocks.0.hook_mlp_out")[1], made.run(TOKENS, "blocks.0.hook_mlp_out")[1]
    )
    with torch.no_grad():
        next(made.model.parameters())[0, 0] += 1
    assert loaded.sha256 != made.sha256


@pytest.mark.parametrize(
    "site", ["blocks.7.hook_mlp_out", "blocks.0.hook_z", "transformer.h.0.nothing", "blocks.0"]
)
def test_a_site_that_does_not_exist_is_answered_with_those_that_do(site):
    with pytest.raises(ValueError, match="expected a site of tiny gpt2") as error:
        tiny_language_model().activations(TOKENS, site)
    assert "L from 0 to 1" in str(error.value)
    assert all(hook in str(error.value) for hook in HOOKS)


def test_parallel_blocks_have_no_middle_and_the_middle_is_not_replaced():
    with pytest.raises(ValueError, match="expected a site"):
        tiny_language_model("gpt_neox").activations(TOKENS, "blocks.0.hook_resid_mid")
    with pytest.raises(ValueError, match="stream passes by"):
        tiny_language_model().run(TOKENS, "blocks.0.hook_resid_mid", replace=torch.zeros_like)


def test_sequences_longer_than_the_context_are_refused():
    with pytest.raises(ValueError, match="at most 32 tokens, the context of tiny gpt2, found 40"):
        tiny_language_model().run(torch.zeros(1, 40, dtype=torch.int64), "blocks.0.hook_mlp_out")


def test_weights_that_are_not_finite_are_named():
    model = tiny_model()
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.bias[3] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in transformer.h.1.mlp.c_fc.bias"):
        LanguageModel(model, tiny_tokenizer(), name="broken")


def test_folders_that_are_not_whole_models_are_refused_in_one_line(tmp_path):
    def refusal():
        with pytest.raises(ValueError, match="expected") as error:
            LanguageModel.load(str(tmp_path / "model"))
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "found nothing at" in refusal()
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "safetensors" in refusal()
    weights.unlink()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"")
    assert "pytorch_model.bin, a pickle, which is never loaded" in refusal()
    (tmp_path / "model" / "config.json").unlink()
    assert "expected config.json" in refusal()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"n_layer": "two"}, "n_layer"),
        ({"n_layer": 1}, "expected weights of 1 layers .* found those of layer 1, counted from 0"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "a causal language model"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "expected a causal",
        ),
    ],
)
def test_configs_that_do_not_fit_the_weights_are_refused_in_one_line(tmp_path, changes, found):
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=found) as error:
        LanguageModel.load(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"expected a tokenizer in .* found one that knows no word"):
        LanguageModel.load(str(tmp_path))


def test_the_text_part_of_a_model_that_reads_images_is_one_like_any_other(tmp_path):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    more = {"num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "max_position_embeddings": 32}
    eyes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=SIZE | more | {"pad_token_id": None},
        vision_config=eyes | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=255,
    )
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = LanguageModel.load(str(tmp_path))
    assert model.context == 32
    assert model.activations(TOKENS, "blocks.1.hook_mlp_out").shape == (3, 10, 16)
    with pytest.raises(ValueError, match="L from 0 to 1"):
        model.activations(TOKENS, "blocks.2.hook_mlp_out")
    text = Text([tiny_text(3000)], "letters", "")
    assert score(model, text, context=16)["quality"]["scored_tokens"] > 0


def test_missing_weights_are_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["transformer.h.1.ln_2.bias"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"found 1 missing, such as transformer.h.1.ln_2.bias"):
        LanguageModel.load(str(tmp_path))
