"""Where and by what a run was computed: kept beside the record, never part of its identity."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

COMMAND = "DMD_COMMAND"  # the environment variable with the user's own command, where another one carries it out
_SCHEDULERS = {
    "job": ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"),
    "task": ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX", "JOB_COMPLETION_INDEX"),
    "restart": ("SLURM_RESTART_COUNT",),
}
PACKAGES = ("torch", "numpy", "safetensors", "scipy", "pandas")


def _git(*arguments: str) -> str | None:
    """Return what git says of the checkout this package was imported from; None for an installed wheel."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _scheduled() -> dict[str, str]:
    """Return job, task and restart as the scheduler numbers them; nothing outside of one."""
    found = {}
    for name, variables in _SCHEDULERS.items():
        if said := next((os.environ[v] for v in variables if os.environ.get(v)), ""):
            found[name] = said
    return found


def collect() -> dict[str, Any]:
    """Return commit, package versions, host, the scheduler's job, command and the time now, as plain JSON values."""
    from dmd_repro import __version__

    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name) is not None
    return {
        "version": __version__,
        "commit": _git("rev-parse", "HEAD") if tracked else None,
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if tracked else None,
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": os.environ.get(COMMAND) or shlex.join(["dmd", *sys.argv[1:]]),
        "host": platform.node(),
        **_scheduled(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
