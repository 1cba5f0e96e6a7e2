"""One stack of runs tried, and what is told of it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dmd_repro.data.features import Features
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, RunError
from dmd_repro.execution.queue import Queue
from dmd_repro.planning.grid import Job
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records, RunBusy

if TYPE_CHECKING:
    from dmd_repro.training.execution import Execution
    from dmd_repro.training.report import EpochReport

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5  # how soon a worker notices that its parent is gone, and how often what others hold is looked at


@dataclass(frozen=True, slots=True)
class Event:
    """Something a progress display is told."""

    kind: Literal["started", "waiting", "epoch", "finished", "failed"]
    job: Job
    report: EpochReport | None = None  # of an epoch
    message: str = ""  # of a failure: the last line of its traceback


def say_waiting(queue: Queue, on_event: Callable[[Event], None]) -> None:
    for job in queue.jobs:
        on_event(Event("waiting", job))


def settle(stack: Stack, texts: Mapping[str, str | None], queue: Queue, on_event: Callable[[Event], None]) -> list[str]:
    """Tell how a stack's runs ended, put back what another process holds, and return the ids of those that FAILED."""
    queue.put_back(job for job in stack if job.run_id not in texts)
    ended = [job for job in stack if job.run_id in texts]
    for job in ended:
        on_event(_ended(job, texts[job.run_id]))
    return [job.run_id for job in ended if texts[job.run_id] is not None]


def member(stack: Stack, seed: int) -> Job:
    return next(job for job in stack if job.spec.seed == seed)


def attempt_stack(
    stack: Stack,
    records: Records,
    store: Store,
    execution: Execution,
    tell: Callable[[Literal["epoch"], int, EpochReport | None], None],
) -> dict[str, str | None]:
    """Train the seeds of a stack; return, by run id, None or the traceback under which it was recorded as FAILED.

    A run that another process holds is left out. What breaks a stack may be one seed's fault: then each is tried alone,
    unless the device is gone.
    """
    from dmd_repro.training.execution import device_failure
    from dmd_repro.training.fit import fit_stack

    held: set[str] = set()
    while len(missing := [job for job in stack if job.run_id not in held and records.get(job.run_id) is None]) > 1:
        try:
            fit_stack(
                [job.spec for job in missing], _features(missing[0], store), records, execution=execution,
                on_epoch=lambda report: tell("epoch", report.seed, report),
            )  # fmt: skip
            break
        except RunBusy as busy:
            if records.get(busy.run_id) is None:
                held.add(busy.run_id)
        except RunError:
            raise
        except Exception as error:
            if device_failure(execution):
                text = traceback.format_exc()
                return {job.run_id: _failed(job, records, text) for job in stack if job.run_id not in held}
            log.warning("a stack of %d seeds failed (%s): each is trained alone", len(missing), error)
            break
    texts: dict[str, str | None] = {}
    for job in stack:
        if job.run_id in held:
            continue
        if any(texts.values()) and (reason := device_failure(execution)):  # what the others have finished is kept
            texts[job.run_id] = None if records.get(job.run_id) else f"the device failed: {reason}"
            continue
        with suppress(RunBusy):
            texts[job.run_id] = attempt(
                job, records, store, execution,
                lambda report, seed=job.spec.seed: tell("epoch", seed, report),  # type: ignore[misc]
            )  # fmt: skip
    return texts


def _failed(job: Job, records: Records, text: str) -> str | None:
    """Return the traceback a job FAILED with, None if it is done; recorded here if it broke before its record."""
    if records.get(job.run_id) is not None:
        return None
    if text.strip().rpartition("\n")[2] not in (records.failure(job.run_id) or ""):
        with records.begin(job.spec, job.stamp, {}) as writer:
            writer.fail(text)
    return text


def _features(job: Job, store: Store) -> Features:
    features = load_features(job.data, store, text=job.text)
    if features.digest != job.stamp.digest:
        raise DataError.at(
            f"feature set '{job.data}'", expected="the content it was planned on", got="another digest",
            do="Plan the table again",
        )  # fmt: skip
    return features


def _ended(job: Job, text: str | None) -> Event:
    return Event("finished", job) if text is None else Event("failed", job, message=text.strip().rpartition("\n")[2])


def attempt(
    job: Job,
    records: Records,
    store: Store,
    execution: Execution,
    on_epoch: Callable[[EpochReport], None],
) -> str | None:
    """Train one job; return None, or the traceback under which it was recorded as FAILED.

    Raises RunBusy where another process holds it, RunError where the disk refuses.
    """
    from dmd_repro.training.fit import fit

    if records.get(job.run_id) is not None:
        return None
    try:
        fit(job.spec, _features(job, store), records, execution=execution, on_epoch=on_epoch)
        return None
    except RunBusy:
        if records.get(job.run_id) is not None:  # its writer has just finished it
            return None
        raise
    except RunError:
        raise
    except Exception:
        return _failed(job, records, traceback.format_exc())
