"""Running `dmd` as a user does: in this process (quick), or as a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import dmd_repro
from dmd_repro import cli

ENTRY = "import sys; from dmd_repro.cli import main; main()"


@dataclass
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What was printed on stdout, however it was cut into lines."""
        return " ".join(self.out.split())


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start `dmd` as a process of its own."""
    path = os.pathsep.join(filter(None, [str(Path(dmd_repro.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "DMD_RUNS": str(cwd / "runs"), "DMD_DATA": str(cwd / "data")}
    # a shell that runs the tests in the background ignores Ctrl-C, and children inherit that
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, "-c", ENTRY, *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=hear,
    )  # fmt: skip


class Here:
    """`dmd` in this process, with the folders of a temporary directory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DMD_RUNS", str(folder / "runs"))
        monkeypatch.setenv("DMD_DATA", str(folder / "data"))

    def __call__(self, *arguments: str) -> Said:
        """Run one command."""
        self._monkeypatch.setattr(sys, "argv", ["dmd", *arguments])
        self._capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = self._capsys.readouterr()
        return Said(code, said.out, said.err)
