"""Causal effects of features on the next token: measured once, kept with the other evidence."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from compare import ranks
from compare.evidence import Evidence
from compare.pairs import PairTable
from compare.system import HasEffects, System


def with_effects(
    evidence: Evidence,
    system: System,
    *,
    min_count: int,
    max_features: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """The same Evidence with the effects of the features that an analysis with these choices looks at.

    A feature's typical activation is the root mean square of those that are not zero. ValueError where the
    system cannot change what its features write.
    """
    if not isinstance(system, HasEffects):
        raise ValueError(
            f"expected a system whose features can be added and taken away, found {system.name!r}, which "
            "offers no effects(): leave effects out."
        )
    ids = evidence.sample(min_count=min_count, max_features=max_features, seed=seed)
    squares = np.asarray(evidence.activation_second).diagonal()[ids]
    amounts = np.sqrt(squares / np.asarray(evidence.counts)[ids]).astype(np.float32)
    mine = np.arange(ranks.number(), len(ids), ranks.count())
    added, ablated = np.zeros((2, len(ids), len(evidence.base_output)), dtype=np.float32)
    firings = np.zeros(len(ids), dtype=np.int64)
    if len(mine):
        found = system.effects(torch.from_numpy(ids[mine]), torch.from_numpy(amounts[mine]), progress)
        added[mine], ablated[mine] = found.added.cpu().numpy(), found.ablated.cpu().numpy()
        firings[mine] = found.n_ablated.cpu().numpy()
    ranks.total(added, ablated, firings)
    unembedding = system.unembedding
    return replace(
        evidence,
        effect_features=ids,
        effect_added=added,
        effect_ablated=ablated,
        effect_firings=firings,
        logit_metric=None if unembedding is None else logit_metric(unembedding, evidence.base_output),
    )


def logit_metric(
    unembedding: Float[torch.Tensor, "vocab width"], base: Float[np.ndarray, " vocab"]
) -> Float[np.ndarray, "width width"]:
    """W'(diag(p) - pp')W: of two directions, the covariance under p of the logits W d that they give."""
    rows, share = unembedding.detach().double().cpu().numpy(), np.asarray(base, dtype=np.float64)
    mean = share @ rows
    return (rows.T * share) @ rows - np.outer(mean, mean)


def causal_results(tables: Sequence[PairTable]) -> dict[str, float]:
    """How the causal measure stands to the others, over pairs, averaged over seeds; tables hold all of them.

    `undone`: mean cosine, over features, of what adding does with the reverse of what ablating does, 1 where
    the one undoes the other.
    """
    rows = [seed_results(table) for table in tables]
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def seed_results(table: PairTable) -> dict[str, float]:
    """The same of one seed."""
    evidence, pairs = table.evidence, np.triu(table.mask, 1)

    def correlation(one: str, other: str) -> float:
        return float(np.corrcoef(table[one][pairs], table[other][pairs])[0, 1])

    share = np.sqrt(np.asarray(evidence.base_output))
    added, ablated = (
        (shifts - (shifts @ share**2)[:, None]) * share
        for shifts in (np.asarray(evidence.effect_added), np.asarray(evidence.effect_ablated))
    )
    sizes = np.linalg.norm(added, axis=1)
    undone = -(added * ablated).sum(1) / (sizes * np.linalg.norm(ablated, axis=1))
    return {
        "n_features": float(len(evidence.effect_features)),
        "effect_size": float(np.median(sizes)),
        "n_ablated": float(np.mean(evidence.effect_firings)),
        "undone": float(np.nanmean(undone)),
        "with_cosine": correlation("effect_cosine", "cosine"),
        "with_outputs": correlation("effect_cosine", "js_split"),
        "with_cooccurrence": correlation("effect_cosine", "log_odds"),
        "with_logits": correlation("effect_cosine", "logit_cosine"),
        "logits_with_cosine": correlation("logit_cosine", "cosine"),
    }
