"""Verdicts on worlds planted to the post's table, or against it: `python tests/validation/planted_table.py`.

Writes planted_table.csv beside this file: of n worlds of each kind, how often the table and each of its parts
got which verdict, from stream to verdict. 25 worlds of each kind take about two minutes on one core.
"""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_planted_table import TABLE, WRONG, verdicts

CLAIMS = ("exclusive-similar", "exclusive-different", "together-similar", "together-different")
KINDS = {"as the table has it": TABLE, "random directions": {}}
KINDS |= {f"{', '.join(cell)}: {WRONG[cell]:+g}": TABLE | {cell: WRONG[cell]} for cell in TABLE}


def main(n_worlds: int) -> None:
    rows = []
    for kind, table in KINDS.items():
        found = pd.DataFrame([verdicts(table, seed) for seed in range(n_worlds)])
        for claim in ("table-exclusive", *CLAIMS, "interaction"):
            counts = found[claim].value_counts()
            row = {"world": kind, "claim": claim, "worlds": n_worlds}
            rows.append(row | {v: int(counts.get(v, 0)) for v in ("CONFIRMED", "REFUTED", "UNDECIDED")})
        print(kind, flush=True)
    pd.DataFrame(rows).to_csv(Path(__file__).with_name("planted_table.csv"), index=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
