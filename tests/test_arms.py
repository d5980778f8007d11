"""A user's own model and SAEs, from folders to Evidence and verdicts."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_text, tiny_tokenizer

from compare import arms
from compare.arms import models_behind, real_arms, recipe_like, short_names
from compare.cli import main
from compare.evidence import Evidence
from compare.run import ReportConfig
from real.config import BUNDLED, MODELS, RealConfig, SAEConfig
from real.language_model import LanguageModel
from real.sae import SAE
from real.sae_files import save_sae
from real.system import RealSystem

WIDTH, FEATURES = 16, 24


def save_some_sae(folder, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(FEATURES, WIDTH, generator=generator), dim=1)
    zeros = {"b_enc": torch.zeros(FEATURES), "b_dec": torch.zeros(WIDTH)}
    about = {"note": "made up", "quality": {"l0": 4.0}}
    save_sae(SAE(architecture="topk", W_enc=rows.T, W_dec=rows, k=4, metadata=about, **zeros), folder)


def save_plain_sae(folder, architecture: str, **more) -> None:
    """An SAE whose features lie along the axes, or are zero."""
    zeros = {"b_enc": torch.zeros(FEATURES), "b_dec": torch.zeros(WIDTH)}
    rows = torch.eye(FEATURES)[:, :WIDTH]
    save_sae(SAE(architecture=architecture, W_enc=rows.T, W_dec=rows, **zeros, **more), folder)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model, two SAEs and a text, in which commands run."""
    monkeypatch.chdir(tmp_path)
    tiny_model().save_pretrained("model")
    tiny_tokenizer().save_pretrained("model")
    (tmp_path / "text.txt").write_text(tiny_text())
    (tmp_path / "mine.toml").write_text("context = 16\nbatch_tokens = 64\n")
    for seed in (0, 1):
        save_some_sae(tmp_path / f"sae-{seed}", seed)
    return tmp_path


def cofire(monkeypatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["cofire", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (0, None)


def refused(monkeypatch, capsys, *words: str) -> str:
    """The one line with which bad input is refused."""
    monkeypatch.setattr("sys.argv", ["cofire", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_saes_given_together_are_replicates_of_one_system(here, monkeypatch):
    common = ["--config", "mine.toml", "--text", "text.txt", "--tokens", "2000", "--quiet"]
    common += ["--site", "blocks.0.hook_mlp_out", "--sae", "sae-0", "--sae", "sae-1"]
    cofire(monkeypatch, "measure", "model", "-o", "evidence", *common)
    cofire(
        monkeypatch, "measure", "model", "-o", "null", "--surrogate", "evidence", "--name", "a null", *common
    )
    seeds = [Evidence.load(here / "evidence" / str(number)) for number in (0, 1)]
    assert {one.name for one in seeds} == {"model blocks.0.hook_mlp_out sae-0, sae-1"}
    assert not torch.equal(torch.tensor(seeds[0].directions), torch.tensor(seeds[1].directions))
    names = [model["name"] for model in seeds[1].provenance["models"]]
    assert names == ["language model model", "SAE sae-0", "SAE sae-1"]
    assert seeds[0].provenance["models"][0]["quality"]["bits_per_byte"] > 0
    nulls = [json.loads((here / "null" / str(n) / "manifest.json").read_text()) for n in (0, 1)]
    assert {null["name"] for null in nulls} == {"a null"}


CONTROL_NAMES = {
    "blocks": "re-randomised model, embeddings kept",
    "all": "re-randomised model, embeddings drawn anew as well",
    "frozen": "frozen decoder, matched",
}


@pytest.mark.parametrize(("kind", "name"), CONTROL_NAMES.items())
def test_a_control_of_a_users_model_is_made_as_often_as_there_are_saes(kind, name, here, monkeypatch):
    monkeypatch.setattr(arms, "OWN_ACTIVATIONS", 10_240)
    common = ["--config", "mine.toml", "--text", "text.txt", "--tokens", "2000", "--quiet"]
    common += ["--site", "blocks.0.hook_mlp_out", "--sae", "sae-0", "--sae", "sae-1"]
    for out in ("null", "again"):
        cofire(monkeypatch, "measure", "model", "-o", out, "--control", kind, "--seed", "3", *common)
    nulls, again = ([Evidence.load(here / out / str(n)) for n in (0, 1)] for out in ("null", "again"))
    assert {one.name for one in nulls} == {name}
    weights = [one.provenance["inputs"]["model"] for one in nulls]
    assert weights == [one.provenance["inputs"]["model"] for one in again]
    trainings = [one.provenance["sae"]["metadata"]["training"] for one in nulls]
    assert [training["seed"] for training in trainings] == [3, 4]
    assert [training["matched_to"] for training in trainings] == (
        ["sae-0", "sae-1"] if kind == "frozen" else ["", ""]
    )
    assert [training["k"] for training in trainings] == [4, 4]  # the users'
    assert len({*weights, LanguageModel.load("model").sha256}) == (1 if kind == "frozen" else 3)
    assert not np.array_equal(nulls[0].directions, nulls[1].directions)
    (about,) = nulls[1].provenance["models"]
    assert about["name"] == f"SAE {name} of model, seed 2 of 2"
    assert ("decoder frozen at random directions" in about["note"]) == (kind == "frozen")
    assert 0 < about["quality"]["explained_variance"] < 1
    assert ("loss_recovered" in about["quality"]) == (kind == "frozen")
    assert all(np.array_equal(a.directions, b.directions) for a, b in zip(nulls, again, strict=True))


def test_the_sae_of_a_control_is_trained_as_the_users_was(here):
    asked = {"architecture": "standard", "l1": 3.0, "inputs": "whitened", "decoder": "isotropic", "k": 30}
    asked["n_activations"] = 700_000
    about = {"training": asdict(SAEConfig(**asked, dtype="float16"))}
    save_plain_sae(here / "mine", "standard", metadata=about)
    recipe, said = recipe_like(str(here / "mine"), 20, 2000)
    assert said == (
        "an SAE of its own, trained alike: 20 features, ReLU, L1 3, 700,000 activations, in batches of 512, "
        "of up to 2,000 of the tokens measured"
    )
    assert (recipe.kind, recipe.inputs, recipe.decoder) == ("ReLU, L1 3", "whitened", "trained")
    assert (recipe.n_features, recipe.k, recipe.part) == (20, 20, 1536)  # three steps of 512
    assert recipe_like(str(here / "mine"), 10**6, 2000)[0].n_features == FEATURES  # no more than the user's


def test_the_sae_of_a_control_sees_as_much_as_the_users_if_it_takes_no_longer_than_a_large_one(here):
    for saw, sees in (
        (9_600_000, 9_600_000),
        (10**6, 10**6),
        (10**12, 800_000 * 4096 * 512 // (FEATURES * WIDTH)),
    ):
        about = {"training": asdict(SAEConfig(n_features=FEATURES, k=4, n_activations=saw))}
        save_plain_sae(here / str(saw), "topk", k=4, metadata=about)
        recipe, said = recipe_like(str(here / str(saw)), 4096, 2000)
        assert recipe.n_activations == sees
        assert f"{sees:,} activations" in said
    # the bundled ones saw 2.4M, and of their size 800,000 are allowed
    assert recipe_like("topk-4096-seed0", 4096, 100_000)[0].n_activations == 800_000


@pytest.mark.parametrize("training", [None, "on a TPU", {"lr": 1e-3}, {"k": "ten"}, {"k": 0}])
def test_the_sae_of_a_control_is_of_the_users_kind_where_it_does_not_say_how_it_was_trained(training, here):
    config = json.loads((here / "sae-0/cfg.json").read_text())
    config["metadata"]["training"] = training
    (here / "sae-0/cfg.json").write_text(json.dumps(config))
    recipe, said = recipe_like(str(here / "sae-0"), 1024, 2000)
    assert said.startswith(f"an SAE of its own: {FEATURES} features, TopK, k = 4, 800,000 activations, ")
    assert recipe.inputs == "scaled"


def test_the_sae_of_a_control_of_an_sae_that_cannot_be_trained_here_is_a_topk_one(here):
    save_plain_sae(here / "jump", "jumprelu", threshold=torch.ones(FEATURES))
    _, said = recipe_like(str(here / "jump"), 1024, 2000)
    assert said.startswith(f"an SAE of its own: {FEATURES} features, TopK, k = {FEATURES}, ")


def test_what_has_no_such_control_is_refused(here, monkeypatch, capsys):
    (here / "toy.toml").write_text("n_seeds = 1\n")
    common = ["--text", "text.txt", "--site", "blocks.0.hook_mlp_out", "--sae", "sae-0", "-o", "null"]
    for words, found in (
        (["toy.toml", "-o", "null", "--control", "all"], "found a toy"),
        (["model", *common, "--control", "every"], "among 'frozen', 'blocks', 'all', found 'every'"),
        (["model", *common, "--control", ""], "among 'frozen', 'blocks', 'all', found ''"),
        (["model", *common, "--control", "all", "--surrogate", "none"], "a surrogate of it as well"),
    ):
        assert found in refused(monkeypatch, capsys, "measure", *words)
    assert not (here / "null").exists()


def test_a_wrong_second_sae_is_refused_before_the_first_is_measured(here, monkeypatch, capsys):
    rows = torch.eye(FEATURES)
    zeros = {"b_enc": torch.zeros(FEATURES), "b_dec": torch.zeros(FEATURES)}
    save_sae(SAE(architecture="topk", W_enc=rows.clone(), W_dec=rows, k=4, **zeros), here / "wide")
    common = ["--config", "mine.toml", "--text", "text.txt", "--site", "blocks.0.hook_mlp_out", "--quiet"]
    for second, found in (("wide", f"of width {FEATURES}, which the SAE reads"), ("none", "nothing at none")):
        words = ["measure", "model", "-o", "evidence", "--sae", "sae-0", "--sae", second, *common]
        for more in ([], ["--control", "frozen"]):
            assert found in refused(monkeypatch, capsys, *words, *more)
            assert not (here / "evidence").exists()


def test_where_nothing_can_be_written_is_told_before_the_work(here, monkeypatch, capsys):
    common = ["--config", "mine.toml", "--text", "text.txt", "--site", "blocks.0.hook_mlp_out", "--quiet"]
    for out, found in (
        ("text.txt/evidence", "where nothing can be written"),
        ("/", "a new folder, found /:"),
    ):
        assert found in refused(monkeypatch, capsys, "measure", "model", "-o", out, "--sae", "sae-0", *common)
    assert "a new folder, found .: remove" in refused(
        monkeypatch, capsys, "measure", "model", "-o", ".", "--sae", "sae-0", *common
    )
    for out in ("sae-0", "text.txt/table.csv", "/"):  # the Evidence, which is looked at later, is not there
        assert "write" in refused(monkeypatch, capsys, "calibrate", "none", "-o", out)
    assert "an Evidence folder" in refused(monkeypatch, capsys, "calibrate", "none", "-q", "-o", "/dev/null")


def test_the_default_arms_are_three_seeds_and_the_strongest_controls_as_many():
    seeds = {arm.name: arm.n_systems for arm in real_arms(ReportConfig())}
    assert seeds["language model"] == seeds["Gaussian surrogate"] == 3
    assert seeds["re-randomised model, embeddings kept"] == seeds["frozen decoder, matched"] == 3
    assert seeds["re-randomised model, embeddings drawn anew as well"] == 1
    with_effects = {arm.name for arm in real_arms(ReportConfig()) if arm.effects is not None}
    assert with_effects == {"language model", "frozen decoder, matched"}
    quick = {arm.name: arm.note for arm in real_arms(ReportConfig(quick=True).sized)}
    assert "re-randomised model, embeddings drawn anew as well" not in quick
    for name in ("frozen decoder, matched", "re-randomised model, embeddings kept"):
        assert ": 512 features, TopK, k = 16, 800,000 activations" in quick[name]


def test_a_folder_with_a_model_comes_before_the_bundled_one_of_its_name(here):
    assert RealConfig(model="sibling-0").bundled == MODELS["sibling-0"]
    (here / "sibling-0").mkdir()
    assert RealConfig(model="sibling-0").bundled == MODELS["sibling-0"]  # there is no model in it
    tiny_model().save_pretrained("sibling-0")
    config = RealConfig(model="sibling-0")
    assert (config.bundled, config.model_source) == (None, "sibling-0")


def test_paths_are_told_apart_by_as_few_parts_as_do():
    assert short_names(["runs/sae-0", "runs/sae-1"]) == ["sae-0", "sae-1"]
    assert short_names(["a/sae", "b/sae", "b/other"]) == ["a/sae", "b/sae", "b/other"]
    assert short_names(["one", "one"]) == ["one", "one"]


@pytest.mark.parametrize("name", MODELS)
def test_a_bundled_model_is_better_than_the_trigram_and_its_sae_has_left_its_start(name):
    sae = "topk-4096-seed0" if name == "bundled" else f"topk-1024-{name}"
    config = RealConfig(model=name, sae=sae, n_tokens=500)
    system = RealSystem.load(config)  # asks that these are the weights that the SAE was trained on
    assert system.provenance["sae"]["metadata"]["hook_name"] == config.site
    model, dictionary = (one["quality"] for one in models_behind(config, [sae]))
    assert model["bits_per_byte"] < model["trigram"]
    assert model["held_out_documents"] == 106
    assert dictionary["explained_variance"] > 0.85
    assert dictionary["cosine_with_start"] < 0.3
    assert dictionary["agreement"] > dictionary["agreement_null"] + 0.2


def test_what_ships_is_under_60_megabytes():
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) < 60e6
