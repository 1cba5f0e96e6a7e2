"""The learned edges of the graph units, epoch by epoch, beside their prior and a uniform start (claim C7), in numbers.

What the paper draws as learned weights is, in the authors' code, the learned edge PLUS a fixed prior, and a regulariser
pulls the edge towards that prior. So three things are kept apart here: where the edges start (1/6 each), what the
prior puts on them, and where they are after training.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmd_repro.errors import DmdError, RunError, nearest
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.results.histories import why_none
from dmd_repro.results.scores import mark_of
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.spec import canonical
from dmd_repro.stats.summary import one_sample_t, summarise
from dmd_repro.systems.dmd.switches import turned
from dmd_repro.systems.edges import EDGE_NAMES, FAVOURED, PRIOR_TEMPERATURE
from dmd_repro.systems.registry import full_name

UNIFORM = 1 / len(EDGE_NAMES)
SHOWN_EPOCHS = 10
UNITS = {"homo": "HomoGD", "hetero": "HeteroGD"}

EDGES_RULE = (
    "edge: softmax weight of teacher -> student, mean over the clips and batches of a training epoch; sources of one "
    "softmax sum to 1 (all six edges, or the two of a target under edge_softmax=per_target).",
    "start: what a uniform softmax gives; prior: the fixed weight the authors' code adds to the edge; used: edge + "
    "prior, which multiplies the distance of the logits.",
    "selected: the epoch the run was selected at, mean ± sample STD over seeds; p: two-sided t test over seeds that "
    "the edge is still at its start.",
    "pull: how far the selected edge has moved from the start towards the prior, as a share of that way (least squares "
    "over the six edges); 100 % is the prior itself. The order of edges that the paper calls learned is the prior's.",
)


@dataclass(frozen=True, slots=True)
class EdgeRuns:
    """The runs of one configuration that have a unit: by seed, (epochs, 6) edges and the selected epoch."""

    record: RunRecord  # one of them
    unit: str
    curves: Mapping[int, list[list[float]]]
    selected: Mapping[int, int]  # epoch, from 1 on

    @property
    def start(self) -> float:
        """What a uniform softmax gives an edge."""
        return 0.5 if self.record.spec.config.get("edge_softmax") == "per_target" else UNIFORM

    @property
    def prior(self) -> list[float]:
        """The weight added to each edge."""
        return edge_prior(self.unit, str(self.record.spec.config.get("edge_prior", "authors")))

    @property
    def words(self) -> str:
        """What the unit is of: `HomoGD of dmd (full), edge_prior=none, over 5 seeds`."""
        record = self.record
        switched = [f"{k}={v}" for k, v in turned(record.spec.protocol, record.spec.config).items()]
        whose = f"{UNITS[self.unit]} of {full_name(record.spec.model, record.spec.config)} ({record.spec.mask.label})"
        return ", ".join([whose, *switched, f"over {len(self.curves)} seed{'s' * (len(self.curves) > 1)}"])


def edge_prior(unit: str, kind: str) -> list[float]:
    """Return the fixed prior (6) of a unit: "authors", "uniform" or "none"."""
    if kind != "authors":
        return [UNIFORM if kind == "uniform" else 0.0] * len(EDGE_NAMES)
    powers = [math.exp((edge in FAVOURED[unit]) / PRIOR_TEMPERATURE) for edge in EDGE_NAMES]
    return [power / sum(powers) for power in powers]


def edge_sheets(records: Records, data: Sequence[str] = (), runs: Collection[str] | None = None) -> list[Sheet]:
    """Return a sheet for each configuration with a graph unit among the finished runs; raises as `edge_runs` does."""
    return [edge_sheet(unit) for unit in edge_runs(records, data, runs)]


def edge_runs(records: Records, data: Sequence[str] = (), runs: Collection[str] | None = None) -> list[EdgeRuns]:
    """Return, for each configuration with a graph unit among the finished runs (or those of them in `runs`), the edges.

    Raises RunError if there is none, or none on the named feature sets.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    known: set[str] = set()
    for record in _finished(records, runs):
        for unit in _edges_of(record):
            known.add(str(record.data["name"]))
            if not data or any(_named(record, name) for name in data):
                rest = canonical({**record.spec.hashed(), "seed": None, "digest": record.data["digest"]})
                groups.setdefault((rest, unit), []).append(record)
    if not groups:
        wanted = f"--data {' '.join(data)}" if data else str(records.root)
        do = nearest(data[0], known) if data and known else "Train one: dmd train dmd --data synthetic"
        raise RunError.at(wanted, expected="finished runs with a graph unit", got=why_none(records), do=do)
    units = [_collect(found, unit) for (_, unit), found in groups.items()]
    units.sort(key=lambda e: (len(e.record.spec.mask.off), str(e.record.data["label"]), e.record.spec.protocol))
    return units


def _finished(records: Records, runs: Collection[str] | None) -> Iterator[RunRecord]:
    for name in records.run_ids() if runs is None else sorted(set(runs)):
        record = records.whole(name)
        if record is not None:
            yield record


def _edges_of(record: RunRecord) -> list[str]:
    try:
        history = record.history()
    except DmdError:
        return []
    return [unit for unit in UNITS if history and all(_whole(line, unit) for line in history)]


def _whole(line: Mapping[str, Any], unit: str) -> bool:
    """Whether a line of a history holds the six edges of a unit, shares of 1; others' records may hold anything."""
    edges = line.get("edges")
    found = edges.get(unit) if isinstance(edges, dict) else None
    numbers = found if isinstance(found, list) and len(found) == len(EDGE_NAMES) else [None]
    return all(isinstance(x, int | float) and 0 <= x <= 1 for x in numbers)


def _named(record: RunRecord, name: str) -> bool:
    held = str(record.data["name"])
    return held == name or (name == "synthetic" and held.startswith("synthetic-"))


def _collect(found: Sequence[RunRecord], unit: str) -> EdgeRuns:
    curves, selected = {}, {}
    for record in sorted(found, key=lambda r: r.spec.seed):
        history = record.history()
        curves[record.spec.seed] = [[float(x) for x in line["edges"][unit]] for line in history]
        selected[record.spec.seed] = int(record.provenance.get("best_epoch") or len(history))
    return EdgeRuns(found[0], unit, curves, selected)


def pull(edges: Sequence[float], start: float, prior: Sequence[float]) -> float | None:
    """Return how far edges have moved from the start towards the prior, as a share of that way; None if there is none.

    Least squares: the projection of (edges - start) on (prior - start).
    """
    way = [p - start for p in prior]
    length = math.fsum(w * w for w in way)
    return math.fsum((e - start) * w for e, w in zip(edges, way, strict=True)) / length if length > 1e-12 else None


def edge_sheet(runs: EdgeRuns) -> Sheet:
    """Return the sheet of one unit: start, prior, and the edges at the selected epoch and over the epochs."""
    record, prior, start = runs.record, runs.prior, runs.start
    chosen = {seed: curve[runs.selected[seed] - 1] for seed, curve in runs.curves.items()}
    first, last = ([curve[i] for curve in runs.curves.values()] for i in (0, -1))
    rows, stats = [], {}
    for e, name in enumerate(EDGE_NAMES):
        values = [edges[e] for edges in chosen.values()]
        summary, test = summarise(values), one_sample_t(values, start)
        mean = summary.mean or 0.0
        stats[name] = {
            "prior": prior[e], "start": start, "selected": values, "mean": summary.mean, "std": summary.std,
            "interval": list(summary.interval) if summary.interval else None, "p": test.p if test else None,
        }  # fmt: skip
        spread = f"{mean:.4f}" + (f" ± {summary.std:.4f}" if summary.std is not None else "")
        rows.append(
            (
                name.replace("->", "→").upper(), f"{start:.4f}", f"{prior[e]:.4f}", f"{_mean(first, e):.4f}", spread,
                f"{_mean(last, e):.4f}", f"{mean - start:+.4f}".replace("-", "−"), f"{mean + prior[e]:.4f}",
                p_value(test.p) if test else NONE,
            )
        )  # fmt: skip
    headers = ("edge", "start", "prior", "epoch 1", "selected", "last", "moved", "used", "p")
    selected = [_mean(list(chosen.values()), e) for e in range(len(EDGE_NAMES))]
    shares = [share for edges in chosen.values() if (share := pull(edges, start, prior)) is not None]
    return Sheet(
        name=f"edges-{runs.unit}-{record.configuration_id}", title=f"Edges of {runs.words}",
        grids=(TextGrid("", headers, "l" + "r" * 8, tuple(rows)), _curve(runs)),
        notes=_notes(runs, selected, shares), rule=EDGES_RULE, mark=mark_of([record.data["standing"]]),
        data=(f"{record.data['label']}, digest {str(record.data['digest'])[:12]}, protocol {record.spec.protocol}",),
        document={
            "unit": runs.unit, "model": record.spec.model, "mask": list(record.spec.mask.off),
            "protocol": record.spec.protocol, "edge_order": list(EDGE_NAMES), "edges": stats, "pull": shares,
            "epochs": {str(seed): curve for seed, curve in runs.curves.items()},
            "selected_epoch": {str(seed): epoch for seed, epoch in runs.selected.items()},
        },
    )  # fmt: skip


def _mean(edges: Sequence[Sequence[float]], e: int) -> float:
    return math.fsum(one[e] for one in edges) / len(edges)


def _notes(runs: EdgeRuns, selected: Sequence[float], shares: Sequence[float]) -> tuple[str, ...]:
    """Say claim C7 in numbers: which edges lead before and after the prior is added, and how much of it is learned."""
    claimed = FAVOURED[runs.unit]
    lead = sorted(range(len(EDGE_NAMES)), key=lambda e: -selected[e])[: len(claimed)]
    leading = ", ".join(EDGE_NAMES[e].replace("->", "→").upper() for e in lead)
    named = ", ".join(edge.replace("->", "→").upper() for edge in claimed)
    agree = {EDGE_NAMES[e] for e in lead} == set(claimed)
    widest = max(abs(edge - runs.start) for edge in selected)
    notes = [
        f"claim C7 names {named}; the largest learned edges are {leading}: {'the same' if agree else 'others'}, by at "
        f"most {widest:.4f} from the start of {runs.start:.4f}",
    ]
    if shares:
        pulled = summarise(shares)
        spread = f" ± {pulled.std * 100:.1f}" if pulled.std is not None else ""
        notes.append(f"pull towards the prior: {(pulled.mean or 0) * 100:.1f}{spread} % of the way")
    if (gap := max(runs.prior) - min(runs.prior)) > 0:
        favoured = math.fsum(runs.prior[EDGE_NAMES.index(edge)] for edge in claimed)
        notes.append(
            f"the prior alone puts {favoured:.3f} of its 1 on the claimed edges and sets each {gap:.3f} above the "
            "others before anything is learned"
        )
    short = {len(curve) for curve in runs.curves.values()}
    if len(short) > 1:
        notes.append(
            f"the runs stopped after different numbers of epochs ({min(short)} to {max(short)}); 'last' is each run's"
        )
    return tuple(notes)


def _curve(runs: EdgeRuns) -> TextGrid:
    """Mean edges over the runs that reached an epoch; at most ten epochs, evenly spaced."""
    most = max(len(curve) for curve in runs.curves.values())
    step = max(1, math.ceil((most - 1) / (SHOWN_EPOCHS - 1))) if most > 1 else 1
    epochs = sorted({*range(0, most, step), most - 1})
    rows: list[tuple[str, ...]] = []
    for epoch in epochs:
        there = [curve[epoch] for curve in runs.curves.values() if len(curve) > epoch]
        rows.append((str(epoch + 1), str(len(there)), *(f"{_mean(there, e):.4f}" for e in range(len(EDGE_NAMES)))))
    names = tuple(edge.replace("->", "→").upper() for edge in EDGE_NAMES)
    return TextGrid("mean edges by epoch", ("epoch", "runs", *names), "r" * (2 + len(names)), tuple(rows))
