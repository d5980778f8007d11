"""results.json: its text, and the folders that hold one (schema in compare/page.py)."""

import json
import math
import re
from pathlib import Path

from compare.folders import check_place

RESULTS = "results.json"

WORDS = ("problem", "control_of", "claim", "verdict", "reason", "best")
"""Keys of results whose value is text or nothing."""


WRITTEN = {RESULTS, "timings.json", "index.html", "README.md"}
"""Files of a report, a comparison or an atlas, beside tables and pictures."""


def check_folder(folder: Path) -> None:
    """Refuse to replace what is not a report or holds more than one, and where none can be written."""
    check_place(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_report(folder):
        raise ValueError(
            f"expected a new folder or a report, found something else at {folder}: name another --out."
        )
    others = sorted(
        one.name for one in folder.iterdir() if one.name not in WRITTEN and one.suffix not in (".csv", ".png")
    )
    if others:
        raise ValueError(
            f"expected nothing but a report in {folder}, which is replaced, found {', '.join(others)} "
            "as well: move that, or name another --out."
        )


def is_report(folder: Path) -> bool:
    """Whether a folder holds results of ours: of a report or a comparison, with a format, or of an atlas."""
    try:
        found = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and (found.get("format") == 1 or "atlas" in found)


def to_json(results: dict) -> str:
    """JSON with one line for each list of numbers; NaN becomes null."""
    text = json.dumps(without_nan(results), indent=1, allow_nan=False, ensure_ascii=False)
    lists = r"\[\n([^\[\]{}\"]*)\n *\]"  # JSON has no bare line break inside a string
    return re.sub(lists, lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def without_nan(value: object) -> object:
    """The same, undefined numbers as None."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(text: str) -> dict:
    """The results that to_json made this text of: null is NaN again where a number belongs."""
    found = json.loads(text)
    return {key: value if key == "run" else with_nan(value) for key, value in found.items()}


def with_nan(value: object) -> object:
    """The same, None as NaN but where the key names WORDS."""
    if isinstance(value, dict):
        return {key: one if key in WORDS else with_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_nan(one) for one in value]
    return math.nan if value is None else value
