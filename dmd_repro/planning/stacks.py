"""Which seeds train together as one model: seeds of one configuration, and after an interruption the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmd_repro.errors import RunError, SpecError
from dmd_repro.planning.grid import Job
from dmd_repro.records.folder import Records
from dmd_repro.systems.resolve import why_not_stacked

Stack = tuple[Job, ...]
MOST = 50  # seeds of one model; what a device has room for is found when it trains


def parse_stack(text: str) -> int:
    """Read `--stack`: "auto" is 0 (what the device has room for), else the most seeds of one model.

    Raises SpecError on anything else.
    """
    if text == "auto":
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise SpecError.at(
            f"--stack {text}", expected=f"auto, or a number of seeds from 1 to {MOST}", got=repr(text),
            do="Write --stack auto, or --stack 1 to train seeds one by one",
        )  # fmt: skip
    return int(text)


def group(jobs: Sequence[Job], records: Records, most: int) -> list[Stack]:
    """Return the jobs as stacks of at most `most` seeds (0: as many as there are), in the order they were planned.

    Rows never share a stack. Seeds that were interrupted together go on together, so that they end in the same bits.
    """
    if most == 1:
        return [(job,) for job in jobs]
    together: dict[str, list[Job]] = {}
    for job in jobs:
        together.setdefault(job.configuration_id, []).append(job)
    return [stack for members in together.values() for stack in _cut(members, records, most or MOST)]


def _cut(jobs: Sequence[Job], records: Records, most: int) -> Iterable[Stack]:
    if why_not_stacked(jobs[0].spec):
        return [(job,) for job in jobs]
    before: dict[tuple[int, ...], list[Job]] = {}
    for job in jobs:
        before.setdefault(_members(records, job), []).append(job)
    fresh = before.pop((), [])
    found = [tuple(group) for group in before.values()]
    return [*found, *(tuple(fresh[i : i + most]) for i in range(0, len(fresh), most))]


def _members(records: Records, job: Job) -> tuple[int, ...]:
    """Return the seeds a run was trained with before it was interrupted; () where it was not begun."""
    if records.status(job.run_id) != "partial":
        return ()
    try:
        return tuple(records.begun(job.run_id).get("execution", {}).get("members", ()))
    except RunError:
        return ()
