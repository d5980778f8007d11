"""Unigram, bigram and trigram baselines: interpolated modified Kneser-Ney, exact, counted by sorting.

Chen and Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1999), section 3.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

UNDEFINED_DISCOUNT = 0.75
"""Taken off every count where the n-grams seen one to four times give no discount, or one not above zero."""


class KneserNey:
    """P(token | the order - 1 tokens before it in its document), fitted to a stream of token numbers.

    `bos` begins every document of the stream, is itself never predicted, and stands for whatever lies before
    a document. The highest order counts occurrences; lower orders count distinct continuations; below the
    unigram lies the uniform distribution over the vocabulary. A stream of 60M tokens takes about a minute.
    """

    def __init__(
        self,
        stream: Integer[np.ndarray, " tokens"],
        order: int,
        vocab: int,
        *,
        counted: Bool[np.ndarray, " tokens"] | None = None,
        bos: int = 0,
    ) -> None:
        if not 1 <= order <= 3:
            raise ValueError(f"expected order 1, 2 or 3, found {order}: choose one of them.")
        self.order, self.vocab, self.bos = order, vocab, bos
        learned = self._keys(stream, order)
        if counted is not None:
            learned = learned[counted[stream != bos]]
        keys, counts = np.unique(learned, return_counts=True)
        if not len(keys):
            raise ValueError(f"expected tokens other than {bos} to count, found none: give a longer text.")
        self._levels = [_Level.fit(keys, counts, vocab)]
        for shorter in range(order - 1, 0, -1):
            keys, counts = np.unique(keys % vocab**shorter, return_counts=True)
            self._levels.insert(0, _Level.fit(keys, counts, vocab))

    def log_probabilities(self, stream: Integer[np.ndarray, " tokens"]) -> Float[np.ndarray, " predicted"]:
        """Natural logarithm of the probability of every token but `bos`, in the stream's order."""
        return np.log(self._interpolate(self._keys(stream, self.order)))

    def distribution(self, history: Integer[np.ndarray, " before"]) -> Float[np.ndarray, " vocab"]:
        """Probabilities of all tokens after a history of order - 1 tokens; they sum to 1."""
        context = 0
        for token in history:
            context = context * self.vocab + int(token)
        return self._interpolate(context * self.vocab + np.arange(self.vocab))

    def _interpolate(self, keys: Int[np.ndarray, " grams"]) -> Float[np.ndarray, " grams"]:
        probability = np.full(len(keys), 1 / self.vocab)
        for length, level in enumerate(self._levels, start=1):
            probability = level.interpolate(keys % self.vocab**length, probability)
        return probability

    def _keys(self, stream: np.ndarray, order: int) -> Int[np.ndarray, " grams"]:
        """Each token other than bos with its history, as one number in base `vocab`, latest token last."""
        if not len(stream) or stream[0] != self.bos:
            raise ValueError(
                f"expected a stream that begins with {self.bos}, found {stream[:1]}: put it first."
            )
        at = np.flatnonzero(stream != self.bos)
        keys = stream[at].astype(np.int64)
        before = np.zeros(len(at), np.int64)
        for back in range(1, order):
            previous = stream[np.maximum(at - back, 0)].astype(np.int64)
            before = previous if back == 1 else np.where(before == self.bos, self.bos, previous)
            keys += before * self.vocab**back
        return keys


@dataclass(frozen=True)
class _Level:
    """One order: what each n-gram's count leaves after discounting, and what each context passes down."""

    vocab: int
    keys: Int[np.ndarray, " grams"]
    discounted: Float[np.ndarray, " grams"]
    contexts: Int[np.ndarray, " contexts"]
    totals: Float[np.ndarray, " contexts"]
    passed_down: Float[np.ndarray, " contexts"]

    @classmethod
    def fit(cls, keys: np.ndarray, counts: np.ndarray, vocab: int) -> "_Level":
        """From the sorted distinct n-grams and their counts."""
        discount = discounts(counts)[np.minimum(counts, 3)]
        contexts, starts = np.unique(keys // vocab, return_index=True)
        return cls(
            vocab,
            keys,
            counts - discount,
            contexts,
            np.add.reduceat(counts, starts).astype(float),
            np.add.reduceat(discount, starts),
        )

    def interpolate(self, keys: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """(discounted count + mass passed down x lower order) / total; the lower order in a new context."""
        gram, gram_is_seen = _find(self.keys, keys)
        context, context_is_seen = _find(self.contexts, keys // self.vocab)
        direct = np.where(gram_is_seen, self.discounted[gram], 0.0)
        mixed = (direct + self.passed_down[context] * lower) / self.totals[context]
        return np.where(context_is_seen, mixed, lower)


def discounts(counts: Integer[np.ndarray, " grams"]) -> Float[np.ndarray, " four"]:
    """What is taken off a count of 0, 1, 2, and 3 or more; UNDEFINED_DISCOUNT where the data cannot say."""
    n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return np.array([0.0] + 3 * [UNDEFINED_DISCOUNT])
    y = n1 / (n1 + 2 * n2)
    estimates = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    if estimates.min() <= 0:  # a context that passes nothing down would call all else impossible
        estimates[:] = UNDEFINED_DISCOUNT
    return np.append(0.0, estimates)


def _find(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of each key in a sorted table, and whether it is there."""
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return place, table[place] == keys
