"""Results in a script or notebook: Evidence in, verdicts out, and the same page that the command writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from compare.evidence import Evidence
from compare.from_evidence import results_of
from compare.progress import step
from compare.run import ReportConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Results:
    """Judged results of one or more arms; `values` is the dictionary that results.json holds."""

    values: dict[str, Any]

    @property
    def verdicts(self) -> pd.DataFrame:
        """A row a verdict: arm, group, id, statement, claim, verdict, reason, p for it and against it."""
        return pd.DataFrame(self.values["verdicts"])

    def to_frame(self) -> pd.DataFrame:
        """A row for each arm's cell: pairs, mean cosine, its error and interval, verdict and reason."""
        from compare.tables import cells

        return cells(self.values)

    def summary(self) -> str:
        """The table of verdicts as text, a line an arm, and a line for each claim of one's own."""
        from rich.console import Console

        from compare.terminal import show

        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            show(self.values, console)
        return captured.get()

    def plot(self) -> "Figure":
        """The cells of every arm with their intervals and the side that the post claims."""
        from compare.figures import cell_plot

        return cell_plot(self.to_frame())

    def _repr_html_(self) -> str:
        """Means and verdicts, an arm a row, as a notebook shows them."""
        from compare.wording import number

        frame = self.to_frame()
        shown = frame["mean"].map(number) + " " + frame["verdict"].fillna("")
        cell = frame["cooccurrence"] + ", " + frame["similarity"]
        table = pd.DataFrame({"arm": frame["arm"], "cell": cell, "shown": shown})
        wide = table.pivot(index="arm", columns="cell", values="shown")
        return wide.loc[frame["arm"].unique(), cell.unique()].to_html()


def test(
    evidence: Evidence | Sequence[Evidence],
    *,
    controls: Evidence | Sequence[Evidence] = (),
    hypotheses: str | Path | None = None,
    models: Sequence[dict] = (),
    config: ReportConfig | None = None,
) -> Results:
    """Regression, cells and verdicts, as `cofire test` finds them; what has one name is seeds of one arm.

    `hypotheses` is a TOML file in the form of presets.toml, None the presets themselves. `models` are those
    behind the system (name, kind, note, quality; compare.arms.models_behind makes them): gates ask how good
    they are, and where that is not known, here or in the Evidence, all stays UNDECIDED unless the hypotheses
    ask for nothing. What is no language model says so by models of kind "toy" alone, and is judged as a toy.
    Raises ValueError where controls stand beside more than one system.
    """
    from compare.hypotheses import judge, load

    arms = [evidence] if isinstance(evidence, Evidence) else list(evidence)
    if models:
        arms = [replace(arm, provenance=arm.provenance | {"models": list(models)}) for arm in arms]
    beside = [controls] if isinstance(controls, Evidence) else list(controls)
    chosen = (config or ReportConfig()).sized
    rules = load(None if hypotheses is None else Path(hypotheses))
    results = results_of(arms, beside, chosen, partial(step, quiet=True), slopes=rules.slopes)
    results["run"]["command"] = "compare.test"
    return Results(judge(results, rules))


def report(results: Results, folder: str | Path) -> Path:
    """Write the page of results, their CSVs and results.json into a new folder or over an older report.

    ValueError where the folder holds anything else, or cannot be written to; nothing is lost then.
    """
    from compare.page import write_report

    return write_report(results.values, Path(folder))
