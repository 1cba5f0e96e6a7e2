"""Does a finished record agree with itself: its hashes, its id, and its predictions with what training noted.

A record that cannot be read, or that another version wrote, is not damaged: that is `Unreadable`, and nothing moves.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmd_repro.disk import sentences
from dmd_repro.errors import RunError, Unreadable
from dmd_repro.records.files import Files, sha256_file
from dmd_repro.records.run import CHECKPOINT, PREDICTED_SPLITS, RECORD_FILES, RunRecord

_SHA256 = re.compile("[0-9a-f]{64}")
QUICK = ("mae",)  # measures that a report recomputes: one prediction that differs moves it


def examine(path: Path, *, check: bool = True, weights: bool = False) -> tuple[RunRecord | None, list[str]]:
    """Return a finished record and what is wrong with it, in sentences ([]: nothing); None where it does not read.

    `check` reads every file but the weights (the big one): hashes, the selected epoch's predictions, their MAE as noted
    while training; the record keeps what was read (`alone` drops it). `weights` reads these too, and recomputes every
    measure. Raises Unreadable.
    """
    files = Files(path)
    try:
        done = files.json("DONE")
        record = RunRecord.load(path, files)
    except Unreadable:
        raise
    except RunError as error:
        return None, [str(error)]
    if not isinstance(done, dict):
        return record, [f"{path / 'DONE'}: expected a hash for each file, got {type(done).__name__}."]
    problems = [
        problem for name in sorted({*RECORD_FILES, *done}) for problem in _file(files, name, done, check, weights)
    ]
    if not problems and check:
        try:
            problems = list(disagreements(record, measures=None if weights else QUICK))
        except Unreadable:
            raise
        except RunError as error:
            problems = [str(error)]
    return record, problems


def _file(files: Files, name: str, done: dict[str, object], check: bool, weights: bool) -> Iterable[str]:
    if name not in done or "/" in name or not files.has(name):
        yield f"{files.path / name}: expected a file listed in DONE, got none."
    elif not _SHA256.fullmatch(str(done[name])):
        yield f"{files.path / 'DONE'}: expected the sha256 of {name}, 64 hexadecimal digits, got something else."
    elif name == CHECKPOINT or name not in RECORD_FILES:
        if weights:
            file = files.path / name
            with sentences(file, "a file that can be read", Unreadable):
                digest = sha256_file(file)
            if digest != done[name]:
                yield _changed(file)
    elif check and hashlib.sha256(files[name]).hexdigest() != done[name]:
        yield _changed(files.path / name)


def _changed(file: Path) -> str:
    return f"{file}: expected the sha256 written when the run ended, got another: it was changed."


def same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two arrays hold the same numbers; what is no number equals itself."""
    return np.array_equal(one, other) or np.array_equal(one, other, equal_nan=True)


def disagreements(record: RunRecord, measures: Iterable[str] | None = None) -> list[str]:
    """Return where a record's predictions are not those of its selected epoch, or score otherwise than its history.

    `measures`: those to recompute, else all that were noted. Raises RunError where a file does not read.
    """
    from dmd_repro.metrics.registry import METRICS

    best = int(record.provenance.get("best_epoch") or 0)
    noted = record.epoch(best)
    if noted is None:
        return [f"{record.path}: expected a selected epoch among its {len(record.history())}, got {best}."]
    problems: list[str] = []
    if record.provenance.get("last_epoch_weights"):  # its predictions are no single epoch's
        return problems
    for split in PREDICTED_SPLITS:
        (true, said), curves = record.scores(split), record.epochs(split)
        if curves.shape[0] < best or not same(curves[best - 1], said):
            problems.append(f"{record.path}: the {split} predictions are not those of its selected epoch {best}.")
        scores = noted.get(split)
        for name in METRICS if measures is None else measures:
            if not isinstance(scores, dict) or name not in scores:
                continue
            value, now = scores[name], METRICS[name].function(true, said)
            then = math.nan if value is None else float(value)
            if not (math.isclose(now, then, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(now) and math.isnan(then))):
                problems.append(
                    f"{record.path}: expected {split} {name} {then:.6f} as noted while training, got {now:.6f}."
                )
    return problems
