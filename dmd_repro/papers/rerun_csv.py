"""A user's CSV of re-runs: a line a run (column `seed`), or a line a mean over n runs (column `n`)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import NoReturn

from dmd_repro.errors import ClaimError, nearest
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.rerun import SETTINGS, TEXTS, Rerun, check_clips, printed_datasets

WHAT = ("system", "dataset", "setting", "text")
ABOUT = ("code", "source", "protocol", "split")
PERCENT = tuple(name for name, metric in METRICS.items() if metric.unit == "%")
STD = "_std"
MOST_BYTES = 16 << 20


def read_rerun_csv(path: Path) -> list[Rerun]:
    """Read a file of re-runs; lines that agree in system, data set, setting, text and code are one re-run.

    Columns: system, dataset (mosi, mosei), setting (aligned, unaligned), text (glove, hidden, bert), then `seed` or
    `n`; measures by their names (acc7, acc2_non0, f1_non0, mae, ...), with `n` also `..._std`; optional code, source,
    protocol, split. Accuracies and F1 are all fractions or all percentages. Raises ClaimError naming the line.
    """
    lines = _lines(path)
    columns = _columns(path, lines)
    scale = _scale(path, lines, columns)
    groups: dict[tuple[str, ...], list[tuple[int, dict[str, str]]]] = {}
    for number, line in lines:
        what = _what(path, number, line)
        groups.setdefault((*what, line.get("code", "")), []).append((number, line))
    out = []
    for i, (what, members) in enumerate(groups.items(), start=1):
        rerun = _rerun(path, f"{path.stem}/{i}", what, members, columns, scale)
        check_clips(rerun, path.name)
        out.append(rerun)
    return out


def _fail(path: Path, where: str, expected: str, got: str, do: str = "Correct the file") -> NoReturn:
    raise ClaimError.at(f"{path.name}, {where}" if where else path.name, expected=expected, got=got, do=do)


def read_csv_lines(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return (column names, [(line number, {column: text})]) of a CSV. Raises ClaimError if it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            _fail(path, "", "a CSV of at most 16 MB", f"{path.stat().st_size} bytes", "Name the right file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        _fail(path, "", "a file that can be read", error.strerror or str(error), "Check the path")
    except UnicodeDecodeError:
        _fail(path, "", "a CSV in UTF-8", "bytes that are no UTF-8", "Name a CSV")
    reader = csv.reader(StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        _fail(path, f"line {reader.line_num}", "a line of CSV", str(error))
    if not rows:
        _fail(path, "", "a header and lines", "an empty file")
    names = [name.strip() for name in rows[0][1]]
    for name in names:
        if names.count(name) > 1:
            _fail(path, "header", "each column once", f"'{name}' twice")
    out = []
    for number, row in rows[1:]:
        if len(row) != len(names):
            _fail(path, f"line {number}", f"{len(names)} fields, as the header has", str(len(row)))
        for name, field in zip(names, row, strict=True):
            if not field.strip().isprintable():
                _fail(path, f"line {number}, {name}", "printable text", ascii(field.strip())[:40])
        out.append((number, {name: field.strip() for name, field in zip(names, row, strict=True)}))
    if not out:
        _fail(path, "", "lines under the header", "none")
    return names, out


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    names, lines = read_csv_lines(path)
    if {"id", "y_pred"} <= set(names):
        do = f"Compare it: dmd compare ROW {path.name}"
        _fail(path, "", "a line a run or a mean (system, dataset, ..., seed or n)", "predictions clip by clip", do)
    known = {*WHAT, *ABOUT, "seed", "n", *METRICS, *(m + STD for m in METRICS)}
    for name in names:
        if name not in known:
            _fail(path, f"column '{name}'", "a known column", "an unknown name", nearest(name, known))
    for name in WHAT:
        if name not in names:
            _fail(path, "header", f"a column '{name}'", "none")
    if ("seed" in names) == ("n" in names):
        got = "both" if "n" in names else "neither, so how many runs a number stands for is not known"
        _fail(path, "header", "a column 'seed' (a line a run) or 'n' (a line a mean of n runs)", got)
    return lines


def _columns(path: Path, lines: list[tuple[int, dict[str, str]]]) -> list[str]:
    names = list(lines[0][1])
    measures = [name for name in names if name in METRICS]
    if not measures:
        _fail(path, "header", f"a measure, such as {', '.join(list(METRICS)[:3])}", "none")
    for name in names:
        if name.endswith(STD) and ("seed" in names or name.removesuffix(STD) not in names):
            _fail(path, f"column '{name}'", "an STD beside its mean and 'n'", "none of them")
    return measures


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _fail(path, f"line {line}, {column}", "a number", repr(text))
    return value


def _scale(path: Path, lines: list[tuple[int, dict[str, str]]], columns: list[str]) -> float:
    """Return what turns the file's accuracies and F1 into percent: 1 or 100; refuse a mixture."""
    first: dict[bool, tuple[int, str, float]] = {}
    for number, line in lines:
        for column in columns:
            if column in PERCENT and line[column]:
                value = _number(path, number, column, line[column])
                if not 0 <= value <= 100:
                    _fail(path, f"line {number}, {column}", "a fraction from 0 to 1 or a percentage", f"{value:g}")
                first.setdefault(value <= 1, (number, column, value))
    if len(first) == 2:
        (a, column_a, one), (b, column_b, other) = first[True], first[False]
        got = f"{one:g} in line {a} ({column_a}) and {other:g} in line {b} ({column_b})"
        _fail(path, "", "accuracies and F1 all as fractions or all in percent", got, "Write all in one unit")
    return 100.0 if True in first else 1.0


def _what(path: Path, number: int, line: Mapping[str, str]) -> tuple[str, ...]:
    for column, choices in (("dataset", printed_datasets()), ("setting", SETTINGS), ("text", TEXTS)):
        if line[column] not in choices:
            _fail(path, f"line {number}, {column}", f"one of {', '.join(choices)}", repr(line[column]))
    if not line["system"]:
        _fail(path, f"line {number}, system", "a name", "nothing")
    if line.get("split", "test") not in ("", "test"):
        do = "Leave out what was scored on other clips"
        _fail(path, f"line {number}, split", "test, as tables print", repr(line["split"]), do)
    return tuple(line[column] for column in WHAT)


def _rerun(
    path: Path,
    key: str,
    what: tuple[str, ...],
    members: list[tuple[int, dict[str, str]]],
    columns: list[str],
    scale: float,
) -> Rerun:
    values: dict[str, dict[int, float]] = {}
    means: dict[str, float] = {}
    stds: dict[str, float] = {}
    n: int | None = None
    seen: dict[str, int] = {}
    by = "seed" if "seed" in members[0][1] else "n"
    for number, line in members:
        said = line[by]
        if not said.isdigit() or (by == "n" and int(said) < 1):
            _fail(path, f"line {number}, {by}", "a whole number", repr(said) if said else "nothing")
        if by == "seed" and said in seen:
            _fail(path, f"line {number}", "each seed once", f"seed {said} in line {seen[said]} too")
        if by == "n" and seen:
            _fail(path, f"line {number}", "one line a mean", f"{what[0]} in line {next(iter(seen.values()))} too")
        seen[said] = number
        for column in columns:
            if not line[column]:
                continue
            unit = scale if column in PERCENT else 1.0
            value = _number(path, number, column, line[column]) * unit
            if (column == "corr" and abs(value) > 1) or (column == "mae" and value < 0):
                _fail(path, f"line {number}, {column}", f"a possible {METRICS[column].heading}", line[column])
            if by == "seed":
                values.setdefault(column, {})[int(said)] = value
            else:
                means[column], n = value, int(said)
                if line.get(column + STD):
                    stds[column] = abs(_number(path, number, column + STD, line[column + STD])) * unit
    first = members[0][1]
    return Rerun(
        key=key,
        system=what[0],
        dataset=what[1],
        setting=what[2],
        text=what[3],
        code=what[4] or "code not stated",
        source=first.get("source") or path.name,
        by=first.get("source") or path.name,
        protocol=first.get("protocol") or "not stated",
        n=len(seen) if by == "seed" else n,
        values=values,
        means=means,
        stds=stds,
    )
