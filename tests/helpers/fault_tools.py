"""Faults for the real command: killed, starved of disk, without rights, with a wrong clock; and damage to its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

import dmd_repro

TINY = ("--set", "d=4", "--set", "heads=2", "--set", "layers=1")
TRAIN = ("train", "dmd", "--data", "synthetic", "--epochs", "3", "--seed", "7", *TINY)


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended."""

    code: int  # negative: the signal that ended it
    out: str
    err: str
    ops: int  # disk operations it had begun
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -9


class Faulty:
    """Runs commands, a fault each; one Python that has everything imported serves them all."""

    def __init__(self) -> None:
        root = Path(dmd_repro.__file__).parents[1]
        self._folder = tempfile.TemporaryDirectory()
        os.chmod(self._folder.name, 0o777)  # noqa: PTH101
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fault_helper.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=self._folder.name,
        )  # fmt: skip

    def __call__(self, *argv: str, cwd: Path, **fault: Any) -> End:
        """Run `dmd` with a fault; the folders of runs and data are below cwd."""
        env = {"DMD_RUNS": str(cwd / "runs"), "DMD_DATA": str(cwd / "data"), **fault.pop("env", {})}
        request = {"argv": list(argv), "cwd": str(cwd), "env": env, "scratch": self._folder.name, **fault}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._folder.cleanup()


def one_sentence(end: End) -> str:
    """Return the message of a command that ended as a user can mend it: exit 2, one line, no traceback."""
    assert end.code == 2, (end.code, end.out, end.err)
    assert "Traceback" not in end.err, end.err
    lines = [line for line in end.err.splitlines() if line.startswith("dmd: ")]
    assert len(lines) == 1, end.err
    return lines[0]


def arrays_of(runs: Path) -> dict[str, bytes]:
    """Return the bytes of every finished run that must not depend on what happened: predictions, curves, weights."""
    names = ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors")
    found = {}
    for done in sorted(runs.glob("*/DONE")):
        if "." not in done.parent.name:
            found |= {f"{done.parent.name}/{name}": (done.parent / name).read_bytes() for name in names}
    return found


def damage(path: Path, rng: np.random.Generator) -> str:
    """Flip a bit of a file, cut it, empty it or delete it; return which."""
    how = str(rng.choice(["flip", "flip", "flip", "cut", "delete"]))
    content = bytearray(path.read_bytes())
    if how == "flip" and content:
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
    elif how == "cut" and content:
        path.write_bytes(bytes(content[: int(rng.integers(len(content)))]))
    else:
        how = "delete"
        path.unlink()
    return how
