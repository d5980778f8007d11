"""Size and power of the tests in every world: `python tests/validation/calibration_table.py [replicates]`.

Writes reports/calibration/worlds.csv: of the worlds of tests/worlds.py the share of replicates in which
each test rejects at 5 %, with 99 permutations a replicate. 500 replicates take about a quarter of an hour on
one core.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from compare.calibration import calibrate

sys.path.insert(0, str(Path(__file__).parents[1]))

from worlds import WORLDS, World

TABLE = Path(__file__).parents[2] / "reports/calibration/worlds.csv"
CONFOUNDED = World(confounding=0.5)
SETTINGS = [
    *[(name, world, "none") for name, world in WORLDS.items()],
    *[
        ("an attribute drives both sides, n=60", CONFOUNDED, effects)
        for effects in ("none", "additive", "product")
    ],
    ("power-law spectrum, n=60", World(), "product"),
    ("planted .3 sd each, n=60", World(effect=(0.3, 0.3, 0.3)), "none"),
    ("planted .3 sd each, n=60", World(effect=(0.3, 0.3, 0.3)), "product"),
    (
        "planted .1 sd each, n=300",
        replace(WORLDS["power-law spectrum, n=300"], effect=(0.1, 0.1, 0.1)),
        "none",
    ),
]


def main(replicates: int) -> None:
    tables = []
    for name, world, effects in SETTINGS:
        table = calibrate(world, replicates=replicates, seed=20261122, effects=effects, permutations=99)
        tables.append(table.assign(world=name, effects=effects))
        print(name, effects, flush=True)
        columns = ["world", "effects", "test", "term", "rejected", "error", "replicates"]
        pd.concat(tables)[columns].to_csv(TABLE, index=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
