"""One side of a comparison: predictions from a file or those of the runs of a row, checked before they are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.checks.report import some
from dmd_repro.errors import ClaimError, RunError, nearest
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.rerun_csv import read_csv_lines
from dmd_repro.papers.tables import load_table, with_controls
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.results.evidence import evidence_words
from dmd_repro.results.runs import Runs, measure
from dmd_repro.results.scores import mark_of
from dmd_repro.stats.learned import did_it_learn

ONE = -1  # the seed of a run that names none
LABEL_SLACK = 1e-3  # labels are written with a few digits; the nearest two labels differ by far more
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """One set of predictions: labels, and the predictions of one run or several."""

    name: str
    ids: tuple[str, ...]  # B
    y_true: Floats  # (B,)
    runs: Mapping[int, Floats]  # seed -> (B,)
    mark: str | None = None  # SYNTHETIC DATA, PARTIAL DATA
    notes: tuple[str, ...] = ()  # what is to be known of it
    not_learned: tuple[int, ...] = ()  # seeds whose run predicts no better than a constant


def read_predictions(path: Path) -> Side:
    """Read `id,y_true,y_pred` (optional `seed`: several runs in one file); other columns are named and not read.

    Raises ClaimError naming the line: a missing column, a number that is none, an id twice in one run, a run with
    other clips or labels than the first.
    """
    names, lines = read_csv_lines(path)
    for name in ("id", "y_true", "y_pred"):
        if name not in names:
            got = f"columns {', '.join(names)}"
            raise ClaimError.at(
                path.name, expected=f"a column '{name}'", got=got, do="Write id,y_true,y_pred (and seed)"
            )
    others = [
        name for name in names if name not in ("id", "y_true", "y_pred", "seed")
    ]  # heads, as `dmd evaluate` writes
    found: dict[int, dict[str, tuple[float, float]]] = {}
    places: dict[tuple[int, str], int] = {}
    for number, line in lines:
        seed = _seed(path, number, line["seed"]) if "seed" in line else ONE
        clip = line["id"]
        if not clip:
            raise ClaimError.at(
                f"{path.name}, line {number}", expected="a clip's id", got="nothing", do="Correct the file"
            )
        if (seed, clip) in places:
            of = "" if seed == ONE else f" of seed {seed}"
            raise ClaimError.at(
                f"{path.name}, line {number}",
                expected=f"each clip{of} once",
                got=f"'{clip}', which line {places[seed, clip]} has too",
                do="Leave one out",
            )
        places[seed, clip] = number
        found.setdefault(seed, {})[clip] = (
            _number(path, number, "y_true", line["y_true"]),
            _number(path, number, "y_pred", line["y_pred"]),
        )
    first_seed, first = next(iter(found.items()))
    for seed, clips in found.items():
        same_clips(f"{path.name}, seed {seed}", clips.keys(), f"seed {first_seed}", first.keys())
        same_labels(
            f"{path.name}, seed {seed}", {c: t for c, (t, _) in clips.items()}, {c: t for c, (t, _) in first.items()}
        )
    ids = tuple(first)
    truth = np.array([first[clip][0] for clip in ids])
    runs = {seed: np.array([clips[clip][1] for clip in ids]) for seed, clips in found.items()}
    notes = [f"{path.name}: not read: {', '.join(others)}"] if others else []
    lost = _not_learned(truth, runs)
    for seed, reason in lost.items():
        run = "its run" if seed == ONE else f"the run of seed {seed}"
        notes.append(f"{path.name}: {run} did not learn, by these clips: {reason}")
    return Side(path.name, ids, truth, runs, notes=tuple(notes), not_learned=tuple(lost))


def _not_learned(truth: Floats, runs: Mapping[int, Floats]) -> dict[int, str]:
    """Why runs did not learn, by seed; a file has no validation split and no training labels, so by its own clips."""
    span, median = (float(truth.min()), float(truth.max())), float(np.median(truth))
    found = {seed: did_it_learn(run, truth, median, span) for seed, run in runs.items()}
    return {seed: one.reason for seed, one in found.items() if one.outcome == "not learned"}


def row_side(key: str, runs_dir: Path, data: Sequence[str] | None = None) -> Side:
    """Return the finished runs of a printed row, by its key, from its plan on `data` or the most recent one.

    Raises ClaimError for an unknown key (with the nearest), RunError if none of its runs is finished.
    """
    tables = [with_controls(load_table(name)) for name in table_names()]
    keys = {row.key for table in tables for row in table.rows if row.derived is None}
    if key not in keys:
        close = nearest(key, keys)
        do = close if close.startswith("Did") else "`dmd report table1 --json` names the rows; a file ends in .csv"
        raise ClaimError.at(f"dmd compare {key}", expected="a row's key or a CSV file", got="neither", do=do)
    runs = Runs(Records(runs_dir))
    for table in tables:
        plan = load_plan(runs_dir, table.name, data)
        planned = plan.rows.get(key) if plan else None
        if planned is None or not any(row.key == key for row in table.rows):
            continue
        measured = measure(table.row(key), planned, runs)
        if not measured.runs:
            continue
        ids = {}
        for seed, run_id in measured.runs.items():
            found = runs.get(run_id)
            assert not isinstance(found, str)
            ids[seed] = found[1].ids
        first = next(iter(ids))
        if any(one != ids[first] for one in ids.values()):  # one digest, so one order of clips: never in whole records
            raise RunError.at(key, expected="runs on the same clips", got="others", do="Verify them: dmd runs verify")
        standing = str((planned.features or {}).get("standing"))
        return Side(
            key,
            ids[first],
            measured.scores[first][0].astype(np.float64),
            {seed: score.astype(np.float64) for seed, (_, score) in measured.scores.items()},
            mark_of([standing]),
            tuple(f"{key}: {note}" for note in (*measured.notes, evidence_words(table.row(key))) if note),
            tuple(measured.not_learned),
        )
    do = "Train it: dmd reproduce TABLE --rows ROW"
    raise RunError.at(f"row '{key}'", expected=f"finished runs of it in {runs_dir}", got="none", do=do)


def _seed(path: Path, number: int, text: str) -> int:
    if not text.isdigit():
        raise ClaimError.at(
            f"{path.name}, line {number}, seed", expected="a whole number", got=repr(text), do="Correct the file"
        )
    return int(text)


def _number(path: Path, number: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ClaimError.at(
            f"{path.name}, line {number}, {column}", expected="a number", got=repr(text), do="Correct the file"
        )
    return value


def same_clips(name: str, ids: Iterable[str], other_name: str, others: Iterable[str]) -> None:
    """Refuse other clips than `others`, with how many and which; raises ClaimError."""
    mine, theirs = set(ids), set(others)
    if mine != theirs:
        extra, missing = sorted(mine - theirs), sorted(theirs - mine)
        said = [f"{len(extra)} others ({some(extra, 2)})"] if extra else []
        said += [f"{len(missing)} missing ({some(missing, 2)})"] if missing else []
        raise ClaimError.at(
            name,
            expected=f"the {len(theirs)} clips of {other_name}",
            got=" and ".join(said),
            do="Compare predictions of one split, with ids written alike",
        )


def same_labels(name: str, mine: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    """Refuse labels that differ from `theirs`, by clip, by more than writing them with few digits does."""
    wrong = [clip for clip in theirs if abs(mine[clip] - theirs[clip]) > LABEL_SLACK]
    if wrong:
        clip = wrong[0]
        raise ClaimError.at(
            name,
            expected=f"the labels of the other side ({clip}: {theirs[clip]:g})",
            got=f"{mine[clip]:g}, and {len(wrong)} of {len(theirs)} labels differ",
            do="Write each prediction beside its own clip and label",
        )
