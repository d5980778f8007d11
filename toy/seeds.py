"""Every draw has a seed of its own, and all follow from the config's."""

from toy.config import ToyConfig

PURPOSES = ("start", "training", "evaluation", "stream", "noise")


def seed_of(config: ToyConfig, purpose: str) -> int:
    """A seed of its own for each purpose: start, training, evaluation, stream, noise."""
    return config.seed * len(PURPOSES) + PURPOSES.index(purpose)
