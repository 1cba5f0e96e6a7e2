"""A YAML mapping that knows where it is, so that a wrong entry is named by file and key and a stray one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from dmd_repro.errors import ClaimError
from dmd_repro.spec import Scalar

Choice = TypeVar("Choice", bound=str)
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C reader where there is one: ten times as fast
DEEPEST = 50  # levels of lists and mappings
_LARGEST = 1 << 20  # bytes of a file of printed numbers
_MOST = 200  # characters of a wrong value that a message repeats


class _Loader(_SAFE):
    """The safe loader, except that a key given twice is an error: YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                mark = node.value[i][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def _load(text: str) -> Any:
    """Read YAML without recursion into what no file of ours has: a nest of 50,000 would end the process."""
    depth = 0
    for event in yaml.parse(text, _SAFE):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"lists or mappings nested more than {DEEPEST} deep")
        if isinstance(event, yaml.AliasEvent):  # a few lines of them can stand for more than any memory holds
            raise yaml.YAMLError(f"an alias (*{event.anchor}): write out what it stands for")
    return yaml.load(text, _Loader)


def _problem(error: Exception) -> str:
    """Return what is wrong with a YAML text, with the line it is in."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    parts = (getattr(error, "context", None), getattr(error, "problem", None))
    return f"{', '.join(part for part in parts if part)} in line {mark.line + 1}"


class Entry:
    """One mapping of the file. Reading a value marks it as known; `done` refuses what nothing has read."""

    def __init__(self, data: dict[str, Any], file: str, path: str = "") -> None:
        self.data, self.file, self.path = data, file, path
        self._read: set[str] = set()
        self._inner: dict[str, Entry] = {}

    def fail(self, key: str, expected: str, got: str, do: str = "Correct the file") -> NoReturn:
        """Raise ClaimError naming the file and the key."""
        where = f"{self.file}, {self.path}{key}"
        raise ClaimError.at(where, expected=expected, got=got if len(got) < _MOST else got[:_MOST] + " ...", do=do)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        self._read.add(key)
        return self.data.get(key) is not None

    def _value(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        self._read.add(key)
        value = self.data.get(key)
        if not isinstance(value, kind):
            got = "nothing" if key not in self.data else f"{type(value).__name__} {value!r}"
            self.fail(key, expected, got)
        return value

    def text(self, key: str) -> str:
        """Return a string that must be there. A bare number is refused: its decimals would be lost."""
        found: str = self._value(key, str, "a quoted text")
        return found

    def maybe(self, key: str) -> str | None:
        """Return a string, or None if it is absent or null."""
        return self.text(key) if self.has(key) else None

    def choice(self, key: str, choices: tuple[Choice, ...]) -> Choice:
        """Return one of the choices."""
        value = self.text(key)
        for choice in choices:
            if choice == value:
                return choice
        self.fail(key, f"one of {', '.join(choices)}", repr(value))

    def texts(self, key: str) -> list[str]:
        """Return a list of strings; empty if absent."""
        values = self._value(key, list, "a list") if self.has(key) else []
        for value in values:
            if not isinstance(value, str):
                self.fail(key, "a list of texts", repr(value))
        return list(values)

    def number(self, key: str) -> float:
        """Return a plain number."""
        value = self._value(key, (int, float), "a number")
        if isinstance(value, bool):
            self.fail(key, "a number", repr(value))
        return float(value)

    def whole(self, key: str) -> int:
        """Return a whole number above 0."""
        value = self.number(key)
        if not (value.is_integer() and value > 0):
            self.fail(key, "a whole number above 0", f"{value:g}")
        return int(value)

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """Return a list of plain numbers, of so many if a count is given."""
        expected = f"a list of {f'{count} ' if count else ''}numbers"
        values = self._value(key, list, expected)
        plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if not plain or (count and len(values) != count):
            self.fail(key, expected, repr(values))
        return tuple(float(value) for value in values)

    def scalars(self, key: str) -> dict[str, Scalar]:
        """Return a mapping of names to plain values; empty if absent."""
        values = self._value(key, dict, "a mapping") if self.has(key) else {}
        for name, value in values.items():
            if not isinstance(name, str) or not isinstance(value, str | int | float | bool):
                self.fail(key, "names with plain values", f"{name!r}: {value!r}")
        return dict(values)

    def entry(self, key: str) -> Entry:
        """Return the mapping under a key."""
        if key not in self._inner:
            data = self._value(key, dict, "a mapping")
            self._inner[key] = Entry(data, self.file, f"{self.path}{key}.")
        return self._inner[key]

    def entries(self, key: str) -> list[Entry]:
        """Return the list of mappings under a key; each is named by its own `key` where it has one."""
        values, found = self._value(key, list, "a list"), []
        if not values:
            self.fail(key, "at least one entry", "an empty list")
        for i, value in enumerate(values):
            if not isinstance(value, dict):
                self.fail(f"{key}[{i}]", "a mapping", repr(value))
            found.append(Entry(value, self.file, f"{self.path}{key}[{value.get('key', i)}]."))
        return found

    def done(self) -> None:
        """Refuse keys that nothing has read: a misspelt one would otherwise be ignored in silence."""
        for key in self.data:
            if key not in self._read:
                self.fail(str(key), f"one of {', '.join(sorted(self._read))}", "an unknown key")


def read_entry(path: Path, paper: str = "") -> Entry:
    """Read a YAML file whose top is a mapping. Raises ClaimError if it cannot be read or is not that.

    Aliases are refused: a few lines of them stand for billions of values, and no table needs one.
    """
    name = f"{paper}/{path.name}" if paper else path.name
    try:
        if path.stat().st_size > _LARGEST:
            got = f"{path.stat().st_size:,} bytes"
            raise ClaimError.at(name, expected=f"at most {_LARGEST:,} bytes", got=got, do="Correct the file")
        data = _load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClaimError.at(
            name, expected="a file that can be read", got=str(error), do="Check its permissions"
        ) from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # an odd date, bytes that are no text, a list as a key
        raise ClaimError.at(name, expected="a YAML file", got=_problem(error), do="Correct the file") from error
    if not isinstance(data, dict):
        raise ClaimError.at(name, expected="a mapping at the top", got=type(data).__name__, do="Correct the file")
    return Entry(data, name)
