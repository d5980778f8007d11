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
LOG_FILE = "training.jsonl"
SCALER_FILE = "activation_scaler.json"
"""What SAELens writes beside an SAE that it is still training: the factor on what the SAE reads."""

FOLDED_LAST = ("expected_average_only_in", "covariance_whitening")
"""Normalisations that SAELens folds into the weights when training ends; its config then says "none"."""

SAELENS_VERSION = "6.0.0"
"""Whose layout is written: of a config that names no version, SAELens drops the metadata that are ours."""

STREAM_SITES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out")
RMS_MODELS = ("gemma", "llama", "mistral", "mixtral", "phi-3", "qwen", "yi-")
"""How models with RMS norms are called, whose writing weights TransformerLens never centres."""


def load_sae(folder: Path, *, device: str = "cpu") -> SAE:
    """An SAE from a folder that SAELens or `save_sae` wrote, in float32.

    Decoder norms that take part in choosing the top k are folded into the encoder: activations stay.
    """
    config = read_config(folder)
    tensors = {name: tensor.to(device, torch.float32) for name, tensor in read_weights(folder).items()}
    architecture, normalisation = _architecture(config), _normalisation(config)
    if "b_gate" in tensors:
        tensors["b_enc"] = tensors.pop("b_gate")
    _drop_finetuning(tensors)
    wanted = {"W_enc", "W_dec", "b_enc", "b_dec", *ARCHITECTURES.get(architecture, ())}
    if set(tensors) != wanted:
        raise ValueError(
            f"expected tensors {', '.join(sorted(wanted))} of a {architecture} SAE, found "
            f"{', '.join(sorted(tensors))} in {folder / WEIGHTS_FILE}: config and weights "
            "do not belong together."
        )
    _check_sizes(config, tensors, folder)
    if normalisation in FOLDED_LAST:
        scale = _scale(folder, normalisation)
        tensors["W_enc"] = tensors["W_enc"] * scale
        tensors["W_dec"], tensors["b_dec"] = tensors["W_dec"] / scale, tensors["b_dec"] / scale
        normalisation = "none"
    if config.get("rescale_acts_by_decoder_norm", False):
        norms = tensors["W_dec"].norm(dim=1)
        tensors["W_dec"] = tensors["W_dec"] / norms[:, None]
        tensors["W_enc"] = tensors["W_enc"] * norms
        tensors["b_enc"] = tensors["b_enc"] * norms
    return SAE(
        architecture=architecture,
        **tensors,
        k=_k(config),
        apply_b_dec_to_input=config.get("apply_b_dec_to_input", True),
        normalize_activations=normalisation,
        is_centred=_is_centred(_metadata(config)),
        metadata=_metadata(config),
    )


def save_sae(sae: SAE, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write an SAE so that SAELens loads it; the folder appears whole or not at all, replacing an older one.

    `dtype` is that of the numbers on disk; they are computed with in float32 whatever it is. ValueError where
    anything but an SAE lies there.
    """
    from safetensors.torch import save_file

    check_replaceable(folder)
    config = {
        "architecture": sae.architecture,
        "d_in": sae.width,
        "d_sae": sae.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": sae.normalize_activations,
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": SAELENS_VERSION} | sae.metadata,
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


def check_replaceable(folder: Path) -> None:
    """ValueError unless an SAE may be written at `folder`: nothing lies there, or an SAE and no more."""
    if folder.name in ("", ".."):
        raise ValueError(
            f"expected a folder with a name of its own for the SAE, found {str(folder)!r}: name one in it."
        )
    if not folder.exists():
        return
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["a file"]
    is_sae = {CONFIG_FILE, WEIGHTS_FILE} <= set(found) <= {CONFIG_FILE, WEIGHTS_FILE, LOG_FILE}
    if found and not is_sae:
        raise ValueError(
            f"expected nothing or an SAE at {folder}, which is replaced, found {', '.join(found[:3])}"
            f"{' and more' if len(found) > 3 else ''}: name another folder."
        )


def add_metadata(folder: Path, more: dict) -> None:
    """Put more into the metadata of an SAE folder's config."""
    config = read_config(folder)
    config["metadata"] = (config.get("metadata") or {}) | more
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
    if not isinstance(config, dict) or any(type(config.get(name)) is not int for name in ("d_in", "d_sae")):
        raise ValueError(
            f"expected d_in and d_sae, whole numbers, in {folder / CONFIG_FILE}, found one or none: is it an "
            "SAE's?"
        )
    if not isinstance(config.get("metadata") or {}, dict):
        raise ValueError(
            f"expected metadata by name in {folder / CONFIG_FILE}, found {str(config['metadata'])[:40]}: "
            "mend it, or take it out."
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
    if config.get("activation_fn_str", config.get("activation_fn")) == "topk":
        return "topk"
    return config.get("architecture", "standard")


def _k(config: dict) -> int | None:
    k = config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k")
    if not (k is None or isinstance(k, int)):
        raise ValueError(f"expected a whole number as k in {CONFIG_FILE}, found {k!r}: mend it.")
    return k


def _normalisation(config: dict) -> str:
    """What is done to activations before they are read; older configs say so by true, false or null."""
    if (config.get("reshape_activations") or "none") != "none":
        raise ValueError(
            f"expected reshape_activations none, found {config['reshape_activations']!r}: SAEs on "
            "single heads' outputs are not understood; take one of a residual stream or an MLP."
        )
    named = config.get("normalize_activations") or "none"
    return "expected_average_only_in" if named is True else named


def _scale(folder: Path, normalisation: str) -> float:
    """The factor that an SAE in training puts on what it reads, from the file that SAELens keeps it in."""
    path = folder / SCALER_FILE
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    scale = found.get("scaling_factor")
    if normalisation != "expected_average_only_in" or not scale:
        raise ValueError(
            f"expected the normalisation {normalisation!r} folded into the weights, found it still to be "
            f"done in {folder} and no scaling_factor in {SCALER_FILE}: take the SAE that SAELens saves "
            "at the end of training, or fold it with SAELens."
        )
    return scale


def _drop_finetuning(tensors: dict[str, Tensor]) -> None:
    """Take out the factors on activations that SAELens once wrote into every file, all of them 1."""
    factors = tensors.pop("scaling_factor", None)
    if factors is not None and not torch.allclose(factors, torch.ones_like(factors)):
        raise ValueError(
            "expected a scaling_factor of 1 for every feature, found another, of finetuning: fold it into "
            "W_dec, and take it out."
        )


def _is_centred(metadata: dict) -> bool:
    """Whether the mean over the width was taken off the activations that it was trained on.

    TransformerLens' center_writing_weights does so to all that is written to the residual stream, in models
    with LayerNorms.
    """
    is_asked_for = (metadata.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights")
    is_on_stream = (metadata.get("hook_name") or "").endswith(STREAM_SITES)
    model = (metadata.get("model_name") or "").lower()
    return bool(is_asked_for) and is_on_stream and not any(name in model for name in RMS_MODELS)


def _metadata(config: dict) -> dict:
    """What is known of where it was trained; configs from before SAELens 6 have it on the top level."""
    keys = ("model_name", "hook_name", "context_size", "prepend_bos", "model_from_pretrained_kwargs")
    oldest = {"hook_name": config["hook_point"]} if "hook_point" in config else {}
    return oldest | {key: config[key] for key in keys if key in config} | (config.get("metadata") or {})


def _check_sizes(config: dict, tensors: dict[str, Tensor], folder: Path) -> None:
    wanted = (config["d_sae"], config["d_in"])
    found = tuple(tensors["W_dec"].shape)
    if found != wanted:
        raise ValueError(
            f"expected W_dec of shape {list(wanted)}, which {CONFIG_FILE} names, found {list(found)} in "
            f"{folder / WEIGHTS_FILE}: config and weights do not belong together."
        )
