"""Where the processes of a plan compute: on the cards of a machine in turn, or side by side on its processor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmd_repro.training.execution import Execution


@dataclass(frozen=True, slots=True)
class Place:
    """What one process is started with."""

    execution: Execution
    environment: Mapping[str, str] = field(default_factory=dict)


def sides(execution: Execution) -> int:
    """Return how many runs go side by side when nobody says: one a core (threads taken into account), one a card."""
    from dmd_repro.training import cards

    if cards.kind(execution.device) != "cpu":
        return cards.count(execution.device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // execution.threads)


def places(execution: Execution, workers: int) -> list[Place]:
    """Return a place for each worker: cards are dealt out in turn, and a worker sees its own alone, as "cuda"."""
    from dmd_repro.training import cards

    if cards.kind(execution.device) != "cuda":
        return [Place(replace(execution, sharers=workers))] * workers
    found = cards.environments(execution.device, cards.seen(), os.environ.get(cards.VARIABLE))
    each = replace(execution, device="cuda", sharers=-(-workers // max(1, len(found))))
    return [Place(each, found[n % len(found)] if found else {}) for n in range(workers)]
