"""For people with code of their own: predictions scored as the tables count, values over seeds judged by the rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dmd_repro.errors import SpecError, nearest
from dmd_repro.metrics.metric import Metric

if TYPE_CHECKING:
    import pandas as pd

    from dmd_repro.papers.tables import Printed
    from dmd_repro.stats.verdict import Compared, Placed

PrintedNumber = str | float
Values = Sequence[float] | Mapping[str, Sequence[float]]


def score(
    y_true: ArrayLike, y_pred: ArrayLike, dataset: str = "mosi", *, ids: Iterable[str] | None = None,
    resamples: int = 2000,
) -> pd.DataFrame:  # fmt: skip
    """Score predictions by every measure of a data set, each with what exactly it counts.

    `y_true`, `y_pred`: (B,) sentiment on the scale of the data set (mosi and mosei: -3 to 3), in the same order of
    clips. Index: the measure (`acc2_non0` negative / positive, `acc2_has0` negative / non-negative, `f1_non0`, `acc7`,
    `mae`, `corr` ...). Columns: value in the unit tables print (percent; MAE and Corr on their own scale), low and high
    (95 % over `resamples` draws of clips, of whole videos where `ids` name them as VIDEO$_$CLIP; 0: none), unit,
    counted. A measure that does not exist on these clips is NaN.

    Raises SpecError for an unknown data set, unequal lengths, labels off the scale, and anything but numbers.
    """
    import pandas as pd

    from dmd_repro.datasets import dataset_facts
    from dmd_repro.records.run import Predictions
    from dmd_repro.results.single import score_predictions

    facts, true, said = dataset_facts(dataset), _vector("y_true", y_true), _vector("y_pred", y_pred)
    if len(true) != len(said):
        raise SpecError.at("y_pred", expected=f"{len(true)} clips, as y_true has", got=str(len(said)), do="Align them")
    if not np.isfinite(true).all():
        raise SpecError.at("y_true", expected="numbers", got="NaN or infinity", do="Leave those clips out of both")
    if facts.label_range and (len(true) and (true.min() < facts.label_range[0] or true.max() > facts.label_range[1])):
        raise SpecError.at(
            "y_true", expected=f"labels in {list(facts.label_range)}, the scale of {facts.title}",
            got=f"{true.min():g} to {true.max():g}", do="Name the data set: score(..., dataset='sims')",
        )  # fmt: skip
    names = tuple(map(str, ids)) if ids is not None else tuple(map(str, range(len(true))))
    if len(names) != len(true):
        raise SpecError.at("ids", expected=f"{len(true)} of them", got=str(len(names)), do="Give one for each clip")
    found = score_predictions(Predictions(names, true, said), dataset, resamples=resamples)
    lines = {
        s.metric: {"value": s.value, "low": s.low, "high": s.high, "unit": s.unit, "counted": s.counted} for s in found
    }
    frame = pd.DataFrame.from_dict(lines, orient="index")
    return frame.astype({"value": float, "low": float, "high": float}).rename_axis("measure")


def _vector(name: str, values: ArrayLike) -> np.ndarray:
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise SpecError.at(
            name, expected="numbers, one a clip", got=type(values).__name__, do="Give a list or an array"
        ) from None
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or not len(found):
        raise SpecError.at(name, expected="one number a clip, (B,)", got=f"shape {found.shape}", do="Flatten it")
    return found


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """What values over seeds say of printed numbers, if those are means."""

    word: str  # reproduced, worse, better, mixed, inconclusive; interval only, value only below five runs
    why: str  # "" where the word needs none
    runs: int  # that the word rests on: those of the last stage reached
    level: float | None  # of each test; None where no word is given
    margin: float  # points
    cells: pd.DataFrame  # index: the number; printed, n, mean, std, d, low, high (of d), place

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(str(self))}</b></p>{self.cells.round(3).to_html()}"

    def __str__(self) -> str:
        from dmd_repro.results.rule import points_of

        at = f", {self.runs} runs, level {self.level:g}, margin {points_of(self.margin)}" if self.level else ""
        return f"{self.word}{at}{': ' + self.why if self.why else ''}"

    def __repr__(self) -> str:
        return f"{self}\n{self.cells.round(3).to_string()}"


def verdict(
    values: Values, printed: PrintedNumber | Mapping[str, PrintedNumber], *, metric: str = "acc2", margin: float = 1.0,
    failed: int = 0, one_look: bool = False,
) -> Verdict:  # fmt: skip
    """Judge a row of printed numbers by values over seeds, by the rule of `dmd report`.

    `values`: those of one number, in the order the seeds were planned, or a mapping of them by column (`acc2`, `f1`,
    `acc7`, `mae`, `corr`, or a measure's id), all over the same runs; in the unit they are printed in. `printed`: the
    number or numbers, best as text ("86.0"), since its decimals say how far it was rounded. `metric` names the column
    of a single number: which way is better, and what a point is (a hundredth of MAE). `failed` runs are counted
    against the row. `margin` is in points.

    The word rests on the first 5, 10, 20 or 50 values at the level of that stage (0.02, 0.015, 0.01, 0.005), so that
    looking again after more runs is no fault; `one_look` takes all at 0.05, right only if their number was settled
    before the first. Fewer than five give values or intervals, no word.

    Raises SpecError for what is no number, unequal numbers of runs, columns that do not match, an unknown one.
    """
    from dmd_repro.cli.planned import check_margin
    from dmd_repro.results.verdict import INTERVAL_ONLY, VALUE_ONLY
    from dmd_repro.stats.stages import ALPHA, STAGES, Stage, reached
    from dmd_repro.stats.verdict import FEWEST, judge_row

    check_margin(margin)
    if failed < 0:
        raise SpecError.at("failed", expected="a count of runs", got=str(failed), do="Give 0 or more")
    by_column = dict(values) if isinstance(values, Mapping) else {metric: values}
    ink = dict(printed) if isinstance(printed, Mapping) else {next(iter(by_column), metric): printed}
    numbers = _columns(by_column, ink)
    n = len(next(iter(numbers.values())))
    stages = reached(STAGES, n + failed)
    stage = (stages[-1] if stages else None) if not one_look else Stage(n, ALPHA) if n >= FEWEST else None
    first = {name: found[: stage.n] if stage else found for name, found in numbers.items()}
    cells = [_compared(name, found, ink[name]) for name, found in first.items()]
    judged = judge_row(cells, margin=margin, alpha=stage.level if stage else ALPHA)
    word, why = str(judged.word), str(judged.kind or "")
    if failed:
        word, why = "inconclusive", f"{failed} of {n + failed} runs failed, and leaving them out would flatter the mean"
    elif stage is None:
        word, why = VALUE_ONLY if n == 1 else INTERVAL_ONLY, f"{n} run{'s' * (n > 1)}: a word needs {FEWEST}"
    places = [placed if stage and not failed else replace(placed, place=None) for placed in judged.cells]
    frame = _frame(first, ink, places)
    return Verdict(word, why, stage.n if stage else n, stage.level if stage and not failed else None, margin, frame)


def _columns(values: Mapping[str, Sequence[float]], ink: Mapping[str, PrintedNumber]) -> dict[str, list[float]]:
    """Return the values by column, checked: the printed columns, finite numbers, as many in each."""
    if set(values) != set(ink) or not ink:
        raise SpecError.at(
            "verdict", expected=f"values of the printed numbers ({', '.join(ink) or 'none'})",
            got=", ".join(values) or "none", do="Give both under the same names",
        )  # fmt: skip
    numbers = {name: _finite(name, found).tolist() for name, found in values.items()}
    runs = sorted({len(found) for found in numbers.values()})
    if len(runs) > 1:
        raise SpecError.at("verdict", expected="the same runs in every column", got=f"{runs} values", do="Align them")
    return numbers


def _compared(name: str, values: Sequence[float], ink: PrintedNumber) -> Compared:
    from dmd_repro.stats.verdict import Compared, half_cell

    metric, printed = _metric(name), _printed(name, ink)
    point = metric.point
    cell = half_cell(printed.decimals) / point
    return Compared(tuple(x / point for x in values), float(printed.value) / point, cell, bool(metric.higher_is_better))


def _frame(
    numbers: Mapping[str, Sequence[float]], ink: Mapping[str, PrintedNumber], cells: Sequence[Placed]
) -> pd.DataFrame:
    import pandas as pd

    from dmd_repro.stats.summary import summarise
    from dmd_repro.stats.verdict import in_unit

    lines = []
    for (name, values), placed in zip(numbers.items(), cells, strict=True):
        summary, d = summarise(values), in_unit(placed, _metric(name).point).difference
        low, high = d.interval if d else (float("nan"), float("nan"))
        lines.append(
            {"number": name, "printed": _printed(name, ink[name]).text, "n": summary.n, "mean": summary.mean,
             "std": summary.std, "d": d.d if d else float("nan"), "low": low, "high": high, "place": placed.place}
        )  # fmt: skip
    return pd.DataFrame(lines).set_index("number")


def _printed(name: str, ink: PrintedNumber) -> Printed:
    from dmd_repro.papers.tables import Printed

    try:
        return Printed.of(str(ink))
    except ValueError:
        raise SpecError.at(
            f"printed {name}", expected='a number such as "86.0"', got=repr(ink), do="Write it as printed"
        ) from None


def _metric(name: str) -> Metric:
    from dmd_repro.metrics.registry import COLUMNS, METRICS

    found = METRICS.get(name) or next((m for m in METRICS.values() if m.column == name), None)
    if found is None:
        do = nearest(name, [*COLUMNS, *METRICS])
        raise SpecError.at(f"'{name}'", expected="a column or a measure", got="another name", do=do)
    return found


def _finite(name: str, values: Sequence[float]) -> np.ndarray:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty((0, 0))
    if found.ndim != 1 or not len(found):
        raise SpecError.at(f"values of {name}", expected="numbers, one a run", got=repr(values)[:40], do="Give a list")
    if not np.isfinite(found).all():
        raise SpecError.at(
            f"values of {name}", expected="finite numbers", got="NaN or infinity",
            do="A run that diverged has failed: leave it out and say failed=1",
        )  # fmt: skip
    return found
