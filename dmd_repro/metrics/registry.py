"""Every metric there is, and every list of metrics the program shows: made from the objects, never written out.

A metric is one object in the `METRICS` of a file of this folder; a new file is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

import dmd_repro.metrics
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import SpecError
from dmd_repro.metrics.metric import Metric, Prominence

_ORDER: tuple[Prominence, ...] = ("line", "comparison", "run", "all")


def _found() -> dict[str, Metric]:
    """Return the metrics of every file of the folder, files in the order of their names."""
    found: dict[str, Metric] = {}
    for info in sorted(pkgutil.iter_modules(dmd_repro.metrics.__path__), key=lambda info: info.name):
        if info.name in ("metric", "registry"):
            continue
        for metric in getattr(importlib.import_module(f"dmd_repro.metrics.{info.name}"), "METRICS", ()):
            if metric.id in found:
                raise SpecError.at(
                    f"metric '{metric.id}'", expected="each id once", got=f"it again in {info.name}.py", do="Rename one"
                )
            found[metric.id] = metric
    return found


METRICS: dict[str, Metric] = _found()
COLUMNS: dict[str, str] = {m.column: m.heading for m in METRICS.values() if m.column}  # of a table, with its heading


def metrics_of(dataset: str) -> dict[str, Metric]:
    """Return the metrics that are defined on a data set's labels; where there is no entry, as for `custom`."""
    facts = DATASETS.get(dataset, DATASETS["custom"])

    def defined(metric: Metric) -> bool:
        if metric.label_range is not None:
            return metric.label_range == facts.label_range and metric.id in facts.classes
        return metric.column not in ("acc2", "f1") or metric.reading[0] in facts.zeros

    return {name: metric for name, metric in METRICS.items() if defined(metric)}


def same_range(metric: Metric, dataset: str) -> bool:
    """Whether a metric means on the labels of a data set what its name says: it is on the range it is defined for."""
    facts = DATASETS.get(dataset, DATASETS["custom"])
    return metric.label_range in (None, facts.label_range)


def columns_of(dataset: str) -> list[str]:
    """Return the columns a table of this data set may have."""
    return list(dict.fromkeys(m.column for m in metrics_of(dataset).values() if m.column))


def readings(column: str, dataset: str) -> list[Metric]:
    """Return every way of counting a column on a data set, plain ones first; one where there is no choice."""
    found = [metric for metric in metrics_of(dataset).values() if metric.column == column]
    return sorted(found, key=lambda metric: len(metric.reading))


def metric_of(column: str, dataset: str, zero: str, order: str) -> Metric:
    """Return the metric of a column as a row counts it; as the data set is usually counted where that is unknown.

    Raises SpecError if the column does not exist on the data set.
    """
    found = readings(column, dataset)
    if not found:
        raise SpecError.at(
            f"column {column}", expected=f"a column of {dataset}: {', '.join(columns_of(dataset))}", got="another",
            do="Leave it out",
        )  # fmt: skip
    counted = [metric for metric in found if zero in metric.reading] or found
    swapped = [metric for metric in counted if "swapped" in metric.reading]
    return swapped[0] if order == "swapped" and swapped else counted[0]


def shown_in(place: Prominence, dataset: str = "synthetic") -> list[str]:
    """Return the ids of the metrics a place shows, the readings of a column together."""
    there = [m for m in metrics_of(dataset).values() if _ORDER.index(m.prominence) <= _ORDER.index(place)]
    columns = dict.fromkeys(m.column or m.id for m in there)
    return [m.id for column in columns for m in there if column == (m.column or m.id)]


def one_a_column(names: Iterable[str]) -> list[str]:
    """Return the first of each column of some metrics: the usual way of counting it."""
    return list({METRICS[name].column or name: name for name in reversed(list(names))}.values())[::-1]


def always_shown(dataset: str) -> dict[str, Metric]:
    """Return the metrics shown for every measured row of a table, printed or not."""
    return {name: metric for name, metric in metrics_of(dataset).items() if metric.always}
