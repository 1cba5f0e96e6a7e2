"""What Figures 3 and 4 claim (C9, C10) in numbers: mask by mask, paired over seeds, beside shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmd_repro.papers.dmd.separation import (
    A_CLASS,
    CLIPS,
    MASKS,
    NEIGHBOUR,
    SILHOUETTE,
    SPLIT,
    WHOLE,
    Figure,
    Key,
    MaskFeatures,
    SeparatedRuns,
    Separation,
    command,
)  # fmt: skip
from dmd_repro.results.scores import mark_of
from dmd_repro.results.sheet import NONE, Sheet, TextGrid
from dmd_repro.stats.paired import paired
from dmd_repro.stats.summary import Summary, summarise
from dmd_repro.stats.verdict import FEWEST

Numbers = Mapping[tuple[str, ...], Mapping[int, Mapping[Key, Separation]]]
FULL, NO_UNITS = (), ("heterogd", "homogd")
SPACES = {"fig3": "X^com, every clip and modality a point", "fig4": "X^prt, every clip and modality a point"}
TITLES = {
    "fig3": "Figure 3, homogeneous features: are the classes apart?",
    "fig4": "Figure 4, heterogeneous features: are the modalities apart?",
}
CLAIMS = {
    "fig3": "C9: without graph distillation only non-negative / negative lie apart, with it the 7 classes too",
    "fig4": "C10: the full model separates the modalities best",
}
RULE = (
    "measured in the feature space itself, before any t-SNE: silhouette (-1 to 1; 0: no structure), and the share of "
    "points whose nearest point of ANOTHER clip has their label, in %. Mean over seeds ± sample STD, [95 % Student t "
    "interval]. sign: non-negative / negative.",
    "shuffled: the same with labels shuffled over clips (Figure 3) or over each clip's modalities (Figure 4), the mean "
    "over seeds: what chance gives on these points.",
    "a point is the mean of a clip's X^com (X^prt) of one modality over the steps that are not padding; which vector "
    "the paper's picture is of, and which clips, it does not say.",
)


def claim_sheet(figure: Figure, about: SeparatedRuns, numbers: Numbers, *, seed: int) -> Sheet:
    """Return the numbers of a figure and what they say of its claim; a word needs five seeds and the official split."""
    masks = [mask for mask in about.masks if mask.runs]
    keys = list(dict.fromkeys(key for by_seed in numbers.values() for one in by_seed.values() for key in one))
    grids = []
    for sample in dict.fromkeys(key[2] for key in keys):
        rows = []
        for key in (key for key in keys if key[2] == sample):
            for mask in masks:
                said = _spread(summarise(list(_values(numbers, mask.off, key).values())), key[0])
                rows.append((_named(key), mask.name, str(len(mask.runs)), said, _chance(numbers, mask.off, key)))
        headers = ("measure", "mask", "n", "mean ± STD [95 %]", "shuffled")
        grids.append(TextGrid(f"{SPACES[figure]}, {sample}", headers, "llrrr", tuple(rows)))
    mark = mark_of([about.group.data["standing"]])
    return Sheet(
        name=f"{figure}-numbers", title=TITLES[figure], grids=tuple(grids),
        notes=(*_claim(figure, numbers, mark), *_missing(about), _drawn(figure, about, seed)), rule=RULE, mark=mark,
        data=(f"{about.group.line}, split {SPLIT}, {len(about.any.ids)} clips",),
        document=_document(figure, about, numbers, keys, seed),
    )  # fmt: skip


def _named(key: Key) -> str:
    return f"{key[0]}, {key[1]}"


def _values(numbers: Numbers, off: tuple[str, ...], key: Key) -> dict[int, float]:
    return {seed: one[key].true for seed, one in numbers.get(off, {}).items() if key in one}


def _digits(what: str) -> int:
    return 1 if what == NEIGHBOUR else 3


def _spread(summary: Summary, what: str) -> str:
    if summary.mean is None:
        return NONE
    digits = _digits(what)
    said = f"{summary.mean:.{digits}f}"
    if summary.std is None:
        return f"{said} (one seed)"
    said += f" ± {summary.std:.{digits}f}"
    if summary.interval:
        said += " [" + ", ".join(f"{end:.{digits}f}" for end in summary.interval) + "]"
    return said.replace("-", "−")


def _chance(numbers: Numbers, off: tuple[str, ...], key: Key) -> str:
    found = [one[key].chance for one in numbers.get(off, {}).values() if key in one]
    return f"{sum(found) / len(found):.{_digits(key[0])}f}".replace("-", "−") if found else NONE


def _claim(figure: Figure, numbers: Numbers, mark: str | None) -> list[str]:
    """Say what the claim's differences are, paired over seeds, and one word on each where a word may be given."""
    lines = [CLAIMS[figure]]
    told = "7 classes" if figure == "fig3" else "modalities"
    others = [NO_UNITS] if figure == "fig3" else [off for off in MASKS if off != FULL]
    for what in (SILHOUETTE, NEIGHBOUR):
        key = (what, told, WHOLE)
        for off in others:
            full, without = _values(numbers, FULL, key), _values(numbers, off, key)
            gap = paired(full, without)
            if gap.summary.mean is None:
                continue
            said = f"{what}, {told}: full less {MASKS[off]} {_spread(gap.summary, what)}"
            lines.append(f"{said}, paired over {gap.summary.n} seeds: {_word(gap.summary, mark)}")
    if figure == "fig3":
        lines += _apart(numbers, mark)
    return lines


def _apart(numbers: Numbers, mark: str | None) -> list[str]:
    """Say for each mask whether what C9 tells apart lies further apart than shuffled labels do."""
    lines = []
    for off in (NO_UNITS, FULL):
        for told in ("sign", "7 classes"):
            key = (SILHOUETTE, told, WHOLE)
            gaps = [one[key].true - one[key].chance for one in numbers.get(off, {}).values() if key in one]
            if gaps:
                summary = summarise(gaps)
                said = f"silhouette, {told}, {MASKS[off]}: above shuffled by {_spread(summary, SILHOUETTE)}"
                lines.append(f"{said}: {_word(summary, mark, 'apart', 'not apart')}")
    return lines


def _word(summary: Summary, mark: str | None, above: str = "as claimed", below: str = "against the claim") -> str:
    if mark:
        return f"no word, {mark}"
    if summary.n < FEWEST or summary.interval is None:
        return f"no word, it takes {FEWEST} seeds that differ"
    low, high = summary.interval
    return above if low > 0 else below if high < 0 else "not told by so many seeds"


def _missing(about: SeparatedRuns) -> list[str]:
    lines = []
    for mask in about.masks:
        if not mask.runs:
            lines.append(f"{mask.name}: no finished run ({_table3(mask)}). Make them: {command(about, mask.off)}")
        if mask.failed:
            lines.append(
                f"{mask.name}: {len(mask.failed)} runs failed, seeds {', '.join(map(str, mask.failed))}: left out"
            )
        if mask.not_learned:
            seeds = ", ".join(map(str, mask.not_learned))
            lines.append(
                f"{mask.name}: {len(mask.not_learned)} of {len(mask.runs)} runs did not learn (seeds {seeds}), counted"
            )
    if about.left_out:
        lines.append(f"{about.left_out} further configuration{'s' * (about.left_out > 1)} at hand: choose by --data")
    return lines


def _drawn(figure: Figure, about: SeparatedRuns, seed: int) -> str:
    if figure == "fig4" and len(about.any.ids) <= CLIPS:
        return f"the split has {len(about.any.ids)} clips, no more than the paper's {CLIPS}: all are taken, none drawn"
    size = f"{A_CLASS} a class, or all where a class has fewer" if figure == "fig3" else f"{CLIPS}"
    return f"clips drawn by seed {seed}: {size}; the same for all masks and runs"


def _table3(mask: MaskFeatures) -> str:
    return "it is no row of Table 3" if mask.off == NO_UNITS else "a row of Table 3"


def _document(figure: Figure, about: SeparatedRuns, numbers: Numbers, keys: list[Key], seed: int) -> dict[str, Any]:
    masks = []
    for mask in about.masks:
        values = []
        for key in keys:
            there = {str(s): one[key] for s, one in numbers.get(mask.off, {}).items() if key in one}
            values.append(
                {"measure": key[0], "told": key[1], "clips": key[2],
                 "values": {s: value.true for s, value in there.items()},
                 "shuffled": {s: value.chance for s, value in there.items()}}
            )  # fmt: skip
        masks.append(
            {"mask": list(mask.off), "name": mask.name, "runs": {str(s): r.run_id for s, r in mask.runs.items()},
             "failed_seeds": list(mask.failed), "not_learned_seeds": list(mask.not_learned), "numbers": values}
        )  # fmt: skip
    return {"figure": figure, "draw_seed": seed, "data_digest": about.group.data["digest"], "masks": masks}
