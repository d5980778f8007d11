"""Training of a small language model: resumable, deterministic, one folder a run.

A run's folder holds `config.json`, `tokenizer/`, `tokens/` (the encoded corpus), `log.jsonl`, the newest
`checkpoint-<step>/` and, at the end, `model/`, an ordinary Hugging Face folder in half precision, and
`quality.json`.
"""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from real.corpus import load_documents, write_atomically
from real.lm_blocks import batch_of, held_out_blocks, open_stream
from real.lm_config import LMConfig
from real.lm_evaluation import measure_quality
from real.text_sample import draw
from real.token_stream import texts_of, train_tokenizer, write_streams

MAY_CHANGE = {"tokens", "restart_tokens", "decay_share", "bfloat16", "checkpoint_every", "evaluate_every"}
"""Fields that a resumed run may change: how it goes on, not what it has been."""


SCORED_BYTES = 500_000
"""Held-out text on which a finished model is scored; a minute or two for the bundled one."""


def train_lm(
    config: LMConfig, corpus_folder: Path, out_folder: Path, *, progress: Callable[[str], None] = print
) -> Path:
    """Train a language model on a corpus from `build_corpus`; returns the folder of the finished model.

    Tokenizer and token streams are made first, unless `out_folder` has them. A run that was killed goes on
    from its last checkpoint when called again, and ends as if it had never stopped; `tokens` may then be
    raised or lowered, which moves the start of the decay; one that has ended goes on with more `tokens` and
    `restart_tokens` at its end. ValueError if the corpus is missing or too short, or the folder holds a run
    of another config.
    """
    _claim(out_folder, config)
    prepare_tokens(config, corpus_folder, out_folder)
    train = open_stream(out_folder, "train", config)
    held_out = held_out_blocks(open_stream(out_folder, "held-out", config), config)
    torch.manual_seed(config.seed)
    model = new_model(config)
    model.set_attn_implementation("eager")  # 6 % more tokens a second than the fused one, at this width
    optimizer = new_optimizer(model, config)
    step = load_checkpoint(out_folder, model, optimizer)
    started, first_step = time.monotonic(), step
    losses = []
    while step < config.steps:
        if step == config.restart_step:
            optimizer = new_optimizer(model, config)
        losses.append(train_step(model, optimizer, batch_of(train, step, config), config, step))
        step += 1
        if step % config.evaluate_every == 0 or step == config.steps:
            speed = (step - first_step) / (time.monotonic() - started)
            line = {
                "step": step,
                "tokens": step * config.batch * config.context,
                "train_loss": sum(losses) / len(losses),
                "held_out_loss": mean_loss(model, held_out),
                "learning_rate": config.rate(step - 1),
                "tokens_per_second": round(speed * config.batch * config.context),
            }
            losses.clear()
            _log(out_folder, line)
            minutes = (config.steps - step) / speed / 60
            progress(
                f"step {step}/{config.steps}: held-out {line['held_out_loss']:.3f} nats a token, "
                f"{line['tokens_per_second']} tokens/s, {minutes:.0f} min left"
            )
        if step % config.checkpoint_every == 0 or step == config.steps:
            save_checkpoint(out_folder, model, optimizer, step)
    export_model(out_folder, out_folder / "model")
    documents = draw(list(load_documents(corpus_folder, "held-out")), SCORED_BYTES)
    quality = measure_quality(out_folder, [document["text"] for document in documents])
    write_atomically(out_folder / "quality.json", json.dumps(quality, indent=1) + "\n")
    progress(quality["note"])
    return out_folder / "model"


def new_model(config: LMConfig) -> torch.nn.Module:
    """An untrained `GPTNeoXForCausalLM`, weights drawn from torch's global generator.

    Rotary positions learn faster than learned ones: 0.13 nats a token ahead after 300 steps of one seed.
    """
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=config.vocab,
            max_position_embeddings=config.context,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.mlp,
            hidden_act="gelu",
            rotary_pct=1.0,
            use_parallel_residual=False,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
        )
    )


def new_optimizer(model: torch.nn.Module, config: LMConfig) -> torch.optim.AdamW:
    """AdamW; only matrices decay, not biases and the gains of layer norms."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True)


def train_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    blocks: Int[Tensor, "batch window"],
    config: LMConfig,
    step: int,
) -> float:
    """One optimiser step on blocks of context + 1 tokens; returns their loss in nats a token."""
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bfloat16):
        loss = next_token_loss(model, blocks)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    if not math.isfinite(loss.item()):
        raise ValueError(f"expected a finite loss, found {loss.item()} at step {step}: lower learning_rate.")
    return loss.item()


def next_token_loss(model: torch.nn.Module, blocks: Int[Tensor, "batch window"]) -> Tensor:
    """Mean cross-entropy of tokens 2 to last given those before them, in nats."""
    logits = model(blocks[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten())


@torch.no_grad()
def mean_loss(model: torch.nn.Module, blocks: Int[Tensor, "blocks window"]) -> float:
    """Mean loss over many blocks, in nats a token."""
    return sum(next_token_loss(model, part).item() * len(part) for part in blocks.split(16)) / len(blocks)


def prepare_tokens(config: LMConfig, corpus_folder: Path, out_folder: Path) -> None:
    """Make `tokenizer/` and `tokens/` in the run's folder, unless they are there."""
    if (out_folder / "tokens").is_dir():
        return
    tokenizer = train_tokenizer(texts_of(corpus_folder, "train"), config.vocab, out_folder / "tokenizer")
    unfinished = out_folder / "tokens.partial"
    unfinished.mkdir(exist_ok=True)
    write_streams(corpus_folder, tokenizer, unfinished)
    unfinished.rename(out_folder / "tokens")


def save_checkpoint(out_folder: Path, model, optimizer, step: int) -> None:
    """Write `checkpoint-<step>/` so that it exists whole or not at all, then drop older ones."""
    folder = out_folder / f"checkpoint-{step:08d}"
    unfinished = out_folder / "checkpoint.partial"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    parameters = dict(model.named_parameters())
    moments = {
        f"{name}.{kind}": optimizer.state[parameter][kind]
        for name, parameter in parameters.items()
        for kind in ("exp_avg", "exp_avg_sq")
    }
    save_file(
        {name: parameter.detach() for name, parameter in parameters.items()}, unfinished / "model.safetensors"
    )
    save_file(moments, unfinished / "optimizer.safetensors")
    own = {int(state["step"]) for state in optimizer.state.values()}  # fewer than the run's after a restart
    (unfinished / "state.json").write_text(json.dumps({"step": step, "optimizer_step": max(own)}))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    for older in checkpoints(out_folder)[:-1]:
        shutil.rmtree(older)


def load_checkpoint(out_folder: Path, model, optimizer) -> int:
    """Fill model and optimiser from the newest checkpoint, if any; returns the number of the next step."""
    found = checkpoints(out_folder)
    if not found:
        return 0
    state = json.loads((found[-1] / "state.json").read_text())
    weights = load_file(found[-1] / "model.safetensors")
    moments = load_file(found[-1] / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
        optimizer.state[parameter] = {
            "step": torch.tensor(float(state.get("optimizer_step", state["step"]))),
            "exp_avg": moments[f"{name}.exp_avg"],
            "exp_avg_sq": moments[f"{name}.exp_avg_sq"],
        }
    return state["step"]


def checkpoints(out_folder: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(path for path in out_folder.glob("checkpoint-*") if (path / "state.json").is_file())


def export_model(out_folder: Path, folder: Path) -> None:
    """Write the newest checkpoint as a Hugging Face folder: float16 weights, config and tokenizer."""
    config = LMConfig(**json.loads((out_folder / "config.json").read_text()))
    model = new_model(config)
    load_checkpoint(out_folder, model, new_optimizer(model, config))
    model.half().save_pretrained(folder)
    for file in (out_folder / "tokenizer").iterdir():
        shutil.copyfile(file, folder / file.name)


def _claim(out_folder: Path, config: LMConfig) -> None:
    """Write the config into the run's folder; ValueError if another run lives there."""
    out_folder.mkdir(parents=True, exist_ok=True)
    path = out_folder / "config.json"
    if path.is_file():
        before, now = json.loads(path.read_text()), asdict(config)
        changed = [name for name in now if now[name] != before.get(name) and name not in MAY_CHANGE]
        if changed:
            raise ValueError(
                f"expected the run in {out_folder} to go on with {changed[0]}={before.get(changed[0])}, "
                f"found {changed[0]}={now[changed[0]]}: give another folder, or the config it began with."
            )
        _check_restart(out_folder, LMConfig(**before).restart_step, config)
    write_atomically(path, json.dumps(asdict(config), indent=1) + "\n")


def _check_restart(out_folder: Path, before: int, config: LMConfig) -> None:
    """ValueError if a restart would be put, or taken away, where the run has been already."""
    found = checkpoints(out_folder)
    done = json.loads((found[-1] / "state.json").read_text())["step"] if found else 0
    if before != config.restart_step and min(one for one in (before, config.restart_step) if one) < done:
        a_step = config.batch * config.context
        raise ValueError(
            f"expected the run in {out_folder}, {done * a_step} tokens old, to keep its restart at "
            f"{before * a_step} tokens, found restart_tokens={config.restart_tokens}: name what lies before "
            "it, or another folder."
        )


def _log(out_folder: Path, line: dict) -> None:
    with (out_folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
