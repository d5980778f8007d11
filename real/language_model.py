"""A causal language model of any kind: activations at a site, next-token probabilities, replacement."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from real.hashes import weights_sha256
from real.hooked import ONLY_THERE, load_hooked
from real.sites import BETWEEN, HOOKS, SITE, Reached, attach, find_site, names_that_add_up, text_config

Replacement = Callable[[Float[Tensor, "sequences context width"]], Float[Tensor, "sequences context width"]]
"""Takes a site's activations, gives those that the rest of the model shall see."""

LAYER = re.compile(r"(?:transformer\.|model\.|gpt_neox\.|language_model\.)*(?:h|layers)\.(\d+)\.")
"""How the name of a block's weight begins, with the block's number."""

ALIBI = ("bloom", "mpt")
"""Families that tell positions by ALiBi and do not say so in their config; others set `alibi`."""


class LanguageModel:
    """A Hugging Face causal language model with its tokenizer, in float32, for inference.

    Sites are named as TransformerLens names them ("blocks.0.hook_mlp_out"), or by a module's path for its
    output ("transformer.h.0.mlp"), followed by ".input" for its input.
    """

    def __init__(self, model: nn.Module, tokenizer, *, name: str, logit_scale: float = 1.0) -> None:
        for label, tensor in model.named_parameters():
            if not torch.isfinite(tensor).all():
                raise ValueError(
                    f"expected finite weights in {name}, found NaN or infinity in {label}: "
                    "fetch or train it again."
                )
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.logit_scale = logit_scale
        self._trusted: set[str] = set()

    @classmethod
    def load(cls, source: str, *, device: str = "cpu", name: str = "") -> "LanguageModel":
        """From a folder or a Hugging Face id; what is on this machine comes first."""
        model, tokenizer = _load(source)
        return cls(model.to(device), tokenizer, name=name or source)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def context(self) -> int | None:
        """The longest sequence it takes, where it has a limit."""
        return getattr(text_config(self.model), "max_position_embeddings", None)

    @property
    def window(self) -> int | None:
        """How many tokens its local attention reaches over, where it has any and its config says so."""
        named = ("sliding_window", "window_size", "attention_chunk_size")
        found = [getattr(text_config(self.model), name, None) for name in named]
        return min((size for size in found if size), default=None)

    @property
    def n_vocabulary(self) -> int:
        """Columns of its outputs."""
        return self.model.get_output_embeddings().weight.shape[0]

    @property
    def vocabulary(self) -> list[str]:
        """What each output column stands for, as text; a piece of a character as the tokenizer writes it."""
        n_known = min(len(self.tokenizer), self.n_vocabulary)
        raw = self.tokenizer.convert_ids_to_tokens(range(n_known))
        texts = self.tokenizer.batch_decode([[token] for token in range(n_known)])
        known = [
            token if "\ufffd" in text or not text else text for token, text in zip(raw, texts, strict=True)
        ]
        return known + [f"<unused {token}>" for token in range(n_known, self.n_vocabulary)]

    @property
    def sha256(self) -> str:
        """Hash of all weights, by name."""
        return weights_sha256(dict(self.model.named_parameters()))

    @torch.no_grad()
    def activations(
        self, tokens: Int[Tensor, "sequences context"], site: str
    ) -> Float[Tensor, "sequences context width"]:
        """Activations at a site; what lies after it in the model is not computed."""
        seen = []

        def keep(value: Tensor) -> Tensor:
            seen.append(value)
            raise Reached

        remove = self._hook(site, keep)
        try:
            self.model(self._checked(tokens), use_cache=False)
        except Reached:
            return seen[0]
        finally:
            remove()
        raise ValueError(
            f"expected a site that {self.name} passes, found {site!r}, which it does not: name another."
        )

    def is_same(self, site: str, other: str, tokens: Int[Tensor, "sequences context"]) -> bool:
        """Whether two names are of one tensor; a name of no site of this model is not that of another."""
        if find_site(self.model, site) is None or find_site(self.model, other) is None:
            return False
        return torch.equal(self.activations(tokens, site), self.activations(tokens, other))

    @torch.no_grad()
    def run(
        self, tokens: Int[Tensor, "sequences context"], site: str, *, replace: Replacement | None = None
    ) -> tuple[Float[Tensor, "sequences context width"], Float[Tensor, "sequences context vocab"]]:
        """What the rest of the model saw at a site, and the next token's probabilities at every position.

        With `replace`, what it returns takes the place of the activations there.
        """
        if replace is not None and site.endswith("hook_resid_mid"):
            raise ValueError(
                "expected a site through which all goes on that was read there, found hook_resid_mid, "
                "which the residual stream passes by: replace at hook_attn_out or hook_mlp_out."
            )
        seen = []

        def keep(value: Tensor) -> Tensor:
            passed = value if replace is None else replace(value)
            seen.append(passed.clone())  # some models add to it in place
            return passed

        remove = self._hook(site, keep)
        try:
            logits = self.model(self._checked(tokens), use_cache=False).logits
        finally:
            remove()
        return seen[0], torch.softmax(logits.float().mul_(self.logit_scale), dim=-1)

    @torch.no_grad()
    def shifts(
        self,
        tokens: Int[Tensor, " context"],
        site: str,
        positions: Int[Tensor, " changes"],
        values: Float[Tensor, "changes width"],
        *,
        chunk: int,
    ) -> Iterator[Float[Tensor, "some vocab"]]:
        """Shifts of next-token log-probabilities, in nats, when the site has another value at a position.

        Each change is made alone and read at its own position, `chunk` of them at a time: they go through the
        model side by side, each seeing all clean keys before its position and itself, also where the model's
        own attention is local: check_replay in real/causal.py says whether that matters.
        """
        from transformers import DynamicCache

        config, context = text_config(self.model), len(tokens)
        if getattr(config, "alibi", False) or getattr(config, "model_type", "") in ALIBI:
            raise ValueError(
                f"expected a model that is told each token's position for causal effects, found {self.name}, "
                f"which tells positions by ALiBi ({config.model_type}): leave --effects out."
            )
        keys = DynamicCache()  # without a config it drops none, as a model's own does beyond a window
        clean = self.model(self._checked(tokens[None]), past_key_values=keys, use_cache=True)
        before = self._log_probabilities(clean.logits[0])
        for some, value in zip(positions.split(chunk), values.split(chunk), strict=True):
            some = some.to(self.device)
            sees_clean = torch.arange(context, device=self.device) < some[:, None]
            sees = torch.cat([sees_clean, torch.eye(len(some), dtype=torch.bool, device=self.device)], dim=1)
            mask = torch.zeros(sees.shape, device=self.device)
            mask.masked_fill_(~sees, torch.finfo(mask.dtype).min)
            remove = self._hook(site, lambda _, value=value: value[None])
            try:
                logits = self.model(
                    tokens.to(self.device)[some][None],
                    position_ids=some[None],
                    attention_mask=mask[None, None],
                    past_key_values=keys,
                    use_cache=True,
                ).logits[0]
            finally:
                remove()
            keys.crop(-len(some))
            yield self._log_probabilities(logits) - before[some]

    def _log_probabilities(self, logits: Float[Tensor, "tokens vocab"]) -> Float[Tensor, "tokens vocab"]:
        return torch.log_softmax(logits.float() * self.logit_scale, dim=-1)

    @torch.no_grad()
    def logits(self, tokens: Int[Tensor, "sequences context"]) -> Float[Tensor, "tokens vocab"]:
        """The model's own logits at every position, not scaled, sequences one after the other."""
        return self.model(self._checked(tokens), use_cache=False).logits.float().flatten(0, 1)

    def check(self, tokens: Int[Tensor, "*shape"], *, context: int) -> None:
        """ValueError where the model cannot read sequences of that length, or not these tokens."""
        if self.context is not None and context > self.context:
            raise ValueError(
                f"expected sequences of at most {self.context} tokens, the context of {self.name}, found "
                f"{context}: lower context."
            )
        if tokens.numel() and (largest := int(tokens.max())) >= self.n_vocabulary:
            raise ValueError(
                f"expected token numbers below {self.n_vocabulary}, the vocabulary of {self.name}, found "
                f"{largest}: model and tokenizer do not belong together."
            )

    def _checked(self, tokens: Int[Tensor, "sequences context"]) -> Int[Tensor, "sequences context"]:
        self.check(tokens, context=tokens.shape[1])
        return tokens.to(self.device)

    def _hook(self, site: str, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        """Have `change` take the activations at a site and give those that go on; returns what undoes it."""
        place = find_site(self.model, site)
        config = text_config(self.model)
        if place is None:
            last = list(dict(self.model.named_modules()))[-1]
            raise ValueError(
                f"expected a site of {self.name}, found {site!r}: name blocks.L.S with L from 0 to "
                f"{getattr(config, 'num_hidden_layers', 0) - 1} and S one of {', '.join(HOOKS)} (the stream "
                "passes hook_resid_mid by: it can be read, not measured), or the path of a module, such as "
                f"{last}."
            )
        if site not in self._trusted:
            self._check_sums(site)
            self._trusted.add(site)
        return attach(*place, change)

    def _check_sums(self, site: str) -> None:
        """ValueError where what lies at a block's site is not what its name says."""
        found = SITE.fullmatch(site)
        if site in dict(self.model.named_modules()) or found is None or found[2] not in BETWEEN:
            return
        if found[2] not in names_that_add_up(self.model, int(found[1])):
            family = getattr(self.model.config, "model_type", "unknown")
            raise ValueError(
                f"expected {found[2]} of {self.name} to add up with the stream around it, found that it does "
                f"not in the family {family}, where the name lies elsewhere: use hook_resid_pre or "
                "hook_resid_post, or a module's own path."
            )


def _load(source: str) -> tuple[nn.Module, object]:
    """Model and tokenizer, from safetensors alone; ValueError where a part is missing or damaged."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = Path(source)
    if source.startswith(ONLY_THERE) and not folder.exists():
        return load_hooked(source)
    if folder.exists() or folder.is_absolute() or source.startswith("."):
        _check_folder(folder)
    how = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    try:
        here = _is_here(source)
        model, info = AutoModelForCausalLM.from_pretrained(source, local_files_only=here, **how)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=here)
    except (OSError, SafetensorError, StrictDataclassError, RuntimeError, ValueError, ImportError) as error:
        raise ValueError(
            f"expected a causal language model with safetensors and tokenizer at {source!r}, found: "
            f"{' '.join(str(error).split())[:300]}: name a whole folder or an id that can be reached."
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"expected all weights of the model in {source!r}, found {len(missing)} missing, such as "
            f"{missing[0]}: fetch the folder again."
        )
    left_over = [int(found[1]) for key in info["unexpected_keys"] if (found := LAYER.match(key))]
    if left_over and max(left_over) >= (n_layers := text_config(model).num_hidden_layers):
        raise ValueError(
            f"expected weights of {n_layers} layers in {source!r}, as its config.json says, found those of "
            f"layer {max(left_over)}, counted from 0: config and weights do not belong together."
        )
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise ValueError(
            f"expected a tokenizer in {source!r}, found one that knows no word: fetch tokenizer.json as well."
        )
    return model, tokenizer


def _is_here(source: str) -> bool:
    """Whether a model's config can be had without the network."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(source, local_files_only=True)
    except OSError:
        return False
    return True


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"expected a model folder, found nothing at {folder}: check the path.")
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"expected config.json in {folder}, found none: is it a folder in Hugging Face format?"
        )
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        raise ValueError(
            f"expected weights as safetensors in {folder}, found {pickles[0] if pickles else 'none'}"
            f"{', a pickle, which is never loaded' if pickles else ''}: save them with save_pretrained of a "
            "current transformers."
        )
