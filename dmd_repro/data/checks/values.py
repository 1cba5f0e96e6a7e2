"""Checks of the feature values themselves: finite, varied, of sane scale, padded on the side the model expects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dmd_repro.data.checks.report import DataFinding, Padding, plural, some
from dmd_repro.data.checks.stats import HALF_LARGEST, ClipStats, Counts, Gathered
from dmd_repro.data.features import Features
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES, SPLITS

_FEW_CHANNELS = 0.01  # share of constant channels that is no matter: one of BERT's hundreds
_FAR = 100.0  # standard deviations
_UNEVEN = 1e4  # largest over median standard deviation of a modality's channels


def padding_of(stats: ClipStats, claimed: Counts) -> Padding:
    """Say where one modality of one split is padded, and how much."""
    kept = ~stats.empty
    left, right = bool((stats.leading[kept] > 0).any()), bool((stats.trailing[kept] > 0).any())
    if left and right:  # a zero frame at the other end is no padding: the side with nearly all zero steps is it
        ratio = stats.leading[kept].sum() / (stats.leading[kept].sum() + stats.trailing[kept].sum())
        left, right = ratio > 0.02, ratio < 0.98
    return Padding(
        side={(1, 0): "left", (0, 1): "right", (1, 1): "both", (0, 0): "none"}[int(left), int(right)],
        share=float((stats.leading + stats.trailing).sum() / (len(stats.leading) * stats.steps)),
        zero_clips=int(stats.empty.sum()),
        longer_than_claimed=int((stats.used > claimed).sum()),
        not_finite=stats.not_finite,
    )


def finite(gathered: Gathered) -> DataFinding:
    """Nothing is NaN or infinite."""
    bad = [
        f"{MODALITY_NAMES[m]} of {split} {stats.not_finite}"
        for split, part in gathered.items()
        for m, stats in part.items()
        if stats.not_finite
    ]
    if bad:
        return DataFinding(
            "finite", "defect", f"values that are NaN or infinite: {', '.join(bad)}", "every loss becomes NaN"
        )
    return DataFinding("finite", "ok", "no NaN, no infinity")


def padding(features: Features, gathered: Gathered) -> Iterator[DataFinding]:
    """The side of the padding, clips without content, lengths that do not hold."""
    for m in MODALITIES:
        parts = {s: g[m] for s, g in gathered.items() if m in g}
        if not parts:
            continue
        name = MODALITY_NAMES[m]
        pads = {s: padding_of(g, features.splits[s].lengths[m]) for s, g in parts.items()}
        sides = sorted({p.side for p in pads.values()} - {"none"}) or ["none"]
        shares = ", ".join(f"{s} {p.share:.0%}" for s, p in pads.items())
        what = f"{name}: {' and '.join(sides)} ({shares} of the steps)"
        if set(sides) & {"right", "both"}:
            effect = "the authors' code reads the last step, which is then padding (--set pad_side=left moves it)"
            yield DataFinding("padding", "warning", what, effect)
        else:
            yield DataFinding("padding", "ok", what)
        bare = [s for s, g in parts.items() if g.empty.all()]
        if bare:
            where = "in all splits" if len(bare) == len(parts) else f"of {' and '.join(bare)}"
            effect = "a run sees nothing of this modality, and its numbers are those of the others alone"
            yield DataFinding("empty clips", "defect", f"{name}: every clip {where} is zero at every step", effect)
        if zero := sum(p.zero_clips for s, p in pads.items() if s not in bare):
            text = f"{name}: {plural(zero, 'clip')} zero at every step"
            yield DataFinding("empty clips", "warning", text, "the model sees nothing of them in this modality")
        if longer := sum(p.longer_than_claimed for p in pads.values()):
            text = f"{name}: {longer} clips have more steps than their stated length"
            yield DataFinding("lengths", "defect", text, "a model that masks by length drops real steps")
        yield from _claims(features, m, parts)


def _claims(features: Features, m: str, parts: dict[str, ClipStats]) -> Iterator[DataFinding]:
    """Lengths that promise many more steps than there are."""
    over = total = 0
    for split, stats in parts.items():
        claimed = features.splits[split].lengths[m]
        if bool((claimed == stats.steps).all()):
            return  # none were given
        over += int((claimed - stats.used > np.maximum(3, 0.2 * stats.steps)).sum())
        total += len(claimed)
    if over > 0.02 * total:
        text = f"{MODALITY_NAMES[m]}: {over} of {total} clips state a length far beyond their last filled step"
        yield DataFinding("lengths", "warning", text, "a model that masks by length reads padding as content")


def values(features: Features, gathered: Gathered) -> Iterator[DataFinding]:
    """Constant channels, channels out of scale, what half precision has cut off, clips normalised one by one."""
    clean = True
    for m in MODALITIES:
        parts = [gathered[s][m] for s in SPLITS if m in gathered[s]]
        for finding in _channels(m, parts) if parts else ():
            clean = clean and finding.severity == "ok"
            yield finding
    if clean:
        yield DataFinding("values", "ok", "channels vary, none out of scale, clips not normalised one by one")


def _channels(m: str, parts: list[ClipStats]) -> Iterator[DataFinding]:
    name, train = MODALITY_NAMES[m], parts[0]
    kept = ~train.empty
    if not kept.any() or any(p.not_finite for p in parts):
        return  # said elsewhere
    low, high = np.min([p.low for p in parts], axis=0), np.max([p.high for p in parts], axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    constant = np.flatnonzero(high - low <= 1e-6 * size)
    if len(constant) == len(low):
        text = f"{name}: every channel has the same value at every step"
        yield DataFinding("constant", "defect", text, "the modality carries nothing")
        return
    if len(constant):
        where = some((str(c) for c in constant), 5)
        text = f"{name}: {len(constant)} of {plural(len(low), 'channel')} never change ({where})"
        severe = len(constant) > _FEW_CHANNELS * len(low)
        yield DataFinding("constant", "warning" if severe else "ok", text, "they carry nothing" if severe else "")
    spread = np.sqrt((train.std[kept] ** 2).mean(axis=0) + train.mean[kept].var(axis=0))
    centre = np.median(train.mean[kept], axis=0)
    usual = np.sqrt(np.quantile(train.std[kept] ** 2 + (train.mean[kept] - centre) ** 2, 0.9, axis=0))  # of most clips
    usual = np.where(usual > 1e-3 * spread, usual, spread)  # a channel that is silent in most
    reach = np.maximum(high - centre, centre - low) / np.where(usual > 1e-12 * np.maximum(size, 1e-30), usual, np.inf)
    if reach.max() > _FAR:
        c = int(reach.argmax())
        value = high[c] if high[c] - centre[c] > centre[c] - low[c] else low[c]
        text = f"{name}: channel {c} reaches {value:.4g}, {reach[c]:.0f} standard deviations from its mean"
        yield DataFinding("scale", "warning", text, "single frames outweigh all others in the first layer")
    varied = np.delete(spread, constant)
    if varied.max() > _UNEVEN * np.median(varied):
        c = int(spread.argmax())
        text = f"{name}: channel {c} varies {varied.max() / np.median(varied):.0f} times as much as the median channel"
        yield DataFinding("scale", "warning", text, "one channel outweighs the others in the first layer")
    if cut := sum(p.at_half for p in parts):
        text = f"{name}: {plural(cut, 'value')} of exactly {HALF_LARGEST:.0f}, the largest float16"
        yield DataFinding(
            "float16", "defect", text, "larger values were cut off when the file was made: the loud ones are gone"
        )
    elif size.max() > HALF_LARGEST:
        text = f"{name}: values up to {size.max():.4g}, beyond float16's {HALF_LARGEST:.0f}"
        yield DataFinding("float16", "warning", text, "half precision makes them infinite: train in float32")
    long = train.used >= 5
    if long.sum() >= 10:
        mean, std = np.delete(train.mean[long], constant, axis=1), np.delete(train.std[long], constant, axis=1)
        if np.mean((np.abs(mean) < 0.01) & (np.abs(std - 1) < 0.1)) > 0.9:
            text = f"{name}: nearly every clip has mean 0 and deviation 1 in every channel"
            yield DataFinding(
                "normalised",
                "warning",
                text,
                "what tells clips apart by level is gone; other features than the paper's",
            )
