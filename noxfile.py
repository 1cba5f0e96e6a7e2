"""Tests, lint, types and the demonstration, in the environment nox itself runs in (torch is installed once)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "whole"]
# pip compiles nothing in the command of the README: what is imported, a quarter of the files, is compiled then and kept
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Static types of the package."""
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documents as a site (site/), without network: it loads nothing from elsewhere, no link leads nowhere."""
    session.run("python", "benchmarks/site.py")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, on two processes; arguments after -- go to pytest."""
    # one thread a process: faster than threads that fight over two cores, and how runs are trained
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def whole(session: nox.Session) -> None:
    """Types and documents beside all tests: each alone would leave a core idle. What they said is printed last."""
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen([sys.executable, "-m", "nox", "-s", "types", "docs"], stdout=said, stderr=said)
        try:
            tests(session)
        finally:
            failed = beside.wait()
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
    if failed:
        session.error("types or documents failed: see above")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on embedded synthetic data: train, then print the table in each format."""
    with tempfile.TemporaryDirectory() as folder:
        here = ("--runs-dir", folder)
        session.run("dmd", "reproduce", "table1", "--seeds", "2", "--data", "synthetic", *here)
        session.run("dmd", "report", "table1", "--format", "markdown", *here)
        session.run("dmd", "report", "table1", "--format", "latex", "--standalone", *here, "-o", f"{folder}/table1.tex")
        session.log(f"{len((Path(folder) / 'table1.tex').read_text().splitlines())} lines of LaTeX")
