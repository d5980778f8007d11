"""A training step of the SAE beside the same step by dense autograd, in one run, optimiser included.

    python tests/bench/bench_sae.py [threads]

Width 512, batch 4,096, 32 features on at a token; "standard, start" as ReLU with L1 begins, with half of them
on. SAELens and sparsify (eai-sparsify; TopK alone) join in where they are installed.
"""

import contextlib
import sys
import time
from collections.abc import Callable

import torch

from real.config import SAEConfig
from real.sae_state import State
from real.sae_steps import before

WIDTH, BATCH, K = 512, 4096, 32


def activations(part: int, n_rows: int) -> torch.Tensor:
    return torch.randn(n_rows, WIDTH, generator=torch.Generator().manual_seed(part))


def ours(config: SAEConfig, *, is_start: bool) -> Callable[[torch.Tensor], None]:
    """A step as train_sae() takes it; after the start K features are on at a token, whatever the kind."""
    state = State.start(config, activations)
    if config.architecture == "standard" and not is_start:
        with torch.no_grad():
            seen = before(state.frame.inputs(activations(1, 64)), state.weights).flatten()
            state.weights.b_enc.sub_(seen.topk(64 * K).values[-1])
    return state.update


def dense_autograd(config: SAEConfig) -> Callable[[torch.Tensor], None]:
    """The textbook: dense activations, autograd, fused Adam. For L1 and TopK alike."""
    start = State.start(config, activations).weights
    encoder, decoder, b_enc, b_dec = leaves = [tensor.detach().clone().requires_grad_() for tensor in start]
    adam = torch.optim.Adam(leaves, lr=1e-3, fused=True)

    def step(inputs: torch.Tensor) -> None:
        before = (inputs - b_dec) @ encoder.T + b_enc
        penalty = 0.0
        if config.architecture == "topk":
            values, features = before.topk(config.k, dim=1, sorted=False)
            on = torch.zeros_like(before).scatter(1, features, values.relu())
        else:
            on = before.relu()
            penalty = config.l1 * on.sum(1).mean()
        loss = (on @ decoder + b_dec - inputs).square().sum(1).mean() + penalty
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def saelens(config: SAEConfig) -> Callable[[torch.Tensor], None]:
    """SAELens' own training forward pass, with the same optimiser."""
    from sae_lens.saes import standard_sae, topk_sae
    from sae_lens.saes.sae import TrainStepInput

    shape = {"d_in": WIDTH, "d_sae": config.n_features}
    if config.architecture == "topk":
        sae = topk_sae.TopKTrainingSAE(topk_sae.TopKTrainingSAEConfig(k=config.k, **shape))
    else:
        sae = standard_sae.StandardTrainingSAE(standard_sae.StandardTrainingSAEConfig(**shape))
    adam = torch.optim.Adam(sae.parameters(), lr=1e-3, fused=True)

    def step(inputs: torch.Tensor) -> None:
        wanted = TrainStepInput(
            sae_in=inputs,
            coefficients={"l1": 1.0},
            dead_neuron_mask=None,
            n_training_steps=0,
            is_logging_step=False,
        )
        loss = sae.training_forward_pass(wanted).loss
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def sparsify(config: SAEConfig) -> Callable[[torch.Tensor], None]:
    """sparsify's forward pass and what its trainer does to the decoder, with the same optimiser."""
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(WIDTH, SparseCoderConfig(num_latents=config.n_features, k=config.k))
    adam = torch.optim.Adam(coder.parameters(), lr=1e-3, fused=True)

    def step(inputs: torch.Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        loss = coder(inputs).fvu
        adam.zero_grad()
        loss.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        adam.step()

    return step


def activations_per_second(
    steps: dict[str, Callable[[torch.Tensor], None]], n_rounds: int = 6
) -> dict[str, float]:
    """The fastest of several steps of each, taken in turns so that other load on the machine meets all."""
    inputs = activations(1, BATCH)
    for step in steps.values():
        step(inputs)
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(n_rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step(inputs)
            best[name] = min(best[name], time.perf_counter() - started)
    return {name: BATCH / seconds for name, seconds in best.items()}


OTHERS = {"dense autograd": dense_autograd, "SAELens": saelens, "sparsify": sparsify}


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    print(
        f"{'activations/s':15} {'features':>8} {'ours':>8}", *(f"{name:>14} {'ratio':>6}" for name in OTHERS)
    )
    for name in ("topk", "standard", "standard, start"):
        architecture, _, start = name.partition(", ")
        for n_features in (4096, 16384):
            config = SAEConfig(architecture=architecture, n_features=n_features, k=K, batch=BATCH, part=BATCH)
            steps = {"ours": ours(config, is_start=bool(start))}
            for other, make in OTHERS.items():
                if other != "sparsify" or architecture == "topk":
                    with contextlib.suppress(ImportError):
                        steps[other] = make(config)
            speed = activations_per_second(steps)
            mine, *theirs = (speed.get(other, float("nan")) for other in ("ours", *OTHERS))
            columns = (f"{other:14,.0f} {mine / other:6.2f}" for other in theirs)
            print(f"{name:15} {n_features:8,} {mine:8,.0f}", *columns, flush=True)


if __name__ == "__main__":
    main()
