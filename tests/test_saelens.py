"""SAELens' releases by name, with a stand-in of the package: fetched once, then a folder like any other."""

import sys
from types import ModuleType

import pytest
import torch

from real.config import RealConfig
from real.sae import SAE
from real.sae_files import load_sae, save_sae

NAME = "saelens:gpt2-small-res-jb:blocks.8.hook_resid_pre"


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[tuple[str, str]]:
    """What the stand-in was asked for; it knows one SAE."""
    seen = []
    weights = torch.randn(24, 16, generator=torch.Generator().manual_seed(0))
    known = SAE(
        architecture="standard", W_enc=weights.T, W_dec=weights, b_enc=torch.zeros(24), b_dec=torch.ones(16)
    )

    class Theirs:
        @classmethod
        def from_pretrained(cls, release, sae_id, device):
            seen.append((release, sae_id))
            if release != "gpt2-small-res-jb":
                raise ValueError(f"Release {release} not found\nin the directory")
            return cls()

        def save_model(self, path):
            save_sae(known, path)

    module = ModuleType("sae_lens")
    module.SAE = Theirs
    monkeypatch.setitem(sys.modules, "sae_lens", module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return seen


def test_a_release_is_fetched_once_and_read_like_any_folder(asked, tmp_path):
    config = RealConfig(sae=NAME)
    assert load_sae(config.sae_folder).n_features == load_sae(config.sae_folder).n_features == 24
    assert asked == [("gpt2-small-res-jb", "blocks.8.hook_resid_pre")]
    assert config.sae_folder.is_relative_to(tmp_path)


def test_ids_with_slashes_stay_apart(asked, tmp_path):
    folders = {RealConfig(sae=f"saelens:gpt2-small-res-jb:{id}").sae_folder for id in ("a/b", "a", "b")}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "cofire" / "saes"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("saelens:gpt2-small-res-jb", "expected saelens:RELEASE:SAE_ID, found"),
        ("saelens::blocks.8", "expected saelens:RELEASE:SAE_ID, found"),
        ("saelens:unknown:blocks.8", "found: Release unknown not found in the directory: check the names"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_in_one_line(asked, tmp_path, name, message):
    with pytest.raises(ValueError, match=message) as error:
        _ = RealConfig(sae=name).sae_folder
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cofire").rglob("cfg.json"))


def test_without_the_package_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"pip install 'cofire\[saelens\]'"):
        _ = RealConfig(sae=NAME).sae_folder
