"""Where the paper and the authors' code differ, switch by switch, with the effect measured in the runs at hand.

An effect is measured between runs that are equal in everything (model, seed, data, mask, configuration) but ONE
switch, paired over their seeds, in every measure, on the test clips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dmd_repro.audit.types import Finding
from dmd_repro.errors import DmdError
from dmd_repro.metrics.registry import METRICS, one_a_column, shown_in
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.spec import canonical
from dmd_repro.stats.paired import Paired, paired
from dmd_repro.systems.dmd.switches import SAME, SWITCHES, Switch

MEASURES = [name for name in one_a_column(shown_in("comparison")) if METRICS[name].unit == "%"]  # effects in points
NOT_MEASURED = "not measured: no runs at hand differ in this switch alone"


@dataclass(frozen=True, slots=True)
class SwitchEffect:
    """What turning one switch did: paper's value minus code's, paired over seeds, on one feature set."""

    data: str
    standing: str
    base: str  # protocol all other switches follow, and the mask
    by_metric: Mapping[str, Paired]


def audit_code(runs_dir: Path) -> list[Finding]:
    """Return one finding per switch (flag: the two differ) and one per topic on which both protocols do the same.

    Raises RunError if the folder of runs cannot be read.
    """
    effects = measured_effects(Records(runs_dir))
    out = []
    for switch in SWITCHES:
        text = (
            f"paper ({switch.source.partition(';')[0]}): {switch.paper_says}; code: {switch.code_does}. "
            f"`--set {switch.name}={_value(switch.paper)}` (code: {_value(switch.official)}). "
            f"SwitchEffect: {_effect(effects, switch)}. "
            "Innocent explanations: a paper leaves out details for space; the published code may be a later version."
        )
        out.append(
            _finding(switch.name, "flag", "read in the authors' code; the paper's reading is ours where marked", text)
        )
    for same in SAME:
        text = f"same in both protocols: {same.code_does}. {same.reason[:1].upper()}{same.reason[1:]} ({same.source})."
        out.append(_finding(same.topic, "ok", "the paper is silent or agrees", text))
    return out


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _finding(row: str, status: str, certainty: str, text: str) -> Finding:
    return Finding("code", None, row, None, None, None, status, certainty, text)  # type: ignore[arg-type]


def _effect(effects: Mapping[str, list[SwitchEffect]], switch: Switch) -> str:
    found = effects.get(switch.name, [])
    if not found:
        return NOT_MEASURED
    parts = []
    for effect in found:
        words = []
        for name, gap in effect.by_metric.items():
            ends = gap.summary.interval
            interval = f" [{ends[0]:+.2f}, {ends[1]:+.2f}]" if ends else ""
            words.append(f"{METRICS[name].heading} {gap.summary.mean:+.2f}{interval}")
        seeds = len(next(iter(effect.by_metric.values())).seeds)
        warning = "" if effect.standing == "official" else f", {effect.standing.upper()} DATA"
        where = f"{effect.base}, {effect.data}{warning}, {seeds} seeds, 95 % interval over seeds"
        parts.append(f"{', '.join(words)} points (paper's value minus the code's; {where})")
    return "; ".join(parts)


def measured_effects(records: Records) -> dict[str, list[SwitchEffect]]:
    """Return, per switch, its effect wherever finished DMD runs differ in it alone.

    Raises RunError if the folder cannot be read; a damaged record is passed over.
    """
    runs = [
        record
        for name in records.run_ids()
        if (record := records.whole(name, check=False)) and record.spec.model == "dmd"
    ]
    out: dict[str, list[SwitchEffect]] = {}
    for switch in SWITCHES:
        groups: dict[str, dict[str, dict[int, RunRecord]]] = defaultdict(lambda: {"paper": {}, "code": {}})
        for record in runs:
            side = {canonical(switch.paper): "paper", canonical(switch.official): "code"}.get(
                canonical(record.spec.config.get(switch.name))
            )
            if side and switch.name in record.spec.config:
                groups[_but_for(record, switch.name)][side][record.spec.seed] = record
        for sides in groups.values():
            seeds = sorted(set(sides["paper"]) & set(sides["code"]))
            if seeds and (effect := _measure(sides, seeds)):
                out.setdefault(switch.name, []).append(effect)
    return out


def _but_for(record: RunRecord, name: str) -> str:
    """Return all of a run's identity but its seed, its protocol's name and one switch."""
    spec = record.spec.hashed()
    config = {key: value for key, value in spec["config"].items() if key != name}
    return canonical({**spec, "seed": None, "protocol": None, "config": config, "digest": record.data["digest"]})


def _measure(sides: Mapping[str, Mapping[int, RunRecord]], seeds: list[int]) -> SwitchEffect | None:
    scores: dict[str, dict[str, dict[int, float]]] = {side: {name: {} for name in MEASURES} for side in sides}
    for side, runs in sides.items():
        for seed in seeds:
            try:
                said = runs[seed].predictions("test")
            except DmdError:
                continue
            for name in MEASURES:
                value = METRICS[name].shown(said.y_true, said.y_pred)
                if value == value:  # NaN: a diverged run has no score
                    scores[side][name][seed] = value
    gaps = {name: paired(scores["paper"][name], scores["code"][name]) for name in MEASURES}
    gaps = {name: gap for name, gap in gaps.items() if gap.seeds}
    if not gaps:
        return None
    one = sides["code"][seeds[0]]
    base = f"all else as in protocol '{one.spec.protocol}'" + (f", {one.spec.mask.label}" if one.spec.mask.off else "")
    return SwitchEffect(one.data.get("name", "?"), one.data.get("standing", "?"), base, gaps)
