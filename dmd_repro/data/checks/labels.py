"""Checks of the labels: their range and signs, and each of them against the official list of clips."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.checks.report import CheckReport, DataFinding, Severity, plural, some
from dmd_repro.data.checks.stats import Counts
from dmd_repro.data.clip_names import ClipNames
from dmd_repro.data.features import Features
from dmd_repro.datasets import DatasetFacts
from dmd_repro.errors import DataError
from dmd_repro.shapes import SPLITS

_COLUMNS = ("video_id", "clip_id", "label", "mode")
_SAME = 0.005  # labels that differ by less are the same: files hold thirds and fifths in several precisions


@dataclass(frozen=True, slots=True)
class Official:
    """One clip of the official list."""

    label: float
    split: str
    words: int  # of the transcript; 0: none given


def read_labels(path: Path, bounds: tuple[float, float] | None = (-3.0, 3.0)) -> dict[str, Official]:
    """Read a `MOSI-label.csv` (video_id, clip_id, label, mode; text if there is one); clips by `VIDEO$_$CLIP`.

    `bounds` of the labels are the data set's; None: any finite number. Raises DataError, naming the line, if a column
    is missing or a value cannot be.
    """
    where, found = str(path), {}
    low, high = bounds or (-np.finfo(np.float32).max, np.finfo(np.float32).max)
    wanted = f"a label in [{low:g}, {high:g}]" if bounds else "a finite label"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (rows.fieldnames or ())]
            if missing:
                got = f"no {', '.join(missing)}"
                raise DataError.at(where, expected=f"the columns {', '.join(_COLUMNS)}", got=got, do="Check the file")
            for row in rows:
                clip = f"{row['video_id']}$_${row['clip_id']}"
                line = f"{where}, line {rows.line_num}"
                try:
                    label = float(row["label"])
                except (TypeError, ValueError):
                    label = np.nan
                if not low <= label <= high:
                    raise DataError.at(line, expected=wanted, got=repr(row["label"]), do="Check the file")
                if row["mode"] not in SPLITS:
                    want = "train, valid or test as mode"
                    raise DataError.at(line, expected=want, got=repr(row["mode"]), do="Check the file")
                if clip in found:
                    raise DataError.at(line, expected="each clip once", got=f"{clip} again", do="Check the file")
                found[clip] = Official(label, row["mode"], len((row.get("text") or "").split()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        got = (error.strerror if isinstance(error, OSError) else None) or str(error)[:80]
        raise DataError.at(where, expected="a CSV file of clips and labels", got=got, do="Check the path") from error
    return found


def labels(report: CheckReport, facts: DatasetFacts) -> Iterator[DataFinding]:
    """Range, variety, and the signs of the official test split."""
    least, most = facts.label_range or (-math.inf, math.inf)
    for split, part in report.splits.items():
        low, high = part.label_range
        if not (low >= least and high <= most):
            text = f"{split} has labels from {low} to {high}, outside [{least:g}, {most:g}]"
            scale = (
                f"errors{' and ' + facts.classes[0].upper().partition('_')[0] if facts.classes else ''} are measured"
            )
            yield DataFinding("labels", "defect", text, f"{scale} on another scale")
        elif low == high:
            yield DataFinding("labels", "defect", f"every label of {split} is {low}", "nothing to learn or to measure")
    signs = report.splits["test"].signs
    if facts.test_signs is None or report.standing != "official":
        yield DataFinding("test signs", "ok", f"{_signs(signs)} (no official count to compare with)")
    elif signs == facts.test_signs:
        yield DataFinding("test signs", "ok", f"{_signs(signs)}, as in the official test split")
    else:
        text = f"{_signs(signs)}, but the official test split has {_signs(facts.test_signs)}"
        yield DataFinding("test signs", "defect", text, "ACC2 and F1 would be measured on other labels")


def _signs(signs: tuple[int, int, int]) -> str:
    return f"{signs[0]} negative, {signs[1]} zero, {signs[2]} positive"


def against_official(features: Features, official: Mapping[str, Official], names: ClipNames) -> Iterator[DataFinding]:
    """Each clip's id, label and split against the official list, with which `names` were read."""
    strict = features.standing == "official"
    here = {s: [names.listed(i) for i in features.splits[s].ids] for s in SPLITS}
    total = sum(len(ids) for ids in here.values())
    matched = sum(i is not None for ids in here.values() for i in ids)
    if matched < 0.05 * total:
        yield from _as_a_whole(features, official, names, matched, total)
        return
    strangers = [i for s in SPLITS for i, k in zip(features.splits[s].ids, here[s], strict=True) if k is None]
    if strangers:
        text = f"{len(strangers)} of {plural(total, 'clip')} are not in the list ({some(strangers)})"
        yield DataFinding("official ids", "defect" if strict else "warning", text, "they belong to no official split")
    repeated = [i for i, n in Counter(k for ids in here.values() for k in ids if k is not None).items() if n > 1]
    if repeated:
        text = f"{plural(len(repeated), 'clip')} of the list stand here more than once ({some(repeated)})"
        yield DataFinding("official ids", "defect", text, "they count twice")
    moved = Counter((official[k].split, s) for s in SPLITS for k in here[s] if k is not None and official[k].split != s)
    if moved:
        ways = ", ".join(f"{n} of {a} in {b}" for (a, b), n in sorted(moved.items()))
        text = f"{sum(moved.values())} of {plural(total, 'clip')} are officially in another split: {ways}"
        effect = "trained and measured on other clips than the paper" + (
            "" if strict else ": PARTIAL DATA in every table"
        )
        yield DataFinding("official split", "defect" if strict else "warning", text, effect)
    absent = len(official) - len({k for ids in here.values() for k in ids if k is not None})
    if absent and strict:
        yield DataFinding(
            "official ids", "defect", f"{plural(absent, 'clip')} of the list are missing", "not the official data"
        )
    wrong = list(_wrong_labels(features, here, official))
    yield from wrong
    if not (strangers or repeated or wrong):
        rest = f"; {absent} of the list are not here" if absent else ""
        yield DataFinding("official labels", "ok", f"all {total} clips have their official label{rest}")


def _wrong_labels(
    features: Features, here: Mapping[str, list[str | None]], official: Mapping[str, Official]
) -> Iterator[DataFinding]:
    for split in SPLITS:
        rows = [(i, k) for i, k in enumerate(here[split]) if k is not None]
        got = np.array([features.splits[split].labels[i] for i, _ in rows], dtype=np.float64)
        want = np.array([official[k].label for _, k in rows])
        off = np.flatnonzero(np.abs(got - want) > _SAME)
        if not off.size:
            continue
        names = some(f"{rows[i][1]} {got[i]:g}, officially {want[i]:g}" for i in off)
        text = f"{plural(off.size, 'label')} of {split} differ from the list ({names}){_how(got, want, off)}"
        yield DataFinding("official labels", "defect", text, "the model learns, or is measured on, wrong answers")


def _how(got: NDArray[np.float64], want: NDArray[np.float64], off: NDArray[np.int64]) -> str:
    """Say what was done to the labels, where it can be told."""
    if np.allclose(got, -want, atol=_SAME):
        return ": every sign is turned"
    for k in (1, -1, 2, -2):
        if len(got) > 4 and np.allclose(np.roll(want, k), got, atol=_SAME):
            return f": all are moved by {plural(abs(k), 'clip')}"
    if off.size == 2 and np.allclose(got[off], want[off][::-1], atol=_SAME):
        return ": the two are swapped"
    if np.allclose(np.sort(got), np.sort(want), atol=_SAME):
        return ": the same labels in another order"
    return ""


def _as_a_whole(
    features: Features, official: Mapping[str, Official], names: ClipNames, matched: int, total: int
) -> Iterator[DataFinding]:
    """Where ids are of another form: the labels of each split as a whole, in their order, and video by video."""
    severe: Severity = "defect" if features.standing == "official" else "warning"
    form = f"ids are not the list's ({matched} of {total} are in it)"
    got = {s: features.splits[s].labels.astype(np.float64) for s in SPLITS}
    clips = {s: [(key.split("$_$")[0], clip) for key, clip in official.items() if clip.split == s] for s in SPLITS}
    want = {s: np.array([clip.label for _, clip in listed]) for s, listed in clips.items()}
    different = [s for s in SPLITS if not _same(np.sort(got[s]), np.sort(want[s]))]
    if different:
        text = f"{form}, and the labels of {' and '.join(different)} are not those of the list"
        yield DataFinding("official labels", severe, text, "other clips, or wrong answers")
    elif all(_same(got[s], want[s]) for s in SPLITS):
        yield DataFinding("official labels", "ok", f"{form}; each split holds the list's labels in the list's order")
    elif names.told and any(
        _by_video(map(names.video, features.splits[s].ids), got[s]) != _by_video((v for v, _ in clips[s]), want[s])
        for s in SPLITS
    ):
        text = f"{form}; each split holds the list's labels, but its videos hold others: they are in another order"
        yield DataFinding("official labels", "defect", text, "the model learns, or is measured on, wrong answers")
    else:
        text = f"{form}; each split holds the list's labels, but whether each clip has its own cannot be told"
        yield DataFinding("official labels", "warning", text, "labels in another order would not be seen")


def _same(got: NDArray[np.float64], want: NDArray[np.float64]) -> bool:
    return len(got) == len(want) and bool(np.abs(got - want).max(initial=0) <= _SAME)


def _by_video(videos: Iterable[str], y: NDArray[np.float64]) -> list[list[float]]:
    """Return the labels of each video, whatever its name and its clips' order."""
    held: dict[str, list[float]] = defaultdict(list)
    for video, label in zip(videos, y.tolist(), strict=True):
        held[video].append(round(label, 2))
    return sorted(map(sorted, held.values()))


def transcript_words(features: Features, official: Mapping[str, Official], names: ClipNames) -> dict[str, Counts]:
    """Return the number of words of each clip's official transcript (0: not known), by split."""
    found = {}
    for split in SPLITS:
        known = [names.listed(i) for i in features.splits[split].ids]
        found[split] = np.array([official[k].words if k else 0 for k in known], dtype=np.int64)
    return found
