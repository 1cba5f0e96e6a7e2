"""Slurm's own commands, and what they say. `sacct` is not asked: many sites have no accounting."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dmd_repro.errors import RunError, SpecError

PATIENCE = 60.0  # seconds for one command
_AWAY = re.compile(r"Unable to contact slurm controller|Connection (refused|timed out)|Socket timed out", re.IGNORECASE)
ENDINGS: Mapping[str, str] = {
    "OUT_OF_MEMORY": "its task was killed, as it took more memory than it had asked for: ask for more "
    "(--sbatch '--mem=16G')",
    "CANCELLED": "its task was cancelled",
    "TIMEOUT": "its task was ended at its time limit: ask for more (--time)",
    "NODE_FAIL": "its node was lost, and Slurm did not requeue the task",
    "PREEMPTED": "its task was preempted, and Slurm did not requeue it",
    "DEADLINE": "its task was ended at its deadline",
    "BOOT_FAIL": "its node did not start",
}


class Away(RunError):
    """The controller does not answer: what it was told goes on all the same."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an array, as the queue shows it."""

    id: str  # <array>_<index>
    name: str  # of its submission
    index: int
    state: str
    reason: str

    @property
    def runs(self) -> bool:
        """Whether it is on a node now."""
        return self.state in ("RUNNING", "COMPLETING")


def ask(program: str, *arguments: str) -> str:
    """Run one of Slurm's commands and return what it prints.

    Raises SpecError where there is none, Away where the controller does not answer, RunError with Slurm's own sentence.
    """
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise SpecError.at(
            "--on slurm", expected="Slurm's commands on the PATH", got=f"no {program}",
            do="Run it on a login node of the cluster, or leave --on out",
        ) from None  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Away(f"{program} gave no answer within {PATIENCE:.0f} s.") from None
    if done.returncode == 0:
        return done.stdout
    said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
    if _AWAY.search(said):
        raise Away(f"{program}: {said}.")
    raise RunError.at(program, expected="Slurm to do it", got=f"'{said}'", do="Correct the option it names")


def submit(arguments: Iterable[str], script: str) -> str:
    """Submit a batch script and return the array's id."""
    try:
        said = ask("sbatch", "--parsable", *arguments, script)
    except Away as error:
        raise RunError.at(
            "sbatch", expected="Slurm to take the jobs", got=f"'{error}'", do="Try again when the controller answers"
        ) from None
    return said.strip().split(";")[0]


def queue(names: Iterable[str]) -> list[Task]:
    """Return the tasks of these submissions that have not ended."""
    if not (wanted := ",".join(names)):
        return []
    found = []
    for line in ask("squeue", "--noheader", "--array", f"--name={wanted}", "--format=%i|%j|%T|%r").splitlines():
        whole, name, state, reason = (line.strip().split("|") + [""] * 4)[:4]
        index = whole.partition("_")[2]
        if index.isdecimal():
            found.append(Task(whole, name, int(index), state, reason))
    return found


def ending(task: str) -> tuple[str, str]:
    """Return the state a task ended in and Slurm's reason; ("", "") where Slurm has forgotten it."""
    try:
        said = ask("scontrol", "show", "job", "-o", task)
    except RunError:
        return "", ""
    state, reason = (re.search(rf"\b{name}=(\S+)", said) for name in ("JobState", "Reason"))
    return (state[1] if state else ""), (reason[1] if reason else "")


def most_tasks() -> int:
    """Return how many tasks this site allows in an array."""
    try:
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"))
    except Away:
        found = None
    return max(1, int(found[1]) if found else 1001)


def cancel(tasks: Iterable[str]) -> None:
    """Cancel tasks."""
    if names := list(tasks):
        ask("scancel", *names)
