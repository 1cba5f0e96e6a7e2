"""Do the features know the labels? A plain regression on clip averages must not predict them implausibly well.

Features that were learned on the training labels predict those of train, out of fold, far better than those of test;
a label that was written into the features predicts both almost perfectly. Numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.checks.report import DataFinding, Severity
from dmd_repro.data.checks.stats import ClipStats, Gathered
from dmd_repro.data.clip_names import ClipNames
from dmd_repro.data.features import Features
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES

Numbers = NDArray[np.float64]
_FOLDS = 5
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of a ridge regression, relative to the mean squared norm of a clip
_FEWEST = 40  # clips of train, and half as many of test, below which nothing is said
_MOST = 4000  # clips used: the check takes seconds, and more tell nothing new
_GAP, _ODD = 0.3, 0.15  # of the correlation, train out of fold less test: a defect, a warning
_SURE = 4.0  # standard errors of that gap
_CUT = 10.0  # standard deviations: one wild value must not decide
_COPY = 0.95  # correlation with the label that no feature of a face, a voice or words has


def leakage(features: Features, gathered: Gathered, names: ClipNames) -> Iterator[DataFinding]:
    """Compare, for each modality, what train predicts of itself out of fold with what it predicts of test."""
    told = []
    train, test = features.splits["train"], features.splits["test"]
    pick_train, pick_test = _pick(len(train)), _pick(len(test))
    y, z = train.labels[pick_train].astype(np.float64), test.labels[pick_test].astype(np.float64)
    folds = fold_of([train.ids[i] for i in pick_train], names)
    enough = len(y) >= _FEWEST and len(z) >= _FEWEST // 2 and np.ptp(y) > 0 and np.ptp(z) > 0
    if not enough or folds.max() < 1 or any(g.not_finite for part in gathered.values() for g in part.values()):
        yield DataFinding("leakage", "ok", "too few clips or videos to tell whether the features know the labels")
        return
    clean = True
    for m in (m for m in MODALITIES if m in gathered["train"]):
        name = MODALITY_NAMES[m]
        x, w = summary(gathered["train"][m])[pick_train], summary(gathered["test"][m])[pick_test]
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale[scale <= 1e-9 * (np.abs(centre) + 1e-30)] = np.inf  # a constant says nothing
        x, w = (np.clip((part - centre) / scale, -_CUT, _CUT) for part in (x, w))
        inside, outside = predictability(x, y, w, z, folds)
        told.append(f"{name} {inside:.2f} / {outside:.2f}")
        gap = inside - outside
        error = np.hypot(1 / np.sqrt(len(y) - 3), 1 / np.sqrt(len(z) - 3))
        sure = (np.arctanh(min(inside, 0.999)) - np.arctanh(max(outside, -0.999))) / error
        copies = {s: _best(a, b) for s, a, b in (("train", x, y), ("test", w, z))}
        for split, (r, column) in copies.items():
            if r > _COPY:
                clean = False
                channel = f"channel {column % gathered['train'][m].mean.shape[1]}"
                text = f"{name} of {split}: {channel} is the label (correlation {r:.3f})"
                yield DataFinding(
                    "leakage",
                    "defect",
                    text,
                    "the answer stands in the question: numbers are too good, or test is lost",
                )
        if max(r for r, _ in copies.values()) > _COPY:
            continue
        if outside > _COPY:
            clean = False
            text = f"{name} predicts the test labels with correlation {outside:.2f} by a plain regression"
            yield DataFinding(
                "leakage", "defect", text, "no published system comes near: the labels are in the features"
            )
        elif gap > _ODD and sure > _SURE:
            clean = False
            said = f"{inside:.2f} on train (out of fold, {_kept(names)}) but {outside:.2f} on test"
            text = f"{name} predicts labels with correlation {said}"
            severity: Severity = "defect" if gap > _GAP else "warning"
            effect = "features learned on the training labels? A model trusts them and fails on test"
            yield DataFinding("leakage", severity, text, effect)
    if clean:
        text = f"a plain regression on train predicts train out of fold / test with correlation: {', '.join(told)}"
        yield DataFinding("leakage", "ok", text)


def summary(stats: ClipStats) -> Numbers:
    """Return (B, 3 D): mean, deviation and last used step of each channel, zeros for empty clips."""
    return np.concatenate([stats.mean, stats.std, stats.last], axis=1)


def predictability(x: Numbers, y: Numbers, w: Numbers, z: Numbers, folds: NDArray[np.int64]) -> tuple[float, float]:
    """Return the correlation of y with its out-of-fold predictions, and of z (rows w) with those from all of x.

    The penalty of the ridge regression is the one that is best out of fold, for both.
    """
    unit = max(float((x**2).sum()) / len(y), 1e-12)
    penalties = [candidate * unit for candidate in _PENALTIES]
    said = np.empty((len(penalties), len(y)))
    for fold in range(folds.max() + 1):
        out = folds == fold
        said[:, out] = _ridge(x[~out], y[~out], x[out], penalties)
    best = int(((said - y) ** 2).mean(axis=1).argmin())
    return _corr(said[best], y), _corr(_ridge(x, y, w, penalties[best : best + 1])[0], z)


def _kept(names: ClipNames) -> str:
    return "by video" if names.told else "in blocks, as videos cannot be told"


def fold_of(ids: Sequence[str], names: ClipNames) -> NDArray[np.int64]:
    """Return the fold (B,) of each clip: clips of one video together, videos dealt out by size.

    Where videos cannot be told, blocks of clips as they stand: files hold the clips of a video one after the other.
    """
    if not names.told:
        return np.arange(len(ids)) * _FOLDS // max(len(ids), 1)
    videos = [names.video(i) for i in ids]
    sizes = {v: videos.count(v) for v in dict.fromkeys(videos)} if len(set(videos)) < 500 else dict.fromkeys(videos, 1)
    load, home = [0] * _FOLDS, {}
    for video in sorted(sizes, key=lambda v: (-sizes[v], v)):
        home[video] = load.index(min(load))
        load[home[video]] += sizes[video]
    return np.array([home[v] for v in videos])


def _ridge(x: Numbers, y: Numbers, w: Numbers, penalties: Sequence[float]) -> Numbers:
    """Return the predictions (penalties, rows of w), by channels or by clips, whichever are fewer."""
    centre, n = y.mean(), min(x.shape)
    if n == x.shape[1]:
        gram, seen, right = x.T @ x, w, x.T @ (y - centre)
    else:
        gram, seen, right = x @ x.T, w @ x.T, y - centre
    return np.array([seen @ np.linalg.solve(gram + penalty * np.eye(n), right) + centre for penalty in penalties])


def _corr(a: Numbers, b: Numbers) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def _best(x: Numbers, y: Numbers) -> tuple[float, int]:
    """Return the largest correlation of one column with y, and the column."""
    x, y = x - x.mean(axis=0), y - y.mean()
    norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    r = np.abs(x.T @ y) / np.where(norm > 0, norm, np.inf)
    return float(r.max()), int(r.argmax())


def _pick(n: int) -> NDArray[np.int64]:
    return np.arange(n) if n <= _MOST else np.linspace(0, n - 1, _MOST).astype(np.int64)
