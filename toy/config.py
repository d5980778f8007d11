"""What the toy world is made of, and how the networks in it are trained."""

from dataclasses import dataclass, replace
from typing import Literal

Conditional = float | Literal["independent"]


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """One toy: a world, networks of one kind in it, and a stream to measure. Saved beside results."""

    n_features: int = 256
    """How many features the world has, 1 or more."""

    firing_rate: float = 0.02
    """Share of samples in which a feature is on, averaged over features, in (0, 1)."""

    rates: Literal["equal", "zipf"] = "equal"
    """Every feature at firing_rate, or the feature of rank r at a rate proportional to 1/r."""

    magnitudes: Literal["binary", "uniform", "lognormal"] = "binary"
    """The value of a feature that is on: 1, uniform in (0, 1), or lognormal of mean 1 and log-sd 1/2."""

    grouped_share: float = 0.75
    """Share of the features that are laid out in groups, in [0, 1]; the rest are independent of all."""

    group_size: int = 2
    """Features in a group, 2 or more; 2 makes pairs."""

    arrangement: Literal["clique", "ring", "tree", "copula"] = "clique"
    """In a group any two features co-occur alike, or each co-occurs with its neighbours round a ring.

    In a tree the first is the parent of all others: a child fires only with it, in `conditional` of its
    firings, and never with another child. In a copula pairs are as in a clique, but all features come from
    one Gaussian, so that larger groups fire together as often as such a thing allows.
    """

    conditionals: tuple[Conditional, ...] = (0.0, "independent", 0.5)
    """P(more frequent fires | rarer fires) in a group, a value a cell: 0 exclusive, 1 always together."""

    overlaps: tuple[float, ...] = (0.0, 1.0)
    """Share of its output tokens that a feature has in common with its group, in [0, 1]; one value a cell."""

    group_overlaps: tuple[tuple[float, ...], ...] = ()
    """Share of votes that any two features of a group have in common, [group_size][group_size], in the place
    of overlaps; the diagonal is 1. Empty for overlaps."""

    statistics: str = ""
    """File (.npz or .safetensors) with rates [n_features] and joint_rates or phi [n_features, n_features],
    which take the place of firing_rate, rates, arrangement and conditionals; empty for those."""

    output_noise: float = 0.0
    """Share of samples whose label is one token drawn at random, in [0, 1)."""

    vocabulary: int = 256
    """Output tokens of the world."""

    votes: int = 4
    """Tokens that each feature votes for, all with the same probability 1 / votes."""

    width: int = 128
    """Hidden dimensions of the networks, from 1 to n_features."""

    reconstruction_share: float = 1.0
    """Reconstruction's share of the loss, in [0, 1]: 0 is a readout alone, 1 an autoencoder.

    loss = share * E|x - x'|^2 / E|x|^2 + (1 - share) * E KL(label, output) / E KL(label, base rates):
    each term is 1 for a network that knows nothing of the sample, and 0 for a perfect one.
    """

    tied: bool = True
    """Whether features are read from the hidden layer by the rows that write them."""

    readout: Literal["softmax", "relu", "mlp"] = "softmax"
    """Outputs are a softmax of an affine map of the hidden layer, its ReLU, or a softmax after a ReLU layer.

    A ReLU regression has E|label - output|^2 in the place of the KL.
    """

    readout_width: int = 64
    """Units in the ReLU layer of an MLP readout."""

    importance_decay: float = 1.0
    """Feature i counts importance_decay ** i in the reconstruction, in (0, 1]; 1 makes all alike."""

    directions: Literal["learned", "given"] = "learned"
    """Directions are trained, or stay at random unit vectors that know nothing of the world."""

    n_seeds: int = 5
    """Networks trained at once on the same samples, each from its own random start."""

    steps: int = 3000
    """Training steps; the learning rate falls to 0 along a cosine."""

    batch: int = 256
    """Samples a training step."""

    learning_rate: float = 1e-2
    """Adam's learning rate at the start."""

    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW) of all but biases, a rate per unit of learning rate, 0 or more."""

    n_samples: int = 50_000
    """Samples in the stream that is measured."""

    seed: int = 0
    """Every draw follows from it: the world's votes, the starts, the training samples and the stream.

    From 0 to 2**60 - 1.
    """

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_groups()
        if self.arrangement == "ring":
            self._check_ring()
        if self.arrangement == "tree":
            self._check_tree()
        if self.group_overlaps:
            self._check_group_overlaps()

    def _check_ranges(self) -> None:
        def expect(is_good: bool, name: str, range_: str) -> None:
            if not is_good:
                raise ValueError(
                    f"expected {name} {range_}, found {name}={getattr(self, name)!r}: "
                    "change it in the toy's config."
                )

        counts = (
            "n_features",
            "vocabulary",
            "votes",
            "readout_width",
            "n_seeds",
            "steps",
            "batch",
            "n_samples",
        )
        for name in counts:
            expect(getattr(self, name) >= 1, name, "of 1 or more")
        expect(0 < self.firing_rate < 1, "firing_rate", "in (0, 1)")
        expect(1 <= self.width <= self.n_features, "width", f"from 1 to n_features={self.n_features}")
        for name in ("grouped_share", "reconstruction_share"):
            expect(0 <= getattr(self, name) <= 1, name, "in [0, 1]")
        expect(0 < self.importance_decay <= 1, "importance_decay", "in (0, 1]")
        expect(0 <= self.output_noise < 1, "output_noise", "in [0, 1)")
        expect(self.learning_rate > 0, "learning_rate", "above 0")
        expect(self.weight_decay >= 0, "weight_decay", "of 0 or more")
        expect(0 <= self.seed < 2**60, "seed", "from 0 to 2**60 - 1")  # toy.seeds multiplies it, in 64 bits
        expect(self.group_size >= 2, "group_size", "of 2 or more")
        is_conditional = [q == "independent" or 0 <= float(q) <= 1 for q in self.conditionals]
        expect(
            bool(is_conditional) and all(is_conditional), "conditionals", 'each in [0, 1] or "independent"'
        )
        expect(bool(self.overlaps) and all(0 <= s <= 1 for s in self.overlaps), "overlaps", "each in [0, 1]")
        for name, known in (
            ("rates", ("equal", "zipf")),
            ("magnitudes", ("binary", "uniform", "lognormal")),
            ("readout", ("softmax", "relu", "mlp")),
            ("arrangement", ("clique", "ring", "tree", "copula")),
            ("directions", ("learned", "given")),
        ):
            expect(getattr(self, name) in known, name, " or ".join(f'"{word}"' for word in known))

    def _check_groups(self) -> None:
        n_cells = len(self.conditionals) * len(self.overlaps)
        if self.grouped_share > 0 and self.n_groups < n_cells:
            raise ValueError(
                f"expected a group for each of {n_cells} cells (conditionals x overlaps), found "
                f"{self.n_groups} groups of {self.group_size} in {self.grouped_share:g} of {self.n_features} "
                "features: raise n_features or grouped_share, or name fewer conditionals or overlaps."
            )
        for overlap in self.overlaps:
            shared = overlap * self.votes
            if abs(shared - round(shared)) > 1e-9:
                raise ValueError(
                    f"expected overlap x votes to be a whole number of tokens, found {overlap:g} x "
                    f"{self.votes} = {shared:g}: use multiples of 1/{self.votes}, or change votes."
                )
            size = self.group_size if self.grouped_share > 0 else 1
            needed = round(shared) + size * (self.votes - round(shared))
            if needed > self.vocabulary:
                raise ValueError(
                    f"expected a vocabulary of {needed} tokens or more ({size} features a group, "
                    f"{self.votes} votes each, overlap {overlap:g}), found {self.vocabulary}: raise "
                    "vocabulary or lower votes."
                )

    def _check_ring(self) -> None:
        if self.rates != "equal" or "independent" in self.conditionals:
            raise ValueError(
                f'expected equal rates and numbers as conditionals in a ring, found rates="{self.rates}" and '
                f'conditionals={self.conditionals}: use rates="equal", and q=0 for an exclusive ring.'
            )
        lowest = max(0.0, 1 - 1 / (self.group_size * self.firing_rate))
        highest = 1 - 1 / (self.group_size - 1)  # above, neighbours' arcs meet round the back as well
        for q in self.conditionals:
            if not lowest - 1e-12 <= q <= highest + 1e-12:
                raise ValueError(
                    f"expected conditionals from {lowest:.4g} to {highest:.4g} in a ring of "
                    f"{self.group_size} features that fire at {self.firing_rate:g}, found {q:g}: change "
                    "conditionals, group_size or firing_rate."
                )

    def _check_tree(self) -> None:
        highest = 1 / (self.group_size - 1)
        if self.rates != "equal" or any(
            q == "independent" or not 0 < q <= highest + 1e-12 for q in self.conditionals
        ):
            raise ValueError(
                f"expected equal rates and conditionals in (0, {highest:.4g}] in trees of {self.group_size}, "
                f'found rates="{self.rates}" and conditionals={self.conditionals}: children exclude each '
                "other, so their shares of the parent's firings add up to 1 at most."
            )

    def _check_group_overlaps(self) -> None:
        rows, size = self.group_overlaps, self.group_size
        is_square = len(rows) == size and all(len(row) == size for row in rows)
        if not is_square or any(
            rows[i][j] != rows[j][i] or not 0 <= rows[i][j] <= 1 or (i == j and rows[i][j] != 1)
            for i in range(size)
            for j in range(size)
        ):
            raise ValueError(
                f"expected group_overlaps as {size} rows of {size} numbers in [0, 1], symmetric, with a "
                f"diagonal of 1, found {rows}: mend it, or change group_size."
            )

    @property
    def n_groups(self) -> int:
        """How many whole groups fit into grouped_share of the features."""
        return round(self.grouped_share * self.n_features) // self.group_size


def default_arms(quick: bool) -> dict[str, ToyConfig]:
    """The four toys of the report; `quick` trains fewer seeds for fewer steps and measures fewer samples."""
    base = ToyConfig(n_seeds=2, steps=500, n_samples=20_000) if quick else ToyConfig()
    return {
        "tied autoencoder, room": base,
        "tied autoencoder, no room": replace(base, width=32),
        "outputs only": replace(base, width=32, reconstruction_share=0.0),
        "outputs + reconstruction": replace(base, reconstruction_share=0.95),
    }
