"""Where a site lies in a model, by its name in TransformerLens; and whether the name fits what lies there."""

import re
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

BLOCKS = ("transformer.h", "model.layers", "gpt_neox.layers", "model.language_model.layers")
"""Where architectures keep their list of blocks: GPT-2; Llama, Qwen, Gemma; GPT-NeoX; multimodal ones."""

HOOKS = {
    "hook_resid_pre": (("", "input"),),
    "hook_resid_mid": (("ln_2", "input"), ("post_attention_layernorm", "input")),
    "hook_resid_post": (("", "output"),),
    "hook_mlp_out": (("mlp", "output"),),
    "hook_attn_out": tuple((name, "output") for name in ("attn", "attention", "self_attn", "self_attention")),
    "mlp.hook_post": (("mlp.c_proj", "input"), ("mlp.down_proj", "input"), ("mlp.dense_4h_to_h", "input")),
}
"""TransformerLens' name of a site -> where it may lie in a block; the first that the block has counts."""

SANDWICHED = {
    "hook_resid_mid": (("pre_feedforward_layernorm", "input"),),
    "hook_mlp_out": (("post_feedforward_layernorm", "output"),),
    "hook_attn_out": (("post_attention_layernorm", "output"),),
}
"""The same where a norm stands before and after attention and MLP (Gemma 2 and 3): what joins the stream."""

SUMS = (
    ("hook_resid_pre", "hook_attn_out", "hook_resid_mid"),
    ("hook_resid_mid", "hook_mlp_out", "hook_resid_post"),
    ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post"),
)
"""The last of each is the sum of the others, if they are what their names say."""

BETWEEN = ("hook_attn_out", "hook_resid_mid", "hook_mlp_out")
"""Those that a family may keep elsewhere; a block's input and output are the stream itself."""

SUM_TOLERANCE = 1e-5
"""Of the largest of the summands: some hundred times what rounding to float32 costs."""

SITE = re.compile(r"blocks\.(\d+)\.(.+)")

Change = Callable[[Tensor], Tensor]


class Reached(Exception):
    """Raised at a site to leave the forward pass: nothing after it is needed."""


def find_site(model: nn.Module, site: str) -> tuple[nn.Module, str] | None:
    """The module of a site and which side of it, "input" or "output"; None where there is no such site."""
    modules = dict(model.named_modules())
    if site.removesuffix(".input") in modules:
        return modules[site.removesuffix(".input")], "input" if site.endswith(".input") else "output"
    found = SITE.fullmatch(site)
    is_parallel = getattr(text_config(model), "use_parallel_residual", False)
    if found is None or (is_parallel and found[2] == "hook_resid_mid"):  # then nothing lies in the middle
        return None
    for path in (f"{blocks}.{found[1]}" for blocks in BLOCKS):
        hooks = HOOKS | (SANDWICHED if f"{path}.pre_feedforward_layernorm" in modules else {})
        for inner, side in hooks.get(found[2], ()) if path in modules else ():
            if (inside := f"{path}.{inner}".rstrip(".")) in modules:
                return modules[inside], side
    return None


def attach(module: nn.Module, side: str, change: Change) -> Callable[[], None]:
    """Have `change` take what enters or leaves a module and give what goes on; returns what undoes it."""

    def before(_, arguments: tuple, named: dict) -> tuple[tuple, dict]:
        if arguments:
            return (change(arguments[0]), *arguments[1:]), named
        return arguments, named | {"hidden_states": change(named["hidden_states"])}

    def after(_, __, output: Tensor | tuple) -> Tensor | tuple:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True).remove
    return module.register_forward_hook(after).remove


@torch.no_grad()
def names_that_add_up(model: nn.Module, layer: int) -> set[str]:
    """The names of a block's sites that take part in a sum that holds, on a few tokens.

    In some families a norm, a factor or the stream itself comes between what a module gives and what joins
    the stream (OLMo 2, Granite, BLOOM): under the name of the one then lies the other.
    """
    seen: dict[str, Tensor] = {}

    def keeper(name: str) -> Change:
        def keep(value: Tensor) -> Tensor:
            seen[name] = value.clone()  # some models add to it in place
            if name == "hook_resid_post":
                raise Reached
            return value

        return keep

    names = sorted({name for names in SUMS for name in names})
    found = {name: find_site(model, f"blocks.{layer}.{name}") for name in names}
    removals = [attach(*place, keeper(name)) for name, place in found.items() if place is not None]
    try:
        model(torch.arange(4, device=next(model.parameters()).device)[None], use_cache=False)
    except Reached:
        pass
    finally:
        for remove in removals:
            remove()
    whole = [names for names in SUMS if set(names) <= set(seen)]
    return {name for names in whole if _adds_up([seen[name] for name in names]) for name in names}


def _adds_up(parts: list[Float[Tensor, "*shape"]]) -> bool:
    """Whether the last is the sum of the others, number by number."""
    *summands, total = parts
    error = (sum(summands) - total).abs()
    return bool((error <= SUM_TOLERANCE * torch.stack(parts).abs().amax(0)).all())


def text_config(model: nn.Module) -> object:
    """The config of a model's text part: its own, but where it reads images as well."""
    return getattr(model.config, "get_text_config", lambda: model.config)()
