"""Hostile and mutated pickles from a seed, and what must hold of each: nothing runs, nothing passes as other content.

The tests draw some, `benchmarks/fuzz.py` ten thousand.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from toy_files import mmsa, mult, save

from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.incoming import describe
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.pickle_gate.scan import scan
from dmd_repro.errors import DataError

SMALL = {"train": 2, "valid": 1, "test": 1}
NAMES = (
    "os.system", "posix.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.__import__",
    "builtins.getattr", "builtins.open", "builtins.compile", "pickle.loads", "importlib.import_module", "shutil.rmtree",
    "numpy.load", "numpy.fromfile", "numpy.lib.npyio.DataSource", "torch.load", "types.FunctionType", "code.interact",
    "operator.methodcaller", "functools.partial", "ctypes.CDLL", "webbrowser.open", "socket.socket", "runpy.run_path",
    "pty.spawn", "timeit.timeit", "numpy.testing._private.utils.runstring", "marshal.loads", "bdb.Bdb.run",
)  # fmt: skip


class Trap:
    """Would create a file when an ordinary loader reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def bodies() -> dict[tuple[str, int], bytes]:
    """Return small honest files of both families in every protocol."""
    return {
        (name, protocol): pickle.dumps(make(sizes=SMALL), protocol)
        for name, make in (("mmsa", mmsa), ("mult", mult))
        for protocol in range(6)
    }


BODIES = bodies()
DIGESTS = {describe("x", convert(make(sizes=SMALL), "x", dataset="mosi")).digest for make in (mmsa, mult)}
OPCODES = np.frombuffer(
    b"(.0123FGIJKLMNPQRSTUVXabcdeghijlopqrstu}])\x81\x85\x86\x87\x88\x8c\x8e\x8f\x93\x94", dtype=np.uint8
)


def hostile(rng: np.random.Generator, trap: Path) -> tuple[str, bytes]:
    """Return (kind, bytes) of one bad file."""
    kind = str(rng.choice(["call", "name", "opcodes", "claims", "splice", "bits", "bytes", "cut", "grown", "columns"]))
    protocol = int(rng.integers(6))
    family = str(rng.choice(["mmsa", "mult"]))
    body = bytearray(BODIES[family, protocol])
    if kind == "call":
        content = mmsa(sizes=SMALL)
        split = str(rng.choice(list(SMALL)))
        where = int(rng.integers(3))
        if where == 0:
            content[split] = Trap(trap)
        elif where == 1:
            content[split][str(rng.choice(["audio", "id", "extra"]))] = Trap(trap)
        else:
            content["extra"] = [[Trap(trap)], content]
        return kind, pickle.dumps(content, protocol)
    if kind == "name":
        module, _, name = str(rng.choice(NAMES)).rpartition(".")
        argument = pickle.dumps(f"touch {trap}", 2)[2:-1]
        call = [
            f"c{module}\n{name}\n".encode() + b"(" + argument + b"tR",
            b"(" + argument + f"i{module}\n{name}\n".encode(),
            b"(" + f"c{module}\n{name}\n".encode() + argument + b"o",
            b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93("
            + argument + b"t\x81",
            f"c{module}\n{name}\n".encode() + b")\x81}b",
        ][int(rng.integers(5))]  # fmt: skip
        at = body.rindex(b".")
        return kind, bytes(body[:at]) + b"0" * int(rng.integers(2)) + call + b"."
    if kind == "opcodes":
        return kind, b"\x80\x04" + rng.choice(OPCODES, size=int(rng.integers(1, 60))).tobytes() + b"."
    if kind == "claims":
        code = bytes(rng.choice([b"B", b"T", b"X", b"r", b"\x8b", b"\x8d", b"\x8e", b"\x96", b"\x95"]))
        width = 8 if code in (b"\x8d", b"\x8e", b"\x96", b"\x95") else 4
        number = struct.pack("<Q", int(rng.integers(0, 2**62)) >> int(rng.integers(0, 62)))[:width]
        at = int(rng.integers(2, len(body)))
        return kind, bytes(body[:at]) + code + number + bytes(body[at:])
    if kind == "splice":
        other = BODIES[str(rng.choice(["mmsa", "mult"])), int(rng.integers(6))]
        return kind, bytes(body[: int(rng.integers(len(body)))]) + other[int(rng.integers(len(other))) :]
    if kind in ("bits", "bytes"):
        head = min(len(body), 900) if rng.random() < 0.7 else len(body)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(head))
            body[at] = body[at] ^ (1 << int(rng.integers(8))) if kind == "bits" else int(rng.integers(256))
        return kind, bytes(body)
    if kind == "cut":
        return kind, bytes(body[: int(rng.integers(len(body)))])
    if kind == "grown":
        at = int(rng.integers(len(body)))
        return kind, bytes(body[:at]) + rng.bytes(int(rng.integers(1, 40))) + bytes(body[at:])
    return kind, odd_columns(rng, protocol)


def odd_columns(rng: np.random.Generator, protocol: int) -> bytes:
    """Return a well-formed pickle whose columns are of another kind than they should be."""
    content = mmsa(sizes=SMALL)
    odd: list[Any] = [
        np.array([1, None], dtype=object), np.zeros((2, 2, 2), dtype=complex), {}, [], "text", None, 1e400, 10**30,
        np.zeros((0, 3, 3)), np.full((2, 6, 5), np.nan), np.zeros((2, 6, 5), dtype="S4"), [[1], [1, 2]], b"bytes",
        np.array("2020", dtype="M8"), np.float64(3), ["\x1b[2J"], [b"\xff\xfe"], np.zeros(2, dtype=[("a", "f4")]),
        np.full((2, 6, 5), 1e39), np.array([["a"]]), [None, None], {"a": 1}, np.ma.zeros(3),
    ]  # fmt: skip
    for _ in range(int(rng.integers(1, 3))):
        split = str(rng.choice(list(SMALL)))
        if rng.random() < 0.1:
            content[split] = odd[int(rng.integers(len(odd)))]
            return pickle.dumps(content, protocol)
        key = str(rng.choice(list(content[split])))
        if rng.random() < 0.2:
            content[split].pop(key)
        else:
            content[split][key] = odd[int(rng.integers(len(odd)))]
    return pickle.dumps(content, protocol)


def judge(path: Path, body: bytes, counts: Counter[str]) -> None:
    """Give one file to the gate, the importer's checks and the scan: nothing but content or a DataError may come."""
    path.write_bytes(body)
    try:
        raw = load_path(path)
        incoming = convert(raw, path.name, dataset="mosi")
    except DataError as error:
        one_line(error)
        counts["refused"] += 1
    else:
        digest = describe("x", incoming).digest
        plain = pickle_content(body)
        again = describe("x", convert(plain, path.name, dataset="mosi")).digest if plain is not None else None
        assert again is None or again == digest, "passed with other content than the file holds"
        if again is None:
            counts["passed, and Python's own reader does not read it"] += 1
        else:
            counts["passed, as the file has it" if digest not in DIGESTS else "passed, content unchanged"] += 1
    try:
        counts["scan: harmless" if scan(path).safe else "scan: names found"] += 1
    except DataError:
        counts["scan: refused"] += 1


def one_line(error: Exception) -> None:
    """Check that an error is the one sentence a user reads."""
    assert "\n" not in str(error), str(error)


class _Bounded(pickle.Unpickler):
    """Python's own reader, allowed numpy's own functions alone: what the file holds, by another road than ours."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] in ("numpy", "_codecs") or (module, name) in (
            ("builtins", "bytes"), ("__builtin__", "bytes"), ("collections", "OrderedDict"),
        ):  # fmt: skip
            return super().find_class(module, name)
        raise pickle.UnpicklingError(name)


def pickle_content(body: bytes) -> Any:
    """Return what Python's own reader makes of a file that passed (so it names nothing else), or None if it cannot."""
    import io

    try:
        return _Bounded(io.BytesIO(body), encoding="latin1").load()
    except Exception:
        return None


def seeds(folder: Path) -> None:
    """Write the seed corpus of the coverage-guided fuzzer."""
    folder.mkdir(parents=True, exist_ok=True)
    for (family, protocol), body in BODIES.items():
        (folder / f"{family}{protocol}").write_bytes(body)
    save(folder / "scalars", {"a": [1, 2.5, None, True, b"x", "y", (1,), np.float32(2)]})
