"""What was handed to Slurm: `<runs>/jobs/<name>/job.json`, one stack a task. Tasks read it, and so does every client.

A submission is known by its name, which is in the file before Slurm has it: a client killed in between loses nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmd_repro.disk import parse_json, sentences, write_atomic
from dmd_repro.errors import RunError
from dmd_repro.planning.grid import Job
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records
from dmd_repro.records.run import DataStamp
from dmd_repro.spec import RunSpec
from dmd_repro.training.execution import Execution

VERSION = 1


@dataclass(frozen=True, slots=True)
class Submission:
    """One array of tasks."""

    folder: Path
    stacks: tuple[Stack, ...]
    execution: Execution
    data: Path  # the folder of imported features
    environment: Mapping[str, str]  # what further papers and systems of the user's are found by
    command: str  # as the user typed it
    array: str = ""  # Slurm's id; "" until it is known

    @property
    def name(self) -> str:
        """The name Slurm knows it by."""
        return self.folder.name

    def log(self, index: int) -> Path:
        """What a task printed."""
        return self.folder / f"{index}.log"

    def save(self) -> None:
        """Write it; RunError where the folder refuses."""
        document = {
            "version": VERSION,
            "array": self.array,
            "command": self.command,
            "data": str(self.data),
            "environment": dict(self.environment),
            "execution": asdict(self.execution),
            "stacks": [[_job_to_json(job) for job in stack] for stack in self.stacks],
        }
        with sentences(self.folder, "a folder that can be written", RunError, "--runs-dir"):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / "job.json", json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> Submission:
        """Read it; RunError if it is not there, damaged, or of another version."""
        path = folder / "job.json"
        try:
            document = parse_json(path.read_bytes())
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']}")
            return cls(
                folder=folder,
                stacks=tuple(tuple(_job_from_json(job) for job in stack) for stack in document["stacks"]),
                execution=Execution(**document["execution"]),
                data=Path(document["data"]),
                environment={str(k): str(v) for k, v in document["environment"].items()},
                command=str(document["command"]),
                array=str(document["array"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError.at(
                str(path), expected="jobs handed to Slurm by this version", got=f"'{error}'",
                do="If it is not there, the node does not see this folder: choose one on a shared disk with --runs-dir",
            ) from error  # fmt: skip


def jobs_dir(root: Path) -> Path:
    """Return the folder of submissions in a folder of runs."""
    return root / "jobs"


def new_folder(root: Path, table: str) -> Path:
    """Return a folder of its own, by a name that no other submission of the cluster has."""
    word = "".join(c if c.isalnum() else "-" for c in table)
    return jobs_dir(root) / f"dmd-{word}-{uuid.uuid4().hex[:8]}"


def submissions(root: Path) -> Iterator[Submission]:
    """Yield all that can be read, the oldest first."""
    found = [p for p in jobs_dir(root).glob("dmd-*") if (p / "job.json").is_file()] if jobs_dir(root).is_dir() else []
    for folder in sorted(found, key=lambda p: ((p / "job.json").stat().st_mtime, p.name)):
        try:
            yield Submission.load(folder)
        except RunError:
            continue  # a damaged one stands in nobody's way: its runs are told by their records


def covered(known: Sequence[Submission], live: Mapping[tuple[str, int], object]) -> dict[str, tuple[Submission, int]]:
    """Return, by run id, the live task that is to make the run."""
    return {
        job.run_id: (one, index)
        for one in known
        for index, stack in enumerate(one.stacks)
        if (one.name, index) in live
        for job in stack
    }


def epochs_of(records: Records, stack: Stack) -> int:
    """Return how many epochs of a stack's runs are on disk."""
    return sum(len(records.history(job.run_id)) for job in stack)


def _job_to_json(job: Job) -> dict[str, Any]:
    return {
        "run_id": job.run_id,
        "spec": job.spec.to_json(),
        "data": job.data,
        "text": job.text,
        "stamp": job.stamp.to_json(),
        "rows": list(job.rows),
    }


def _job_from_json(said: Mapping[str, Any]) -> Job:
    return Job(
        run_id=str(said["run_id"]),
        spec=RunSpec.from_json(said["spec"]),
        data=str(said["data"]),
        text=said["text"],
        stamp=DataStamp(**said["stamp"]),
        rows=tuple(said["rows"]),
    )
