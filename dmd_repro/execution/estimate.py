"""How long a plan will take: what each configuration costs, by finished runs, a few steps or the figures that ship."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.planning.figures import Figure, measured
from dmd_repro.planning.grid import Job
from dmd_repro.planning.hours import OWN, Cost, costs_of, seen_in
from dmd_repro.planning.stacks import MOST
from dmd_repro.planning.whole import of_jobs
from dmd_repro.records.folder import Records
from dmd_repro.training.cards import kind

if TYPE_CHECKING:
    from dmd_repro.training.fit import Execution

TIMED = "a few steps timed here"  # the source of a cost


def figures_for(execution: Execution) -> list[Figure]:
    """Return the figures that ship of stacks that an execution may make."""
    return [figure for figure in measured() if figure.stack <= (execution.stack or MOST)]


def job_costs(
    jobs: Sequence[Job],
    records: Records,
    store: Store,
    execution: Execution,
    on_timing: Callable[[Job], None] = lambda job: None,
    *,
    timed: bool = True,
) -> dict[str, Cost]:
    """Return what each configuration of some runs costs on this kind of device, by configuration id.

    Its finished runs tell; where there is none, a few real steps are timed (`on_timing` is told first, as that can take
    seconds) and thrown away. Not `timed`, the figures that ship take their place, and no torch is loaded.
    """
    configurations = of_jobs(jobs, store, {job.run_id: "missing" for job in jobs})
    costs = costs_of(configurations, kind(execution.device), figures_for(execution), seen_in(records))
    found = {one.configuration.identity: one for one in costs}
    if not timed:
        return found
    seeds = Counter(job.configuration_id for job in jobs)
    for job in jobs:
        key = job.configuration_id
        if found[key].source in (OWN, TIMED):
            continue
        from dmd_repro.training import fit as training

        on_timing(job)
        features = load_features(job.data, store, text=job.text)
        together = replace(execution, stack=min(seeds[key], execution.stack or MOST))
        seconds = training.seconds_per_epoch(job.spec, features, together)
        found[key] = replace(found[key], seconds_per_epoch=seconds, source=TIMED, figure=None)
    return found
