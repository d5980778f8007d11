"""Config files: TOML in, a checked dataclass out. One place, one error style, for every command."""

import ast
import difflib
import inspect
import json
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; ValueError, with file and line, where it is missing or not TOML."""
    if not path.is_file():
        raise ValueError(f"expected a TOML file, found nothing at {path}: check the path.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected TOML in {path}, found a fault: {error}. Mend that line.") from error


def make_config(kind: type[Config], values: Any, *, source: str = "the command line") -> Config:
    """A config dataclass from names and values; None means "not given", and the default stands.

    Raises ValueError for a name that the dataclass does not have (naming the nearest that it has) and for a
    value that does not fit the field's type. Lists become tuples, strings paths and whole numbers floats
    where a field wants that, in lists of lists as well.
    """
    hints = get_type_hints(kind)
    if not isinstance(values, dict):
        raise ValueError(
            f"expected {kind.__name__} in {source} as a table of names and values, found {values!r}: write "
            "its name in brackets ([reads], [[hypothesis]]) and the values below."
        )
    given = {}
    for name, value in values.items():
        if value is None:
            continue
        if name not in hints:
            raise ValueError(
                f"expected a key of {kind.__name__} in {source}, found {name!r}: {nearest(name, hints)}"
            )
        given[name] = fitted(name, value, hints[name], source)
    missing = [
        one.name
        for one in fields(kind)  # type: ignore[arg-type]
        if one.default is MISSING and one.default_factory is MISSING and one.name not in given
    ]
    if missing:
        raise ValueError(
            f"expected {', '.join(missing)} in each {kind.__name__} of {source}, found only "
            f"{', '.join(given) or 'an empty table'}: write what is missing."
        )
    return kind(**given)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: the nearest that exists, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(names)}."


def fitted(name: str, value: Any, hint: Any, source: str) -> Any:
    """The value in the type that a field asks for, or ValueError."""
    from beartype.door import is_bearable  # .5 s, which commands without a config need not wait for

    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        item, _ = get_args(hint)  # each is asked: beartype would look at one, drawn at random
        return tuple(fitted(f"{name}[{k}]", one, item, source) for k, one in enumerate(value))
    if get_origin(hint) is Literal and value not in get_args(hint):
        known, hint = ", ".join(map(repr, get_args(hint))), nearest(str(value), map(str, get_args(hint)))
        raise ValueError(f"expected {name} in {source} to be one of {known}, found {value!r}: {hint}")
    casts: tuple[Callable[[Any], Any], ...] = (Path,) if isinstance(value, str) else ()
    casts += (float,) if type(value) is int else ()
    is_stray_bool = isinstance(value, bool) and bool not in (hint, *get_args(hint))  # a bool is an int
    for candidate in (value, *(cast(value) for cast in casts)):
        if is_bearable(candidate, hint) and not is_stray_bool:
            return candidate
    wanted = str(hint).replace("typing.", "") if get_args(hint) else hint.__name__
    raise ValueError(f"expected {name} to be of type {wanted} in {source}, found {value!r}: mend the value.")


def default_toml(kind: type) -> str:
    """Every option of a config dataclass with its default, above each what it is, as TOML that reads back.

    Options without a default, and those whose default is None, which TOML cannot say, stand as comments.
    """
    lines = [f"# {line}".rstrip() for line in (inspect.getdoc(kind) or "").splitlines()]
    notes = field_notes(kind)
    for field in fields(kind):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        lines += ["", *(f"# {line}".rstrip() for line in notes.get(field.name, "").splitlines())]
        unsaid = default is None or default is MISSING
        lines.append(f"# {field.name} =" if unsaid else f"{field.name} = {toml_value(default)}")
    return "\n".join(lines) + "\n"


def field_notes(kind: type) -> dict[str, str]:
    """The sentence under each field of a dataclass, by the field's name."""
    (body,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for one, after in zip(body.body, body.body[1:], strict=False):
        match one, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(note))):
                notes[name] = inspect.cleandoc(note)
    return notes


def toml_value(value: Any) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)  # of booleans, numbers and strings TOML and JSON think alike


def values_of(config: Path | None, options: dict) -> dict:
    """What a TOML file says, overruled by the options that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    return {**(read_toml(config) if config else {}), **given}


def source_of(config: Path | None) -> str:
    """Where values came from, for error lines."""
    return str(config) if config else "the command line"


def settings(kind: type[Config], config: Path | None, options: dict) -> Config:
    """A config from a TOML file and the options that overrule it."""
    return make_config(kind, values_of(config, options), source=source_of(config))
