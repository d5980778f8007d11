"""A sparse autoencoder (SAE): what it reads, what fires, what it writes. Knows nothing of language."""

import warnings
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

ARCHITECTURES = {
    "standard": (),
    "topk": (),
    "abstopk": (),
    "jumprelu": ("threshold",),
    "gated": ("b_mag", "r_mag"),
}
"""The architectures understood, and the tensors that each has beyond W_enc, W_dec, b_enc and b_dec."""

FEW = 2048
"""Features up to which numpy's partition finds the largest fastest, by a factor of 1.5 to 3."""
GROUP = 16
"""Features whose largest pre-activation is looked at before any of them."""

NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")


@dataclass(kw_only=True, eq=False)
class SAE:
    """Weights, in the shapes and under the names that SAELens gives them.

    A feature's pre-activation is affine in what the SAE reads, with slope W_enc. Its activation is the
    pre-activation where the feature is on, and zero where it is off: on if positive (standard), if among the
    k largest (topk), if among the k largest by absolute value, keeping its sign (abstopk), if above its
    threshold (jumprelu). A gated feature is on where its pre-activation, the gate's, is positive, and its
    activation has an affine map of its own.
    """

    architecture: str
    W_enc: Float[Tensor, "width features"]
    W_dec: Float[Tensor, "features width"]
    b_enc: Float[Tensor, " features"]
    b_dec: Float[Tensor, " width"]
    k: int | None = None
    threshold: Float[Tensor, " features"] | None = None
    b_mag: Float[Tensor, " features"] | None = None
    r_mag: Float[Tensor, " features"] | None = None
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    is_centred: bool = False
    """Whether each token's mean over the width is taken off first, as it was in the model trained on."""
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        shift = self.b_dec @ self.W_enc if self.apply_b_dec_to_input else 0.0
        self._bias = self.b_enc - shift

    @property
    def width(self) -> int:
        """Numbers in what it reads and writes."""
        return self.W_dec.shape[1]

    @property
    def n_features(self) -> int:
        return self.W_dec.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """Its weights by name."""
        found = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}

    def read(self, site: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """A site's activations as the features read them: centred and scaled if the SAE was trained so."""
        if site.shape[-1] != self.width:
            raise ValueError(
                f"expected activations of width {self.width}, which the SAE reads, found width "
                f"{site.shape[-1]} at the site: model, site and SAE do not belong together."
            )
        if self._is_plain():
            return site
        shift, scale, floor = self._frame(site)
        return (site - shift) / (scale + floor)

    def write(
        self, read: Float[Tensor, "tokens width"], site: Float[Tensor, "tokens width"]
    ) -> Float[Tensor, "tokens width"]:
        """What lies on the scale of `read`, brought back to the scale of the site's own activations."""
        if self._is_plain():
            return read
        shift, scale, _ = self._frame(site)
        return read * scale + shift

    def preactivations(self, inputs: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """Before the nonlinearity: affine in `inputs`, which `read` gave, with slope W_enc."""
        return torch.addmm(self._bias, inputs, self.W_enc)

    @property
    def is_signed(self) -> bool:
        """Whether features fire in both senses, so that a direction might as well be its opposite."""
        return self.architecture == "abstopk"

    def activations(self, inputs: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens features"]:
        """After the nonlinearity; sparse CSR with at most k entries a token from a TopK."""
        before = self.preactivations(inputs)
        if self.architecture in ("topk", "abstopk"):
            values, features = top_k(before, self.k, signed=self.is_signed)
            return sparse_rows(values, features, n_features=self.n_features)
        if self.architecture == "jumprelu":
            return before.relu() * (before > self.threshold)
        if self.architecture == "gated":
            magnitude = (before - self._bias) * self.r_mag.exp() + self._magnitude_bias()
            return magnitude.relu() * (before > 0)
        return before.relu()

    def decode(self, activations: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens width"]:
        """What the features write together, on the scale of `read`."""
        return activations @ self.W_dec + self.b_dec

    def reconstruct(self, site: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """The site's activations as the SAE remembers them."""
        return self.write(self.decode(self.activations(self.read(site))), site)

    def _magnitude_bias(self) -> Float[Tensor, " features"]:
        return self.b_mag + (self._bias - self.b_enc) * self.r_mag.exp()

    def _is_plain(self) -> bool:
        return self.normalize_activations == "none" and not self.is_centred

    def _frame(self, site: Float[Tensor, "tokens width"]) -> tuple[Tensor | float, Tensor | float, float]:
        """What is subtracted from each token, what it is divided by, and what SAELens adds to the divisor."""
        is_layer_norm = self.normalize_activations == "layer_norm"
        mean = site.mean(-1, keepdim=True) if self.is_centred or is_layer_norm else 0.0
        if is_layer_norm:
            return mean, (site - mean).std(-1, keepdim=True), 1e-5
        if self.normalize_activations == "constant_norm_rescale":
            return mean, (site - mean).norm(dim=-1, keepdim=True) / self.width**0.5, 0.0
        return mean, 1.0, 0.0


def top_k(
    before: Float[Tensor, "tokens features"], k: int, *, signed: bool
) -> tuple[Float[Tensor, "tokens k"], Int[Tensor, "tokens k"]]:
    """The k largest pre-activations of each token, in no order, and whose they are.

    Negative ones among them become zero; if `signed`, the largest by absolute value are taken instead and
    keep their sign.
    """
    features = largest(before.abs() if signed else before, k)
    values = before.gather(1, features)
    return (values if signed else values.relu()), features


def largest(keys: Float[Tensor, "tokens features"], k: int) -> Int[Tensor, "tokens k"]:
    """Columns of the k largest of each row, in no order.

    They lie in the k groups of columns with the largest peaks, so that most of a row need not be sorted.
    """
    n_features = keys.shape[1]
    n_groups = n_features // GROUP
    if n_features <= FEW and keys.device.type == "cpu" and keys.dtype == torch.float32:
        order = np.argpartition(keys.detach().numpy(), n_features - k, axis=1)
        return torch.from_numpy(np.ascontiguousarray(order[:, n_features - k :]))
    if n_features % GROUP or n_groups < 2 * k:
        return keys.topk(k, dim=1, sorted=False).indices
    peaks = keys.view(-1, GROUP, n_groups).amax(1)
    groups = peaks.topk(k, dim=1, sorted=False).indices
    members = torch.arange(GROUP, device=keys.device)[:, None] * n_groups
    columns = (groups[:, None] + members).flatten(1)
    return columns.gather(1, keys.gather(1, columns).topk(k, dim=1, sorted=False).indices)


def sparse_rows(
    values: Float[Tensor, "tokens k"], features: Int[Tensor, "tokens k"], *, n_features: int
) -> Float[Tensor, "tokens features"]:
    """The same numbers as sparse CSR: features rising within each token, zeros left out."""
    features, order = features.sort(dim=1)
    values = values.gather(1, order)
    is_on = values != 0
    starts = torch.zeros(len(values) + 1, dtype=torch.int64, device=values.device)
    torch.cumsum(is_on.sum(1), 0, out=starts[1:])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            starts, features[is_on], values[is_on], size=(len(values), n_features), check_invariants=False
        )


def check(sae: SAE) -> None:
    """Raise ValueError where the parts of an SAE do not fit each other."""
    if sae.architecture not in ARCHITECTURES:
        raise ValueError(
            f"expected an architecture among {', '.join(ARCHITECTURES)}, found {sae.architecture!r}: "
            "convert it to one of those."
        )
    if sae.normalize_activations not in NORMALISATIONS:
        raise ValueError(
            f"expected normalize_activations among {', '.join(NORMALISATIONS)}, found "
            f"{sae.normalize_activations!r}: fold it into the weights first."
        )
    missing = [name for name in ARCHITECTURES[sae.architecture] if getattr(sae, name) is None]
    if missing:
        raise ValueError(f"expected {', '.join(missing)} in a {sae.architecture} SAE, found none: add them.")
    n_features, width = sae.W_dec.shape
    wanted = {"W_enc": (width, n_features), "W_dec": (n_features, width), "b_dec": (width,)}
    for name, tensor in sae.tensors().items():
        shape = wanted.get(name, (n_features,))
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"expected {name} of shape {list(shape)} beside W_dec of shape [{n_features}, {width}], "
                f"found {list(tensor.shape)}: the decoder has a row and the encoder a column for each "
                "feature; transpose what lies across."
            )
        if not torch.isfinite(tensor).all():
            n_bad = int((~torch.isfinite(tensor)).sum())
            raise ValueError(
                f"expected finite weights, found {n_bad} of {tensor.numel()} numbers in {name} NaN or "
                "infinite: fetch or train the SAE again."
            )
    if sae.architecture in ("topk", "abstopk") and not (sae.k and 1 <= sae.k <= n_features):
        raise ValueError(
            f"expected k from 1 to {n_features}, the number of features, found k={sae.k}: set k to "
            "the one used in training."
        )
