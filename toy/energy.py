"""What two features cost that share one dimension: the argument behind the atlas.

Features i and j fire at rate p, binary, with P(j | i) = q, and s of their votes in common. They lie merged
(one direction) or antipodal (opposite ones). Costs are in units of the loss: each term is 1 for a network
that knows nothing of the two. With a dimension for each they would cost nothing: that is a question of room.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize

START_LENGTHS = ((1.0, 1.0), (1.0, 0.4))


class Two(NamedTuple):
    """Two features in one dimension, and what their network may do."""

    firing_rate: float
    conditional: float = 0.0
    overlap: float = 1.0
    tied: bool = True
    votes: int = 4
    vocabulary: int = 256

    def states(self) -> tuple[np.ndarray, np.ndarray]:
        """Who is on in each state but silence [3, 2], and how often it happens: i, j, both."""
        p, q = self.firing_rate, self.conditional
        return np.array([[1, 0], [0, 1], [1, 1]]), np.array([p * (1 - q), p * (1 - q), p * q])

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of tokens of both, of i, of j, of nobody [4]; a token's label by state [3, 4]."""
        shared, own = self.overlap * self.votes, (1 - self.overlap) * self.votes
        n_tokens = np.array([shared, own, own, self.vocabulary - shared - 2 * own])
        return n_tokens, np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0.5, 0.5, 0]]) / self.votes


def flip_of_equal_lengths(readout: str) -> float:
    """Reconstruction's share of the loss above which exclusive features of one output lie antipodal.

    In the sparse limit, for a tied network that gives both the same length. Merged, whoever fires is taken
    for half of each: reconstruction costs 1/2, output nothing. Antipodal, reconstruction costs nothing, and
    the readout has to say the same at h and at -h but not at 0: a softmax cannot at all, being monotone in h
    (cost 1), a ReLU regression says it at one end (1/2), an MLP at both (0). So share / 2 = (1 - share) cost.
    """
    cost = {"softmax": 1.0, "relu": 0.5, "mlp": 0.0}[readout]
    return cost / (cost + 0.5)


def flip_share(two: Two) -> float:
    """The same for a softmax with nothing assumed: the shares at which the two least losses are equal.

    Lengths, biases and the readout are free, at the firing rate given. 0 or 1 where they never cross.
    """

    def difference(share: float) -> float:
        return least_loss(two, share, sign=-1) - least_loss(two, share, sign=1)

    low, high = 0.02, 0.98
    if difference(low) <= 0:
        return 0.0
    if difference(high) >= 0:
        return 1.0
    return float(brentq(difference, low, high, xtol=2e-3))


def least_loss(two: Two, share: float, sign: int) -> float:
    """Least expected loss of an arrangement: sign 1 merged, -1 antipodal; exact expectation over states.

    Minimised over lengths, rows of the encoder, biases, and the softmax's logits, from a few starts.
    """
    found = []
    for long, short in START_LENGTHS:
        for readout in (0.3, 3.0):
            reads = [] if two.tied else [long, sign * short]
            start = np.array([long, short, *reads, 0.0, 0.0, *[readout] * 3, *[0.0] * 3])
            bounds = [(0.0, 5.0)] * 2 + [(-20.0, 20.0)] * len(reads) + [(-5.0, 5.0)] * 2 + [(-40.0, 40.0)] * 6
            found.append(minimize(arrangement_loss, start, args=(two, share, sign), bounds=bounds).fun)
    return float(min(found))


def arrangement_loss(free: np.ndarray, two: Two, share: float, sign: int) -> float:
    """Expected loss given two lengths [, two rows of an encoder], two biases, and the readout's six numbers:

    slopes by the hidden value of the logits of tokens of both, of i and of j, and the logits in silence.
    """
    written = free[:2] * np.array([1, sign])
    read, rest = (written, free[2:]) if two.tied else (free[2:4], free[4:])
    on, often = two.states()
    n_tokens, labels = two.tokens()
    hidden = np.append(on @ written, 0.0)
    on, often = np.vstack([on, [0, 0]]), np.append(often, 1 - often.sum())
    labels = np.vstack([labels, np.full(4, 1 / two.vocabulary)])
    error = np.maximum(np.outer(hidden, read) + rest[:2], 0) - on
    reconstruction = often @ (error**2).sum(1) / (2 * two.firing_rate)
    logits = np.outer(hidden, [*rest[2:5], 0.0]) + np.array([*rest[5:8], 0.0])
    base = often @ labels
    output = often @ _divergence(labels, logits, n_tokens)
    nothing = often @ _divergence(labels, np.log(base / base[3])[None], n_tokens)
    return share * reconstruction + (1 - share) * output / nothing


def _divergence(labels: np.ndarray, logits: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """KL in nats from labels to the softmax of logits, tokens of a kind being alike."""
    top = logits.max(1, keepdims=True)
    log_output = logits - top - np.log(np.exp(logits - top) @ n_tokens)[:, None]
    log_labels = np.log(np.where(labels > 0, labels, 1))
    return np.where(labels > 0, labels * (log_labels - log_output), 0) @ n_tokens
