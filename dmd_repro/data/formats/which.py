"""Which data set a file holds, as its sizes, widths and labels tell together, and whether it is the official split.

No sign is certain but the exact sizes of an official split: CMU-MOSI too exists with the widths of CMU-MOSEI's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Standing
from dmd_repro.datasets import DATASETS, DatasetFacts
from dmd_repro.errors import DataError, nearest
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES, SPLITS

FILE_NAMES = {"l": "text", "a": "audio", "v": "vision"}

_ELSEWHERE: Mapping[
    str, Mapping[str, tuple[int, ...]]
] = {  # widths of files made otherwise than the public ones: by them alone no data set is told
    "mosi": {"a": (74, 33), "v": (35, 47, 709)},  # MultiBench's mosi_raw.pkl; MMSA's own extraction
    "mosei": {"a": (33,), "v": (709,)},  # the same extraction
}
_NEAR = 0.1  # of the official number of clips, in every split
_FEWEST = 2  # labels between the whole numbers, from which on their steps are a sign
_MOST_OFF = 0.15  # share of such labels that may miss the steps: clips that fewer raters labelled
_BEYOND = 0.05  # share of labels: fewer are slips
_TOLD_APART = 20  # labels from which on a range that is not used up is a sign


@dataclass(frozen=True, slots=True)
class Sign:
    """Something a file has, and the data sets that have it too."""

    what: str
    points: frozenset[str]
    certain: bool = False

    def __str__(self) -> str:
        return f"{self.what} (as in {' or '.join(DATASETS[n].title for n in DATASETS if n in self.points)})"


def signs(
    widths: Mapping[str, int], sizes: Mapping[str, int], labels: NDArray[np.float64], *, seven: bool = False
) -> list[Sign]:
    """Return what a file shows of its data set; `labels` are those of all splits, `seven`: in MOSEI's seven columns."""
    real = {n: facts for n, facts in DATASETS.items() if facts.label_range is not None and n != "synthetic"}
    have = "/".join(str(sizes[s]) for s in SPLITS)
    found = []

    def sign(what: str, points: set[str], *, certain: bool = False) -> None:
        if points:
            found.append(Sign(what, frozenset(points), certain))

    exact = {n for n, facts in real.items() if facts.splits and dict(facts.splits) == dict(sizes)}
    sign(f"{have} clips", exact, certain=True)
    if not exact:
        official = {n: facts.splits for n, facts in real.items() if facts.splits}
        near = {n for n, splits in official.items() if all(abs(sizes[s] / splits[s] - 1) <= _NEAR for s in SPLITS)}
        sign(f"{have} clips, nearly the official split", near)
    wide = {n for n, facts in real.items() if all(_has_width(n, facts, m, widths[m]) for m in ("a", "v"))}
    sign(f"acoustic {widths['a']}, visual {widths['v']} wide", wide)
    if seven:
        sign("seven columns of labels", {"mosei"} & set(real))
    y = labels[np.isfinite(labels)]
    if len(y) >= _TOLD_APART and np.ptp(y) > 0:
        least = min(_reach(f) for f in real.values())
        if np.abs(y).max() <= least:
            sign(f"labels in [{-least:g}, {least:g}] alone", {n for n, f in real.items() if _reach(f) == least})
        elif np.mean(np.abs(y) > least) > _BEYOND:
            sign(f"labels beyond [{-least:g}, {least:g}]", {n for n, f in real.items() if _reach(f) > least})
    between = y[np.abs(y - np.rint(y)) > 0.01]
    if len(between) >= _FEWEST:
        held = np.abs(between).max()
        steps = {
            n for n, f in real.items()
            if f.label_step and held <= _reach(f) + 0.01 and _off(between, f.label_step) <= _MOST_OFF
        }  # fmt: skip
        shown = sorted({f"{real[n].label_step:.2g}" for n in steps})
        sign(f"labels in steps of {' or '.join(shown)}", steps)
    return found


def _has_width(name: str, facts: DatasetFacts, m: str, width: int) -> bool:
    return width in facts.dims.get(m, ()) or width in _ELSEWHERE.get(name, {}).get(m, ())


def _reach(facts: DatasetFacts) -> float:
    low, high = facts.label_range or (-np.inf, np.inf)
    return max(-low, high)


def _off(y: NDArray[np.float64], step: float) -> float:
    return float(np.mean(np.abs(y / step - np.rint(y / step)) * step > 0.005))


def told_dataset(
    asked: str | None, widths: Mapping[str, int], sizes: Mapping[str, int], seen: list[Sign], file: str
) -> tuple[str, list[str], list[str]]:
    """Return the data set's name, notes on how it was told, and warnings on what speaks against it.

    Raises DataError if `asked` is unknown or names one data set for a file of exactly another's sizes; or, where
    nothing was asked, if no sign tells or the signs do not point to one data set: the message says which points where.
    """
    real = {name: facts for name, facts in DATASETS.items() if name != "synthetic"}
    if asked is not None and asked not in real:
        raise DataError.at(
            f"--dataset {asked}", expected=" or ".join(real), got="an unknown name", do=nearest(asked, real)
        )
    certain = next((sign for sign in seen if sign.certain), None)
    if asked and certain and asked not in certain.points and asked != "custom":
        other = min(certain.points)
        raise DataError.at(
            file,
            expected=f"a file of {DATASETS[asked].title}",
            got=f"one of exactly the size of {DATASETS[other].title}'s split",
            do=f"Pass --dataset {other}",
        )
    points = certain.points if certain else frozenset(real)
    for sign in () if certain else seen:
        points &= sign.points
    name = asked or (min(points) if len(points) == 1 and seen else None)
    if name is None:
        either = (points if seen else None) or {n for sign in seen for n in sign.points} or real
        raise DataError.at(
            file,
            expected="signs that point to one data set",
            got=_unclear(seen, widths, sizes),
            do=f"Pass --dataset {' or --dataset '.join(n for n in real if n in either)}"
            + ("" if "custom" in either else ", whichever it is, or --dataset custom"),
        )
    notes = []
    if not asked and not certain:
        alone = " alone; pass --dataset if it is another" if len(seen) == 1 else ""
        notes.append(f"taken for {DATASETS[name].title} by {'; '.join(sign.what for sign in seen)}{alone}")
    against = [sign for sign in seen if name not in sign.points] if name != "custom" else []
    warnings = [f"{sign}, but taken for {DATASETS[name].title}" for sign in against if " wide" not in sign.what]
    return name, notes, warnings + width_remarks(name, widths)


def refuse_swapped(widths: Mapping[str, int], sizes: Mapping[str, int], file: str) -> None:
    """Raise DataError where two modalities have each other's public widths, or splits an official split's sizes."""
    public = {m: _widths_of(m) for m in MODALITIES}
    for one, other in combinations([m for m in MODALITIES if m in widths], 2):
        own = widths[one] in public[one] or widths[other] in public[other]
        if not own and widths[one] in public[other] and widths[other] in public[one]:
            names = [FILE_NAMES[m] for m in (one, other)]
            raise DataError.at(
                file,
                expected=f"{' and '.join(MODALITY_NAMES[m] for m in (one, other))} features of their own widths",
                got=f"{names[0]} {widths[one]} wide and {names[1]} {widths[other]} wide: the two look swapped",
                do=f"Exchange the columns {names[0]} and {names[1]}, or pass --dataset custom if they are right",
            )
    have = [sizes[s] for s in SPLITS]
    for facts in DATASETS.values():
        want = [facts.splits[s] for s in SPLITS] if facts.splits else []
        if have != want and sorted(have) == sorted(want):
            wrong = [s for s, a, b in zip(SPLITS, have, want, strict=True) if a != b]
            raise DataError.at(
                file,
                expected=f"{'/'.join(map(str, want))} clips, the official split of {facts.title}",
                got=f"{'/'.join(map(str, have))}: {' and '.join(wrong)} look swapped",
                do="Give each split its own name",
            )


def _widths_of(m: str) -> set[int]:
    known = {n for facts in DATASETS.values() for n in facts.dims.get(m, ())}
    return known | {n for elsewhere in _ELSEWHERE.values() for n in elsewhere.get(m, ())}


def _unclear(seen: list[Sign], widths: Mapping[str, int], sizes: Mapping[str, int]) -> str:
    if seen:
        return "; ".join(str(sign) for sign in seen) + ("" if len(seen) > 1 else ", and nothing else that tells")
    found = ", ".join(f"{MODALITY_NAMES[m]} {n}" for m, n in sorted(widths.items()))
    return f"none: {'/'.join(str(sizes[s]) for s in SPLITS)} clips, widths {found}"


def width_remarks(name: str, widths: Mapping[str, int]) -> list[str]:
    """Return a sentence for each modality whose width no public file of the data set has."""
    facts = DATASETS[name]
    odd = [m for m in ("l", "a", "v") if m in widths and widths[m] not in facts.dims.get(m, (widths[m],))]
    return [
        f"{MODALITY_NAMES[m]} features are {widths[m]} wide; the public {facts.title} files have"
        f" {' or '.join(map(str, facts.dims[m]))}"
        for m in odd
    ]


def standing_of(dataset: str, sizes: Mapping[str, int]) -> tuple[Standing, list[str]]:
    """Return "official" for the official sizes, else "partial" with the sentence that says so."""
    facts = DATASETS[dataset]
    have = "/".join(str(sizes[s]) for s in SPLITS)
    if facts.splits is None:
        return "partial", [
            f"{have} clips in train/valid/test; {facts.title} has no official split to hold them against:"
            " labelled PARTIAL DATA, never tested against printed numbers"
        ]
    if all(sizes[s] == facts.splits[s] for s in SPLITS):
        return "official", []
    want = "/".join(str(facts.splits[s]) for s in SPLITS)
    return "partial", [
        f"{have} clips in train/valid/test, not the {want} of {facts.title}'s official split:"
        " labelled PARTIAL DATA, never tested against printed numbers"
    ]
