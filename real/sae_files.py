"""SAEs on disk, as SAELens writes them: a folder with cfg.json and sae_weights.safetensors."""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from real.sae import ARCHITECTURES, SAE

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
FOLDED = ("expected_average_only_in", "covariance_whitening")
"""Normalisations that SAELens folds into the weights when it saves: nothing is left to do on reading."""


def load_sae(folder: Path, *, device: str = "cpu") -> SAE:
    """An SAE from a folder that SAELens or `save_sae` wrote, in float32.

    Decoder norms that take part in choosing the top k are folded into the encoder: activations stay.
    """
    config = read_config(folder)
    tensors = {name: tensor.to(device, torch.float32) for name, tensor in read_weights(folder).items()}
    architecture = _architecture(config)
    if "b_gate" in tensors:
        tensors["b_enc"] = tensors.pop("b_gate")
    wanted = {"W_enc", "W_dec", "b_enc", "b_dec", *ARCHITECTURES.get(architecture, ())}
    if set(tensors) != wanted:
        raise ValueError(
            f"expected tensors {', '.join(sorted(wanted))} of a {architecture} SAE, found "
            f"{', '.join(sorted(tensors))} in {folder / WEIGHTS_FILE}: config and weights "
            "do not belong together."
        )
    _check_sizes(config, tensors, folder)
    if config.get("rescale_acts_by_decoder_norm", False):
        norms = tensors["W_dec"].norm(dim=1)
        tensors["W_dec"] = tensors["W_dec"] / norms[:, None]
        tensors["W_enc"] = tensors["W_enc"] * norms
        tensors["b_enc"] = tensors["b_enc"] * norms
    return SAE(
        architecture=architecture,
        **tensors,
        k=config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k"),
        apply_b_dec_to_input=config.get("apply_b_dec_to_input", True),
        normalize_activations=_normalisation(config),
        metadata=_metadata(config),
    )


def save_sae(sae: SAE, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write an SAE so that SAELens loads it; the folder appears whole or not at all, replacing an older one.

    `dtype` is that of the numbers on disk; they are computed with in float32 whatever it is.
    """
    from safetensors.torch import save_file

    config = {
        "architecture": sae.architecture,
        "d_in": sae.width,
        "d_sae": sae.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": sae.normalize_activations.replace("centred", "none"),
        "reshape_activations": "none",
        "metadata": sae.metadata,
    }
    if sae.k is not None:
        config |= {"k": sae.k, "rescale_acts_by_decoder_norm": False}
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in sae.tensors().items()}
    if sae.architecture == "gated":
        tensors["b_gate"] = tensors.pop("b_enc")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        written = Path(scratch) / "sae"
        written.mkdir()
        save_file(tensors, written / WEIGHTS_FILE)
        (written / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.move(folder, Path(scratch) / "old")
        written.rename(folder)


def add_metadata(folder: Path, more: dict) -> None:
    """Put more into the metadata of an SAE folder's config."""
    config = read_config(folder)
    config["metadata"] = config.get("metadata", {}) | more
    unfinished = folder / f"{CONFIG_FILE}.partial"
    unfinished.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(folder / CONFIG_FILE)


def read_config(folder: Path) -> dict:
    """cfg.json as a dictionary; ValueError where there is no SAE that may be read."""
    if folder.suffix in PICKLES or (folder.is_dir() and not (folder / WEIGHTS_FILE).exists()):
        found = [folder] if folder.is_file() else sorted(folder.iterdir())
        pickles = [path.name for path in found if path.suffix in PICKLES]
        if pickles:
            raise ValueError(
                f"expected {WEIGHTS_FILE}, found {pickles[0]}, a pickle, in {folder}: it can run code and is "
                "never loaded. Convert it: torch.load(..., weights_only=True), then "
                "safetensors.torch.save_file."
            )
    if not folder.is_dir():
        raise ValueError(f"expected an SAE folder, found nothing at {folder}: check the path.")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise ValueError(
                f"expected {CONFIG_FILE} and {WEIGHTS_FILE} in {folder}, found {there}: fetch {name} as well."
            )
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"expected JSON in {folder / CONFIG_FILE}, found a fault: {error}. Fetch it again."
        ) from error
    if not isinstance(config, dict) or "d_in" not in config or "d_sae" not in config:
        raise ValueError(
            f"expected d_in and d_sae in {folder / CONFIG_FILE}, found one or none: is it an SAE's?"
        )
    return config


def read_metadata(folder: Path) -> dict:
    """What an SAE folder says of where and how well it was trained."""
    return _metadata(read_config(folder))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of an SAE folder; ValueError where the file is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"expected safetensors in {path}, found {path.stat().st_size} damaged bytes ({error}): "
            "fetch the file again."
        ) from error


def _architecture(config: dict) -> str:
    """The architecture; configs from before SAELens 6 call a TopK "standard" and say so elsewhere."""
    if config.get("finetuning_scaling_factor"):
        raise ValueError(
            "expected an SAE without finetuning_scaling_factor, found one that has it: save it "
            "with SAELens 6."
        )
    if config.get("activation_fn_str", config.get("activation_fn")) == "topk":
        return "topk"
    return config.get("architecture", "standard")


def _normalisation(config: dict) -> str:
    named = config.get("normalize_activations", "none")
    if config.get("reshape_activations", "none") != "none":
        raise ValueError(
            f"expected reshape_activations none, found {config['reshape_activations']!r}: SAEs on "
            "single heads' outputs are not understood; take one of a residual stream or an MLP."
        )
    if named in FOLDED:
        named = "none"
    was_centred = (_metadata(config).get("model_from_pretrained_kwargs") or {}).get("center_writing_weights")
    return "centred" if was_centred and named == "none" else named


def _metadata(config: dict) -> dict:
    """What is known of where it was trained; configs from before SAELens 6 have it on the top level."""
    keys = ("model_name", "hook_name", "context_size", "prepend_bos", "model_from_pretrained_kwargs")
    return {key: config[key] for key in keys if key in config} | config.get("metadata", {})


def _check_sizes(config: dict, tensors: dict[str, Tensor], folder: Path) -> None:
    wanted = (config["d_sae"], config["d_in"])
    found = tuple(tensors["W_dec"].shape)
    if found != wanted:
        raise ValueError(
            f"expected W_dec of shape {list(wanted)}, which {CONFIG_FILE} names, found {list(found)} in "
            f"{folder / WEIGHTS_FILE}: config and weights do not belong together."
        )
