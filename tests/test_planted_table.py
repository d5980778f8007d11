"""The instrument itself: worlds whose directions obey the post's table, or break it, stream to verdict."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compare import analysis
from compare.analysis import analyse
from compare.dictionary import Choices
from compare.evidence import measure
from compare.hypotheses import judge, load
from toy.config import ToyConfig
from toy.model import Trained
from toy.system import ToySystem
from toy.world import World

WORLD = ToyConfig(
    n_features=192, width=64, grouped_share=0.9375, firing_rate=0.05, vocabulary=96, directions="given",
    n_seeds=1, steps=1, n_samples=8192,
)  # fmt: skip
TABLE = {
    ("exclusive", "same"): -0.3,
    ("exclusive", "different"): -0.3,
    ("co-occurring", "same"): 0.3,
    ("co-occurring", "different"): 0.0,
}
"""As the post has it; 15 pairs a cell."""

SPREAD = 0.01
"""Standard deviation of a pair's cosine around its cell's: small beside the margin, once averaged."""

WRONG = {cell: {0.3: -0.3, -0.3: 0.3, 0.0: 0.3}[cosine] for cell, cosine in TABLE.items()}


def planted(table: dict[tuple[str, str], float], seed: int, shared: float = 0.0) -> ToySystem:
    """A world whose designed pairs have these cosines, each with a spread, and all others random ones.

    With `shared` every direction has that share of its square along one more axis, which makes a cosine c
    shared + (1 - shared) c.
    """
    world = World(replace(WORLD, seed=seed))
    rng = np.random.default_rng([seed, 1])
    rows = rng.normal(size=(WORLD.n_features, WORLD.width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for cell, pairs in world.cells().items():
        for i, j in pairs.tolist() if cell in table else ():
            cosine = table[cell] + SPREAD * rng.normal()
            across = rows[j] - (rows[j] @ rows[i]) * rows[i]
            rows[j] = cosine * rows[i] + (1 - cosine**2) ** 0.5 * across / np.linalg.norm(across)
    along = np.full((len(rows), 1), shared**0.5)
    directions = torch.from_numpy(np.hstack([rows * (1 - shared) ** 0.5, along])).float()[None]
    nothing = torch.full((1,), torch.nan)
    bias = torch.zeros(1, WORLD.n_features)
    found = Trained(world.config, directions, directions, bias, (), nothing, nothing)
    return ToySystem("planted", world, found)


def verdicts(table: dict[tuple[str, str], float], seed: int, shared: float = 0.0) -> dict[str, str]:
    """Verdict of each claim, from one world's stream."""
    rows = judge({"arms": [analysed(table, seed, shared)], "models": []}, load())["verdicts"]
    return {row["id"]: row["verdict"] for row in rows}


def analysed(table: dict[tuple[str, str], float], seed: int, shared: float = 0.0) -> dict:
    """One world's stream as an arm."""
    about = {"name": "planted", "group": "toy", "control_of": None, "note": "", "models": []}
    with pytest.MonkeyPatch.context() as patch:  # what no verdict on a cell looks at is left out, for time
        for part in ("curve_results", "rule_results"):
            patch.setattr(analysis, part, lambda *_, **__: {})
        return about | analyse([measure(planted(table, seed, shared))], Choices(), power=False)


@pytest.mark.slow
def test_a_shared_direction_hides_the_table_and_comes_out_when_it_is_taken_out():
    arm = analysed(TABLE, 0, shared=0.4)
    named = {(cell["cooccurrence"], cell["similarity"]): place for place, cell in enumerate(arm["cells"])}
    places = [
        named["exclusive", "similar"],
        named["exclusive", "different"],
        named["co-occurring", "similar"],
    ]
    assert arm["centred"]["mean_cosine"] == pytest.approx(0.4, abs=0.01)
    seen = [arm["cells"][place]["mean"] for place in places]
    np.testing.assert_allclose(seen, [0.4 - 0.6 * 0.3, 0.4 - 0.6 * 0.3, 0.4 + 0.6 * 0.3], atol=0.01)
    apart = [arm["centred"]["cells"][place]["mean"] for place in places]
    # what is taken out is the mean of 192 rows, which lies 1 / sqrt(192) from the axis that they share
    np.testing.assert_allclose(apart, [-0.3, -0.3, 0.3], atol=0.03)
    assert arm["centred"]["d_eff"] > 3 * arm["d_eff"]


@pytest.mark.slow
def test_a_world_planted_to_the_table_is_confirmed():
    found = [verdicts(TABLE, seed) for seed in range(20)]
    holds = [one["table-exclusive"] for one in found]
    # three cells are beyond doubt; the mean of the fourth is known to .0026 and may lie .007 from zero
    assert holds.count("CONFIRMED") >= 18  # fewer has a probability of .1 % at 99 %
    assert "REFUTED" not in holds
    assert [one["interaction"] for one in found].count("CONFIRMED") >= 18


@pytest.mark.slow
@pytest.mark.parametrize("cell", list(TABLE))
def test_a_world_with_one_cell_of_the_table_wrong_is_refuted(cell):
    found = [verdicts(TABLE | {cell: WRONG[cell]}, seed)["table-exclusive"] for seed in range(5)]
    assert found == ["REFUTED"] * 5


@pytest.mark.slow
def test_random_directions_are_never_taken_for_the_table():
    found = [verdicts({}, seed) for seed in range(20)]
    assert all(one["table-exclusive"] != "CONFIRMED" for one in found)
    signs = ("exclusive-similar", "exclusive-different", "together-similar")
    wrong = sum(one[claim] == "CONFIRMED" for one in found for claim in signs)
    assert wrong <= 5  # 60 one-sided tests at 2.5 %: more than 5 has a probability of .4 %
