"""How a group of features fires: a table of states, each with the members that are on and its probability.

Groups are independent of each other, and within a group exactly one state holds at a time (the state in which
nobody fires takes what is left of probability 1). Rates, joint rates and expected labels follow exactly.
"""

from collections.abc import Sequence
from itertools import pairwise

State = tuple[tuple[int, ...], float]
"""The members that are on, and how often that happens."""


def clique_states(rates: Sequence[float], conditional: float) -> list[State]:
    """States of a group in which P(i, j) = conditional * min(rate_i, rate_j) for any two members.

    One uniform number a sample decides: along the line, first the members fire together, as many as reach
    that far with a share `conditional` of their rates, then each alone. 0 is exclusive, 1 nested.
    """
    spent = conditional * max(rates) + (1 - conditional) * sum(rates)
    if spent > 1 + 1e-12:
        lowest = (sum(rates) - 1) / (sum(rates) - max(rates))
        raise ValueError(
            f"expected a conditional from {lowest:.4g} to 1 for features that fire at "
            f"{', '.join(f'{rate:.4g}' for rate in rates)}, found {conditional:g}: they fire too often to "
            "avoid each other; lower firing_rate or raise the conditional."
        )
    order = sorted(range(len(rates)), key=lambda member: -rates[member])
    falling = [rates[member] for member in order] + [0.0]
    states = [(tuple(order[: k + 1]), conditional * (falling[k] - falling[k + 1])) for k in range(len(rates))]
    states += [((member,), (1 - conditional) * rate) for member, rate in enumerate(rates)]
    return [(members, probability) for members, probability in states if probability > 0]


def ring_states(size: int, rate: float, conditional: float) -> list[State]:
    """States of a ring in which P(i + 1 | i) = conditional, members being counted round.

    A point falls on a circle on which the members' arcs, all of length `rate`, start at equal distances of
    rate * (1 - conditional). Features k steps apart one way and size - k the other overlap by
    1 - k (1 - conditional) and 1 - (size - k) (1 - conditional) of their arcs, each while that is above 0.
    Neighbours meet one way only while conditional <= 1 - 1 / (size - 1), which ToyConfig sees to.
    """
    step = rate * (1 - conditional)
    circle = size * step
    starts = [member * step for member in range(size)]
    cuts = sorted(
        {round(cut % circle, 15) for start in starts for cut in (start, start + rate)} | {0.0, circle}
    )
    states = []
    for left, right in pairwise(cuts):
        if right - left < 1e-12 * circle:
            continue
        middle = (left + right) / 2
        members = tuple(member for member, start in enumerate(starts) if (middle - start) % circle < rate)
        states.append((members, right - left))
    return states


def tree_states(size: int, rate: float, conditional: float) -> list[State]:
    """States of a parent, the first member, and children that fire only with it and never together.

    The parent fires at `rate`, each child in `conditional` of that.
    """
    children = [((0, child), rate * conditional) for child in range(1, size)]
    alone = rate * (1 - conditional * (size - 1))
    return ([((0,), alone)] if alone > 1e-15 else []) + children
