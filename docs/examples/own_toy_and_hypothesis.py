"""Your own toy world and your own hypothesis: two worlds that differ in one number, judged by one claim.

The claim: exclusive features with the same output point the same way. It should hold where networks learn
outputs alone, and fail where they reconstruct their input. About half a minute on two quiet cores.
"""

import sys
from pathlib import Path

import compare
from toy.config import ToyConfig
from toy.model import train
from toy.system import ToySystem
from toy.world import World

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "own-toy")

HYPOTHESIS = """
format = 1

[gates]          # small worlds have few pairs; the presets ask for more
min_pairs = 8
min_features = 16

[[hypothesis]]
id = "merge"
statement = "Exclusive features with the same output point the same way"
measure = "cell mean"
cooccurrence = "exclusive"
similarity = "similar"
claim = "> 0"
"""

OUT.mkdir(parents=True, exist_ok=True)
rules = OUT / "merge.toml"
rules.write_text(HYPOTHESIS)


def seeds(name: str, share: float) -> list[compare.Evidence]:
    """Evidence of the seeds of a toy in which reconstruction has this share of the loss."""
    config = ToyConfig(
        n_features=128,
        width=64,
        firing_rate=0.1,
        reconstruction_share=share,
        steps=400,
        n_seeds=4,
        n_samples=10_000,
    )
    world = World(config)
    trained = train(config, world)
    return [compare.measure(ToySystem(name, world, trained, number)) for number in range(config.n_seeds)]


worlds = [*seeds("outputs alone", 0.0), *seeds("reconstruction alone", 1.0)]
results = compare.test(worlds, hypotheses=rules, config=compare.ReportConfig(min_count=10))
print(results.summary())
verdicts = results.verdicts.set_index("arm")["verdict"]
print(verdicts.to_string())
print("The page lies at", compare.report(results, OUT / "report"))
assert verdicts["outputs alone"] == "CONFIRMED"
assert verdicts["reconstruction alone"] == "REFUTED"
