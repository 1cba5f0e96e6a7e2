"""A full model beside what was taken away or switched: paired over seeds, measure by measure.

Every arm shares its seeds, its batches and the initial values of what it has in common with the full model, so the
difference is taken seed by seed. What its p-value is of, and how many there are, stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dmd_repro.planning.plans import TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.runs import Runs
from dmd_repro.results.scores import HEADINGS, MEASURES, Scored, ends, mark_of, number, score_runs, spread
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.stats.paired import Paired, paired
from dmd_repro.stats.summary import CONSTANT, TOO_FEW, holm, summarise

ABLATION_RULE = (
    "difference: second model − first on the same seed (same batches, same initial values of common parts), mean over "
    "the seeds both have; 95 % interval: Student t of that mean; it says nothing about new clips.",
    "p: two-sided paired t test of no difference, per measure; it needs two seeds, differences that are not all equal, "
    "and no failed run in either arm (leaving one out would flatter the mean). Where a run did not learn there is "
    "neither interval nor p: no normal model holds over such a mixture.",
    "An interval that holds 0 does not show that the part does nothing: it shows that so many seeds cannot tell.",
)
HOLM = "p (Holm): adjusted for the arms compared in this table, measure by measure (not for the measures)."


@dataclass(frozen=True, slots=True)
class ArmEffect:
    """What an arm changes in one measure."""

    measure: str
    paired: Paired
    p: float | None
    p_holm: float | None
    why_not: str | None  # why there is no p
    mixture: bool = False  # a run of either arm did not learn

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the mean difference; None over runs that learned and runs that did not."""
        return None if self.mixture else self.paired.summary.interval

    def to_json(self) -> dict[str, Any]:
        """Return the effect as plain JSON values."""
        summary = self.paired.summary
        return {
            "measure": self.measure, "difference": summary.mean, "std": summary.std,
            "interval": list(self.interval) if self.interval else None, "level": summary.level,
            "n": summary.n, "seeds": list(self.paired.seeds), "p": self.p, "p_holm": self.p_holm,
            "correlation": self.paired.correlation, "why_not": self.why_not,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComparedArm:
    """One configuration, and its difference from the full model (empty for the full model itself)."""

    key: str
    against: str | None
    protocol: str | None
    scored: Scored
    effects: tuple[ArmEffect, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the arm as plain JSON values."""
        scored = self.scored
        return {
            "key": self.key, "against": self.against, "protocol": self.protocol, "n": len(scored.runs),
            "planned_seeds": list(scored.planned), "failed_seeds": scored.failed,
            "not_learned_seeds": scored.not_learned,
            "means_of_learned": {name: summarise(scored.of_learned(name)).mean for name in scored.values},
            "runs": {str(seed): run for seed, run in scored.runs.items()},
            "values": {name: {str(s): v for s, v in by_seed.items()} for name, by_seed in scored.values.items()},
            "effects": [effect.to_json() for effect in self.effects],
        }  # fmt: skip


def baseline_of(key: str, keys: list[str]) -> str | None:
    """Return which arm of a plan an arm is compared with: the full model of its protocol; that one, with the first."""
    mark, colon, name = key.rpartition(":")
    own = f"{mark}{colon}full"
    found = keys[0] if name == "full" else own
    return None if found == key else found


def compare_arms(plan: TablePlan, records: Records) -> list[ComparedArm]:
    """Score the arms of an ablation's plan and pair each with its baseline; RunError where runs cannot be read."""
    runs, keys = Runs(records), list(plan.rows)
    scored = {
        key: score_runs(row.runs, runs, digest=(row.features or {}).get("digest")) for key, row in plan.rows.items()
    }
    pairs = {key: base for key in keys if (base := baseline_of(key, keys))}
    effects = {key: _effects(scored[key], scored[base]) for key, base in pairs.items()}
    for i, _ in enumerate(MEASURES):  # Holm over the arms, one family a measure
        tested = [(key, e) for key, found in effects.items() if (e := found[i]).p is not None]
        for (key, e), p in zip(tested, holm([e.p for _, e in tested if e.p is not None]), strict=True):
            effects[key][i] = replace(e, p_holm=p)
    return [
        ComparedArm(key, pairs.get(key), _protocol(scored[key], runs), scored[key], tuple(effects.get(key, ())))
        for key in keys
    ]


def _effects(arm: Scored, base: Scored) -> list[ArmEffect]:
    out, lost = [], len(arm.not_learned) + len(base.not_learned)
    for measure in MEASURES:
        gap = paired(arm.values[measure], base.values[measure])
        why = None
        if arm.failed or base.failed:
            why = "no test: a run failed, and leaving it out would flatter the mean"
        elif not gap.seeds:
            why = "no test: no seed has both runs"
        elif lost:
            why = f"no interval and no test: {lost} run{'s' * (lost > 1)} did not learn"
        elif gap.test is None:
            why = f"no test: {gap.summary.why}".replace(CONSTANT, "the difference is the same for every seed")
            why = why.replace(TOO_FEW, "one seed has no spread")
        out.append(ArmEffect(measure, gap, gap.test.p if gap.test and not why else None, None, why, lost > 0))
    return out


def _protocol(scored: Scored, runs: Runs) -> str | None:
    for run_id in scored.runs.values():
        found = runs.get(run_id)
        if not isinstance(found, str):
            return found[0].spec.protocol
    return None


def ablation_sheet(title: str, plan: TablePlan, arms: list[ComparedArm]) -> Sheet:
    """Lay out an ablation: the full model and the other side by side; with several arms, all of them above."""
    compared = [arm for arm in arms if arm.against]
    protocols = {arm.protocol for arm in arms if arm.protocol}
    facts = [row.features for row in plan.rows.values() if row.features]
    grids = [_overview(arms)] if len(compared) > 1 else []
    by_key = {arm.key: arm for arm in arms}
    grids += [_side_by_side(arm, by_key[str(arm.against)], len(compared) > 1) for arm in compared]
    if len(protocols) > 1 and len(compared) > 1:
        grids[0] = _with_protocols(grids[0], arms)
    notes = [_learned(arm) for arm in arms if arm.scored.not_learned]
    notes += [note for arm in arms for note in arm.scored.notes]
    notes += [e.why_not for arm in compared for e in arm.effects if e.why_not]
    notes += [note for row in plan.rows.values() for note in row.notes]
    mixed = [f"two protocols in one table, as asked for: {', '.join(sorted(protocols))}"] if len(protocols) > 1 else []
    return Sheet(
        name=plan.table, title=title, grids=tuple(grids), mark=mark_of([str(f["standing"]) for f in facts]),
        answer=tuple(found for arm in compared if (found := _answer(arm))),
        notes=tuple(dict.fromkeys([*mixed, *notes])),
        data=tuple(dict.fromkeys(f"{f['label']}, digest {str(f['digest'])[:12]}" for f in facts)),
        rule=ABLATION_RULE + ((HOLM,) if len(compared) > 1 else ()),
        document={
            "protocols": sorted(protocols), "seeds": list(plan.seeds), "arms": [arm.to_json() for arm in arms],
            "plan_data": list(plan.data),
        },
    )  # fmt: skip


def _answer(arm: ComparedArm) -> str:
    """Say in a sentence what an arm changes in ACC2, or the first measure there is; "" without a common seed."""
    effect = next((e for e in arm.effects if e.paired.summary.mean is not None), None)
    if effect is None:
        return ""
    m, summary = effect.measure, effect.paired.summary
    text = f"{arm.key} beside {arm.against}: {HEADINGS[m]} {number(summary.mean, m, signed=True)}"
    text += f" over {summary.n} seed{'s' if summary.n > 1 else ''}"
    if arm.scored.not_learned:
        text += f", {arm.scored.learned}"
    if effect.interval is None:
        return f"{text}; no interval ({(effect.why_not or 'no test').removeprefix('no test: ')})."
    low, high = effect.interval
    holds = "so many seeds cannot tell it from none" if low <= 0 <= high else "it is not none"
    return f"{text} (95 % {ends(effect.interval, m)}): {holds}."


def _learned(arm: ComparedArm) -> str:
    """Say how many runs of an arm learned, and its means without the others."""
    scored = arm.scored
    means = [f"{HEADINGS[m]} {number(summarise(kept).mean, m)}" for m in MEASURES if (kept := scored.of_learned(m))]
    without = f"; means of those that did: {', '.join(means)}" if means else ""
    return f"{arm.key}: {scored.learned}{without}; the table's means are over all"


def _overview(arms: list[ComparedArm]) -> TextGrid:
    rows = [
        (arm.key, arm.scored.n, *(number(summarise(list(arm.scored.values[m].values())).mean, m) for m in MEASURES))
        for arm in arms
    ]
    return TextGrid(
        "means over seeds", ("model", "n", *(HEADINGS[m] for m in MEASURES)), "lr" + "r" * len(MEASURES), tuple(rows)
    )


def _with_protocols(grid: TextGrid, arms: list[ComparedArm]) -> TextGrid:
    rows = tuple((row[0], arm.protocol or NONE, *row[1:]) for row, arm in zip(grid.rows, arms, strict=True))
    return TextGrid(grid.title, (grid.headers[0], "protocol", *grid.headers[1:]), "l" + grid.align, rows)


def _side_by_side(arm: ComparedArm, base: ComparedArm, several: bool) -> TextGrid:
    """One line a measure: the full model, the arm, their difference with interval and test."""
    rows = []
    for effect in arm.effects:
        m, summary = effect.measure, effect.paired.summary
        sides = [spread(summarise([side.scored.values[m][s] for s in effect.paired.seeds]), m) for side in (base, arm)]
        tests = [NONE if p is None else p_value(p) for p in ((effect.p, effect.p_holm) if several else (effect.p,))]
        gap = number(summary.mean, m, signed=True)
        rows.append(
            (HEADINGS[m], *sides, gap, ends(effect.interval, m), *tests, f"{summary.n}/{len(arm.scored.planned)}")
        )
    headers = ("measure", base.key, arm.key, "difference", "95 % interval", "p", *(("p (Holm)",) if several else ()))
    title = f"{arm.key} beside {base.key}, paired over the seeds both have"
    return TextGrid(title, (*headers, "n"), "l" + "r" * len(headers), tuple(rows))
