"""The configurations that tables train, each once however many rows and tables use it; no data need be there.

What a feature set will hold is known before it is downloaded: the sizes of the public files (`datasets.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dmd_repro.data.features import Features, TextKind
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.datasets import DATASETS
from dmd_repro.papers.tables import Row
from dmd_repro.planning.figures import Case
from dmd_repro.planning.grid import Job, Misfit, PlannedTable, lacking, resolve_row
from dmd_repro.records.folder import RunStatus
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import RunSpec, Scalar


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a public feature set without a file of it."""

    name: str
    dataset: str
    text: str
    aligned: bool
    steps: Mapping[str, int]
    sizes: Mapping[str, int]
    dims: Mapping[str, int]

    @classmethod
    def of(cls, row: Row, text: str) -> Outline | None:
        """Return what a row's feature set holds; None where its sizes are not known."""
        facts, recipe = DATASETS[row.dataset], row.recipe
        if recipe is None or not facts.splits or row.setting not in facts.steps:
            return None
        width = facts.dims["l"][0 if text == "glove" else -1]
        dims = {"l": width, "a": facts.dims["a"][0], "v": facts.dims["v"][0]}
        steps = dict(zip(MODALITIES, facts.steps[row.setting], strict=True))
        return cls(recipe.features, row.dataset, text, row.setting == "aligned", steps, facts.splits, dims)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Runs that differ in their seed alone."""

    identity: str  # the configuration id on the data that are here; else one of its own
    spec: RunSpec  # of its first seed
    case: Case
    method: str  # as printed: MISA*
    setting: str  # aligned | unaligned
    data: str
    here: bool  # whether the data are imported
    clips: Mapping[str, int]  # train, valid, test
    tables: tuple[str, ...]  # that use it; the hours are counted in the first
    rows: tuple[str, ...]  # keys, each behind its table: table1/mosi-aligned-glove-dmd
    status: tuple[RunStatus, ...]  # of each seed

    @property
    def to_train(self) -> int:
        """Seeds whose runs are not done."""
        return sum(state != "done" for state in self.status)

    @property
    def most_epochs(self) -> int:
        """The epochs it takes at most."""
        return int(self.spec.config.get("max_epochs") or 0)

    @property
    def stops_early(self) -> bool:
        """Whether a run may end before."""
        return bool(self.spec.config.get("early_stop"))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "system": self.case.model, "method": self.method, "mask": self.spec.mask.label, "set": self.case.changed,
            "dataset": self.case.dataset, "setting": self.setting, "data": self.data, "data_here": self.here,
            "tables": list(self.tables), "rows": list(self.rows), "runs": len(self.status), "to_train": self.to_train,
        }  # fmt: skip


def configurations(
    tables: Sequence[PlannedTable],
    store: Store,
    *,
    seeds: Sequence[int],
    overrides: Mapping[str, str | Scalar] | None = None,
) -> list[Configuration]:
    """Return every configuration of planned tables once, those of rows that only lack their data included."""
    found: dict[str, Configuration] = {}

    def add(new: Configuration) -> None:
        old = found.get(new.identity)
        if old is not None:
            new = replace(old, tables=tuple(dict.fromkeys([*old.tables, *new.tables])), rows=(*old.rows, *new.rows))
        found[new.identity] = new

    for planned in tables:
        for one in _here(planned, store):
            add(one)
        for keys in lacking(planned, store).values():
            for key in keys:
                row = planned.table.row(key)
                if (expected := _expected(row, planned.table.name, seeds, overrides or {})) is not None:
                    add(expected)
    return list(found.values())


def _here(planned: PlannedTable, store: Store) -> list[Configuration]:
    """Return the configurations of a plan whose data are here."""
    name = planned.table.name
    return [
        replace(
            one,
            method=planned.table.row(one.rows[0]).label,
            tables=(name,),
            rows=tuple(f"{name}/{key}" for key in one.rows),
        )
        for one in of_jobs(planned.jobs, store, planned.status)
    ]


def of_jobs(jobs: Iterable[Job], store: Store, status: Mapping[str, RunStatus]) -> list[Configuration]:
    """Return the configurations of some runs, whose data are here; `status`: of each run, by its id.

    The rows are those that the runs name, of no table. Raises DataError where the data cannot be read.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.configuration_id, []).append(job)
    found, loaded = [], dict[tuple[str, TextKind], Features]()
    for identity, seeds in groups.items():
        first = seeds[0]
        kept = first.data, first.text
        loaded[kept] = loaded.get(kept) or load_features(first.data, store, text=first.text, verify=False)
        features = loaded[kept]
        widths = [features.dims.get(m, 0) for m in MODALITIES]
        steps = [features.steps[m] for m in MODALITIES]
        case = Case.of(first.spec, aligned=features.aligned, text=first.text, steps=steps, widths=widths)
        found.append(
            Configuration(
                identity,
                first.spec,
                case,
                case.model,
                "aligned" if features.aligned else "unaligned",
                first.data,
                True,
                features.sizes,
                (),
                tuple(dict.fromkeys(key for job in seeds for key in job.rows)),
                tuple(status[job.run_id] for job in seeds),
            )
        )
    return found


def _expected(
    row: Row, table: str, seeds: Sequence[int], overrides: Mapping[str, str | Scalar]
) -> Configuration | None:
    """Return the configuration of a row whose data are not here; a starred row's text is hidden states, as by default.

    None where it cannot be run, or the sizes of its feature set are not known. Raises SpecError for a value that a
    setting cannot have.
    """
    text = "hidden" if row.text == "bert" else row.text
    outline = Outline.of(row, text)
    if outline is None:
        return None
    try:
        spec = resolve_row(row, seeds[0], outline, {k: v for k, v in overrides.items() if k != "bert_finetune"})
    except Misfit:
        return None
    steps, widths = outline.steps.values(), outline.dims.values()
    return Configuration(
        spec.configuration_id(outline.name),
        spec,
        Case.of(spec, aligned=outline.aligned, text=text, steps=steps, widths=widths),
        row.label,
        row.setting,
        outline.name,
        False,
        outline.sizes,
        (table,),
        (f"{table}/{row.key}",),
        tuple("missing" for _ in seeds),
    )
