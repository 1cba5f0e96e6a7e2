"""`dmd data scan`: what a pickle would call if an ordinary program loaded it. Nothing is called, no array is built."""

from __future__ import annotations

import pickle
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from dmd_repro.data.pickle_gate.builders import Builders, Name
from dmd_repro.data.pickle_gate.containers import pickles
from dmd_repro.data.pickle_gate.filearray import ByteSource, Span
from dmd_repro.data.pickle_gate.foreign import foreign
from dmd_repro.data.pickle_gate.opcodes import Walked
from dmd_repro.data.pickle_gate.reader import Reader
from dmd_repro.data.pickle_gate.unpickle import open_source, read_with

_KEPT = 3  # calls of a name that are shown with their arguments


@dataclass(frozen=True, slots=True)
class Named:
    """A name in a pickle: how often it stands there, how often it is called, the first calls' arguments."""

    name: str
    allowed: bool  # arrays need it
    data: bool  # what it would make is data of another library, which the import passes over
    times: int
    calls: int
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a pickle consists of; `safe` if it names nothing but what files of arrays need."""

    file: str
    size: int
    walked: Walked
    names: tuple[Named, ...]  # those not allowed first

    @property
    def safe(self) -> bool:
        return all(name.allowed or name.data for name in self.names)

    def to_json(self) -> dict[str, Any]:
        """Return the scan as plain JSON values."""
        return asdict(self) | {"safe": self.safe}


def scan(path: Path) -> Scan:
    """List the names of a pickle. Raises DataError if it is missing, no pickle, damaged, or beyond all bounds."""
    source = open_source(path)
    seen = _Seen()
    walked = Walked(0, 0, 0, 0, 0)
    try:
        for part in pickles(source):

            def make(file: BinaryIO, part: ByteSource = part) -> Reader:
                return _Scanner(file, part, seen)

            walked += read_with(part, make, keep=False)[1]
    finally:
        source.close()
    allowed = Builders(0).names
    names = [
        Named(
            ".".join(key),
            key in allowed,
            key not in allowed and _is_data(*key),
            seen.times[key],
            seen.calls.get(key, 0),
            tuple(seen.arguments.get(key, ())),
        )
        for key in seen.times
    ]
    return Scan(str(path), source.size, walked, tuple(sorted(names, key=lambda n: (n.allowed, n.data, n.name))))


def _is_data(module: str, name: str) -> bool:
    """Whether a name makes data and nothing else when another program reads it: torch's own loader reads a pickle."""
    return foreign(module, name) is not None and name not in ("_load_from_bytes", "_reconstructor", "__newobj__")


class _Seen(Mapping[tuple[str, str], Name]):
    """Every name there is, as one that does nothing when called but note it."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], int] = {}
        self.calls: dict[tuple[str, str], int] = {}
        self.arguments: dict[tuple[str, str], list[str]] = {}

    def __getitem__(self, key: tuple[str, str]) -> Name:
        self.times[key] = self.times.get(key, 0) + 1
        return _Noted(self, key)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.times)

    def __len__(self) -> int:
        return len(self.times)


class _Noted(Name):
    __slots__ = ("_key", "_seen")

    def __init__(self, seen: _Seen, key: tuple[str, str]) -> None:
        self._seen, self._key = seen, key

    def __call__(self, *arguments: Any) -> Any:
        seen, key = self._seen, self._key
        seen.calls[key] = seen.calls.get(key, 0) + 1
        if len(kept := seen.arguments.setdefault(key, [])) < _KEPT:
            kept.append(", ".join(_BRIEF.repr(argument) for argument in arguments))
        return self

    def __repr__(self) -> str:
        return ".".join(self._key)


class _Scanner(Reader):
    """Goes on where the gate stops: whatever is called gives something inert, on which anything may be done."""

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid[:1] == ("storage",):  # of torch.save: numbers beside the pickle
            return self._names["torch", "UntypedStorage"]
        return self._names["(outside the file)", _BRIEF.repr(pid)]

    def build(self) -> None:
        self._pop()

    def _list(self) -> list[Any]:
        return [] if isinstance(self._top(), Name) else super()._list()

    def _dict(self) -> dict[Any, Any]:
        return {} if isinstance(self._top(), Name) else super()._dict()

    def plain_key(self, key: Any) -> str | bytes | int:
        return key if isinstance(key, str | bytes | int) else "?"

    def add_items(self) -> None:
        self.pop_mark()  # type: ignore[attr-defined]

    def collection(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append(items)  # type: ignore[attr-defined]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **Reader.dispatch,
        pickle.EMPTY_SET[0]: Reader.dispatch[pickle.EMPTY_LIST[0]],
        pickle.ADDITEMS[0]: Reader.dispatch[pickle.APPENDS[0]],
        pickle.FROZENSET[0]: collection,
    }


class _Brief(reprlib.Repr):
    def repr_Span(self, span: Span, level: int) -> str:
        return f"<{span.length} bytes>"

    def repr1(self, x: Any, level: int) -> str:
        return "".join(c if c.isprintable() else "?" for c in super().repr1(x, level))


_BRIEF = _Brief()
_BRIEF.maxstring = _BRIEF.maxother = 60
_BRIEF.maxtuple = _BRIEF.maxlist = _BRIEF.maxdict = 4
_BRIEF.maxlevel = 3
