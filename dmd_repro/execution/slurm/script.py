"""The batch script of an array, and the options it is submitted with."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass

from dmd_repro.errors import SpecError
from dmd_repro.execution.slurm.submission import Submission

WARNED = 60  # seconds before the time limit in which a task is told, and requeues itself


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asks of Slurm."""

    at_once: int | None = None  # tasks side by side
    gpus: bool = False  # whether a task asks for a card
    partition: str | None = None
    time: str | None = None
    account: str | None = None
    extra: str = ""  # further options of sbatch, as in a shell
    setup: str = ""  # shell lines before a task: modules, an environment

    def extras(self) -> list[str]:
        """Return the further options; SpecError where the quotes do not close."""
        try:
            return shlex.split(self.extra)
        except ValueError as error:
            raise SpecError.at(
                f"--sbatch {self.extra}", expected="options as in a shell", got=f"'{error}'", do="Close the quote"
            ) from None


def arguments(one: Submission, options: Options, indices: range) -> list[str]:
    """Return the options of `sbatch`: given as words, so that names with spaces stay whole."""
    limit = f"%{options.at_once}" if options.at_once else ""
    found = [
        f"--job-name={one.name}",
        f"--array={indices.start}-{indices.stop - 1}{limit}",
        f"--output={one.folder / '%a.log'}",
        "--open-mode=append",  # a requeued task goes on with its log
        "--requeue",
        f"--signal=B:USR1@{WARNED}",
        f"--cpus-per-task={one.execution.threads}",
    ]
    found += ["--gres=gpu:1"] if options.gpus else []
    named = {"partition": options.partition, "time": options.time, "account": options.account}
    found += [f"--{name}={value}" for name, value in named.items() if value]
    return found + options.extras()


def script(one: Submission, options: Options) -> str:
    """Return the batch script: the user's lines, then the task in the shell's place, where the signal arrives."""
    task = [sys.executable, "-m", "dmd_repro.execution.slurm.task", str(one.folder)]
    path = f"export PYTHONPATH={shlex.quote(os.environ['PYTHONPATH'])}\n" if os.environ.get("PYTHONPATH") else ""
    return (
        "#!/bin/bash\n"
        f"{options.setup}\n"
        f"{path}"
        f'exec {shlex.join(task)} "$SLURM_ARRAY_TASK_ID"\n'
    )  # fmt: skip
