"""Data sets that a paper's folder brings: entries of its `datasets.yaml`, checked against the metrics there are."""

from __future__ import annotations

import math
import re

from dmd_repro.datasets import DATASETS, SHIPPED, DatasetFacts
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.folders import DATASETS_FILE, further_papers
from dmd_repro.papers.yaml import Entry, read_entry
from dmd_repro.shapes import SPLITS

ZEROS = tuple(dict.fromkeys(m.reading[0] for m in METRICS.values() if m.column == "acc2"))


def read_datasets() -> None:
    """Take in the data sets of further papers' folders, in place of those taken in before.

    Raises ClaimError for a malformed file: an entry without a label range, a name that is taken, classes of another
    range.
    """
    for name in [name for name, facts in DATASETS.items() if facts.origin != SHIPPED]:
        del DATASETS[name]
    for paper, folder in further_papers().items():
        if not (folder / DATASETS_FILE).is_file():
            continue
        root = read_entry(folder / DATASETS_FILE, paper)
        for entry in root.entries("datasets"):
            key = entry.text("key")
            if key in DATASETS or not re.fullmatch(r"[a-z0-9]+", key):
                entry.fail("key", "a name of its own, of small letters and digits", f"'{key}'")
            DATASETS[key] = _facts(entry, f"{paper}/{DATASETS_FILE}")
        root.done()


def _facts(entry: Entry, origin: str) -> DatasetFacts:
    if not entry.has("range"):
        entry.fail("range", "a label range [low, high]", "none", "Say what labels there are: classes depend on it")
    low, high = entry.numbers("range", 2)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        entry.fail("range", "a label range [low, high] with low < high", f"[{low:g}, {high:g}]")
    splits = _splits(entry.entry("splits")) if entry.has("splits") else None
    signs = _counts(entry, "test_signs", 3) if entry.has("test_signs") else None
    if signs and splits and sum(signs) != splits["test"]:
        entry.fail("test_signs", f"counts of the {splits['test']} test clips", f"{sum(signs)} in all")
    step = entry.number("step") if entry.has("step") else None
    if step is not None and not 0 < step <= high - low:
        entry.fail("step", f"a step above 0, at most {high - low:g}, between labels", f"{step:g}")
    facts = DatasetFacts(
        title=entry.text("title"),
        label_range=(low, high),
        label_step=step,
        classes=tuple(entry.texts("classes")),
        zeros=tuple(entry.texts("acc2")) or ("non0", "has0"),
        splits=splits,
        test_signs=(signs[0], signs[1], signs[2]) if signs else None,
        dims=_widths(entry.entry("widths")) if entry.has("widths") else {},
        origin=origin,
    )
    for name in facts.classes:
        if name not in METRICS or METRICS[name].label_range != facts.label_range:
            fit = [m.id for m in METRICS.values() if m.label_range == facts.label_range]
            what = f"classes defined on [{low:g}, {high:g}]"
            entry.fail("classes", f"{what}: {', '.join(fit)}" if fit else f"none, for there are no {what}", f"'{name}'")
    for zero in facts.zeros:
        if zero not in ZEROS:
            entry.fail("acc2", f"ways of counting among {', '.join(ZEROS)}", f"'{zero}'")
    entry.done()
    return facts


def _splits(entry: Entry) -> dict[str, int]:
    found = {split: entry.whole(split) for split in SPLITS}
    entry.done()
    return found


def _widths(entry: Entry) -> dict[str, tuple[int, ...]]:
    found = {}
    for m in ("l", "a", "v"):
        if entry.has(m):
            found[m] = _counts(entry, m, least=1)
    entry.done()
    return found


def _counts(entry: Entry, key: str, count: int | None = None, least: int = 0) -> tuple[int, ...]:
    values = entry.numbers(key, count)
    for value in values:
        if not (value.is_integer() and value >= least):
            entry.fail(key, f"whole numbers of {least} or more", f"{value:g}")
    return tuple(int(value) for value in values)
