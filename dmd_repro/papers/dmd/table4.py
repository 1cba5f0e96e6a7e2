"""Table 4 and section 4.2 in both readings, and the modality heads of every mask at hand.

Main reading: the homogeneous heads of runs with FD alone against runs with no part. Other reading: a model that sees
one modality alone. Both are shown, because the paper does not say which it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from dmd_repro.papers.dmd.readings import alone_key
from dmd_repro.papers.tables import Row, load_table
from dmd_repro.planning.plans import PlannedRow, TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.masks import MaskGroup, group_runs, mask_groups, parts_on
from dmd_repro.results.runs import Runs
from dmd_repro.results.scores import HEADINGS, Scored, ends, mark_of, number, score_runs, spread
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.stats.paired import paired
from dmd_repro.stats.summary import summarise

MEASURES = ("acc2_non0", "f1_non0")
COLUMNS = {"acc2": "acc2_non0", "f1": "f1_non0"}
READINGS = {"heads": "the homogeneous heads of one run", "alone": "one modality trained alone"}
ORDER = ("l", "v", "a")  # as the table prints them
BySeed = dict[int, float]
TABLE4_RULE = (
    "heads: the homogeneous heads of a run, with FD alone against no part; alone: the output of a model that sees one "
    "modality (modalities=l, a or v), with and without FD. The paper does not say which it means.",
    "Mean and STD (population, divisor 3) are of the three modalities of one run, then averaged over seeds; alone: of "
    "the three runs of one seed. ± is the sample STD over seeds.",
    "change: with − without, paired over seeds; 95 % interval and p by Student t. ACC2, F1: negative / positive.",
)


def table4_sheets(plan: TablePlan | None, records: Records, data: Sequence[str] = ()) -> list[Sheet]:
    """Return the readings beside each other, where planned, and the heads of every mask at hand."""
    runs = Runs(records)
    sheets = [sheet for sheet in (_readings(plan, runs) if plan else None, _heads(plan, records, runs, data)) if sheet]
    return sheets


def _readings(plan: TablePlan, runs: Runs) -> Sheet | None:
    table = load_table("table4")
    scored = {
        key: score_runs(row.runs, runs, head=_head(key), digest=(row.features or {}).get("digest"), measures=MEASURES)
        for key, row in plan.rows.items()
        if row.status == "planned" and _known(key)
    }
    if not any(found.runs for found in scored.values()):
        return None
    values = {reading: _lines(reading, scored) for reading in READINGS}
    printed = {row.key: row for row in table.rows}
    facts = [row.features for row in plan.rows.values() if row.features]
    notes = [note for found in scored.values() for note in found.notes]
    if not any(values["alone"].values()):
        notes.append("the other reading was not run: dmd reproduce table4 plans it")
    return Sheet(
        name="table4-readings", title="Table 4 in both readings, and section 4.2",
        grids=(_both(values, printed), _changes(values), _text(scored, printed)),
        notes=tuple(dict.fromkeys(notes)), rule=TABLE4_RULE, mark=mark_of([str(f["standing"]) for f in facts]),
        data=tuple(dict.fromkeys(f"{f['label']}, digest {str(f['digest'])[:12]}" for f in facts)),
        document={"readings": {r: _json(found) for r, found in values.items()}, "rows": _rows_json(scored)},
    )  # fmt: skip


def _known(key: str) -> bool:
    rows = {row.key: row for row in load_table("table4").rows if row.recipe}
    return key in rows or key.removesuffix("-alone") in rows


def _head(key: str) -> str | None:
    found: dict[str, Row] = {row.key: row for row in load_table("table4").rows}
    recipe = found[key].recipe if key in found else None
    return recipe.head if recipe else None


def _lines(reading: str, scored: Mapping[str, Scored]) -> dict[tuple[str, str], dict[str, BySeed]]:
    """Return, by (line, with-fd | without-fd), each measure by seed; the lines are l, v, a, mean, std."""
    out: dict[tuple[str, str], dict[str, BySeed]] = {}
    for side in ("without-fd", "with-fd"):
        keys = {m: f"{m}-{side}" if reading == "heads" else alone_key(f"{m}-{side}") for m in ORDER}
        for m, key in keys.items():
            out[m, side] = scored[key].values if key in scored else {}
        for measure in MEASURES:
            three = [out[m, side].get(measure, {}) for m in ORDER]
            seeds = sorted(set.intersection(*map(set, three)))
            for line, statistic in (("mean", fmean), ("std", pstdev)):
                of = {seed: float(statistic([one[seed] for one in three])) for seed in seeds}
                out.setdefault((line, side), {})[measure] = of
    return {key: found for key, found in out.items() if any(found.values())}


Values = Mapping[str, Mapping[tuple[str, str], Mapping[str, BySeed]]]


def _both(values: Values, printed: Mapping[str, Row]) -> TextGrid:
    rows = []
    for line in (*ORDER, "mean", "std"):
        for side in ("without-fd", "with-fd"):
            cells = []
            for column, measure in COLUMNS.items():
                cells.append(printed[f"{line}-{side}"].cells[column].text)
                cells += [
                    _mean(values[reading].get((line, side), {}).get(measure, {}), measure) for reading in READINGS
                ]
            rows.append((printed[f"{line}-{side}"].method, *cells))
    names = [f"{HEADINGS[m].split()[0]} {word}" for m in MEASURES for word in ("printed", *READINGS)]
    return TextGrid("two readings of one modality alone", ("row", *names), "l" + "r" * len(names), tuple(rows))


def _mean(values: BySeed, measure: str) -> str:
    return spread(summarise(list(values.values())), measure) if values else NONE


def _changes(values: Values) -> TextGrid:
    """Claim C4, paired: FD lifts each modality and narrows their spread."""
    rows = []
    for reading in READINGS:
        for line in (*ORDER, "mean", "std"):
            cells = []
            for measure in MEASURES:
                sides = [values[reading].get((line, s), {}).get(measure, {}) for s in ("with-fd", "without-fd")]
                cells += _difference(sides[0], sides[1], measure)
            if set(cells) != {NONE}:
                rows.append((reading, line.capitalize() if line == "mean" else line.upper(), *cells))
    headers = (
        "reading",
        "of",
        *(f"{HEADINGS[m].split()[0]} {w}" for m in MEASURES for w in ("change", "95 % interval", "p")),
    )
    return TextGrid("what FD changes (claim: each modality up, STD down)", headers, "llrrrrrr", tuple(rows))


def _difference(a: Mapping[int, float], b: Mapping[int, float], measure: str) -> list[str]:
    gap = paired(a, b)
    return [
        number(gap.summary.mean, measure, signed=True), ends(gap.summary.interval, measure),
        p_value(gap.test.p) if gap.test else NONE,
    ]  # fmt: skip


def _text(scored: Mapping[str, Scored], printed: Mapping[str, Row]) -> TextGrid:
    """The numbers of section 4.2: heads without and with HomoGD, and heterogeneous heads after CA (claims C5, C8)."""
    rows = []
    for m in ORDER:
        sides = [f"{m}-homo-{side}-homogd" for side in ("without", "with")]
        cells = [printed[key].cells["acc2"].text for key in sides]
        found = [scored[key].values["acc2_non0"] if key in scored else {} for key in sides]
        cells += [_mean(by_seed, "acc2_non0") for by_seed in found]
        change = _difference(found[1], found[0], "acc2_non0")
        said = f"{printed[sides[1]].cells['acc2'].value - printed[sides[0]].cells['acc2'].value:+}"
        rows.append((f"{m.upper()} homogeneous, w/o → w/ HomoGD", f"{cells[0]} → {cells[1]}", said,
                     f"{cells[2]} → {cells[3]}", *change))  # fmt: skip
    for m in ORDER:
        key = f"{m}-hetero-after-ca"
        mean = _mean(scored[key].values["acc2_non0"], "acc2_non0") if key in scored else NONE
        rows.append((f"{m.upper()} heterogeneous, after CA", printed[key].cells["acc2"].text, "", mean, "", "", ""))
    headers = ("section 4.2, ACC2", "printed", "printed change", "measured", "change", "95 % interval", "p")
    return TextGrid(
        "the text's numbers (first reading; direction and order are read from the context)",
        headers,
        "lrrrrrr",
        tuple(rows),
    )


def _json(found: Mapping[tuple[str, str], Mapping[str, BySeed]]) -> dict[str, Any]:
    return {
        f"{line}-{side}": {m: {str(s): v for s, v in by_seed.items()} for m, by_seed in values.items()}
        for (line, side), values in found.items()
    }


def _rows_json(scored: Mapping[str, Scored]) -> dict[str, Any]:
    return {
        key: {"n": len(found.runs), "failed_seeds": found.failed, "runs": {str(s): r for s, r in found.runs.items()}}
        for key, found in scored.items()
    }


def _heads(plan: TablePlan | None, records: Records, runs: Runs, data: Sequence[str]) -> Sheet | None:
    """Every mask at hand: ACC2 of the six heads, their mean and population STD."""
    group = _group(plan, [g for g in mask_groups(records, data) if g.config.get("modalities", "lav") == "lav"])
    if group is None:
        return None
    rows, document = [], {}
    masks = group_runs(group, runs)
    for off in sorted(masks, key=lambda off: (len(off), off)):
        cells: list[str] = []
        for branch in ("homo", "hetero"):
            found = [score_runs(masks[off], runs, head=f"{m}_{branch}", measures=("acc2_non0",)) for m in ORDER]
            three = [one.values["acc2_non0"] for one in found]
            seeds = sorted(set.intersection(*map(set, three)))
            lines = {m.upper(): values for m, values in zip(ORDER, three, strict=True)}
            lines["mean"] = {s: fmean([one[s] for one in three]) for s in seeds}
            lines["std"] = {s: pstdev([one[s] for one in three]) for s in seeds}
            cells += [number(summarise(list(v.values())).mean, "acc2_non0") for v in lines.values()]
            document[f"{parts_on(off)} {branch}"] = {k: {str(s): x for s, x in v.items()} for k, v in lines.items()}
        rows.append((parts_on(off), str(len(masks[off])), *cells))
    names = [f"{branch} {name}" for branch in ("homo", "hetero") for name in ("L", "V", "A", "mean", "STD")]
    grid = TextGrid("means over seeds", ("parts on", "n", *names), "lr" + "r" * 10, tuple(rows))
    return Sheet(
        name="table4-masks", title="ACC2 of each modality's heads, for every mask at hand", grids=(grid,),
        mark=group.mark, data=(group.line,),
        rule=("ACC2: negative / positive; mean and population STD over the three heads of one run, then over seeds.",),
        document={"heads": document},
    )  # fmt: skip


def _group(plan: TablePlan | None, groups: Sequence[MaskGroup]) -> MaskGroup | None:
    """Return the group the plan's runs belong to, else the one with most masks."""
    rows: Sequence[PlannedRow] = list(plan.rows.values()) if plan else []
    planned = {run for row in rows for run in row.runs.values()}
    for group in groups:
        if planned & {run for by_seed in group.masks.values() for run in by_seed.values()}:
            return group
    return groups[0] if groups and plan is None else None
