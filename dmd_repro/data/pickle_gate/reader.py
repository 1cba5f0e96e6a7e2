"""The instructions of a pickle, carried out in a closed world: text, numbers, lists, dicts, tuples and allowed names.

Python's reader lets a pickle call whatever it finds on its stack and set any attribute. Here a call reaches an allowed
name or nothing, a state goes to an array or a dtype, an item into a plain list or dict under a plain key. Contents of
some size stay in the file as `Span`s.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

from dmd_repro.data.pickle_gate.builders import Array, Dtype, Name, Refused, malformed, short
from dmd_repro.data.pickle_gate.filearray import ByteSource, Span
from dmd_repro.data.pickle_gate.foreign import ANY_SET, Foreign, foreign, runs_code
from dmd_repro.data.pickle_gate.opcodes import SPAN


class ForeignName(Name):
    """The name of a thing of another library; a call of it makes nothing."""

    __slots__ = ("value",)

    def __init__(self, value: Foreign) -> None:
        self.value = value

    def __call__(self, *arguments: Any) -> Any:
        inner = [a.value for a in arguments[:1] if isinstance(a, ForeignName)]  # copyreg's: the class it would make
        return inner[0] if inner else self.value


class Reader(pickle._Unpickler):
    """Reads one pickle that `opcodes.walk` has found whole; `names` are what it may call."""

    def __init__(self, file: BinaryIO, source: ByteSource, names: Mapping[tuple[str, str], Name]) -> None:
        super().__init__(file, encoding="latin1")
        self._file, self._source, self._names = file, source, names

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._names[module, name]
        except KeyError:
            if (value := foreign(module, name)) is not None:
                return ForeignName(value)
            full = short(f"{module}.{name}", quote=False)
            if runs_code(module):
                got = f"a pickle that would call {full}; nothing was run"
                do = "Do not load this file with other tools; get it again from its source"
            else:
                got = f"an object of {full}, a program's own class; nothing was run"
                do = "Write its content as arrays and lists of text, with the program that made the file"
            raise Refused("only arrays, text and numbers", got, do) from None

    def persistent_load(self, pid: Any) -> Any:
        raise Refused(
            "only arrays, text and numbers", "a pickle that points outside itself", "Import the published file"
        )

    # from here on: one method an instruction, as in the class above

    def frame(self) -> None:
        self.read(8)  # type: ignore[attr-defined]  # frames only group instructions; contents are found by file offset

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, arguments)

    def inst(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))  # type: ignore[attr-defined]
        self._call(self.find_class(module, name), tuple(self.pop_mark()))  # type: ignore[attr-defined]

    def obj(self) -> None:
        function, *arguments = self.pop_mark()  # type: ignore[attr-defined]
        self._call(function, tuple(arguments))

    def new(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, arguments)

    def new_named(self) -> None:
        named, arguments, function = self._pop(), self._pop(), self._pop()
        if type(named) is not dict or (named and not isinstance(function, ForeignName)):
            raise malformed("a call by keyword")
        self._call(function, arguments)

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name) or type(arguments) is not tuple:
            raise malformed("a call of something that is no function")
        self.append(function(*arguments))  # type: ignore[attr-defined]

    def build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Foreign):
            return
        if not isinstance(target, Array | Dtype):
            raise malformed("a state for something that has none")
        target.__setstate__(state)

    def append_one(self) -> None:
        item = self._pop()
        self._list().append(item)

    def append_many(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._list().extend(items)

    def set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self._dict()[self.plain_key(key)] = value

    def set_many(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._dict().update(self._pairs(items))

    def dict_of(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]  # which puts another `append` in place
        self.append(self._pairs(items))  # type: ignore[attr-defined]

    def set_of(self) -> None:
        self.pop_mark()  # type: ignore[attr-defined]
        self.append(ANY_SET)  # type: ignore[attr-defined]

    def empty_set(self) -> None:
        self.append(ANY_SET)  # type: ignore[attr-defined]

    def add_items(self) -> None:
        self.pop_mark()  # type: ignore[attr-defined]
        if not isinstance(self._top(), Foreign):
            raise malformed("an item for something that is no set")

    def _pop(self) -> Any:
        return self.stack.pop()  # type: ignore[attr-defined]

    def _top(self) -> Any:
        return self.stack[-1]  # type: ignore[attr-defined]

    def _list(self) -> list[Any]:
        if isinstance(self._top(), Foreign):
            return []  # what it would have held is dropped with it
        if type(self._top()) is not list:
            raise malformed("an item for something that is no list")
        top: list[Any] = self._top()
        return top

    def _dict(self) -> dict[Any, Any]:
        if isinstance(self._top(), Foreign):
            return {}
        if type(self._top()) is not dict:
            raise malformed("an item for something that is no dict")
        top: dict[Any, Any] = self._top()
        return top

    def plain_key(self, key: Any) -> str | bytes | int:
        """Return a key if it is text or a number; a nest of tuples would end the process when it is hashed."""
        if not isinstance(key, str | bytes | int):
            raise malformed("a dict whose keys are no text")
        return key

    def _pairs(self, items: list[Any]) -> dict[Any, Any]:
        return {self.plain_key(items[i]): items[i + 1] for i in range(0, len(items), 2)}

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)


def _content(code: bytes, width: int, *, text: bool = False) -> None:
    """Let an instruction that carries a content leave a big one in the file."""
    usual: Callable[[Any], None] = pickle._Unpickler.dispatch[code[0]]

    def load(reader: Reader) -> None:
        start = reader._file.tell()
        length = int.from_bytes(reader._file.read(width), "little")
        if length < SPAN:
            reader._file.seek(start)
            usual(reader)
            return
        reader._file.seek(length, 1)
        reader.append(Span(reader._source, start + width, length, text))  # type: ignore[attr-defined]

    Reader.dispatch[code[0]] = load


for _code, _width in ((pickle.BINBYTES, 4), (pickle.BINBYTES8, 8), (pickle.BYTEARRAY8, 8), (pickle.BINSTRING, 4)):
    _content(_code, _width)
for _code, _width in ((pickle.BINUNICODE, 4), (pickle.BINUNICODE8, 8)):
    _content(_code, _width, text=True)


def _method(name: str) -> Callable[[Reader], None]:
    return lambda reader: getattr(reader, name)()  # by name: a reader derived from this one may do otherwise


Reader.dispatch |= {
    pickle.FRAME[0]: _method("frame"),
    pickle.REDUCE[0]: _method("reduce"),
    pickle.INST[0]: _method("inst"),
    pickle.OBJ[0]: _method("obj"),
    pickle.NEWOBJ[0]: _method("new"),
    pickle.NEWOBJ_EX[0]: _method("new_named"),
    pickle.BUILD[0]: _method("build"),
    pickle.APPEND[0]: _method("append_one"),
    pickle.APPENDS[0]: _method("append_many"),
    pickle.SETITEM[0]: _method("set_one"),
    pickle.SETITEMS[0]: _method("set_many"),
    pickle.DICT[0]: _method("dict_of"),
    pickle.EMPTY_SET[0]: _method("empty_set"),
    pickle.ADDITEMS[0]: _method("add_items"),
    pickle.FROZENSET[0]: _method("set_of"),
}
