"""How long the runs of some tables take: pure arithmetic over measured figures, for any number of cores or cards.

What is not measured has no hours, and a total says which configurations it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dmd_repro.planning.division import most_seconds
from dmd_repro.planning.figures import Figure, Kind, look_up
from dmd_repro.planning.whole import Configuration
from dmd_repro.records.folder import Records

# Epochs of a run that stopped by itself, one published run each of DMD on aligned BERT features, by the authors' code:
# the curves `dmd-mosi` and `dmd-mosei` of tables/reruns/forks-of-dmd.yaml. A test holds them.
PUBLISHED: Mapping[tuple[str, str], int] = {("dmd", "mosi"): 29, ("dmd", "mosei"): 23}
ASSUMED = 30  # what the paper says it trains DMD for (section 4)
Grade = Literal["counted", "all", "published", "assumed"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it would run: so many runs at once on a CPU, or so many cards."""

    title: str
    kind: Kind
    workers: int


MACHINES = (
    Machine("two cores", "cpu", 2),
    Machine("eight cores", "cpu", 8),
    Machine("one card", "cuda", 1),
    Machine("four cards", "cuda", 4),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What finished runs of a configuration tell, on one kind of device of this machine."""

    runs: int
    seconds_per_epoch: float
    epochs: float


Seen = Mapping[tuple[str, str], Counted]  # by configuration id and kind of device
OWN, NOT_MEASURED = "finished runs here", "not measured"  # where a cost has no figure


@dataclass(frozen=True, slots=True)
class Cost:
    """What a configuration takes on one kind of device."""

    configuration: Configuration
    seconds_per_epoch: float | None  # of one seed; None: not measured
    source: str  # the machine it was measured on, OWN, or NOT_MEASURED
    figure: Figure | None
    epochs: float  # of a run, typically
    grade: Grade

    def hours(self, *, most: bool = False) -> float | None:
        """Return the hours all its seeds take, one after the other; None where it is not measured."""
        if self.seconds_per_epoch is None:
            return None
        epochs = self.configuration.most_epochs if most else self.epochs
        return self.configuration.to_train * self.seconds_per_epoch * epochs / 3600


def seen_in(records: Records) -> Seen:
    """Return what the finished runs of a folder tell."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for row in records.rows():
        if row["status"] == "done" and row["seconds"] and row["epochs"]:
            kind = str(row["device"]).partition(":")[0]
            found.setdefault((row["configuration"], kind), []).append((row["seconds"], row["epochs"]))
    return {
        key: Counted(len(runs), sum(s / n for s, n in runs) / len(runs), sum(n for _, n in runs) / len(runs))
        for key, runs in found.items()
    }


def costs_of(configurations: Iterable[Configuration], kind: str, figures: Sequence[Figure], seen: Seen) -> list[Cost]:
    """Return what each configuration takes on a kind of device."""
    return [cost(one, kind, figures, seen) for one in configurations]


def with_seeds(configurations: Iterable[Configuration], seeds: int) -> list[Configuration]:
    """Return the configurations with their first so many seeds."""
    return [replace(one, status=one.status[:seeds]) for one in configurations]


def cost(configuration: Configuration, kind: str, figures: Sequence[Figure], seen: Seen) -> Cost:
    """Return what a configuration takes: by its finished runs here, else by a measured figure, else it is not known."""
    epochs, grade = typical_epochs(configuration, seen)
    if counted := seen.get((configuration.identity, kind)):
        return Cost(configuration, counted.seconds_per_epoch, OWN, None, epochs, grade)
    figure = look_up(configuration.case, kind, len(configuration.status), figures)
    if figure is None:
        return Cost(configuration, None, NOT_MEASURED, None, epochs, grade)
    return Cost(configuration, figure.epoch(configuration.clips), figure.machine, figure, epochs, grade)


def typical_epochs(configuration: Configuration, seen: Seen) -> tuple[float, Grade]:
    """Return how many epochs a run takes, and how that is known."""
    counted = [c for (identity, _), c in seen.items() if identity == configuration.identity]
    if counted:
        return sum(c.runs * c.epochs for c in counted) / sum(c.runs for c in counted), "counted"
    most = configuration.most_epochs
    if not configuration.stops_early:
        return most, "all"
    case = configuration.case
    if case.protocol == "official" and (case.model, case.dataset) in PUBLISHED:
        return min(most, PUBLISHED[case.model, case.dataset]), "published"
    return min(most, ASSUMED), "assumed"


def total(costs: Iterable[Cost], *, most: bool = False) -> tuple[float | None, int]:
    """Return the hours of one core or card that all runs take, and how many configurations that leaves out.

    The hours are None where nothing that is to be trained is measured.
    """
    wanted = [c for c in costs if c.configuration.to_train]
    known = [h for c in wanted if (h := c.hours(most=most)) is not None]
    return (sum(known) if known or not wanted else None), len(wanted) - len(known)


def clock(costs: Iterable[Cost], machine: Machine, *, most: bool = False) -> tuple[float | None, int]:
    """Return the hours until the last run ends, and how many configurations that leaves out.

    Tables follow one another; within one the longest run begins first, each next where one has ended. On a CPU a run is
    a seed; on a card the seeds of a configuration that share a step are one.
    """
    costs = list(costs)
    hours, left_out = total(costs, most=most)
    if hours is None:
        return None, left_out
    ends = 0.0
    for table in grouped(costs, lambda one: one.configuration.tables[0]).values():
        pieces = [piece for one in table for piece in _pieces(one, most)]
        ends += most_seconds(sorted(pieces, reverse=True), machine.workers)
    return ends, left_out


def _pieces(one: Cost, most: bool) -> list[float]:
    """Return the hours of each run of a configuration, those that share a step together; none where not measured."""
    whole, seeds = one.hours(most=most), one.configuration.to_train
    if whole is None:
        return []
    together = one.figure.stack if one.figure else 1
    return [whole * min(together, seeds - first) / seeds for first in range(0, seeds, together)]


def grouped(costs: Iterable[Cost], key: Callable[[Cost], str]) -> dict[str, list[Cost]]:
    """Return the costs by a name, in the order the names come first."""
    found: dict[str, list[Cost]] = {}
    for one in costs:
        found.setdefault(key(one), []).append(one)
    return found


def plan_json(configurations: Sequence[Configuration], figures: Sequence[Figure], seen: Seen) -> dict[str, Any]:
    """Return the whole plan as plain JSON values: each configuration on each kind of device, and every machine."""
    kinds: tuple[Kind, ...] = ("cpu", "cuda")
    by_kind = {kind: costs_of(configurations, kind, figures, seen) for kind in kinds}
    entries = []
    for at, configuration in enumerate(configurations):
        entry = configuration.to_json()
        for kind, costs in by_kind.items():
            one = costs[at]
            entry[kind] = {
                "seconds_per_epoch": one.seconds_per_epoch, "source": one.source, "hours": one.hours(),
                "hours_at_most": one.hours(most=True), "measured": one.figure.date if one.figure else None,
            }  # fmt: skip
        entry |= {
            "epochs": costs[at].epochs,
            "epochs_from": costs[at].grade,
            "epochs_at_most": configuration.most_epochs,
        }
        entries.append(entry)
    machines = []
    for machine in MACHINES:
        (hours, out), (most, _) = (clock(by_kind[machine.kind], machine, most=m) for m in (False, True))
        machines.append(
            {"machine": machine.title, "kind": machine.kind, "workers": machine.workers, "hours": hours,
             "hours_at_most": most, "configurations_not_measured": out}
        )  # fmt: skip
    return {"configurations": entries, "machines": machines}
