"""Which data set a file holds, as told by its widths and sizes, and whether it is the official split."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.data.features import Standing
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import DataError, nearest
from dmd_repro.shapes import MODALITY_NAMES, SPLITS


def told_dataset(
    asked: str | None, widths: Mapping[str, int], sizes: Mapping[str, int], file: str
) -> tuple[str, list[str]]:
    """Return the data set's name and what is odd about it.

    The official sizes are the strongest sign, then the acoustic and visual widths of the public files. Raises DataError
    if `asked` is unknown or names one data set for a file of exactly the other's sizes, or if nothing tells and nothing
    was asked.
    """
    real = {name: facts for name, facts in DATASETS.items() if name != "synthetic"}
    if asked is not None and asked not in real:
        raise DataError.at(
            f"--dataset {asked}", expected=" or ".join(real), got="an unknown name", do=nearest(asked, real)
        )
    by_size = [n for n, facts in real.items() if dict(facts.splits or {}) == dict(sizes)]
    by_width = [n for n, facts in real.items() if all(widths[m] in facts.dims.get(m, ()) for m in ("a", "v"))]
    if asked and by_size and asked not in by_size:
        raise DataError.at(
            file,
            expected=f"a file of {DATASETS[asked].title}",
            got=f"one of exactly the size of {DATASETS[by_size[0]].title}'s split",
            do=f"Pass --dataset {by_size[0]}",
        )
    name = asked or next(iter(by_size or by_width), None)
    if name is None:
        found = ", ".join(f"{MODALITY_NAMES[m]} {n}" for m, n in sorted(widths.items()))
        raise DataError.at(
            file,
            expected="the sizes or the widths of a public file, to tell the data set",
            got=f"{'/'.join(str(sizes[s]) for s in SPLITS)} clips, widths {found}",
            do=f"Pass --dataset {' or --dataset '.join(real)}",
        )
    facts = DATASETS[name]
    odd = [m for m in ("l", "a", "v") if m in widths and widths[m] not in facts.dims.get(m, (widths[m],))]
    remarks = [
        f"{MODALITY_NAMES[m]} features are {widths[m]} wide; the public {facts.title} files have"
        f" {' or '.join(map(str, facts.dims[m]))}"
        for m in odd
    ]
    return name, remarks


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
