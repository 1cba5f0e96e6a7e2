"""Checks of clips against each other: videos and clips in two splits, clips twice, modalities that lost step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.checks.report import DataFinding, plural, some
from dmd_repro.data.checks.stats import Counts, Gathered, TokenStats
from dmd_repro.data.clip_names import ClipNames, plain
from dmd_repro.data.features import Features
from dmd_repro.datasets import DatasetFacts
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES, SPLITS

KNOWN_TWICE = frozenset({"bOL9jKpeJRs$_$24", "bOL9jKpeJRs$_$25"})  # CMU-MOSI itself cut this stretch out twice
_AGREE, _LOST = 0.6, 0.3  # correlation of clip durations: in step, out of step
_FEWEST = 20  # clips below which durations tell nothing
_FARTHEST = 5  # clips a modality is tried to be moved by
_SURE = 5.0  # standard errors of a correlation beyond which it is no chance, among the many that are looked at


def shared(features: Features, facts: DatasetFacts, names: ClipNames) -> Iterator[DataFinding]:
    """No video and no clip stands in two splits, as their ids tell."""
    ids = {s: {plain(i) for i in features.splits[s].ids} for s in SPLITS}
    videos = {s: {names.video(i) for i in features.splits[s].ids} for s in SPLITS}
    counted = not names.told and all(_row_numbers(part) for part in ids.values())
    clean = names.told
    for one, other in combinations(SPLITS, 2):
        clips = ids[one] & ids[other]
        both = videos[one] & videos[other] if names.told else set()
        if (clips or both) and not counted:
            clean = False
            if names.told:
                text = f"{one} and {other} share {plural(len(both), 'video')} ({some(sorted(both))})"
                text += f" and {plural(len(clips), 'clip')}" if names.clips else ""
                text += f"; ids read as {names.form}"
            else:
                text = f"{one} and {other} share {plural(len(clips), 'clip')} ({some(sorted(clips))})"
            yield DataFinding("overlap", "defect", text, "the speaker is known before the test, numbers are too good")
    if not names.told:
        why = "ids are row numbers, counted anew in each split" if counted else names.why
        effect = "a speaker in two splits would not be seen, and makes numbers too good"
        yield DataFinding("overlap", "warning", f"cannot be told: {why}", effect)
        return
    counts = {s: len(videos[s]) for s in SPLITS}
    have = ", ".join(f"{s} {n}" for s, n in counts.items())
    if clean:
        yield DataFinding("overlap", "ok", f"no video in two splits (videos: {have}; ids read as {names.form})")
    if facts.videos and features.standing == "official" and counts != dict(facts.videos):
        want = ", ".join(f"{s} {facts.videos[s]}" for s in SPLITS)
        text = f"{have} videos (ids read as {names.form}), the official split has {want}"
        yield DataFinding("videos", "warning", text, "ids of another form, or other clips: see overlap with care")


def _row_numbers(ids: set[str]) -> bool:
    """Whether the ids of a split are 0, 1, 2, ... or 1, 2, 3, ..."""
    numbers = {int(i) for i in ids if i.isascii() and i.isdigit()}
    return len(numbers) == len(ids) and min(numbers) < 2 and max(numbers) - min(numbers) == len(ids) - 1


def duplicates(features: Features, gathered: Gathered, names: ClipNames) -> Iterator[DataFinding]:
    """No clip stands twice, as its content tells whatever its id says."""
    holders: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    alone: dict[str, dict[str, list[tuple[str, int]]]] = {"a": defaultdict(list), "v": defaultdict(list)}
    for split in SPLITS:
        part = gathered[split]
        for i in range(len(features.splits[split])):
            if all(part[m].empty[i] for m in part):
                continue
            holders[tuple(part[m].digests[i] for m in part)].append((split, i))
            for m, found in alone.items():
                if not part[m].empty[i] and part[m].used[i] > 1:
                    found[part[m].digests[i]].append((split, i))
    groups = [group for group in holders.values() if len(group) > 1]
    yield from _twice(features, groups, names)
    whole = {place for group in groups for place in group}
    for m, found in alone.items():
        pairs = [g for g in found.values() if len(g) > 1 and not whole.issuperset(g)]
        if pairs:
            shown = some((" = ".join(_named(features, *place) for place in g[:2]) for g in pairs), 2)
            what = plural(len(pairs), "content")
            text = f"{MODALITY_NAMES[m]}: {what} under several clips whose other modalities differ ({shown})"
            yield DataFinding(
                "duplicates", "warning", text, "rows of this modality were repeated, or belong to other clips"
            )
    if not groups:
        yield DataFinding("duplicates", "ok", "no two clips hold the same content")


def _twice(features: Features, groups: list[list[tuple[str, int]]], names: ClipNames) -> Iterator[DataFinding]:
    for group in groups[:10]:
        splits = {split for split, _ in group}
        ids = [features.splits[split].ids[i] for split, i in group]
        labels = " and ".join(f"{features.splits[split].labels[i]:g}" for split, i in group)
        shown = " = ".join(_named(features, *place) for place in group)
        same_video = names.told and len({names.video(i) for i in ids}) == 1
        if len(splits) > 1:
            effect = "a clip of the test is trained on, numbers are too good"
            yield DataFinding(
                "duplicates", "defect", f"the same content in two splits: {shown} (labels {labels})", effect
            )
        elif KNOWN_TWICE.issuperset(map(names.usual, ids)):
            yield DataFinding(
                "duplicates", "ok", f"{shown} hold the same content (labels {labels}), as in CMU-MOSI itself"
            )
        else:
            severity = "warning" if same_video and not any("#" in i for i in ids) else "defect"
            effect = "it counts twice" + (
                ", with labels that contradict each other" if len(set(labels.split(" and "))) > 1 else ""
            )
            yield DataFinding("duplicates", severity, f"the same content twice: {shown} (labels {labels})", effect)  # type: ignore[arg-type]
    if len(groups) > 10:
        yield DataFinding("duplicates", "warning", f"{len(groups) - 10} more contents stand twice", "they count twice")


def _named(features: Features, split: str, i: int) -> str:
    return f"{features.splits[split].ids[i]} ({split})"


def in_step(
    features: Features, gathered: Gathered, tokens: Mapping[str, TokenStats], words: Mapping[str, Counts] | None = None
) -> Iterator[DataFinding]:
    """The modalities of a clip last equally long: one that does not has lost step with the others.

    Only agreement beyond chance is evidence, so nothing is said of few clips or of durations that never agree. `words`
    counts the official transcript's, where one is given (0: not known).
    """
    looked, lost, agree, best = 0, False, False, -1.0
    for split in SPLITS:
        series = {MODALITY_NAMES[m]: gathered[split][m].used for m in MODALITIES if m in gathered[split]}
        if split in tokens:
            series["token ids"] = tokens[split].tokens
        if words and split in words and (words[split] > 0).all():
            series["the transcript"] = words[split]
        told = {name: np.log1p(x) for name, x in series.items() if _varied(x)}
        looked += len(told) > 1
        for x, y in combinations(told.values(), 2):
            best, agree = max(best, _corr(x, y)), agree or _beyond_chance(x, y) >= _AGREE
        for name, x in told.items():
            finding = _out_of_step(split, name, x, {k: y for k, y in told.items() if k != name})
            if finding:
                lost = True
                yield finding
    if features.aligned:
        for finding in _moved_in_time(gathered):
            lost = True
            yield finding
    if not lost:
        text = "nothing is padded, so a shifted modality could not be seen"
        if agree:
            text = "the modalities of each clip last equally long: none is shifted against the others"
        elif looked:
            told_by = f"correlation at most {best:.2f}" + ("" if best < _AGREE else ", of too few clips")
            text = f"how long modalities last does not agree ({told_by}): no shift could be seen"
        yield DataFinding("in step", "ok", text)


def _out_of_step(
    split: str, name: str, x: NDArray[np.float64], others: Mapping[str, NDArray[np.float64]]
) -> DataFinding | None:
    """A series that agrees with no other, while moving it by some clips, or the others among themselves, agree.

    Both are held against chance: of clips with durations that have nothing in common, hardly one set in a million
    shows either.
    """
    unmoved = max((_corr(x, y) for y in others.values()), default=1.0)
    if unmoved >= _LOST:
        return None
    shifts = [k for k in range(-_FARTHEST, _FARTHEST + 1) if k]
    moved = {k: max(_beyond_chance(np.roll(x, k), y) for y in others.values()) for k in shifts}
    best = max(moved, key=lambda k: moved[k])
    among = max((_beyond_chance(y, z, apart_from=unmoved) for y, z in combinations(others.values(), 2)), default=0.0)
    names = " and ".join(others)
    if moved[best] >= _AGREE and (len(others) > 1 or name != "language"):
        way = f"{plural(abs(best), 'clip')} {'back' if best < 0 else 'on'}"
        text = f"{name} of {split} agrees with {names} only when moved by {way}"
    elif among >= _AGREE:
        text = f"{name} of {split} does not last as long as {names}, which agree (correlation {among:.2f})"
    else:
        return None
    return DataFinding("in step", "defect", text, "the model reads one clip's words with another clip's voice or face")


def _varied(used: Counts) -> bool:
    """Whether durations tell clips apart: enough clips, and no duration that most of them have."""
    return len(used) >= _FEWEST and int(np.bincount(used).max()) <= len(used) / 2


def _beyond_chance(x: NDArray[np.float64], y: NDArray[np.float64], apart_from: float | None = None) -> float:
    """Return the correlation, or 0 where chance could have made it (Fisher's z).

    Clips that last about as long as the clip before them count for less (Bartlett). `apart_from` is another correlation
    that it must lie above.
    """
    inertia = max(_corr(x[1:], x[:-1]), 0.0) * max(_corr(y[1:], y[:-1]), 0.0)
    clips = len(x) * (1 - inertia) / (1 + inertia)
    r = _corr(x, y)
    z = np.arctanh(min(r, 0.9999)) - np.arctanh(apart_from or 0.0)
    error = np.sqrt((1 if apart_from is None else 2) / max(clips - 3, 1e-9))
    return r if z > _SURE * error else 0.0


def _moved_in_time(gathered: Gathered) -> Iterator[DataFinding]:
    """Aligned modalities whose clips start at different steps."""
    for split, part in gathered.items():
        for one, other in combinations([m for m in MODALITIES if m in part], 2):
            kept = ~(part[one].empty | part[other].empty)
            off = (part[other].leading - part[one].leading)[kept]
            if len(off) < _FEWEST or not np.any(part[one].leading):
                continue
            steps, counts = np.unique(off, return_counts=True)
            usual = int(steps[counts.argmax()])
            if usual and counts.max() > len(off) / 2:
                way = f"{plural(abs(usual), 'step')} {'after' if usual > 0 else 'before'} {MODALITY_NAMES[one]}"
                share = f"{counts.max()} of {plural(len(off), 'clip')}"
                text = f"{MODALITY_NAMES[other]} of {split} starts {way} in {share}"
                yield DataFinding("in step", "defect", text, "words are read with the voice or face of other words")


def _corr(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0
