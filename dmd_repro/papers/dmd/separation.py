"""Claims C9 and C10 in numbers: how far classes lie apart in X^com, and modalities in X^prt, mask by mask.

A t-SNE picture moves with its seed and perplexity, so the claims are measured in the space itself, before any t-SNE:
the silhouette and the accuracy of the nearest neighbour, over the seeds of a mask, beside shuffled labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from dmd_repro.datasets import DATASETS
from dmd_repro.errors import RunError
from dmd_repro.records.decoupled import Decoupled, has_decoupled, read_decoupled
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.results.histories import settings_changed, why_none
from dmd_repro.results.learned import learned
from dmd_repro.results.masks import MaskGroup, mask_groups
from dmd_repro.seeds import seed_for
from dmd_repro.stats.separation import Labels, Points, neighbour_accuracy, neighbours, shuffled, silhouette, stack

Figure = Literal["fig3", "fig4"]
MASKS: dict[tuple[str, ...], str] = {
    ("heterogd", "homogd"): "−HomoGD −HeteroGD", ("heterogd",): "−HeteroGD", (): "full",
}  # fmt: skip
A_CLASS, CLIPS = 4, 400  # the paper's samples: 4 clips a class (Figure 3), 400 clips (Figure 4)
SPLIT = "test"
WHOLE = "whole split"
SILHOUETTE, NEIGHBOUR = "silhouette", "neighbour"


@dataclass(frozen=True, slots=True)
class MaskFeatures:
    """The runs of one mask: their features by seed, and what is missing of them."""

    off: tuple[str, ...]
    runs: Mapping[int, RunRecord]
    found: Mapping[int, Decoupled]
    failed: tuple[int, ...] = ()
    not_learned: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What the paper calls it."""
        return MASKS[self.off]


@dataclass(frozen=True, slots=True)
class SeparatedRuns:
    """All that Figures 3 and 4 are drawn from: one configuration of DMD on one feature set, mask by mask."""

    group: MaskGroup
    masks: tuple[MaskFeatures, ...]  # in the paper's order; one without runs has none
    left_out: int  # other configurations at hand

    @property
    def any(self) -> Decoupled:
        """The features of one run, for what all share: clips and labels."""
        return next(found for mask in self.masks for found in mask.found.values())


def subject(records: Records, data: Sequence[str] = ()) -> SeparatedRuns:
    """Return the features of the configuration with most of the three masks, then most runs.

    Raises RunError where there is no finished run of them, and where one has no features yet, naming the command.
    """
    groups = [group for group in mask_groups(records, data) if set(group.masks) & set(MASKS)]
    groups.sort(key=lambda g: (-len(set(g.masks) & set(MASKS)), -sum(len(g.masks.get(off, {})) for off in MASKS)))
    for group in groups:
        finished = {
            off: {
                seed: record for seed, run in sorted(group.masks.get(off, {}).items()) if (record := records.whole(run))
            }
            for off in MASKS
        }
        if not any(finished.values()):
            continue
        missing = [r.run_id for runs in finished.values() for r in runs.values() if not has_decoupled(r, SPLIT)]
        if missing:
            many = sum(map(len, finished.values()))
            raise RunError.at(
                f"figures 3 and 4 of {group.data['name']}",
                expected=f"the decoupled features of each of its {many} run{'s' * (many > 1)}",
                got=f"{many - len(missing)}",
                do=f"Make them from the checkpoints: dmd features {' '.join(missing)}",
            )  # fmt: skip
        masks = tuple(_read(group, off, runs) for off, runs in finished.items())
        return SeparatedRuns(group, masks, len(groups) - 1)
    raise RunError.at(
        f"--data {' '.join(data)}" if data else str(records.root),
        expected="finished runs of dmd, full, without HeteroGD or without both graph units", got=why_none(records),
        do=f"Make them: dmd ablate --drop heterogd --data {data[0] if data else 'synthetic'}",
    )  # fmt: skip


def _read(group: MaskGroup, off: tuple[str, ...], runs: Mapping[int, RunRecord]) -> MaskFeatures:
    found = {seed: read_decoupled(record, SPLIT) for seed, record in runs.items()}
    failed = tuple(sorted(set(group.masks.get(off, {})) - set(runs)))
    unlearned = tuple(seed for seed, record in runs.items() if learned(record).outcome == "not learned")
    return MaskFeatures(off, runs, found, failed, unlearned)


def command(about: SeparatedRuns, off: tuple[str, ...]) -> str:
    """Return the line that trains a mask that is missing, on the data, seeds and settings of the others."""
    seeds = sorted({seed for mask in about.masks for seed in mask.runs})
    record = next(record for mask in about.masks for record in mask.runs.values())
    parts = [f"dmd ablate --data {about.group.data['name']}", *([f"--drop {','.join(off)}"] if off else [])]
    parts += [f"--seeds {','.join(map(str, seeds))}{',' if len(seeds) == 1 else ''}"]
    parts += [f"--protocol {record.spec.protocol}"] if record.spec.protocol != "official" else []
    return " ".join([*parts, *(f"--set {k}={v}" for k, v in settings_changed(record).items())])


def classes_of(dataset: str, y_true: Points) -> dict[str, Labels]:
    """Return what clips are coloured and measured by: the seven classes, where the scale has them, and the sign."""
    facts = DATASETS.get(dataset)
    found: dict[str, Labels] = {}
    if facts is not None and "acc7" in facts.classes:
        found["7 classes"] = np.rint(np.clip(y_true, -3, 3)).astype(np.int64)  # half to even, as ACC7 counts
    found["sign"] = (y_true >= 0).astype(np.int64)
    return found  # sign: non-negative / negative


def draw_clips(figure: Figure, labels: Mapping[str, Labels], seed: int, number: int) -> Labels:
    """Return the clips of one draw of the paper's size, by a recorded seed: (n,) indices, sorted.

    Figure 3: four of each class (fewer where a class has fewer); Figure 4: 400, or all.
    """
    first = next(iter(labels.values()))
    generator = np.random.Generator(np.random.PCG64(seed_for(seed, "clips of a figure", figure, number)))
    if figure == "fig4":
        return np.sort(generator.permutation(len(first))[:CLIPS]).astype(np.int64)
    drawn = [generator.permutation(np.flatnonzero(first == c))[:A_CLASS] for c in np.unique(first)]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def points_of(figure: Figure, found: Decoupled, clips: Labels | None = None) -> tuple[Points, Labels, Labels]:
    """Return the points a figure shows: X^com (Figure 3) or X^prt of every modality; which modality, and which clip."""
    space = found.common if figure == "fig3" else found.private
    return stack([x if clips is None else x[clips] for x in space.values()])


@dataclass(frozen=True, slots=True)
class Separation:
    """One number of one run: as it is, and the same with shuffled labels."""

    true: float
    chance: float


Key = tuple[str, str, str]  # measure, what is told apart, sample


def measure(
    figure: Figure, about: SeparatedRuns, *, draws: int, seed: int
) -> dict[tuple[str, ...], dict[int, dict[Key, Separation]]]:
    """Return, by mask and seed, every number of a figure: on the whole split, and the mean over draws of clips.

    The draws are the same for every mask and seed. A number that does not exist (one class alone) is left out.
    """
    labels = classes_of(str(about.group.data["dataset"]), about.any.y_true)
    samples: dict[str, list[Labels | None]] = {WHOLE: [None]}
    n = len(about.any.ids)
    if draws and not (figure == "fig4" and n <= CLIPS):
        size = f"{A_CLASS} a class" if figure == "fig3" else f"{CLIPS} clips"
        samples[f"{size}, {draws} draws"] = [draw_clips(figure, labels, seed, i) for i in range(draws)]
    return {
        mask.off: {s: _of_run(figure, found, labels, samples, seed) for s, found in mask.found.items()}
        for mask in about.masks
    }


def _of_run(
    figure: Figure,
    found: Decoupled,
    labels: Mapping[str, Labels],
    samples: Mapping[str, Sequence[Labels | None]],
    seed: int,
) -> dict[Key, Separation]:
    out: dict[Key, Separation] = {}
    for sample, draws in samples.items():
        lists: dict[tuple[str, str], list[Separation]] = {}
        for number, clips in enumerate(draws):
            for key, value in _numbers(figure, found, labels, clips, seed, number).items():
                lists.setdefault(key, []).append(value)
        for (what, told), values in lists.items():
            if len(values) == len(draws):
                mean = Separation(fmean(v.true for v in values), fmean(v.chance for v in values))
                out[what, told, sample] = mean
    return out


def _numbers(
    figure: Figure, found: Decoupled, labels: Mapping[str, Labels], clips: Labels | None, seed: int, number: int
) -> dict[tuple[str, str], Separation]:
    points, modality, owner = points_of(figure, found, clips)
    nearest = neighbours(points, owner)
    if figure == "fig4":
        kinds = {"modalities": modality}
    else:
        kinds = {name: (one if clips is None else one[clips])[owner] for name, one in labels.items()}
    out = {}
    for name, told in kinds.items():
        mixed = shuffled(told, owner, "within" if figure == "fig4" else "owners", seed, name, number)
        pairs: list[tuple[str, Callable[[Labels], float | None]]] = [
            (SILHOUETTE, lambda one: silhouette(points, one)),
            (NEIGHBOUR, lambda one: None if nearest is None else 100 * neighbour_accuracy(nearest, one)),
        ]
        for what, value in pairs:
            true, chance = value(told), value(mixed)
            if true is not None and chance is not None:
                out[what, name] = Separation(true, chance)
    return out
