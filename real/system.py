"""A language model and its SAE as a System: feature directions, and what the features did on a text."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from real.causal import Effects, Progress, causal_effects
from real.config import RealConfig
from real.hashes import weights_sha256
from real.language_model import LanguageModel
from real.sae import SAE
from real.sae_files import load_sae
from real.text import Tokenizer, read_text, sample_blocks, token_blocks


@dataclass(frozen=True)
class Batch:
    """Some tokens. Pre-activations, affine in the inputs, are computed when they are read."""

    inputs: Float[Tensor, "tokens width"]
    activations: Float[Tensor, "tokens features"]
    outputs: Float[Tensor, "tokens vocab"]
    tokens: Int[Tensor, " tokens"]
    sequences: Int[Tensor, " tokens"]
    sae: SAE

    @property
    def preactivations(self) -> Float[Tensor, "tokens features"]:
        return self.sae.preactivations(self.inputs)


def unchanged(inputs: Tensor) -> Tensor:
    """Replaces nothing."""
    return inputs


def check_belongs(
    sae: SAE, model: LanguageModel, blocks: Int[Tensor, "sequences context"], config: RealConfig
) -> None:
    """ValueError where an SAE says that it was trained at another site, on other weights, or after a bos.

    What it does not say is not asked. Two names of one tensor are the same site.
    """
    site = sae.metadata.get("hook_name") or config.site
    if site != config.site and not model.is_same(site, config.site, blocks[:1]):
        raise ValueError(
            f"expected site {site}, where the SAE {config.sae} was trained, found {config.site}: "
            f"give --site {site}."
        )
    weights = sae.metadata.get("model_sha256")
    if weights and weights != (found := model.sha256):
        raise ValueError(
            f"expected the weights that the SAE {config.sae} was trained on, sha256 {weights[:12]}..., found "
            f"{found[:12]}... in {model.name}: name the SAE's own model."
        )
    first = first_token(sae, model.tokenizer)
    if first is not None and (blocks[:, 0] != first).any():
        raise ValueError(
            f"expected {first}, the tokenizer's bos, first in each sequence, as the SAE {config.sae} was "
            "trained, found sequences without: measure this SAE by itself."
        )


def first_token(sae: SAE, tokenizer: Tokenizer) -> int | None:
    """The bos that stood before each sequence when an SAE was trained; None if none, or if it is eos as well.

    One that is eos too stands between the documents anyway.
    """
    bos = tokenizer.bos_token_id
    return bos if sae.metadata.get("prepend_bos") and bos != tokenizer.eos_token_id else None


class RealSystem:
    """Presents System, HasShares, HasEncoder, HasSite, HasEffects, HasVocabulary and HasProvenance.

    Inputs are the site's activations as the SAE reads them, before its bias is taken off; `encoder` is the
    slope of the pre-activations in them. Batches hold whole sequences, numbered over the stream. A feature of
    a signed SAE fires in both senses, and by its size: provenance says that it is signed.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        sae: SAE,
        blocks: Int[Tensor, "sequences context"],
        config: RealConfig,
        *,
        text_sha256: str = "",
    ) -> None:
        site, _ = language_model.run(blocks[:1], config.site, replace=unchanged)  # refused here, not later
        sae.read(site[0])  # one line where widths differ
        check_belongs(sae, language_model, blocks, config)
        self.language_model = language_model
        self.sae = sae
        self.blocks = blocks
        self.config = config
        self.text_sha256 = text_sha256
        self.name = f"{language_model.name} {config.site} {config.sae}"
        self.directions = sae.W_dec.float().cpu()
        self.encoder = sae.W_enc.T.contiguous().float().cpu()
        self.vocabulary = language_model.vocabulary
        self.provenance = {
            "config": asdict(config),
            "seed": config.seed,
            "inputs": {
                "model": language_model.sha256,
                "sae": weights_sha256(sae.tensors()),
                "text": text_sha256,
            },
            "sae": {"architecture": sae.architecture, "k": sae.k, "metadata": sae.metadata},
            "signed": sae.is_signed,
        }

    @classmethod
    def load(cls, config: RealConfig) -> "RealSystem":
        """Model, SAE and text that a config names."""
        sae = load_sae(config.sae_folder, device=config.device)
        text = read_text(config.text_file, split=config.split)
        model = LanguageModel.load(config.model_source, device=config.device, name=config.model)
        first = first_token(sae, model.tokenizer)
        blocks = token_blocks(text, model.tokenizer, context=config.context, first=first)
        n_sequences = max(1, config.n_tokens // (config.context - config.drop_first_position))
        blocks = sample_blocks(blocks, n_sequences, seed=config.seed)
        return cls(model, sae, blocks, config, text_sha256=text.sha256)

    def with_sae(self, name: str) -> "RealSystem":
        """The same model and text through another SAE: a bundled one's name, or a folder."""
        config = dataclasses.replace(self.config, sae=name)
        sae = load_sae(config.sae_folder, device=config.device)
        return RealSystem(self.language_model, sae, self.blocks, config, text_sha256=self.text_sha256)

    @property
    def n_tokens(self) -> int:
        """How many tokens a stream holds."""
        return len(self.blocks) * (self.config.context - self.config.drop_first_position)

    @property
    def unembedding(self) -> Float[Tensor, "vocab width"] | None:
        """The language model's output embedding, where it is as wide as the site."""
        weight = self.language_model.model.get_output_embeddings().weight
        return weight if weight.shape[1] == self.sae.width else None

    def effects(
        self,
        features: Int[Tensor, " some"],
        amounts: Float[Tensor, " some"],
        progress: Progress | None = None,
    ) -> Effects:
        """See causal_effects."""
        return causal_effects(
            self.language_model, self.sae, self.blocks, self.config, features, amounts, progress=progress
        )

    def stream(self) -> Iterator[Batch]:
        """The same batches at every call."""
        return self.stream_with(unchanged)

    def stream_with(self, replace: Callable[[Tensor], Tensor]) -> Iterator[Batch]:
        """The same tokens with the features' inputs passed through `replace`, and all that follows from that.

        Positions that are dropped are left as they are.
        """
        for numbers in self._numbers():
            yield self._batch(numbers, replace)

    def share(
        self, number: int, of: int, replace: Callable[[Tensor], Tensor] = unchanged
    ) -> Iterator[tuple[int, int, Batch]]:
        """Batches number, number + of, ... of stream_with(), each with its place and the tokens before it."""
        kept = self.config.context - self.config.drop_first_position
        for place, numbers in list(enumerate(self._numbers()))[number::of]:
            yield place, int(numbers[0]) * kept, self._batch(numbers, replace)

    def _numbers(self) -> tuple[Int[Tensor, " sequences"], ...]:
        """The sequences of every batch."""
        return torch.arange(len(self.blocks)).split(self.config.batch_tokens // self.config.context)

    @torch.no_grad()
    def _batch(self, numbers: Int[Tensor, " sequences"], replace: Callable[[Tensor], Tensor]) -> Batch:
        first, blocks, read = int(self.config.drop_first_position), self.blocks[numbers], []

        def swap(site: Tensor) -> Tensor:
            kept = site[:, first:].flatten(0, 1)
            read.append(replace(self.sae.read(kept)))
            changed = site.clone()
            changed[:, first:] = self.sae.write(read[0], kept).view_as(site[:, first:])
            return changed

        _, outputs = self.language_model.run(blocks, self.config.site, replace=swap)
        activations = self.sae.activations(read[0])
        return Batch(
            inputs=read[0],
            activations=abs(activations) if self.sae.is_signed else activations,
            outputs=outputs[:, first:].flatten(0, 1),
            tokens=blocks[:, first:].flatten(),
            sequences=numbers.repeat_interleave(blocks.shape[1] - first),
            sae=self.sae,
        )
