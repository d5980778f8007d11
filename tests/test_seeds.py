"""Seeds: each by itself, all together, and whether a seed's own error tells how far the next one lies."""

import numpy as np
import pandas as pd
import pytest
from synthetic import planted_system

from compare.analysis import analyse
from compare.dictionary import Choices
from compare.evidence import measure
from compare.seeds import over_seeds, seed_tables, seeds_together


def test_three_seeds_by_hand():
    """Means 1, 2, 3: mean 2, sd 1, interval 2 +- 4.303 / sqrt 3; each claims an error of .5, half the sd."""
    part = pd.DataFrame({"mean": [1.0, 2.0, 3.0, np.nan], "se": [0.5, 0.5, 0.5, np.nan]})
    found = over_seeds(part)
    assert (found["seeds"], found["mean"], found["seed_sd"], found["own_se"]) == (3, 2.0, 1.0, 0.5)
    assert found["ratio"] == 2
    assert found["high"] == pytest.approx(2 + 4.30265 / 3**0.5, abs=1e-4)


@pytest.mark.parametrize(("means", "error"), [((0.1, 0.1), 0.25), ((0.0, 1.0), 0.5)])
def test_seeds_that_agree_by_chance_keep_their_own_errors(means, error):
    """Own errors .3 and .4, root mean square .3536: the error of two is that over sqrt 2, or the spread's."""
    found = seeds_together([(means[0], 0.3, 9), (means[1], 0.4, 9)])
    assert found == (pytest.approx(sum(means) / 2), pytest.approx(error), 1)
    assert seeds_together([(0.1, 0.3, 9)]) == (0.1, 0.3, 9)


def test_an_arm_keeps_what_each_seed_gave_and_their_mean_is_the_arms():
    evidences = [measure(planted_system(n=24, n_tokens=1024, seed=seed)) for seed in range(2)]
    small = Choices(min_count=5, curve_features=16, curve_permutations=19)
    arm = analyse(evidences, small, power=False) | {"name": "planted", "group": "real"}
    made = seed_tables({"arms": [arm]})
    together = made["seeds_together"].set_index("quantity")
    for cell in arm["cells"]:
        if cell["problem"] is None:
            row = together.loc[f"{cell['cooccurrence']}, {cell['similarity']} outputs"]
            assert row["mean"] == pytest.approx(cell["mean"])
            assert row["se"] == pytest.approx(cell["se"])
    slope = next(
        row
        for row in arm["regression"]
        if (row["similarity"], row["effects"], row["term"]) == ("js_split", "product", "sim")
        and row["cooccurrence"] == "log_odds"
    )
    assert together.loc["slope on similarity", "mean"] == pytest.approx(slope["estimate"])
    assert together.loc["slope on similarity", "se"] == pytest.approx(slope["se"])
    assert slope["df"] == 1
    one = analyse(evidences[:1], small, power=False)
    assert "by_seed" not in one  # a single seed has none beside it
