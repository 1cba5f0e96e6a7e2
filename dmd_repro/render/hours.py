"""What the runs of some tables take, as a sheet: machines, systems, tables, data, and what fewer rows or seeds save."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date

from dmd_repro.planning.figures import Figure
from dmd_repro.planning.grid import PlannedTable
from dmd_repro.planning.hours import (
    ASSUMED,
    MACHINES,
    OWN,
    Cost,
    Grade,
    Machine,
    Seen,
    clock,
    costs_of,
    grouped,
    total,
    with_seeds,
)
from dmd_repro.planning.tables import rows_named
from dmd_repro.planning.whole import Configuration
from dmd_repro.results.sheet import NONE, Sheet, TextGrid
from dmd_repro.systems.registry import find_system

SAVING = ("mosi", "aligned", "dmd")  # names for --rows whose hours are shown
DAYS = 100  # hours from which days are read more easily


def span(hours: float | None) -> str:
    """Return hours in the unit that reads best: 4 min, 3.2 h, 17 days."""
    if hours is None:
        return NONE
    if hours >= DAYS:
        return f"{hours / 24:,.0f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def share(part: float | None, whole: float | None) -> str:
    """Return a part in percent; a dash where one of them is not measured."""
    return f"{part / whole:.0%}" if part is not None and whole else NONE


def hours_sheet(
    plans: Sequence[PlannedTable], configurations: Sequence[Configuration], figures: Sequence[Figure], seen: Seen
) -> Sheet:
    """Return the sheet; every total says how many configurations it leaves out because they are not measured."""
    cpu, card = (costs_of(configurations, kind, figures, seen) for kind in ("cpu", "cuda"))
    runs, left = sum(len(c.status) for c in configurations), sum(c.to_train for c in configurations)
    uses = sum(len(c.rows) for c in configurations)
    names = [planned.table.name for planned in plans]
    tables = f"{names[0]} to {names[-1]}" if len(names) > 2 else " and ".join(names)
    grids = (
        _machines(cpu, card),
        _parts("By system, on one core", "system", cpu, card, _system),
        _parts("By table (what tables share is in the first)", "table", cpu, card, _table),
        _parts("By data", "data", cpu, card, _data),
        _savings(plans, configurations, figures, seen),
    )
    count = (
        f"{left} of {runs} runs are to be trained: {len(configurations)} configurations, each once, for {uses} rows."
    )
    answer = (*_answers(cpu, card), count)
    return Sheet("hours", f"What {tables} take", grids, answer=answer, notes=tuple(_notes(cpu, card)))


def _system(cost: Cost) -> str:
    return find_system(cost.configuration.spec.model).title


def _table(cost: Cost) -> str:
    return cost.configuration.tables[0]


def _data(cost: Cost) -> str:
    return f"{cost.configuration.case.dataset} {cost.configuration.setting}"


def _answers(cpu: Sequence[Cost], card: Sequence[Cost]) -> list[str]:
    hours, out = total(cpu)
    lines = [f"Typically {', '.join(_on(machine, cpu if machine.kind == 'cpu' else card) for machine in MACHINES)}."]
    known = {name: h for name, costs in grouped(cpu, _system).items() if (h := total(costs)[0]) is not None}
    if known and hours:
        name = max(known, key=lambda n: known[n])
        without = " that are measured" if out else ""
        lines.append(f"{name} takes {known[name] / hours:.0%} of the hours of a CPU{without}.")
        longest = max((h / c.configuration.to_train, _system(c), _data(c)) for c in cpu if (h := c.hours()))
        lines.append(
            f"The longest run, {longest[1]} on {longest[2]}, takes {span(longest[0])}: more cores do not help it."
        )
    return lines


def _on(machine: Machine, costs: Sequence[Cost]) -> str:
    hours, out = clock(costs, machine)
    if hours is None:
        return f"not measured on {machine.title}"
    wanted = sum(bool(c.configuration.to_train) for c in costs)
    if out:
        return f"{span(hours)} for the {wanted - out} of {wanted} configurations measured on {machine.title}"
    return f"{span(hours)} on {machine.title}"


def _machines(cpu: Sequence[Cost], card: Sequence[Cost]) -> TextGrid:
    rows = []
    for machine in MACHINES:
        costs = cpu if machine.kind == "cpu" else card
        (hours, out), (most, _) = clock(costs, machine), clock(costs, machine, most=True)
        rows.append((machine.title, span(hours), span(most), f"{out} not measured" if out else "nothing"))
    return TextGrid("", ("on", "typically", "at most", "leaves out"), "lrrl", tuple(rows))


def _parts(title: str, head: str, cpu: Sequence[Cost], card: Sequence[Cost], key: Callable[[Cost], str]) -> TextGrid:
    """Return the hours of one core and of one card by a name, the costliest first; the lines sum to the whole."""
    hours = total(cpu)[0]
    on_card = grouped(card, key)

    def line(name: str, here: Sequence[Cost], there: Sequence[Cost]) -> tuple[str, ...]:
        (own, out), (on_a_card, not_there) = total(here), total(there)
        count = sum(c.configuration.to_train for c in here)
        ends = (span(own) + _plus(own, out), span(total(here, most=True)[0]), share(own, hours))
        return (name, f"{count}", *ends, span(on_a_card) + _plus(on_a_card, not_there))

    on_card, groups = grouped(card, key), grouped(cpu, key)
    names = sorted(groups, key=lambda name: -(total(groups[name])[0] or 0.0))
    lines = [*(line(name, groups[name], on_card[name]) for name in names), line("all", cpu, card)]
    heads = (head, "runs", "one core", "at most", "share", "one card")
    return TextGrid(title, heads, "lrrrrr", tuple(lines))


def _plus(hours: float | None, out: int) -> str:
    """Mark hours that leave something out."""
    return " +" if out and hours is not None else ""


def _savings(
    plans: Sequence[PlannedTable], configurations: Sequence[Configuration], figures: Sequence[Figure], seen: Seen
) -> TextGrid:
    two, eight = MACHINES[0], MACHINES[1]
    seeds = max((len(c.status) for c in configurations), default=0)
    chosen: list[tuple[str, list[Configuration]]] = [("everything", list(configurations))]
    if seeds > 1:
        chosen.append(
            (f"--seeds {seeds // 2 if seeds > 3 else '1111,'}", with_seeds(configurations, max(1, seeds // 2)))
        )
    for name in SAVING:
        keys = rows_named(plans, name)
        kept = [c for c in configurations if not keys.isdisjoint(c.rows)]
        if 0 < len(kept) < len(configurations):
            chosen.append((f"--rows {name}", kept))
    by_system = grouped(costs_of(configurations, "cpu", figures, seen), lambda c: c.configuration.spec.model)
    costly = sorted(by_system, key=lambda name: -(total(by_system[name])[0] or 0))[:1]
    for name in costly if len(by_system) > 1 else ():
        rest = [c for c in configurations if c.spec.model != name]
        chosen.append((f"the rows of all but {find_system(name).title}", rest))
    whole = total(costs_of(configurations, "cpu", figures, seen))[0]
    rows = []
    for words, kept in chosen:
        costs = costs_of(kept, "cpu", figures, seen)
        hours, out = total(costs)
        ends = [clock(costs, machine)[0] for machine in (two, eight)]
        rows.append(
            (words, str(sum(c.to_train for c in kept)), *(span(h) + _plus(h, out) for h in ends), share(hours, whole))
        )
    heads = ("asked for", "runs", two.title, eight.title, "share")
    return TextGrid("What fewer seeds and rows take", heads, "lrrrr", tuple(rows))


def _notes(cpu: Sequence[Cost], card: Sequence[Cost]) -> list[str]:
    notes = [f"E{epochs_words(cpu)[1:]}. 'At most' takes the limit of each."]
    for name, costs in (("A core", cpu), ("A card", card)):
        used = [c.figure for c in costs if c.figure]
        own = sum(c.source == OWN for c in costs)
        if own:
            notes.append(f"{name}: {own} configurations by finished runs here.")
        for machine, entries in _by_machine(used).items():
            dates = sorted({date.fromisoformat(f.date) for f in entries})
            when = f"{dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")
            hows = "; ".join(dict.fromkeys(f.how for f in entries))
            notes.append(f"{name}: {machine}, {when}, {hows} ({len(entries)} configurations).")
            if n := sum(f.evaluate_ms is None for f in entries):
                notes.append(
                    f"{name}: of {n} of them evaluation was not timed, and is counted as training, which is more."
                )
    if any(c.seconds_per_epoch is None for c in (*cpu, *card)):
        notes.append(
            "+: what is not measured there has no hours, and is in no sum. Configurations, not runs, are counted."
        )
    notes.append(
        "Runs go side by side, a core each, as fast as one alone: memory that they share may make them slower."
    )
    if any(c.configuration.method.endswith("*") and not c.configuration.here for c in cpu):
        notes.append("Rows with a star: on hidden states, as without --bert. A BERT that is trained takes far longer.")
    return notes


def epochs_words(costs: Sequence[Cost]) -> str:
    """Return how many epochs a run is taken to have, and how that is known."""
    words: dict[Grade, str] = {
        "counted": "as counted in finished runs here",
        "all": "all that are set, as nothing stops them early",
        "published": "as one published run of DMD had",
        "assumed": f"{ASSUMED}, assumed",
    }
    return f"epochs a run: {_shared([words[one.grade] for one in costs])}"


def source_words(costs: Sequence[Cost]) -> str:
    """Return where the times of some costs, all of them measured, come from."""
    words = []
    for one in costs:
        if one.figure:
            words.append(f"figures measured on {one.figure.machine}, {one.figure.date}")
        else:
            words.append("this machine's own runs" if one.source == OWN else one.source)
    return _shared(sorted(words, reverse=True))


def _shared(words: Sequence[str]) -> str:
    """Return different words once each, with the number of configurations that they are said of where they are many."""
    counts = Counter(words)
    return "; ".join(f"{text} ({n} of {len(words)})" if len(counts) > 1 else text for text, n in counts.items())


def _by_machine(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.machine, []).append(figure)
    return found
