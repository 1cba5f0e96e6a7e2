"""What the checks need to know of the features, gathered in one pass over each modality of each split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.pickle_gate.filearray import BLOCK
from dmd_repro.shapes import MODALITIES, SPLITS

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]
HALF_LARGEST = 65504.0  # the largest float16


@dataclass(frozen=True, slots=True)
class ClipStats:
    """One modality (B, T, D) of one split, clip by clip; a step counts as used between the zero steps at both ends."""

    steps: int
    leading: Counts  # (B,) zero steps at the left end; T where every step is zero
    trailing: Counts  # (B,) at the right end; 0 where every step is zero
    mean: Numbers  # (B, D) over the used steps
    std: Numbers  # (B, D)
    last: Numbers  # (B, D) the last used step
    digests: tuple[str, ...]  # of the used steps: equal for equal content, whatever the padding
    low: Numbers  # (D,) of all used steps
    high: Numbers  # (D,)
    not_finite: int
    at_half: int  # values that are exactly the largest float16

    @property
    def used(self) -> Counts:
        """Number of used steps (B,)."""
        return self.steps - self.leading - self.trailing

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Clips that are zero at every step (B,)."""
        return self.leading == self.steps


@dataclass(frozen=True, slots=True)
class TokenStats:
    """Token ids, mask and segments of one split, clip by clip."""

    tokens: Counts  # (B,) steps the mask counts
    masked_ids: Counts  # (B,) steps with an id that the mask leaves out
    empty_ids: Counts  # (B,) steps the mask counts that hold id 0
    broken: NDArray[np.bool_]  # (B,) the mask has a gap
    digests: tuple[str, ...]
    highest: int  # token id


Gathered = Mapping[str, Mapping[str, ClipStats]]  # by split, modality


def gather(features: Features) -> dict[str, dict[str, ClipStats]]:
    """Return the statistics of every modality that is a sequence of numbers (token ids are not)."""
    parts = {s: features.splits[s] for s in SPLITS}
    return {s: {m: clip_stats(p, m) for m in MODALITIES if p.array(m).dtype.kind == "f"} for s, p in parts.items()}


def clip_stats(part: FeatureSet, modality: str) -> ClipStats:
    """Gather one modality of one split."""
    x = part.array(modality)
    n, steps, width = x.shape
    leading, trailing = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    mean, std, last = (np.zeros((n, width)) for _ in range(3))
    digests: list[str] = []
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    bad = half = 0
    per_block = max(1, BLOCK // (steps * width))
    for start in range(0, n, per_block):
        block = np.asarray(x[start : start + per_block], dtype=np.float32)
        finite = np.isfinite(block)
        bad += int(finite.size - np.count_nonzero(finite))
        half += int(np.count_nonzero(np.abs(block) == HALF_LARGEST))
        filled = (block != 0).any(axis=2)
        empty = ~filled.any(axis=1)
        here = slice(start, start + len(block))
        leading[here] = np.where(empty, steps, filled.argmax(axis=1))
        trailing[here] = np.where(empty, 0, filled[:, ::-1].argmax(axis=1))
        for i, clip in enumerate(block):
            used = clip[leading[start + i] : steps - trailing[start + i]]
            digests.append(hashlib.blake2b(used.tobytes(), digest_size=12).hexdigest())
            if not len(used):
                continue
            wide = used.astype(np.float64)
            with np.errstate(all="ignore"):
                mean[start + i], std[start + i], last[start + i] = wide.mean(axis=0), wide.std(axis=0), wide[-1]
                low, high = np.fmin(low, wide.min(axis=0)), np.fmax(high, wide.max(axis=0))
    return ClipStats(steps, leading, trailing, mean, std, last, tuple(digests), low, high, bad, half)


def token_stats(part: FeatureSet) -> TokenStats:
    """Gather the token ids of one split; `part` is opened with them as its text."""
    ids, mask = np.asarray(part.language[:, 0]), np.asarray(part.language[:, 1]) > 0
    count = mask.sum(axis=1)
    first, end = mask.argmax(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1)
    return TokenStats(
        tokens=count,
        masked_ids=((ids != 0) & ~mask).sum(axis=1),
        empty_ids=((ids == 0) & mask).sum(axis=1),
        broken=(count > 0) & (end - first != count),
        digests=tuple(hashlib.blake2b(row.tobytes(), digest_size=12).hexdigest() for row in ids),
        highest=int(ids.max()),
    )
