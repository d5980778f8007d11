"""Shape and training of a small language model, as one flat config."""

import math
from dataclasses import dataclass, fields

from real.config import check_seed


@dataclass(frozen=True, kw_only=True)
class LMConfig:
    """A decoder with tied embeddings, and how it is trained. Saved beside every checkpoint."""

    layers: int = 2
    """Transformer blocks."""

    width: int = 512
    """Size of the residual stream."""

    heads: int = 8
    """Attention heads a block; must divide width."""

    mlp: int = 2048
    """Hidden size of each block's MLP."""

    context: int = 128
    """Tokens that the model sees at once."""

    vocab: int = 8192
    """Size of the byte-level BPE vocabulary."""

    batch: int = 8
    """Sequences a step."""

    tokens: int = 5_000_000
    """Training tokens in all, rounded down to whole steps."""

    restart_tokens: int = 0
    """Tokens after which the schedule begins anew, AdamW's memory emptied: where a finished run goes on."""

    learning_rate: float = 1.5e-3
    """Peak learning rate of AdamW."""

    warmup_steps: int = 200
    """Steps of linear growth from zero to the peak."""

    decay_share: float = 0.2
    """Share of all steps, at the end, in which the rate falls linearly to zero; constant before that."""

    weight_decay: float = 0.01
    """Decoupled weight decay, on matrices only."""

    beta2: float = 0.98
    """Memory of AdamW's second moment, in (0, 1)."""

    clip: float = 1.0
    """Largest norm of the gradient."""

    evaluate_every: int = 500
    """Steps between two looks at the held-out loss."""

    checkpoint_every: int = 500
    """Steps between two checkpoints; at most this much work is lost to a kill."""

    bfloat16: bool = False
    """Compute products of matrices in bfloat16: faster where the processor has instructions for it."""

    seed: int = 0
    """Of the initial weights and of the order of the blocks."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for field in fields(self):
            value = getattr(self, field.name)
            is_zero_fine = field.name in ("weight_decay", "decay_share", "warmup_steps", "restart_tokens")
            is_number = field.name not in ("seed", "bfloat16")
            if is_number and not (0 <= value < math.inf and (value or is_zero_fine)):
                least = "of 0 or more" if is_zero_fine else "> 0"
                raise ValueError(f"expected {field.name} {least}, found {value}: give such a number.")
        if self.width % self.heads:
            raise ValueError(
                f"expected heads that divide width, found width={self.width} and heads={self.heads}: "
                "change one of them."
            )
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"expected decay_share in [0, 1], found {self.decay_share}: give a share.")
        if self.restart_tokens and self.restart_step <= self.warmup_steps:
            raise ValueError(
                f"expected restart_tokens of more than warmup_steps={self.warmup_steps}, found "
                f"{self.restart_step} ({self.restart_tokens} tokens / {self.batch * self.context} a step): "
                "raise restart_tokens, or leave it out."
            )
        after = f" after restart_tokens={self.restart_tokens}" if self.restart_tokens else ""
        if self.steps - self.restart_step <= self.warmup_steps:
            raise ValueError(
                f"expected more steps{after} than warmup_steps={self.warmup_steps}, found "
                f"{max(0, self.steps - self.restart_step)} ({self.tokens} tokens / "
                f"{self.batch * self.context} a step): raise tokens."
            )

    @property
    def steps(self) -> int:
        """Optimiser steps in the whole run."""
        return self.tokens // (self.batch * self.context)

    @property
    def restart_step(self) -> int:
        """The step with which the schedule begins anew; 0 if it runs once."""
        return self.restart_tokens // (self.batch * self.context)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: warmup, stable, decay; the same again after a restart."""
        is_before = step < self.restart_step
        first, end = (0, self.restart_step) if is_before else (self.restart_step, self.steps)
        warmup = (step - first + 1) / self.warmup_steps if self.warmup_steps else 1.0
        decay_steps = self.decay_share * (end - first)
        decay = (end - step) / decay_steps if decay_steps else 1.0
        return self.learning_rate * min(1.0, warmup, decay)
