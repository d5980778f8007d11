"""What the terminal shows of results: a table of verdicts, and on request every cell with its reason."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compare.hypotheses import are_own
from compare.names import HELD, SLOPES, cell_name
from compare.wording import compact, interval

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"CONFIRMED": "green", "REFUTED": "red", "UNDECIDED": "yellow"}
SIGNS = {"CONFIRMED": "✓", "REFUTED": "✗", "UNDECIDED": "?", None: " "}
"""Read without colour as well."""

SHORT = {"exclusive": "excl.", "independent": "indep.", "co-occurring": "co-occ."}
SIMILARITY = {"similar": "similar", "different": "differ"}
"""Levels of a column's heading, short enough for the terminal."""


def calibration_table(table: "pd.DataFrame", effect: float) -> Table:
    """Size and power, in %, of each test of each slope; a size outside HELD is marked."""
    low, high = HELD
    shown = Table(
        title=f"rejections at 5 %: size under the null ({low:.0%} to {high:.1%} is kept, else !) / power at "
        f"{effect:g} sd",
        box=SIMPLE_HEAD,
    )
    table = table[table["term"].isin(SLOPES)]
    terms = list(table["term"].unique())
    for heading in ("effects", "test"):
        shown.add_column(heading)
    for term in terms:
        shown.add_column(term, justify="right", no_wrap=True)
    for (effects, test), rows in table.groupby(["effects", "test"], sort=False):
        shares = rows.set_index(["world", "term"])["rejected"]
        cells = [size_and_power(shares["null", term], shares["planted", term]) for term in terms]
        shown.add_row(effects, test, *cells)
    return shown


def other_tests_table(table: "pd.DataFrame", effect: float) -> Table:
    """The same for tests of cells, directions, curves and rules, a line a test and what it tests."""
    shown = Table(
        title=f"at 5 % as well: size / power at {effect:g} sd, or antipodal pairs planted",
        box=SIMPLE_HEAD,
    )
    for heading in ("test", "of"):
        shown.add_column(heading)
    shown.add_column("size / power", justify="right", no_wrap=True)
    table = table[~table["term"].isin(SLOPES)]
    for (test, term), rows in table.groupby(["test", "term"], sort=False):
        shares = rows.set_index("world")["rejected"]
        shown.add_row(test, term, size_and_power(shares["null"], shares["planted"]))
    return shown


def size_and_power(size: float, power: float) -> str:
    """4.5 / 80; a mark where the size is not kept."""
    return f"{'' if HELD[0] <= size <= HELD[1] else '! '}{100 * size:.1f} / {100 * power:.0f}"


def show(results: dict, console: Console, *, verbose: bool = False) -> None:
    """One line an arm; with hypotheses of one's own a line for each verdict, with verbose for each cell."""
    console.print(summary(results))
    if are_own(results):
        console.print(own_verdicts(results))
    if verbose:
        for arm in results["arms"]:
            console.print(every_cell(arm))


def summary(results: dict) -> Table:
    """Verdict and mean cosine of each arm's cells, and how the post's table as a whole came out."""
    table = Table(
        title="mean cosine: ✓ confirmed, ✗ refuted, ? undecided; controls are not judged", box=SIMPLE_HEAD
    )
    table.add_column("arm", min_width=16)
    for cell in results["arms"][0]["cells"]:
        heading = f"{SHORT[cell['cooccurrence']]}\n{SIMILARITY[cell['similarity']]}"
        table.add_column(heading, justify="right", no_wrap=True)
    overall = [row for row in results["verdicts"] if row["headline"]]
    for arm in results["arms"]:
        whole = [row["verdict"] for row in overall if row["arm"] == arm["name"]]
        signs = [Text("\nwhole table"), *(signed("", verdict) for verdict in whole)] if whole else []
        name = Text(arm["name"]).append_text(Text(" ").join(signs))
        table.add_row(name, *(short_cell(cell) for cell in arm["cells"]))
    about = [f"whole table: {', then '.join(dict.fromkeys(row['id'] for row in overall))}"] if overall else []
    about += ["quick: fewer seeds, tokens and features; quote no number"] if results["quick"] else []
    table.caption = "\n".join(about) or None
    return table


def own_verdicts(results: dict) -> Table:
    """Verdict and reason of each claim of a file that is not the presets."""
    table = Table("arm", "claim", "verdict", "reason", title=results["hypotheses"]["file"], box=SIMPLE_HEAD)
    for row in results["verdicts"]:
        said = Text(row["verdict"], style=COLOURS[row["verdict"]])
        table.add_row(row["arm"], f"{row['id']} {row['claim']}", said, row["reason"])
    return table


def short_cell(cell: dict) -> Text:
    """Sign of the verdict and mean."""
    return signed(compact(cell["mean"]) if cell["n_pairs"] else "none", cell["verdict"])


def signed(text: str, verdict: str | None) -> Text:
    """A text before its verdict's sign, in its colour."""
    return Text(f"{text} {SIGNS[verdict]}".lstrip(), style=COLOURS.get(verdict or "", ""))


def every_cell(arm: dict) -> Table:
    """Six lines: pairs, mean with interval, claim, verdict and why."""
    table = Table("cell", "pairs", "mean cosine [95 %]", "claim", "verdict", "reason", title=arm["name"])
    for cell in arm["cells"]:
        table.add_row(
            cell_name(cell["cooccurrence"], cell["similarity"]),
            f"{cell['n_pairs']:,}",
            interval(cell, 4) if cell["n_pairs"] else "",
            cell["claim"] or "",
            Text(cell["verdict"] or "", style=COLOURS.get(cell["verdict"] or "", "")),
            cell["reason"] or "",
        )
    return table
