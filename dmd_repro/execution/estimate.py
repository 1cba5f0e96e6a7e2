"""How long a plan will take: seconds per epoch of each configuration, from its finished runs, else from a few steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.planning.grid import Job
from dmd_repro.planning.stacks import MOST
from dmd_repro.records.folder import Records
from dmd_repro.training.cards import kind

if TYPE_CHECKING:
    from dmd_repro.training.fit import Execution


def seconds_per_epoch(
    jobs: Iterable[Job],
    records: Records,
    store: Store,
    execution: Execution,
    on_timing: Callable[[Job], None] = lambda job: None,
    *,
    timed: bool = True,
) -> dict[str, float]:
    """Return the seconds an epoch takes, by configuration id.

    Finished runs of the configuration on this kind of device tell; where there is none, a few real steps are timed
    (`on_timing` is told first, as that can take seconds) and thrown away. Not `timed`, such a configuration is
    left out, and no torch is loaded.
    """
    known: dict[str, list[float]] = {}
    done = records.scan().query("status == 'done' and seconds > 0 and epochs > 0")
    here = kind(execution.device)
    for row in done[[kind(str(device)) == here for device in done.device]].to_dict("records"):
        known.setdefault(row["configuration"], []).append(row["seconds"] / row["epochs"])
    found: dict[str, float] = {}
    jobs = list(jobs)
    seeds = Counter(job.configuration_id for job in jobs)
    for job in jobs:
        key = job.configuration_id
        if key in found:
            continue
        if key in known:
            found[key] = sum(known[key]) / len(known[key])
            continue
        if not timed:
            continue
        from dmd_repro.training import fit as training

        on_timing(job)
        features = load_features(job.data, store, text=job.text)
        together = min(seeds[key], execution.stack or MOST)
        found[key] = training.seconds_per_epoch(job.spec, features, replace(execution, stack=together))
    return found
