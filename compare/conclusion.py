"""The end of every command that judges: verdicts on the terminal, and a page where one is asked for."""

import shlex
import sys
from pathlib import Path

from rich.console import Console

from compare import ranks
from compare.beside import found_beside
from compare.hypotheses import Hypotheses, judge
from compare.page import write_report
from compare.sae_bias import cells_without_bias
from compare.terminal import show


def conclude(results: dict, rules: Hypotheses, out: Path | None, quiet: bool, verbose: bool) -> dict:
    """Judge results, show the verdicts, write the page if there is a place for it; returns the results."""
    results["run"]["command"] = shlex.join(["cofire", *sys.argv[1:]])
    if out and not results["quick"]:
        results |= found_beside(out)
    judged = judge(results, rules)
    if "sae_bias" in judged:
        judged["sae_bias"] |= {"beside": cells_without_bias(judged)}
    if not ranks.is_first():
        return judged
    if not (quiet and out):
        show(judged, Console(markup=False), verbose=verbose)
    if out:
        print(f"The page lies at {write_report(judged, out)}")
    return judged
