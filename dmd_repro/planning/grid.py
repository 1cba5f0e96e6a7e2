"""From a printed table to the runs that measure it: which row trains on what, what is there already, how long it takes.

No torch: a spec is resolved by what its system declares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dmd_repro.data.features import Features, TextKind
from dmd_repro.data.resolve import load_features
from dmd_repro.data.sides import padding_words
from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import is_synthetic, parse_synthetic
from dmd_repro.errors import DmdError, SpecError, nearest
from dmd_repro.papers.tables import PublishedTable, Row
from dmd_repro.planning.plans import PlannedRow, TablePlan, load_plan
from dmd_repro.records.folder import DataStamp, Records, RunStatus
from dmd_repro.spec import RunSpec, Scalar, run_id
from dmd_repro.systems.bert import BERT_BASE
from dmd_repro.systems.declare import Setting
from dmd_repro.systems.registry import fallback_words, find_system, setting_names, system_names
from dmd_repro.systems.resolve import Described, resolve_spec
from dmd_repro.systems.suggest import suggest

SYNTHETIC_FAMILIES = ("synthetic", "synthetic-mosi")  # each row takes its own variant of these
HIDDEN_FOR_BERT = "trained on precomputed hidden states of the text, where the printed row fine-tunes BERT"
NO_BERT = "holds token ids, which take a BERT to read: name one with --bert"
NOT_ASKED = "not asked for (--rows)"
NO_CONTROL = "ours, not printed, and not asked for (--no-control)"
ALL = "all"  # what --rows takes for every row


@dataclass(frozen=True, slots=True)
class Job:
    """One run to be made: everything a worker needs, without the arrays."""

    run_id: str
    spec: RunSpec
    data: str  # the name to load
    text: TextKind
    stamp: DataStamp
    rows: tuple[str, ...]  # keys of the rows that use it; the first asked for it

    @property
    def max_epochs(self) -> int:
        """The most epochs it can take."""
        return int(self.spec.config.get("max_epochs") or 0)

    @property
    def configuration_id(self) -> str:
        """What it shares with its other seeds."""
        return self.spec.configuration_id(self.stamp.digest)


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """A planned table and its runs, each once however many rows use it."""

    table: PublishedTable
    plan: TablePlan
    selected: tuple[str, ...]  # keys of the rows asked for, skipped ones included
    jobs: tuple[Job, ...]
    status: Mapping[str, RunStatus]  # by run id, when it was planned

    @property
    def missing(self) -> tuple[Job, ...]:
        """The runs that are not done: to be trained, gone on with, or tried again."""
        return tuple(job for job in self.jobs if self.status[job.run_id] != "done")


class Misfit(Exception):
    """Why a row cannot be run, in one sentence."""


def select_rows(table: PublishedTable, asked: Iterable[str], *, control: bool = True) -> tuple[Row, ...]:
    """Return the rows named by `--rows`: a key, a method as printed, or a run of words of a key (`aligned-glove`).

    Empty, or `all`: all rows. Without `control` those of our own are left out, whatever names them. Raises
    SpecError naming the nearest for one that fits nothing.
    """
    chosen: dict[str, Row] = {}
    wanted = [part.strip() for item in asked for part in item.split(",") if part.strip()]
    wanted = [] if [name.lower() for name in wanted] == [ALL] else wanted
    for name in wanted:
        low = name.lower()
        hits = [row for row in table.rows if row.key == low] or [
            row for row in table.rows if low in (row.method.lower(), row.label.lower())
        ]
        hits = hits or [row for row in table.rows if f"-{low}-" in f"-{row.key}-"]
        if not hits:
            known = {row.key for row in table.rows} | {row.method.lower() for row in table.rows}
            raise SpecError.at(
                f"--rows {name}", expected=f"a row of {table.name}", got="none of its keys or methods",
                do=nearest(low, known),
            )  # fmt: skip
        chosen |= {row.key: row for row in hits}
    found = tuple(row for row in table.rows if row.key in chosen or not wanted)
    kept = tuple(row for row in found if control or not row.ours)
    if found and not kept:
        raise SpecError.at(
            f"--no-control with --rows {', '.join(wanted)}", expected="a row that the paper prints", got="none of them",
            do="Leave one of the two out",
        )  # fmt: skip
    return kept


def expand(
    table: PublishedTable,
    *,
    seeds: Sequence[int],
    store: Store,
    records: Records,
    data: Sequence[str] = (),
    rows: Sequence[str] = (),
    overrides: Mapping[str, str | Scalar] | None = None,
    bert: Callable[[], str] | None = None,
    control: bool = True,
) -> PlannedTable:
    """Plan a table: the runs of each row, or the reason why it has none. Trains nothing, writes nothing.

    `data`: feature sets, each used by the rows it fits (`synthetic`: each row its own variant); empty: what each row
    names. `overrides` change settings of every row. `bert` loads the BERT for token ids and tells its fingerprint;
    without one the starred rows take hidden states. Rows outside `rows`, and without `control` those of our own, keep
    what an earlier plan on the same data gave them. Raises DataError (unknown name), SpecError (unknown row, setting).
    """
    for name in data:  # a typing error is the user's to mend, not a reason under every row
        _ = parse_synthetic(name) if is_synthetic(name) else store.manifest(name)
    _check_names(overrides or {}, {row.recipe.model for row in table.rows if row.recipe})
    selected = select_rows(table, rows, control=control)
    earlier = load_plan(records.root, table.name, data) if rows or not control else None
    planned: dict[str, PlannedRow] = {}
    jobs: dict[str, Job] = {}
    loaded: dict[tuple[str, TextKind], Features] = {}
    for row in table.rows:
        if row not in selected:
            before = earlier.rows.get(row.key) if earlier else None
            why = row.reason or (NO_CONTROL if row.ours and not control else NOT_ASKED)
            planned[row.key] = before or PlannedRow("skipped", reason=why)
            continue
        try:
            planned[row.key] = _plan_row(row, seeds, data, store, overrides or {}, bert, loaded, jobs)
        except Misfit as misfit:
            planned[row.key] = PlannedRow("skipped", reason=str(misfit))
    return PlannedTable(
        table=table,
        plan=TablePlan(table.name, tuple(data), tuple(seeds), planned),
        selected=tuple(row.key for row in selected),
        jobs=tuple(jobs.values()),
        status={name: records.status(name) for name in jobs},
    )


def _check_names(overrides: Mapping[str, str | Scalar], models: Iterable[str]) -> None:
    """Raise SpecError for a setting that no system has: the user's slip, and no reason under every row."""
    if not overrides:
        return
    known = {name for model in system_names() for name in setting_names(model)}
    for name in overrides:
        if name not in known:
            here = {name for model in models if model in system_names() for name in setting_names(model)}
            raise SpecError.at(
                f"--set {name}", expected="a known setting", got="an unknown name", do=suggest(name, here or known)
            )


def _plan_row(
    row: Row,
    seeds: Sequence[int],
    data: Sequence[str],
    store: Store,
    overrides: Mapping[str, str | Scalar],
    bert: Callable[[], str] | None,
    loaded: dict[tuple[str, TextKind], Features],
    jobs: dict[str, Job],
) -> PlannedRow:
    recipe = row.recipe
    if recipe is None:
        raise Misfit(row.reason or "no recipe")
    if recipe.model not in system_names():
        raise Misfit(f"cannot be run yet: the model '{recipe.model}' is not in this tool")
    name, text = _choose(row, data, store, bert is not None)
    if text != "bert":  # a setting of token ids alone
        overrides = {k: v for k, v in overrides.items() if k != "bert_finetune"}
    if (name, text) not in loaded:
        loaded[name, text] = _as_reason(lambda: load_features(name, store, text=text, verify=False))
    features = loaded[name, text]
    stamp, runs = DataStamp.of(features), {}
    reader = bert() if bert and text == "bert" else ""
    for seed in seeds:
        spec = resolve_row(row, seed, features, overrides, reader)
        key = run_id(spec, stamp.digest)
        job = jobs.get(key) or Job(key, spec, name, text, stamp, ())
        jobs[key] = replace(job, rows=tuple(dict.fromkeys([*job.rows, row.key])))
        runs[seed] = key
    notes = [HIDDEN_FOR_BERT] if row.text == "bert" and text == "hidden" else []
    if words := fallback_words(recipe.model, features.dataset):
        notes.append(f"settings: {words}")
    if words := find_system(recipe.model).cost(Setting(features.dataset, stamp.aligned, recipe.protocol)):
        notes.append(words)
    if reader:
        notes.append(f"BERT {reader}" + ("" if reader.startswith(BERT_BASE) else ", not the printed row's BERT-base"))
    if "pad_side" not in overrides and (words := padding_words(features, str(spec.config["pad_side"]))):
        notes.append(words)
    if overrides:
        notes.append("settings changed: " + ", ".join(f"{k}={v}" for k, v in sorted(overrides.items())))
    facts = stamp.to_json()
    return PlannedRow(
        status="planned",
        features={k: facts[k] for k in ("name", "dataset", "text", "aligned", "digest", "standing", "label")},
        runs=runs,
        notes=tuple(notes),
        overrides=dict(overrides),
    )


def resolve_row(
    row: Row, seed: int, features: Described, overrides: Mapping[str, str | Scalar], bert: str = ""
) -> RunSpec:
    """Return the spec of a row's run; raises Misfit where it has none, SpecError for a value of the user's."""
    recipe = row.recipe
    assert recipe is not None
    try:
        return resolve_spec(
            recipe.model,
            seed=seed,
            features=features,
            protocol=recipe.protocol,
            mask=recipe.mask,
            overrides={**recipe.overrides, **overrides},
            bert=bert,
        )
    except SpecError as error:
        if typed := [name for name in overrides if str(error).startswith(f"--set {name}:")]:
            if typed[0] in setting_names(recipe.model):
                raise  # a value it cannot have
            raise Misfit(f"cannot be run: --set {typed[0]}: {recipe.model} has no such setting") from error
        raise Misfit(f"cannot be run: {error}") from error


def _as_reason(load: Callable[[], Features]) -> Features:
    try:
        return load()
    except DmdError as error:
        raise Misfit(str(error)) from error


def _choose(row: Row, data: Sequence[str], store: Store, bert: bool) -> tuple[str, TextKind]:
    """Return the feature set and the kind of text a row trains on; raises Misfit with the reason if none fits."""
    assert row.recipe is not None
    if not data:
        name = row.recipe.features
        if not (data := _held(name, store)):
            raise Misfit(
                f"needs the feature set '{name}', which has not been imported: "
                f"dmd data download {name}, or dmd data import FILE --name {name} --dataset {row.dataset}"
            )
    reasons = []
    for name in data:
        try:
            return _fit(row, name, store, bert)
        except Misfit as misfit:
            reasons.append(str(misfit))
    raise Misfit("no feature set fits: " + "; ".join(reasons))


def _fit(row: Row, name: str, store: Store, bert: bool) -> tuple[str, TextKind]:
    assert row.recipe is not None
    # A starred row fine-tunes BERT on token ids; its precomputed hidden states are the nearest stand-in, GloVe is none.
    wanted: tuple[TextKind, ...] = ("bert", "hidden") if row.text == "bert" else (row.text,)  # type: ignore[assignment]
    needs = find_system(row.recipe.model).inputs
    wanted = tuple(kind for kind in wanted if kind in needs.readable)
    held: tuple[str, ...]
    if name in SYNTHETIC_FAMILIES:
        kind: TextKind = "glove" if row.text == "glove" else "hidden"
        size = "" if name == "synthetic" else name.removeprefix("synthetic")
        name = f"synthetic-{row.setting}-{kind}{size}"
        held, aligned, dataset = (kind,), row.setting == "aligned", "synthetic"
    elif is_synthetic(name):
        kind, aligned, _ = parse_synthetic(name)
        held, dataset = (kind,), "synthetic"
    else:
        manifest = store.manifest(name)
        held, aligned, dataset = manifest.texts, manifest.aligned, manifest.dataset
    if dataset not in (row.dataset, "synthetic"):
        raise Misfit(f"'{name}' is {dataset.upper()}, the row is {row.dataset.upper()}")
    if aligned != (row.setting == "aligned"):
        raise Misfit(f"'{name}' is {'aligned' if aligned else 'unaligned'}, the row is {row.setting}")
    if needs.aligned_only and not aligned:
        raise Misfit(f"'{name}' is unaligned, and {row.recipe.model} reads aligned features only")
    for choice in wanted:
        if choice in held and (bert or choice != "bert"):
            return name, choice
    if "bert" in wanted and "bert" in held:
        raise Misfit(f"'{name}' {NO_BERT}")
    raise Misfit(f"'{name}' holds {' and '.join(held)} text, the row needs {' or '.join(wanted) or row.text}")


def lacking(grid: PlannedTable, store: Store) -> dict[str, tuple[str, ...]]:
    """Return the feature sets that rows of a plan name and the store lacks, each with the keys of the rows it keeps."""
    found: dict[str, tuple[str, ...]] = {}
    for row in grid.table.rows:
        planned = grid.plan.rows[row.key]
        if row.key in grid.selected and row.recipe and not grid.plan.data and planned.status == "skipped":
            name = row.recipe.features
            if row.recipe.model in system_names() and not _held(name, store):
                found[name] = (*found.get(name, ()), row.key)
    return found


def _held(name: str, store: Store) -> tuple[str, ...]:
    """Return under which name the store has it: an MMSA file holds token ids and hidden states, under either name."""
    held = store.names()
    return tuple(n for n in (name, name.replace("-bert", "-hidden")) if n in held)[:1]


def refuse_empty(grid: PlannedTable) -> None:
    """Raise SpecError if no row of a plan can be run, offering the synthetic data."""
    if grid.jobs:
        return
    reasons = {row.key: grid.plan.rows[row.key].reason or "" for row in grid.table.rows if row.key in grid.selected}

    def helps(row: Row) -> tuple[bool, bool]:
        """Sort first what the user can mend with an option, then what needs another file, then what is not built."""
        return row.recipe is None or row.recipe.model not in system_names(), not reasons[row.key].startswith(
            "cannot be run"
        )

    first = reasons[min((row for row in grid.table.rows if row.key in reasons), key=helps).key]
    raise SpecError.at(
        f"{grid.table.name}", expected="at least one row that can be run", got=f"none ({first})",
        do=f"Get the data (--download), or try the program on stand-in data: dmd reproduce {grid.table.name} "
        "--data synthetic",
    )  # fmt: skip
