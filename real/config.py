"""What is measured of a real language model, and how an SAE on it is trained."""

import math
from dataclasses import dataclass
from pathlib import Path

from real.saelens import PREFIX, release_folder

BUNDLED = Path(__file__).parent / "bundled"
MODELS = {"bundled": BUNDLED} | {f"sibling-{n}": BUNDLED / "siblings" / str(n) for n in range(3)}
"""Language models that are here by name, the bundled one and three smaller siblings: folders of `model`, and
how good it is, quality.json.
"""

CHOICES = {
    "architecture": ("topk", "abstopk", "standard"),
    "inputs": ("scaled", "whitened"),
    "decoder": ("trained", "isotropic", "matched"),
    "dtype": ("float32", "float16"),
}
"""What some fields of an SAE's config may be."""

SEEDS = 2**40
"""Seeds lie below: they are multiplied by a few million, in 64 bits."""


def check_seed(seed: int) -> None:
    """ValueError for a seed that no generator takes."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"expected a seed from 0 to 2**40 - 1, found {seed}: choose another.")


@dataclass(frozen=True, kw_only=True)
class RealConfig:
    """A language model, an SAE at one of its sites, and the text that both read; saved beside results."""

    model: str = "bundled"
    """Language model: "bundled", "sibling-0" to "sibling-2", a folder in Hugging Face format, or an id there.

    A folder called like a bundled model is the one that is read, if it holds config.json.
    """

    site: str = "blocks.0.hook_mlp_out"
    """Where the SAE reads, as TransformerLens names it, or a module's path in the model."""

    sae: str = "topk-4096-seed0"
    """SAE: a folder that SAELens or `cofire train-sae` wrote, a bundled name, or saelens:RELEASE:SAE_ID.

    A folder called like a bundled SAE is the one that is read, if it holds cfg.json.
    """

    text: str = "bundled"
    """Text: "bundled", or a .txt, .jsonl or .jsonl.xz file."""

    split: str = ""
    """Only documents whose "split" says so are read; empty reads all."""

    context: int = 128
    """Tokens in a sequence, 3 or more."""

    n_tokens: int = 1_000_000
    """How many tokens are measured at most, dropped positions not counted."""

    batch_tokens: int = 4096
    """Tokens in one forward pass; more is faster up to a few thousand and takes memory in proportion."""

    drop_first_position: bool = True
    """Whether the first token of each sequence is left out: without context, it is an outlier."""

    effect_sequences: int = 200
    """Sequences in which features are ablated where they fire, the first ones of those measured."""

    effect_positions: int = 24
    """Positions at which every feature is added, one in each of the first so many of these sequences."""

    effect_firings: int = 8
    """Firings of a feature that are ablated at most."""

    seed: int = 0
    """Decides which sequences of the text are read, and in which order."""

    device: str = "cpu"
    """Where model and SAE run: cpu, cuda, or cuda:1 and so on."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.context < 3:
            raise ValueError(
                f"expected a context of 3 tokens or more, found context={self.context}: the first token may "
                "be left out, and the last predicts nothing. Raise context."
            )
        if self.batch_tokens < self.context:
            raise ValueError(
                f"expected batch_tokens >= context, found batch_tokens={self.batch_tokens} and "
                f"context={self.context}: a batch holds whole sequences. Raise batch_tokens."
            )
        if self.n_tokens < 1:
            raise ValueError(f"expected n_tokens of 1 or more, found {self.n_tokens}: raise n_tokens.")
        for name in ("model", "site", "sae", "text", "device"):
            if not getattr(self, name):
                raise ValueError(
                    f"expected a {name}, found nothing: name one, or leave {name} to its default."
                )

    @property
    def model_source(self) -> str:
        """The model's folder or Hugging Face id."""
        return str(self.bundled / "model") if self.bundled else self.model

    @property
    def bundled(self) -> Path | None:
        """The folder of a bundled model, if the name is of one and no model's folder here is called so."""
        return None if (Path(self.model) / "config.json").is_file() else MODELS.get(self.model)

    @property
    def sae_folder(self) -> Path:
        """Where the SAE lies."""
        return sae_folder(self.sae)

    @property
    def text_file(self) -> Path:
        """Where the text lies."""
        return BUNDLED / "text.jsonl.xz" if self.text == "bundled" else Path(self.text)


@dataclass(frozen=True, kw_only=True)
class SAEConfig:
    """An SAE and how it is trained. Saved within the SAE's own config."""

    architecture: str = "topk"
    """topk, abstopk (signed, by absolute value) or standard (ReLU with an L1 penalty)."""

    n_features: int = 4096
    """How many directions the dictionary has."""

    k: int = 32
    """How many features fire on a token (topk and abstopk only)."""

    l1: float = 5.0
    """Weight of the sum of activations in the loss (standard only), on inputs of mean length sqrt(width)."""

    inputs: str = "scaled"
    """What it is trained on: activations scaled to a mean length of sqrt(width), or whitened to that as well.

    Whitened, an error counts in proportion to how much its direction varies, not the large directions alone.
    Either way the stored SAE reads activations as they come.
    """

    decoder: str = "trained"
    """trained, or frozen at random rows: isotropic, or matched to another SAE's mean and covariance."""

    matched_to: str = ""
    """The SAE that a matched decoder is like: a folder, a bundled one's name, or saelens:RELEASE:SAE_ID."""

    n_activations: int = 6_000_000
    """How many activations are trained on, repeats counted."""

    batch: int = 1024
    """Activations in a step; small ones learn faster from the same number of activations."""

    part: int = 262_144
    """Activations held in memory and shuffled at once, a multiple of batch."""

    learning_rate: float = 1e-3
    """Peak rate of Adam."""

    warmup_steps: int = 200
    """Steps over which the rate rises from zero."""

    decay_share: float = 0.3
    """Share of the steps, at the end, over which the rate falls to zero."""

    silent_steps: int = 100
    """A feature that fired in none of the last so many steps is silent, and is helped to fire again."""

    revival: float = 1 / 32
    """Weight of the loss with which silent features learn to explain what others leave (topk, abstopk).

    At 0 they are left alone.
    """

    revival_k: int = 64
    """How many silent features take part in that on a token."""

    dtype: str = "float32"
    """Precision of the stored weights: float32, or float16 for half the size."""

    checkpoint_every: int = 1000
    """Steps between checkpoints."""

    seed: int = 0
    """Decides the initial directions, the order of activations, and new starts."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"expected {name} among {', '.join(known)}, found {getattr(self, name)!r}: choose one."
                )
        if (self.decoder == "matched") != bool(self.matched_to):
            raise ValueError(
                f"expected matched_to with a matched decoder and no other, found "
                f"decoder={self.decoder!r} and matched_to={self.matched_to!r}: set both or neither."
            )
        if not 1 <= self.k <= self.n_features:
            raise ValueError(
                f"expected k from 1 to n_features, found k={self.k} and "
                f"n_features={self.n_features}: change k."
            )
        for name in ("silent_steps", "revival_k", "checkpoint_every", "batch", "part"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of 1 or more, found {getattr(self, name)}: raise {name}.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"expected learning_rate > 0, found {self.learning_rate}: give a number such as 1e-3."
            )
        for name in ("l1", "revival", "warmup_steps", "decay_share"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"expected {name} of 0 or more, found {getattr(self, name)}: raise {name}.")
        if self.part % self.batch or self.n_activations < self.batch:
            raise ValueError(
                f"expected part a multiple of batch and n_activations of a batch or more, found "
                f"part={self.part}, batch={self.batch} and n_activations={self.n_activations}: "
                "change part or batch."
            )

    @property
    def n_steps(self) -> int:
        return self.n_activations // self.batch

    @property
    def kind(self) -> str:
        """What decides which features fire, in a word or two."""
        if self.architecture == "standard":
            return f"ReLU, L1 {self.l1:g}"
        return f"{'signed ' * (self.architecture == 'abstopk')}TopK, k = {self.k}"

    def rate(self, step: int) -> float:
        """Learning rate of a step: a rise, a plateau, a fall to zero."""
        rising = min(1.0, (step + 1) / max(1, self.warmup_steps))
        falling = min(1.0, (self.n_steps - step) / max(1.0, self.decay_share * self.n_steps))
        return self.learning_rate * min(rising, falling)


def sae_folder(name: str) -> Path:
    """Where the SAE of a name lies: in a folder, among the bundled ones, or in one of SAELens' releases.

    A folder that holds cfg.json comes before the bundled SAE of its name; with a separator in it, a name is
    that of a folder.
    """
    if name.startswith(PREFIX):
        return release_folder(name)
    bundled = {folder.name: folder for folder in (BUNDLED / "saes").iterdir()}
    if name in bundled and not (Path(name) / "cfg.json").is_file():
        return bundled[name]
    if len(Path(name).parts) == 1 and not Path(name).exists():
        raise ValueError(
            f"expected an SAE's folder or a bundled one's name, found nothing at {name}: check the path; "
            f"bundled are {', '.join(sorted(bundled))}."
        )
    return Path(name)
