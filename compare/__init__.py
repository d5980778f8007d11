"""Measure any system's features, and test what their directions follow from.

measure(system) -> Evidence; test(evidence) -> Results; report(results, folder) -> a page. By hand:
pair_table(evidence); fit(cosine, cooccurrence, similarity) -> Fit; permute(...).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compare.evidence import Evidence, measure
    from compare.fitted import Fit
    from compare.pairs import pair_table
    from compare.permutation import permute
    from compare.regress import fit
    from compare.results import Results, report, test
    from compare.run import ReportConfig
    from compare.system import System

__all__ = [
    "Evidence",
    "Fit",
    "ReportConfig",
    "Results",
    "System",
    "fit",
    "measure",
    "pair_table",
    "permute",
    "report",
    "test",
]

HOMES = {
    "Evidence": "evidence",
    "Fit": "fitted",
    "ReportConfig": "run",
    "Results": "results",
    "System": "system",
    "fit": "regress",
    "measure": "evidence",
    "pair_table": "pairs",
    "permute": "permutation",
    "report": "results",
    "test": "results",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that a command that needs no torch does not wait for it."""
    if name in HOMES:
        return getattr(import_module(f"compare.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names above, for completion."""
    return sorted(__all__)
