"""results.json: its text, and the folders that hold one (schema in compare/page.py)."""

import json
import math
import os
import re
from pathlib import Path

RESULTS = "results.json"

WORDS = ("problem", "control_of", "claim", "verdict", "reason", "best")
"""Keys of results whose value is text or nothing."""


def check_folder(folder: Path) -> None:
    """Refuse to replace what is not a report, and a place where none can be written; worth asking before the
    work that a report takes.
    """
    above = next(one for one in folder.absolute().parents if one.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(
            f"expected a folder to write {folder.name} in, found {above}, which is none: name another --out."
        )
    is_report = (folder / RESULTS).is_file()
    if folder.is_file() or (folder.exists() and not is_report and any(folder.iterdir())):
        raise ValueError(
            f"expected a new folder or a report, found something else at {folder}: name another --out."
        )


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
