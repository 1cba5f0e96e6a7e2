"""A first walk over a pickle's instructions, which skips their content: is it whole, and are its claims possible?

Python's own reader believes what a pickle says of itself: one instruction of five bytes can make it reserve gigabytes
for a memo entry, and a length is only found wrong while it is read. So before anything is read for good, every length
must fit the file and every memo number must have been reachable.
"""

from __future__ import annotations

import pickletools
from typing import BinaryIO

_OPCODES = {op.code.encode("latin1"): op for op in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_TWO_LINES = {"GLOBAL", "INST"}  # module and name
_FREE_MEMO = 256  # memo numbers that cost nothing, reachable or not


class NotAPickle(ValueError):
    """The bytes are not the instructions of one whole pickle."""


def walk(file: BinaryIO, size: int) -> None:
    """Walk over the instructions from the file's position to the end at `size` bytes.

    Raises NotAPickle if it is truncated, goes on after its end, holds an unknown instruction, or claims a length or a
    memo number that cannot be. Nothing of the content is kept.
    """
    count = 0
    while code := file.read(1):
        op = _OPCODES.get(code)
        if op is None:
            raise NotAPickle(f"unknown instruction {code!r}")
        count += 1
        if op.name == "STOP":
            if file.tell() != size:
                raise NotAPickle("more bytes after its end")
            return
        if op.arg is None:
            continue
        if op.arg.n in _LENGTH_BYTES:
            width = _LENGTH_BYTES[op.arg.n]
            length = int.from_bytes(_take(file, width), "little")
            if length > size - file.tell():
                raise NotAPickle("it is truncated")
            file.seek(length, 1)
        elif op.arg.n == pickletools.UP_TO_NEWLINE:
            for _ in range(2 if op.name in _TWO_LINES else 1):
                line = file.readline()
                if not line.endswith(b"\n"):
                    raise NotAPickle("it is truncated")
            if op.name in ("PUT", "GET"):
                _check_memo(int(line), count)
        else:
            argument = _take(file, op.arg.n)
            if op.name == "LONG_BINPUT":
                _check_memo(int.from_bytes(argument, "little"), count)
            elif op.name == "FRAME" and int.from_bytes(argument, "little") > size - file.tell():
                raise NotAPickle("it is truncated")
    raise NotAPickle("it is truncated")


def _take(file: BinaryIO, n: int) -> bytes:
    taken = file.read(n)
    if len(taken) < n:
        raise NotAPickle("it is truncated")
    return taken


def _check_memo(number: int, count: int) -> None:
    if not 0 <= number < count + _FREE_MEMO:
        raise NotAPickle(f"memo number {number} after {count} instructions")
