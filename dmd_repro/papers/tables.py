"""Printed tables: YAML read into types, every number kept as the text that was printed.

A number in a table is evidence, down to its last decimal: "84.0" says more than 84. So the files hold quoted strings,
and a bare number is refused. Beside each row stands the recipe that should reach it, or the reason why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from dmd_repro.datasets import DATASETS
from dmd_repro.errors import ClaimError, SpecError, nearest
from dmd_repro.metrics.registry import COLUMNS, columns_of, metric_of
from dmd_repro.papers.folders import all_table_names, paper_folder, table_names
from dmd_repro.papers.yaml import Entry, read_entry
from dmd_repro.spec import AblationMask, Scalar
from dmd_repro.systems.declare import System
from dmd_repro.systems.registry import find_system, setting_names, system_names
from dmd_repro.systems.resolve import check_values
from dmd_repro.systems.suggest import suggest

UNPRINTED = ("synthetic", "custom")  # data sets no paper prints numbers for
F1Order = Literal["plain", "swapped", "unknown"]


@dataclass(frozen=True, slots=True)
class Printed:
    """A number as ink."""

    text: str
    value: Decimal
    decimals: int

    @classmethod
    def of(cls, text: str) -> Printed:
        """Read the printed text; raises ValueError if it is not a plain decimal number."""
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
            raise ValueError(f"not a plain decimal number: {text!r}")
        return cls(text, Decimal(text), len(text.partition(".")[2]))


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a copied row comes from, and how sure that is."""

    text: str
    certainty: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train to reach a row."""

    model: str
    protocol: str
    mask: AblationMask
    features: str  # the feature set the row should run on, e.g. mosi-aligned-glove
    head: str | None = None  # the unimodal head whose predictions are scored; None: the final output
    overrides: Mapping[str, Scalar] = field(default_factory=dict)  # settings besides the preset


@dataclass(frozen=True, slots=True)
class Derived:
    """A row computed from other rows of the table, run by run: their mean or their population STD."""

    statistic: Literal["mean", "population_std"]
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One printed line."""

    key: str
    block: str
    method: str
    dataset: str
    setting: str  # aligned | unaligned
    text: str  # glove | hidden | bert
    cells: Mapping[str, Printed]  # by column: acc7, acc2, f1, mae, ...
    convention: str  # which ACC2 (and F1) the row counts
    f1_order: F1Order  # "swapped": weighted F1 with its two arguments exchanged
    certainty: str  # how sure the convention is
    source: Citation | None  # of a copied row; None: the paper's own
    recipe: Recipe | None
    reason: str | None  # why there is no recipe
    derived: Derived | None = None
    unavailable: str | None = None  # why public data cannot reach the row
    ours: tuple[str, ...] = ()  # columns that are measured of a row the paper does not print: it has no cells

    @property
    def starred(self) -> bool:
        """Whether the paper prints the row with a star: BERT as the language encoder."""
        return self.text == "bert"

    @property
    def label(self) -> str:
        """The method as printed, star included."""
        return self.method + ("*" if self.starred else "")

    def metric_id(self, column: str) -> str:
        """Return the metric of a column as the row counts it; as its data set is usually counted if that is unknown."""
        return metric_of(column, self.dataset, self.convention, self.f1_order).id


@dataclass(frozen=True, slots=True)
class TableBlock:
    """Rows of one data set, setting and kind of text, in the paper's order."""

    key: str
    title: str | None
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    claimed_best: str | None  # key of the row the paper calls the best of the block
    controls: tuple[Row, ...] = ()  # rows of our own, which the paper does not print: see `with_controls`


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table of a paper."""

    name: str  # NAME/table for a further paper's
    title: str
    columns: tuple[str, ...]
    blocks: tuple[TableBlock, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the paper's order."""
        return tuple(row for block in self.blocks for row in block.rows)

    def row(self, key: str) -> Row:
        """Return one row; raises ClaimError with the nearest key."""
        found = {row.key: row for row in self.rows}
        if key not in found:
            raise ClaimError.at(f"{self.name}, row '{key}'", expected="a known row", got="none", do=nearest(key, found))
        return found[key]


def load_table(name: str, folder: Path | None = None) -> PublishedTable:
    """Read one table: of this paper, of a further one (`NAME/table`), or of any folder.

    Raises ClaimError: an unknown name (the nearest is suggested), or a malformed file (file and key are named).
    """
    paper, _, stem = name.rpartition("/")
    known = table_names(folder, paper)
    if name not in known:
        if folder is None and not paper:
            known = [*known, *all_table_names()]
        raise ClaimError.at(f"table '{name}'", expected="a known table", got="an unknown name", do=nearest(name, known))
    root = read_entry((folder or paper_folder(paper)) / f"{stem}.yaml", paper)
    if not re.fullmatch(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*", stem):
        root.fail("name", "a file called by letters, digits, - and _", f"'{stem}'")
    if root.text("name") != stem:
        root.fail("name", f"'{stem}', as the file is called", root.text("name"))
    columns = _columns(root)
    blocks = tuple(_block(entry, root, columns) for entry in root.entries("blocks"))
    table = PublishedTable(name, root.text("title"), columns, blocks, tuple(root.texts("notes")))
    _check_keys(root, table)
    root.done()
    return table


def _key(entry: Entry) -> str:
    key = entry.text("key")
    if not re.fullmatch(r"[A-Za-z0-9]+([-_.+][A-Za-z0-9]+)*", key):  # it is typed after --rows, and names files
        entry.fail("key", "letters and digits, with - _ . or + between", f"'{key}'")
    return key


def _columns(entry: Entry, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
    columns = tuple(entry.texts("columns")) or default or ()
    for column in columns:
        if column not in COLUMNS:
            entry.fail("columns", f"names among {', '.join(COLUMNS)}", column)
        if columns.count(column) > 1:
            entry.fail("columns", "each column once", f"'{column}' twice")
    if not columns:
        entry.fail("columns", "at least one column", "none")
    return columns


def _block(entry: Entry, root: Entry, columns: tuple[str, ...]) -> TableBlock:
    shared: dict[str, Any] = {
        "dataset": entry.choice("dataset", tuple(name for name in DATASETS if name not in UNPRINTED)),
        "setting": entry.choice("setting", ("aligned", "unaligned")),
        "text": entry.choice("text", ("glove", "hidden", "bert")),
    }
    key, columns = _key(entry), _columns(entry, columns)
    for column in columns:
        if column not in (known := columns_of(shared["dataset"])):
            entry.fail("columns", f"columns that {shared['dataset']} is scored by ({', '.join(known)})", f"'{column}'")
    rows = tuple(_row(row, root, columns, {"block": key, **shared}) for row in entry.entries("rows"))
    controls = entry.entries("controls") if entry.has("controls") else []
    ours = tuple(_control(row, columns, {"block": key, **shared}) for row in controls)
    block = TableBlock(key, entry.maybe("title"), columns, rows, entry.maybe("claimed_best"), ours)
    entry.done()
    return block


def _row(entry: Entry, root: Entry, columns: tuple[str, ...], shared: dict[str, Any]) -> Row:
    printed, cells = entry.entry("printed"), {}
    for column in columns:
        text = printed.text(column)
        try:
            cells[column] = Printed.of(text)
        except ValueError:
            printed.fail(column, 'a quoted decimal number such as "84.0"', repr(text))
    printed.done()
    counting = root.entry("conventions").entry(entry.text("convention"))
    source = entry.maybe("source")
    about = root.entry("sources").entry(source) if source else None
    recipe = _recipe(entry.entry("recipe"), shared) if entry.has("recipe") else None
    reason = entry.maybe("reason")
    if (recipe is None) == (reason is None):
        entry.fail("recipe", "a recipe, or null with a reason", "both" if recipe else "neither")
    row = Row(
        key=_key(entry),
        method=entry.text("method"),
        **shared,
        cells=cells,
        convention=counting.choice("acc2", (*DATASETS[shared["dataset"]].zeros, "unknown")),
        f1_order=counting.choice("f1", ("plain", "swapped", "unknown")),
        certainty=counting.text("certainty"),
        source=Citation(about.text("text"), about.text("certainty")) if about else None,
        recipe=recipe,
        reason=root.entry("reasons").text(reason) if reason else None,
        derived=_derived(entry.entry("derived")) if entry.has("derived") else None,
        unavailable=entry.maybe("unavailable"),
    )
    entry.done()
    return row


def _control(entry: Entry, columns: tuple[str, ...], shared: dict[str, Any]) -> Row:
    row = Row(
        key=_key(entry),
        method=entry.text("method"),
        **shared,
        cells={},
        convention=DATASETS[shared["dataset"]].zeros[0],
        f1_order="plain",
        certainty="ours",
        source=None,
        recipe=_recipe(entry.entry("recipe"), shared),
        reason=None,
        ours=columns,
    )
    entry.done()
    return row


def with_controls(table: PublishedTable) -> PublishedTable:
    """Return a table with its rows of our own, which nothing is printed of, behind the printed ones of each block."""
    blocks = (replace(block, rows=(*block.rows, *block.controls)) for block in table.blocks)
    return replace(table, blocks=tuple(blocks))


def _recipe(entry: Entry, shared: Mapping[str, str]) -> Recipe:
    model = entry.text("model")
    if model not in system_names():
        entry.fail("model", "a known system", f"'{model}'", nearest(model, system_names()))
    recipe = Recipe(
        model=model,
        protocol=entry.maybe("protocol") or "official",
        mask=AblationMask(tuple(entry.texts("mask"))),
        features=entry.maybe("features") or f"{shared['dataset']}-{shared['setting']}-{shared['text']}",
        head=entry.maybe("head"),
        overrides=entry.scalars("set"),
    )
    system = find_system(model)
    if recipe.protocol not in system.protocols:
        entry.fail(
            "protocol", f"a protocol of {model}", f"'{recipe.protocol}'", nearest(recipe.protocol, system.protocols)
        )
    if recipe.head and recipe.head not in system.heads and system.origin == "dmd_repro":
        heads = f"a head of {model}: {', '.join(system.heads)}" if system.heads else f"no head: {model} has none"
        entry.fail("head", heads, f"'{recipe.head}'")
    for name in recipe.overrides:
        if name not in (known := setting_names(model)):
            entry.fail(f"set.{name}", f"a setting of {model}", "an unknown name", suggest(name, known))
    if recipe.overrides:
        _check_values(entry, system, recipe, shared)
    entry.done()
    return recipe


def _check_values(entry: Entry, system: System, recipe: Recipe, shared: Mapping[str, str]) -> None:
    """Refuse a value that its setting can have on no clips; one that others rule out is the plan's to say."""
    aligned = shared["setting"] == "aligned"
    try:
        config = system.preset_for(shared["dataset"], aligned=aligned, protocol=recipe.protocol)
    except SpecError:
        return  # no preset for these data: the row's reason in every plan
    for name, value in recipe.overrides.items():
        try:
            check_values(config.with_overrides({name: value}))
        except SpecError as error:
            if str(error).startswith(f"--set {name}:"):
                entry.fail(f"set.{name}", error.expected, error.got)


def _derived(entry: Entry) -> Derived:
    derived = Derived(entry.choice("statistic", ("mean", "population_std")), tuple(entry.texts("rows")))
    entry.done()
    return derived


def _check_keys(root: Entry, table: PublishedTable) -> None:
    """Refuse a key used twice, and a reference to a row that is not there."""
    keys = [row.key for row in with_controls(table).rows]
    for key in keys:
        if keys.count(key) > 1:
            root.fail("key", "a different key for every row", f"'{key}' twice")
    for block in table.blocks:
        if block.claimed_best and block.claimed_best not in [row.key for row in block.rows]:
            root.fail("claimed_best", f"a row of block '{block.key}'", f"'{block.claimed_best}'")
    for row in table.rows:
        for key in row.derived.rows if row.derived else ():
            if key not in keys or table.row(key).derived:
                root.fail("derived", f"rows of {table.name} that are not derived themselves", f"'{key}'")
