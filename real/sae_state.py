"""All that an SAE's training is made of at one moment: weights, Adam's moments, who has fired lately."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import embedding_bag

from real.config import SAEConfig, sae_folder
from real.controls import isotropic_directions, matched_directions, unit_rows
from real.sae import SAE, top_k
from real.sae_files import load_sae
from real.sae_steps import Step, Weights, add_revival, before, l1_step, topk_step

Source = Callable[[int, int], Float[Tensor, "rows width"]]
"""Takes the number of a part and how many rows it has; gives activations, the same for the same part."""

RIDGE = 0.01
"""Share of the mean variance that whitening adds to every variance."""

NEW_LENGTH = 0.2
"""Of a new start's encoder row, beside the mean of those that fire (Bricken et al. 2023)."""

FIRST_LOOK = 8192
"""Activations from which the scale and the mean of the inputs are taken."""


class Frame(NamedTuple):
    """Where the inputs that are trained on lie: (site - origin) @ into, of mean length near sqrt(width)."""

    origin: Float[Tensor, " width"]
    into: Float[Tensor, "width width"]
    back: Float[Tensor, "width width"]
    """The inverse of `into`."""

    @classmethod
    def of(cls, rows: Float[Tensor, "rows width"], inputs: str) -> "Frame":
        """From some activations; `inputs` as in SAEConfig."""
        width = rows.shape[1]
        origin = rows.mean(0) if inputs == "whitened" else torch.zeros(width)
        into = whitening(rows - origin) if inputs == "whitened" else torch.eye(width)
        scale = (width**0.5 / ((rows - origin) @ into).norm(dim=1).mean()).item()
        if not 0 < scale < float("inf"):
            raise ValueError(
                f"expected activations that are finite and not all zero, found a scale of "
                f"{scale}: check the site."
            )
        back = torch.linalg.inv(into.double()).float().contiguous()
        return cls(origin, into * scale, back / scale)

    def inputs(self, site: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        return (site.float() - self.origin) @ self.into


def whitening(centred: Float[Tensor, "rows width"]) -> Float[Tensor, "width width"]:
    """The symmetric matrix that makes the covariance of such rows the identity, nearly.

    To every variance RIDGE times their mean is added first, so that directions in which almost nothing varies
    are not blown up.
    """
    variances, vectors = torch.linalg.eigh((centred.double().T @ centred.double()) / len(centred))
    variances = variances.clamp(min=0) + RIDGE * variances.mean()
    return ((vectors / variances.sqrt()) @ vectors.T).float()


class State:
    """Weights on inputs in a frame of their own, and what is needed to go on."""

    def __init__(
        self,
        config: SAEConfig,
        weights: Weights,
        *,
        frame: Frame,
        first_decoder: Float[Tensor, "features width"],
    ) -> None:
        self.config = config
        self.weights = Weights(*(tensor.requires_grad_() for tensor in weights))
        self.frame = frame
        self.first_decoder = first_decoder
        self.step = 0
        self.last_fired = torch.zeros(config.n_features, dtype=torch.int64)
        self.is_frozen = config.decoder != "trained"
        trained = [
            tensor for tensor in self.weights if not (self.is_frozen and tensor is self.weights.decoder)
        ]
        self.adam = torch.optim.Adam(trained, lr=config.learning_rate, betas=(0.9, 0.999), fused=True)

    @classmethod
    def start(cls, config: SAEConfig, source: Source) -> "State":
        """Unit decoder rows drawn at random, the encoder along them, the bias at the inputs' mean."""
        rows = source(0, FIRST_LOOK).float()
        frame = Frame.of(rows, config.inputs)
        inputs = frame.inputs(rows)
        decoder = first_directions(config, rows.shape[1])
        if config.decoder != "trained":  # the directions asked for are those at the site
            decoder = unit_rows(decoder @ frame.into)
        weights = Weights(decoder.clone(), decoder, torch.zeros(config.n_features), inputs.mean(0))
        weights.encoder.mul_(first_length(config, inputs, weights))
        return cls(config, weights, frame=frame, first_decoder=decoder.clone())

    @torch.no_grad()
    def update(self, batch: Float[Tensor, "tokens width"]) -> Step:
        """Take one step of Adam; what the batch said comes back."""
        inputs = self.frame.inputs(batch)
        found = self._gradients(inputs)
        for tensor, gradient in zip(self.weights, found.gradients, strict=True):
            tensor.grad = gradient
        decoder = self.weights.decoder
        if not self.is_frozen:  # along a row the length would change, which the next line but two undoes
            decoder.grad.addcmul_((decoder.grad * decoder).sum(1, keepdim=True), decoder, value=-1)
        self.adam.param_groups[0]["lr"] = self.config.rate(self.step)
        self.adam.step()
        if not self.is_frozen:
            decoder.div_(decoder.norm(dim=1, keepdim=True))
        self.step += 1
        self.last_fired[found.firings > 0] = self.step
        is_plateau = self.config.rate(self.step) == self.config.learning_rate
        if (
            self.config.architecture == "standard"
            and self.step % self.config.silent_steps == 0
            and is_plateau
        ):
            self._give_new_starts(inputs, found.residual)
        return found

    def describe(self, batch: Float[Tensor, "tokens width"], found: Step) -> dict:
        """Where training stands, for the log."""
        inputs = self.frame.inputs(batch)
        spread = (inputs - inputs.mean(0)).square().sum().item()
        return {
            "step": self.step,
            "activations": self.step * self.config.batch,
            "loss": found.loss.item(),
            "explained_variance": 1 - found.residual.square().sum().item() / spread,
            "l0": found.firings.sum().item() / len(batch),
            "silent_share": self.is_silent().double().mean().item(),
            "cosine_with_start": self.cosine_with_start(),
        }

    def cosine_with_start(self) -> float:
        """Mean cosine of decoder rows with where they started; 1 for a frozen decoder."""
        return torch.cosine_similarity(self.weights.decoder.detach(), self.first_decoder).mean().item()

    def result(self) -> SAE:
        """The SAE on activations as they come; its decoder rows have a mean length of 1."""
        encoder, decoder, b_enc, b_dec = (tensor.detach() for tensor in self.weights)
        origin, into, back = self.frame
        written = decoder @ back
        length = written.norm(dim=1).mean()
        return SAE(
            architecture=self.config.architecture,
            W_enc=((encoder @ into.T) * length).T.contiguous(),
            W_dec=written / length,
            b_enc=b_enc * length,
            b_dec=b_dec @ back + origin,
            k=None if self.config.architecture == "standard" else self.config.k,
            metadata={"training": asdict(self.config), "cosine_with_start": self.cosine_with_start()},
        )

    def save(self, path: Path, reads: dict) -> None:
        """Write a checkpoint, whole or not at all; `reads` says what the activations are of."""
        from safetensors.torch import save_file

        tensors = {"first_decoder": self.first_decoder, "last_fired": self.last_fired}
        tensors |= {name: tensor.detach() for name, tensor in self.weights._asdict().items()}
        for name, moments in self._moments().items():
            tensors |= {f"{name}.{key}": value for key, value in moments.items()}
        tensors |= {f"frame.{name}": tensor for name, tensor in self.frame._asdict().items()}
        about = {"config": asdict(self.config), "reads": reads, "step": self.step}
        save_file(tensors, path.with_suffix(".partial"), metadata={"state": json.dumps(about)})
        path.with_suffix(".partial").replace(path)

    @classmethod
    def resume(cls, config: SAEConfig, path: Path, reads: dict) -> "State | None":
        """The state of a checkpoint; None where there is none.

        ValueError where it is of another config, or of activations of something else than `reads` says.
        """
        from safetensors import safe_open

        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["state"])
            # clones lie as fresh tensors do: a product's last bit may hang on where its factors begin
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no dict
        if about["config"] != asdict(config):
            changed = [name for name, value in asdict(config).items() if about["config"].get(name) != value]
            raise ValueError(
                f"expected the config that the run in {path.parent} began with, found another "
                f"{', '.join(changed)}: use the same config, or delete that folder to begin anew."
            )
        began = about.get("reads", {})  # checkpoints once did not say
        for name in reads | began:
            then, now = (str(said.get(name, "unknown"))[:40] for said in (began, reads))
            if then != now:
                raise ValueError(
                    f"expected activations of {name} {then}, with which {path.parent} began, found "
                    f"those of {now}: read the same, or delete that folder to begin anew."
                )
        weights = Weights(*(tensors[name] for name in Weights._fields))
        frame = Frame(*(tensors[f"frame.{name}"] for name in Frame._fields))
        state = cls(config, weights, frame=frame, first_decoder=tensors["first_decoder"])
        state.step, state.last_fired = about["step"], tensors["last_fired"]
        for name, tensor in state.weights._asdict().items():
            moments = {
                key.removeprefix(f"{name}."): value
                for key, value in tensors.items()
                if key.startswith(f"{name}.")
            }
            if moments:
                state.adam.state[tensor] = moments
        return state

    def is_silent(self) -> Bool[Tensor, " features"]:
        """Which features fired in none of the last `silent_steps` steps."""
        return self.step - self.last_fired >= self.config.silent_steps

    def _gradients(self, inputs: Float[Tensor, "tokens width"]) -> Step:
        config = self.config
        if config.architecture == "standard":
            return l1_step(inputs, self.weights, config.l1, frozen=self.is_frozen)
        signed = config.architecture == "abstopk"
        found = topk_step(inputs, self.weights, config.k, signed=signed, frozen=self.is_frozen)
        silent = self.is_silent().nonzero()[:, 0]
        if config.revival and len(silent):
            add_revival(found, inputs, self.weights, silent, config.revival_k, config.revival)
        return found

    def _moments(self) -> dict[str, dict[str, Tensor]]:
        """Adam's state by the weights' names; a frozen decoder has none."""
        named = self.weights._asdict().items()
        return {name: self.adam.state[tensor] for name, tensor in named if tensor in self.adam.state}

    def _give_new_starts(
        self, inputs: Float[Tensor, "tokens width"], residual: Float[Tensor, "tokens width"]
    ) -> None:
        """Point silent features at what is missing from badly reconstructed tokens, drawn by squared error.

        Their Adam moments and biases begin at zero. A frozen row stays, and its encoder goes back to it.
        """
        silent = self.is_silent().nonzero()[:, 0][: len(inputs)]
        if len(silent) == 0:
            return
        encoder, decoder, b_enc, _ = self.weights
        length = NEW_LENGTH * encoder.norm(dim=1)[~self.is_silent()].mean()
        if not self.is_frozen:
            weights = residual.square().sum(1)
            drawn = weights.multinomial(len(silent), generator=generator(self.config.seed, self.step))
            decoder[silent] = unit_rows(-residual[drawn])
            self.first_decoder[silent] = decoder[silent]
        encoder[silent] = decoder[silent] * length
        b_enc[silent] = 0
        for name, moments in self._moments().items():
            if name != "b_dec":
                moments["exp_avg"][silent] = 0
                moments["exp_avg_sq"][silent] = 0


def first_directions(config: SAEConfig, width: int) -> Float[Tensor, "features width"]:
    """The decoder's rows before training; where it is frozen, for good."""
    draws = generator(config.seed, -1)
    if config.decoder != "matched":
        return isotropic_directions(config.n_features, width, generator=draws)
    like = load_sae(sae_folder(config.matched_to))
    if like.width != width:
        raise ValueError(
            f"expected an SAE of width {width}, that of the activations, found width {like.width} in "
            f"{config.matched_to!r}: name in matched_to an SAE of the same site."
        )
    return matched_directions(like.W_dec, config.n_features, generator=draws)


def first_length(config: SAEConfig, inputs: Float[Tensor, "rows width"], weights: Weights) -> float:
    """How long encoder rows must be, by least squares, for what is written to be as large as what is read."""
    if config.architecture == "standard":
        written = before(inputs, weights).relu() @ weights.decoder
    else:
        values, features = top_k(before(inputs, weights), config.k, signed=config.architecture == "abstopk")
        written = embedding_bag(features, weights.decoder, per_sample_weights=values, mode="sum")
    return (((inputs - weights.b_dec) * written).sum() / written.square().sum()).item()


def generator(seed: int, step: int) -> torch.Generator:
    """Randomness of seed and step alone, so that a resumed run draws what it would have drawn."""
    return torch.Generator().manual_seed((seed + 1) * 2_000_003 + step)
