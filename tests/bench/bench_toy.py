"""Training step of the toy beside the batched-einsum autograd style of the published notebook, in one run.

    python tests/bench/bench_toy.py [threads]

Both train a tied ReLU autoencoder on 200 features in 20 dimensions, 20 instances, batch 1,024. The notebook
style draws a dense batch of its own for every instance. The GEMM limit is the three dense products of a
step alone: decoding, and back through it to the hidden vectors and to the directions (encoding is sparse),
by numpy and by torch.
"""

import sys
import time
from collections.abc import Callable

import torch
from threadpoolctl import threadpool_limits

from toy.config import ToyConfig
from toy.model import STEPS_A_DRAW
from toy.network import LossScales, Network, product
from toy.world import World

CONFIG = ToyConfig(n_features=200, width=20, n_seeds=20, batch=1024, magnitudes="uniform", grouped_share=0.0)


def ours() -> Callable[[], None]:
    """STEPS_A_DRAW steps as train() does them: samples, then gradient and Adam."""
    world = World(CONFIG)
    network = Network(CONFIG, LossScales(world))
    optimizer = torch.optim.AdamW(network.groups(), lr=CONFIG.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(0)

    def steps() -> None:
        for sample in world.sample(STEPS_A_DRAW * CONFIG.batch, generator).split(CONFIG.batch):
            network.backward(sample, None)
            optimizer.step()

    return steps


def notebook_style() -> Callable[[], None]:
    """Dense samples [batch, instances, features], einsum, autograd, Adam."""
    n, instances, width = CONFIG.n_features, CONFIG.n_seeds, CONFIG.width
    weight = torch.nn.Parameter(torch.randn(instances, n, width) / width**0.5)
    bias = torch.nn.Parameter(torch.zeros(instances, n))
    importance = torch.ones(n)
    optimizer = torch.optim.AdamW([weight, bias], lr=CONFIG.learning_rate)

    def step() -> None:
        value = torch.rand(CONFIG.batch, instances, n)
        x = torch.where(torch.rand(CONFIG.batch, instances, n) <= CONFIG.firing_rate, value, torch.zeros(()))
        hidden = torch.einsum("bif,ifh->bih", x, weight)
        output = torch.relu(torch.einsum("bih,ifh->bif", hidden, weight) + bias)
        loss = torch.einsum("bif->", importance * (x - output) ** 2) / CONFIG.batch
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def gemm_limit(multiply: Callable) -> Callable[[], None]:
    """The dense products of one step, and nothing else."""
    n, instances, width = CONFIG.n_features, CONFIG.n_seeds, CONFIG.width
    hidden, weight = torch.randn(instances, CONFIG.batch, width), torch.randn(instances, n, width)
    output = torch.empty(1, CONFIG.batch, n)

    def step() -> None:
        for k in range(instances):
            multiply(hidden[k : k + 1], weight[k : k + 1].transpose(1, 2), out=output)
            multiply(output, weight[k : k + 1])
            multiply(output.transpose(1, 2), hidden[k : k + 1])

    return step


def milliseconds(ways: dict[str, tuple[Callable[[], None], int]], rounds: int = 15) -> dict[str, float]:
    """Median CPU time of a step, in ms; the ways, each with the steps that a call takes, take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call, _ in ways.values():
        call()
    for _ in range(rounds):
        for name, (call, n_steps) in ways.items():
            start = time.process_time()
            call()
            taken[name].append((time.process_time() - start) / n_steps)
    return {name: 1e3 * sorted(times)[rounds // 2] for name, times in taken.items()}


if __name__ == "__main__":
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    with threadpool_limits(threads, user_api="blas"):
        found = milliseconds(
            {
                "notebook style": (notebook_style(), 1),
                "cofire": (ours(), STEPS_A_DRAW),
                "GEMM limit": (gemm_limit(product), 1),
                "the same by torch": (gemm_limit(torch.bmm), 1),
            }
        )
    for name, time_taken in found.items():
        print(
            f"{name:18s} {time_taken:8.2f} ms CPU a step   {found['notebook style'] / time_taken:5.2f}x the "
            f"notebook's speed   {time_taken / found['GEMM limit']:5.2f}x the GEMM limit's time"
        )
