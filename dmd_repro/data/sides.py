"""The side on which clips are padded: told from the features themselves, and moved to the other where a run asks.

The public files are padded on the left, and systems that read the last step (the authors' code among them) read content
there. A file padded on the right gives them padding instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.pickle_gate.filearray import BLOCK
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES, SPLITS

SIDES = ("none", "left", "right")  # of the setting pad_side; none: as the features are
Counts = NDArray[np.int64]
_LOOKED_AT = 500  # clips of train that tell the side


def padded_right(features: Features) -> tuple[str, ...]:
    """Return the modalities (l, a, v) whose clips end in a step of zeros more often than they begin with one."""
    return _otherwise(features, "left")


def padding_words(features: Features, side: str = "none") -> str:
    """Return what a user must know of the padding before training; empty if there is nothing to say.

    `side` is the run's setting `pad_side`.
    """
    if side != "none":
        wrong = [MODALITY_NAMES[m] for m in _otherwise(features, side)]
        return f"{' and '.join(wrong)}: padding moved to the {side} (pad_side={side})" if wrong else ""
    wrong = [MODALITY_NAMES[m] for m in padded_right(features)]
    if not wrong:
        return ""
    listed = " and ".join(filter(None, [", ".join(wrong[:-1]), wrong[-1]]))
    return (
        f"{listed} padded on the right, the public files on the left: a system that reads the last step"
        " reads padding (--set pad_side=left moves it)"
    )


def with_padding(features: Features, side: str) -> Features:
    """Return the clips with the zero steps at their other end moved to `side`; "none": as they are.

    Where clips are padded on that side already, they stay as they are, whatever zero steps end some of them. Aligned
    modalities move together, by the steps that are zero in all of them; token ids stay as BERT reads them, and the
    digest stays that of what is stored. Where lengths are given, no more steps count as padding than they leave.
    Raises DataError where modalities are padded on the other side and no step can be moved.
    """
    if side == "none" or not (wrong := _otherwise(features, side)):
        return features
    splits, moved = {}, 0
    for split in SPLITS:
        part = features.splits[split]
        shifts = {m: shift for m, shift in _shifts(part, side).items() if part.aligned or m in wrong}
        moved += sum(int(np.abs(shift).sum()) for shift in shifts.values())
        names = {"l": "language", "a": "acoustic", "v": "visual"}
        splits[split] = replace(part, **{names[m]: _rolled(part.array(m), shift) for m, shift in shifts.items()})  # type: ignore[arg-type]
    if not moved:
        raise DataError.at(
            f"--set pad_side={side} on {features.name}",
            expected="padding that is zero at the same steps in every modality, as its features are aligned",
            got=f"{' and '.join(MODALITY_NAMES[m] for m in wrong)} padded on the other side alone",
            do="Read them as they are (--set pad_side=none), or move the padding in the file",
        )
    return replace(features, splits=splits)


def _otherwise(features: Features, side: str) -> tuple[str, ...]:
    """Return the modalities whose clips are padded on the other side."""
    sign = 1 if side == "left" else -1
    return tuple(m for m in _sequences(features.splits["train"]) if sign * _ends(features, m) > 0)


def _sequences(part: FeatureSet) -> list[str]:
    return [m for m in MODALITIES if part.array(m).dtype.kind == "f"]


def _ends(features: Features, m: str) -> int:
    """Return in how many clips the last step alone is zero, less those in which the first alone is."""
    x = features.splits["train"].array(m)
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), _LOOKED_AT)).astype(np.int64))
    first, last = ((np.asarray(x[some, step]) == 0).all(axis=1) for step in (0, -1))
    return int((last & ~first).sum()) - int((first & ~last).sum())


def _shifts(part: FeatureSet, side: str) -> dict[str, Counts]:
    """Return by how many steps each clip's content moves to the later steps (negative: to the earlier), (B,) each."""
    spans = {m: _zero_ends(part.array(m)) for m in _sequences(part)}
    at = 1 if side == "left" else 0
    zeros = {m: ends[at] for m, ends in spans.items()}
    for m, count in zeros.items():
        steps, claimed = part.array(m).shape[1], part.lengths[m]
        if (claimed < steps).any():
            zeros[m] = np.minimum(count, steps - claimed)
    if part.aligned:
        together = np.min(list(zeros.values()), axis=0)
        zeros = dict.fromkeys(zeros, together)
    sign = 1 if side == "left" else -1
    return {m: sign * np.where(count < part.array(m).shape[1], count, 0) for m, count in zeros.items()}


def _zero_ends(x: NDArray[np.generic]) -> tuple[Counts, Counts]:
    """Return the zero steps at the left and the right end of each clip (B,); all of them where a clip is empty."""
    n, steps, width = x.shape
    left, right = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for start in range(0, n, size := max(1, BLOCK // (steps * width))):
        filled = (np.asarray(x[start : start + size]) != 0).any(axis=2)
        empty, here = ~filled.any(axis=1), slice(start, start + len(filled))
        left[here] = np.where(empty, steps, filled.argmax(axis=1))
        right[here] = np.where(empty, steps, filled[:, ::-1].argmax(axis=1))
    return left, right


def _rolled(x: NDArray[np.generic], shift: Counts) -> NDArray[np.generic]:
    """Return x (B, T, D) with each clip rolled along its steps."""
    if not shift.any():
        return x
    index = (np.arange(x.shape[1]) - shift[:, None]) % x.shape[1]
    out = np.take_along_axis(np.asarray(x), index[..., None], axis=1)
    out.flags.writeable = False
    return out
