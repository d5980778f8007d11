"""cofire agreement: how much of one SAE another has found, told in a line and kept with the first."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_cli import cofire
from test_real_system import CONFIG, some_sae
from tiny_models import tiny_model, tiny_text, tiny_tokenizer

from real.sae_files import load_sae, save_sae


@pytest.fixture
def reads(tmp_path, monkeypatch):
    """A config that reads a tiny text through a tiny model; two SAEs that differ in the order of features."""
    monkeypatch.chdir(tmp_path)
    tiny_model().save_pretrained("model")
    tiny_tokenizer().save_pretrained("model")
    (tmp_path / "text.txt").write_text(tiny_text())
    lines = ["[reads]", 'model = "model"', 'text = "text.txt"', f"context = {CONFIG.context}", 'sae = "none"']
    (tmp_path / "reads.toml").write_text("\n".join(lines))
    first = some_sae()
    order = torch.randperm(len(first.W_dec), generator=torch.Generator().manual_seed(0))
    turned = {"W_enc": first.W_enc[:, order], "W_dec": first.W_dec[order], "b_enc": first.b_enc[order]}
    save_sae(first, tmp_path / "first")
    save_sae(replace(first, **turned), tmp_path / "second")
    return tmp_path / "reads.toml"


def test_an_sae_found_again_in_another_order_agrees_wholly(reads, monkeypatch, capsys):
    status, out, _ = cofire(monkeypatch, capsys, "agreement", "first", "second", "--config", reads)
    assert status == 0
    assert out.startswith("mean largest cosine 1.000")
    assert "100% of the way" in out
    quality = load_sae(Path("first")).metadata["quality"]
    assert quality["agreement"] == pytest.approx(1.0)
    assert quality["agreement_null"] < 1
    assert "agreement" not in load_sae(Path("second")).metadata.get("quality", {})


def test_an_sae_is_no_other_seed_of_itself(reads, monkeypatch, capsys):
    status, _, err = cofire(monkeypatch, capsys, "agreement", "first", "first", "--config", reads)
    assert status == 2
    assert "expected another seed than first, found the same weights in first" in err
    assert "agreement" not in load_sae(Path("first")).metadata.get("quality", {})


def test_a_folder_without_an_sae_is_one_line(reads, monkeypatch, capsys):
    status, _, err = cofire(monkeypatch, capsys, "agreement", "first", "nothing", "--config", reads)
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert "nothing" in err
    assert "quality" not in json.loads((reads.parent / "first/cfg.json").read_text()).get("metadata", {})


def test_signed_saes_agree_where_half_the_directions_are_turned_round(reads, monkeypatch, capsys):
    first = replace(some_sae(), architecture="abstopk", b_enc=torch.zeros(24))
    signs = torch.where(torch.arange(24) % 2 == 0, 1.0, -1.0)
    save_sae(first, Path("first"))
    save_sae(replace(first, W_enc=first.W_enc * signs, W_dec=first.W_dec * signs[:, None]), Path("second"))
    status, out, _ = cofire(monkeypatch, capsys, "agreement", "first", "second", "--config", reads)
    assert status == 0
    assert out.startswith("mean largest cosine 1.000")


@pytest.mark.parametrize("silent", ["first", "second"])
def test_an_sae_in_which_nothing_fires_is_refused_and_nothing_is_kept(reads, monkeypatch, capsys, silent):
    save_sae(replace(some_sae(), b_enc=torch.full((24,), -1e9)), Path(silent))
    before = Path("first/cfg.json").read_text()
    status, _, err = cofire(monkeypatch, capsys, "agreement", "first", "second", "--config", reads)
    assert status == 2
    assert f"expected features that fire on the text, found none in {silent}" in err
    assert len(err.strip().splitlines()) == 1
    assert Path("first/cfg.json").read_text() == before
