"""Defaults of one's own: `dmd.toml`, or `[tool.dmd]` of a pyproject.toml, in the working folder or the nearest above.

An option wins over its environment variable, that over the file, that over the default. The keys say where things lie
and how runs are computed; what a run IS (its settings, protocol, mask) is never taken from a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dmd_repro.errors import SpecError
from dmd_repro.systems.suggest import suggest_key

Value = str | int
Source = Literal["default", "file", "environment"]
FILE, PROJECT = "dmd.toml", "pyproject.toml"
LARGEST = 1 << 20  # bytes; no file of defaults is larger


@dataclass(frozen=True, slots=True)
class Key:
    """One default: its name is that of the option, `variable` that of the environment."""

    name: str
    variable: str
    kind: Literal["folder", "bert", "text", "count", "stack", "seeds"]
    words: str
    default: str = ""  # as it is shown


KEYS = {
    key.name: key
    for key in (
        Key("data-dir", "DMD_DATA", "folder", "where imported features are kept", "the user's data folder"),
        Key("runs-dir", "DMD_RUNS", "folder", "where runs are recorded", "runs"),
        Key("papers", "DMD_PAPERS", "folder", "a folder with more papers", "none"),
        Key("bert", "DMD_BERT", "bert", "the BERT that reads token ids", "none"),
        Key("device", "DMD_DEVICE", "text", "what runs are computed on", "cpu"),
        Key("threads", "DMD_THREADS", "count", "threads of a run", "1"),
        Key("jobs", "DMD_JOBS", "count", "runs side by side", "one a core, one a GPU"),
        Key("stack", "DMD_STACK", "stack", "seeds that train as one model", "auto"),
        Key("seeds", "DMD_SEEDS", "seeds", "seeds of a table or an ablation", "5"),
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file sets, checked; folders in it are relative to it."""

    file: Path | None
    values: Mapping[str, Value]

    def settled(self, name: str) -> tuple[Value | None, Source]:
        """Return the value of a key and where it comes from; None: the default. SpecError for a bad variable."""
        key = KEYS[name]
        if text := os.environ.get(key.variable):
            value: Any = int(text) if key.kind == "count" and re.fullmatch(r"\d+", text.strip()) else text
            return _checked(key, value, key.variable, Path.cwd()), "environment"
        if name in self.values:
            return self.values[name], "file"
        return None, "default"


def read_settings() -> Settings:
    """Read the nearest file of defaults; SpecError where it does not read, for an unknown key or a wrong value.

    Of one folder `dmd.toml` wins; a pyproject.toml without `[tool.dmd]` is passed over.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        for name in (FILE, PROJECT):
            file = folder / name
            if os.path.isfile(file) and (table := _table(file)) is not None:  # noqa: PTH113 (never raises)
                return Settings(file, _values(file, table))
    return Settings(None, {})


def _table(file: Path) -> Mapping[str, Any] | None:
    """Return what a file says of dmd, None for a pyproject.toml that says nothing."""
    what = f"{FILE}" if file.name == FILE else "[tool.dmd]"
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        if file.name == PROJECT:
            return None
        raise SpecError.at(
            str(file), expected="a file that can be read", got=f"'{error.strerror}'", do="Mend its rights or remove it"
        ) from None
    if file.name == PROJECT and not re.search(rb"\bdmd\b", content):
        return None
    if len(content) > LARGEST:
        raise SpecError.at(str(file), expected="a few lines of defaults", got="more than 1 MB", do="Shorten it")
    import tomllib

    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        got = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "something else (not UTF-8 text)"
        raise SpecError.at(str(file), expected="TOML", got=got[:1].lower() + got[1:], do="Mend the line") from None
    if file.name == FILE:
        return document
    tool = document.get("tool")
    table = tool.get("dmd") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise SpecError.at(
            str(file), expected=f"a table {what}", got=_kind(table), do="Write the keys below a line [tool.dmd]"
        )
    return table


def _values(file: Path, table: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for written, value in table.items():
        name = written.replace("_", "-")
        where = f"{file}: {written}"
        if name not in KEYS:
            raise SpecError.at(
                where, expected="a key of the defaults", got="an unknown one", do=suggest_key(name, KEYS)
            )
        if name in found:
            raise SpecError.at(where, expected="each key once", got=f"'{name}' twice", do="Drop one")
        found[name] = _checked(KEYS[name], value, where, file.parent)
    return found


def _checked(key: Key, value: Any, where: str, folder: Path) -> Value:
    """Return a value as its option takes it. `folder`: what a relative path starts at."""
    if key.kind == "count":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        example = f"{key.variable}=2" if where == key.variable else f"{key.name} = 2"
        raise SpecError.at(where, expected="a whole number from 1 on", got=_kind(value), do=f"Write {example}")
    if key.kind in ("stack", "seeds"):
        return _parsed(key, value, where)
    if not isinstance(value, str) or not value.strip():
        example = {"folder": f'{key.name} = "folder"', "bert": 'bert = "folder"', "text": 'device = "cuda"'}[key.kind]
        raise SpecError.at(where, expected="text", got=_kind(value), do=f"Write {example}")
    if key.kind == "folder":
        return str(folder / _home(value, where))
    if key.kind == "bert" and (value.startswith("~") or (folder / value).is_dir()):
        return str(folder / _home(value, where))
    return value


def _home(value: str, where: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:  # what pathlib raises for the home of a user that is not there
        raise SpecError.at(
            where, expected="a user of this machine after '~'", got="none", do="Write the folder in full"
        ) from None


def _parsed(key: Key, value: Any, where: str) -> Value:
    """Return `stack` or `seeds` as the text their options take; whole numbers and, for seeds, lists of them will do."""
    from dmd_repro.planning.stacks import parse_stack
    from dmd_repro.seeds import parse_seeds

    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if key.kind == "seeds" and isinstance(value, list) and value and all(type(seed) is int for seed in value):
        # a single one in a list is a seed, not a count
        text = ",".join(str(seed) for seed in value) + ("," if len(value) == 1 else "")
    expected = (
        "auto or a number of seeds" if key.kind == "stack" else "a count of seeds (1 to 50), or seeds that differ"
    )
    if text:
        try:
            parse_stack(text) if key.kind == "stack" else parse_seeds(text)
            return text
        except SpecError:
            pass
    example = 'stack = "auto"' if key.kind == "stack" else "seeds = 10, or seeds = [7, 8, 9]"
    raise SpecError.at(where, expected=expected, got=_kind(value), do=f"Write {example}")


def _kind(value: Any) -> str:
    """Return a value as a message shows it: short, and of what kind it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value[:40]}'" if value.strip() else "an empty text"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return str(value)
