"""Table 3 from all 16 masks: what each part is worth (Shapley), which pairs help each other, and the paper's six rows.

The paper takes parts away in one order; the worth of a part depends on what is there already. Over all 16 sets of parts
that dependence is averaged out, seed by seed, so that an interval over seeds can be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dmd_repro.metrics.registry import METRICS, one_a_column
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records
from dmd_repro.results.masks import PARTS, MaskGroup, all_masks, mask_groups, parts_on
from dmd_repro.results.runs import Runs
from dmd_repro.results.scores import HEADINGS, MEASURES, Scored, ends, number, score_runs, spread
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.stats.shapley import Worth, interactions, shapley_values
from dmd_repro.stats.summary import holm, one_sample_t, summarise

LOWER = [METRICS[name].heading for name in MEASURES if not METRICS[name].higher_is_better]
SHAPLEY_RULE = (
    "Shapley value of a part: its marginal effect averaged over all orders of adding the four parts, computed per seed "
    "from the 16 masks; then mean ± sample STD, t interval (95 %) and t test against 0 over the seeds that have "
    "all 16. The four values of a seed add up to full − none.",
    "Interaction of two parts (Grabisch and Roubens): how much more both are worth together than each alone, averaged "
    "over the rest; above 0 they help each other, below 0 one does the other's work.",
    "p (Holm): adjusted for the four parts, or the six pairs, of one measure. "
    f"Lower is better for {' and '.join(LOWER)} alone.",
)


def shapley_sheets(records: Records, data: Sequence[str] = ()) -> list[Sheet]:
    """Return a sheet for each configuration with all 16 masks; where there is none, one that says what is missing."""
    groups = mask_groups(records, data)
    runs = Runs(records)
    sheets = [sheet for group in groups if not group.missing and (sheet := _sheet(group, runs))]
    return sheets or [_incomplete(groups, runs)]


def _sheet(group: MaskGroup, runs: Runs) -> Sheet | None:
    scored = {off: score_runs(group.masks[off], runs) for off in all_masks()}
    worths = {m: _by_seed(scored, m) for m in MEASURES}
    if not any(worths.values()):
        return None
    parts = {m: _over_seeds({s: shapley_values(w, PARTS) for s, w in by_seed.items()}) for m, by_seed in worths.items()}
    pairs = {m: _over_seeds({s: interactions(w, PARTS) for s, w in by_seed.items()}) for m, by_seed in worths.items()}
    whole = {m: [w[frozenset(PARTS)] - w[frozenset()] for w in by_seed.values()] for m, by_seed in worths.items()}
    seeds = sorted({s for by_seed in worths.values() for s in by_seed})
    left = sorted({s for off in group.masks for s in group.masks[off]} - set(seeds))
    notes = [note for s in scored.values() for note in s.notes]
    notes += [f"left out, not all 16 masks finished: seeds {', '.join(map(str, left))}"] if left else []
    notes += ["one seed: no interval and no test"] if len(seeds) == 1 else []
    return Sheet(
        name="table3-shapley",
        title=f"Table 3 from all 16 masks: what each part is worth, over {len(seeds)} seeds",
        grids=(
            *(_effects(f"{HEADINGS[m]}: Shapley values", parts[m], whole[m], m, len(seeds)) for m in MEASURES),
            _pairs_grid(pairs),
            _masks_grid(scored),
        ),
        mark=group.mark,
        notes=tuple(dict.fromkeys(notes)),
        data=(group.line,),
        rule=SHAPLEY_RULE,
        document={
            "complete": True, "protocol": group.protocol, "seeds": seeds, "config": dict(group.config),
            "shapley": {m: {part: _stats(v) for part, v in found.items()} for m, found in parts.items()},
            "full_minus_none": {m: _stats(v) for m, v in whole.items()},
            "interactions": {m: {"+".join(k): _stats(v) for k, v in found.items()} for m, found in pairs.items()},
            "masks": {parts_on(off): {m: _plain(s.values[m]) for m in MEASURES} for off, s in scored.items()},
        },
    )  # fmt: skip


def _by_seed(scored: Mapping[tuple[str, ...], Scored], measure: str) -> dict[int, Worth]:
    """Return, for each seed with all 16 values, the table from the parts that are on to the value."""
    seeds = set.intersection(*(set(s.values[measure]) for s in scored.values()))
    return {
        seed: {frozenset(PARTS) - set(off): s.values[measure][seed] for off, s in scored.items()}
        for seed in sorted(seeds)
    }


def _over_seeds(found: Mapping[int, Mapping[Any, float]]) -> dict[Any, list[float]]:
    keys = list(next(iter(found.values()), {}))
    return {key: [values[key] for values in found.values()] for key in keys}


def _stats(values: Sequence[float]) -> dict[str, Any]:
    summary, test = summarise(values), one_sample_t(values, 0.0)
    return {
        "values": list(values), "mean": summary.mean, "std": summary.std,
        "interval": list(summary.interval) if summary.interval else None, "p": test.p if test else None,
    }  # fmt: skip


def _plain(values: Mapping[int, float]) -> dict[str, float]:
    return {str(seed): value for seed, value in values.items()}


def _tests(found: Mapping[Any, Sequence[float]]) -> dict[Any, tuple[str, str]]:
    """Return p and Holm's p of each entry against 0, as text."""
    tested = [(key, test.p) for key, values in found.items() if (test := one_sample_t(values, 0.0))]
    adjusted = dict(zip([key for key, _ in tested], holm([p for _, p in tested]), strict=True))
    plain = dict(tested)
    return {k: (p_value(plain[k]), p_value(adjusted[k])) if k in plain else (NONE, NONE) for k in found}


def _effects(title: str, found: Mapping[str, list[float]], whole: list[float], measure: str, n: int) -> TextGrid:
    tests = _tests(found)
    rows = [
        (
            part,
            spread(summarise(v), measure, signed=True),
            ends(summarise(v).interval, measure),
            *tests[part],
            str(len(v)),
        )
        for part, v in found.items()
    ]
    total = summarise(whole)
    rows.append(
        (
            "sum = full − none",
            spread(total, measure, signed=True),
            ends(total.interval, measure),
            NONE,
            NONE,
            str(len(whole)),
        )
    )
    return TextGrid(title, ("part", "value", "95 % interval", "p", "p (Holm)", "n"), "lrrrrr", tuple(rows))


def _pairs_grid(found: Mapping[str, Mapping[tuple[str, str], list[float]]]) -> TextGrid:
    pairs = list(next(iter(found.values())))
    tests = {m: _tests(values) for m, values in found.items()}
    shown = one_a_column(MEASURES)
    rows = []
    for pair in pairs:
        cells = []
        for m in shown:
            if pair not in found[m]:
                cells += [NONE, NONE]
                continue
            cells += [spread(summarise(found[m][pair]), m, signed=True), tests[m][pair][1]]
        rows.append((" × ".join(pair), *cells))
    headers = ("pair", *(h for m in shown for h in (HEADINGS[m], "p (Holm)")))
    return TextGrid("pairwise interactions", headers, "l" + "rr" * len(shown), tuple(rows))


def _masks_grid(scored: Mapping[tuple[str, ...], Scored]) -> TextGrid:
    """The 16 masks, the paper's six rows among them with what it prints."""
    printed: dict[tuple[str, ...], dict[str, str]] = {}
    for row in load_table("table3").rows:
        if row.recipe:
            cells = " / ".join(cell.text for cell in row.cells.values())
            printed.setdefault(row.recipe.mask.off, {})[row.dataset] = cells
    rows, shown = [], one_a_column(MEASURES)
    for off, s in scored.items():
        values = [number(summarise(list(s.values[m].values())).mean, m) for m in shown]
        said = printed.get(off, {})
        rows.append((parts_on(off), s.n, *values, said.get("mosi", ""), said.get("mosei", "")))
    headers = ("parts on", "n", *(HEADINGS[m] for m in shown), "MOSI printed", "MOSEI printed")
    return TextGrid(
        "the 16 masks; printed: ACC7 / F1 of the paper's six rows", headers, "lr" + "r" * len(shown) + "rr", tuple(rows)
    )


def _incomplete(groups: Sequence[MaskGroup], runs: Runs) -> Sheet:
    if not groups:
        return Sheet(
            "table3-shapley", "Table 3 from all 16 masks: no run of dmd at hand", (),
            notes=("Make them: dmd ablate --all-masks --data synthetic --seeds 3",),
            document={"complete": False, "missing": [parts_on(off) for off in all_masks()], "command": None},
        )  # fmt: skip
    best = groups[0]
    seeds = sorted({seed for by_seed in best.masks.values() for seed in by_seed})
    missing = [parts_on(off) for off in best.missing]
    unfinished = [
        parts_on(off)
        for off in best.masks
        if not any(not isinstance(runs.get(r), str) for r in best.masks[off].values())
    ]
    command = best.command(seeds)
    held = len(best.masks)
    notes = [
        f"of the configuration with the most masks, {held} of 16 were run; missing (parts on): {', '.join(missing)}"
        if missing
        else f"no seed has finished all 16 masks (parts on, without a finished run: {', '.join(unfinished) or 'none'})",
        f"Make them: {command}",
    ]
    return Sheet(
        "table3-shapley", "Table 3 from all 16 masks: not all are at hand", (), mark=best.mark, notes=tuple(notes),
        data=(best.line,), document={"complete": False, "missing": missing, "command": command},
    )  # fmt: skip
