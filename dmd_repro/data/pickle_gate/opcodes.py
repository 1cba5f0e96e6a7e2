"""A first walk over a pickle's instructions, which skips their content: is it whole, and are its claims possible?

Python's own reader believes what a pickle says of itself: one instruction of five bytes can make it reserve gigabytes
for a memo entry, and a length is only found wrong while it is read. So before anything is read for good, every length
must fit the file, every memo number must have been reachable, and what is no array must be small.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import BinaryIO

SPAN = 1 << 16  # bytes from which on a content stays in the file
MAX_INSTRUCTIONS = 5_000_000  # MOSEI's files need some 500 000; each may make an object of about 100 bytes
MAX_HELD = 256 << 20  # bytes of small contents together
_LONGEST_INT = 8  # bytes: longer ones can be made to collide in a dict
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


class TooMuch(ValueError):
    """More than any file of features holds besides its arrays."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a whole pickle consists of."""

    protocol: int
    instructions: int
    held: int  # bytes of small contents
    spans: int  # contents that stay in the file
    spanned: int  # their bytes

    def __add__(self, other: Walked) -> Walked:
        """Return what two pickles consist of together."""
        protocol = max(self.protocol, other.protocol)
        counts = (self.instructions + other.instructions, self.held + other.held)
        return Walked(protocol, *counts, self.spans + other.spans, self.spanned + other.spanned)


def walk(file: BinaryIO, size: int) -> Walked:
    """Walk over the instructions from the file's position to the end at `size` bytes.

    Raises NotAPickle if it is truncated, goes on after its end, holds an unknown instruction, or claims a length or a
    memo number that cannot be; TooMuch beyond the limits above. Nothing of the content is kept.
    """
    count = held = spans = spanned = protocol = frame = 0
    while code := file.read(1):
        if frame and (at := file.tell() - 1) >= frame:  # a frame ends between two instructions
            if at > frame:
                raise NotAPickle("a frame that ends inside an instruction")
            frame = 0
        op = _OPCODES.get(code)
        if op is None:
            raise NotAPickle(f"unknown instruction {code!r}")
        count += 1
        if count > MAX_INSTRUCTIONS:
            raise TooMuch(f"more than {MAX_INSTRUCTIONS:,} instructions")
        if op.name == "STOP":
            if file.tell() != size:
                raise NotAPickle("more bytes after its end")
            return Walked(protocol, count, held, spans, spanned)
        if op.arg is None:
            continue
        if op.arg.n in _LENGTH_BYTES:
            width = _LENGTH_BYTES[op.arg.n]
            length = int.from_bytes(_take(file, width), "little")
            if length > size - file.tell():
                raise NotAPickle("it is truncated")
            if op.name in ("LONG1", "LONG4") and length > _LONGEST_INT:
                raise TooMuch(f"an integer of {length} bytes")
            file.seek(length, 1)
            if length >= SPAN:
                spans, spanned = spans + 1, spanned + length
            else:
                held += length
        elif op.arg.n == pickletools.UP_TO_NEWLINE:
            for _ in range(2 if op.name in _TWO_LINES else 1):
                line = file.readline(MAX_HELD)
                if len(line) == MAX_HELD:
                    raise TooMuch(f"a line of more than {MAX_HELD >> 20} MB")
                if not line.endswith(b"\n"):
                    raise NotAPickle("it is truncated")
                held += len(line)
            if op.name in ("PUT", "GET"):
                _check_memo(int(line), count)
            elif op.name in ("INT", "LONG") and len(line) > 24:
                raise TooMuch(f"an integer of {len(line)} digits")
        else:
            argument = _take(file, op.arg.n)
            if op.name == "LONG_BINPUT":
                _check_memo(int.from_bytes(argument, "little"), count)
            elif op.name == "PROTO":
                protocol = max(protocol, argument[0])
            elif op.name == "FRAME":
                if frame:
                    raise NotAPickle("a frame inside a frame")
                frame = file.tell() + int.from_bytes(argument, "little")
                if frame > size:
                    raise NotAPickle("it is truncated")
        if held > MAX_HELD:
            raise TooMuch(f"more than {MAX_HELD >> 20} MB outside arrays")
    raise NotAPickle("it is truncated")


def _take(file: BinaryIO, n: int) -> bytes:
    taken = file.read(n)
    if len(taken) < n:
        raise NotAPickle("it is truncated")
    return taken


def _check_memo(number: int, count: int) -> None:
    if not 0 <= number < count + _FREE_MEMO:
        raise NotAPickle(f"memo number {number} after {count} instructions")
