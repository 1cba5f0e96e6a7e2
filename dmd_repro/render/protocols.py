"""The switches between a paper and its authors' code, as text: for `dmd protocol` and for docs/deviations.md.

One list (the system's own declaration) makes them all, so what is documented is what is trained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from dmd_repro.errors import SpecError, nearest
from dmd_repro.render.markdown import grid_lines
from dmd_repro.render.terminal import show_grid
from dmd_repro.results.sheet import TextGrid
from dmd_repro.spec import Scalar
from dmd_repro.systems.declare import System
from dmd_repro.systems.switches import Same, Switch

if TYPE_CHECKING:
    from rich.console import Console

ProtocolFormat = Literal["terminal", "markdown", "json"]
PROTOCOL_FORMATS: tuple[ProtocolFormat, ...] = ("terminal", "markdown", "json")
GROUPS = {
    "architecture": "Architecture",
    "losses": "Losses and graph units",
    "training": "Training and selection",
    "inputs": "Inputs",
}
WHAT = {"official": "what the authors' published code does", "paper": "what the paper's equations and text say"}


def protocol_names(asked: Sequence[str], system: System) -> tuple[str, ...]:
    """Return the protocols of a system asked for, all of them if none was; raises SpecError with the nearest name."""
    for name in asked:
        if name not in system.protocols:
            raise SpecError.at(
                f"protocol '{name}'",
                expected=f"a protocol of {system.name}",
                got="an unknown name",
                do=nearest(name, system.protocols),
            )
    return tuple(p for p in system.protocols if p in asked or not asked)


def value_text(value: Scalar) -> str:
    """Return a value as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def differing(system: System, protocols: Sequence[str]) -> tuple[Switch, ...]:
    """Return the switches that have different values under the protocols."""
    return tuple(s for s in system.switches if len({s.value(p) for p in protocols}) > 1)


def protocol_json(protocols: Sequence[str], switches: Sequence[Switch], same: Sequence[Same]) -> dict[str, Any]:
    """Return the switches and what is the same in both, as plain JSON values."""
    return {
        "protocols": list(protocols),
        "switches": [
            {
                "name": s.name, "also": s.also or None, "group": s.group, "choices": list(s.choices) or None,
                "values": {p: s.value(p) for p in protocols}, "differs": s.official != s.paper,
                "paper_says": s.paper_says, "code_does": s.code_does, "source": s.source,
            }
            for s in switches
        ],
        "same": [{"topic": s.topic, "code_does": s.code_does, "reason": s.reason, "source": s.source} for s in same],
    }  # fmt: skip


def switch_markdown(protocols: Sequence[str], switches: Sequence[Switch]) -> list[str]:
    """Return the switches as Markdown, a table a group."""
    lines: list[str] = []
    for group, title in GROUPS.items():
        rows = tuple(
            (s.name, *(value_text(s.value(p)) for p in protocols), s.paper_says, s.code_does, s.source)
            for s in switches
            if s.group == group
        )
        if rows:
            headers = ("switch", *protocols, "the paper", "the code", "source")
            lines += [f"### {title}", "", *grid_lines(TextGrid(title, headers, "l" * len(headers), rows))]
    return lines


def same_markdown(same: Sequence[Same]) -> list[str]:
    """Return what both protocols do alike as Markdown."""
    rows = tuple((s.topic, s.code_does, s.reason, s.source) for s in same)
    return grid_lines(TextGrid("", ("topic", "what is done", "why no switch", "source"), "llll", rows))


def protocol_text(
    system: System, protocols: Sequence[str], format_: ProtocolFormat, *, only_differing: bool = False
) -> str:
    """Return protocols as Markdown or JSON; `only_differing` leaves out what they share."""
    switches = differing(system, protocols) if only_differing else system.switches
    if format_ == "json":
        return json.dumps(protocol_json(protocols, switches, system.same), indent=1, ensure_ascii=False) + "\n"
    lines = [f"- **{p}**: {WHAT.get(p, 'declared by the system')}" for p in protocols] + [
        "",
        *switch_markdown(protocols, switches),
    ]
    if not only_differing:
        lines += ["### The same in both", "", *same_markdown(system.same)]
    return "\n".join(lines)


def show_protocols(system: System, protocols: Sequence[str], console: Console, *, only_differing: bool = False) -> None:
    """Print protocols on a console: values in a table, then what each source says."""
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.text import Text

    switches = differing(system, protocols) if only_differing else system.switches
    for p in protocols:
        console.print(Text(f"{p}: {WHAT.get(p, 'declared by the system')}"))
    for group, title in GROUPS.items():
        chosen = [s for s in switches if s.group == group]
        if not chosen:
            continue
        console.print(Rule(Text(title, style="bold"), align="left"))
        rows = tuple((s.name, *(value_text(s.value(p)) for p in protocols), s.source) for s in chosen)
        show_grid(TextGrid("", ("switch", *protocols, "source"), "l" * (len(protocols) + 2), rows), console)
        for s in chosen:
            console.print(Text(s.name + (f" (also: {s.also})" if s.also else ""), style="bold"))
            if s.choices:
                console.print(Padding(Text(f"values: {', '.join(s.choices)}"), (0, 0, 0, 2)))
            console.print(Padding(Text(f"paper:  {s.paper_says}"), (0, 0, 0, 2)))
            console.print(Padding(Text(f"code:   {s.code_does}"), (0, 0, 0, 2)))
    if not system.switches:
        console.print(Text(f"{system.name} has no switch: nothing of it is turned between a paper and a code."))
        return
    if only_differing:
        equal = [s.name for s in system.switches if s not in switches]
        console.print(Text(f"\nEqual under both, though switches: {', '.join(equal) or 'none'}."))
        console.print(Text("`dmd ablate --switch NAME=VALUE` measures one, paired over seeds."))
        return
    console.print(Rule(Text("The same in both", style="bold"), align="left"))
    for same in system.same:
        console.print(Text(same.topic, style="bold") + Text(f" ({same.source})"))
        console.print(Padding(Text(f"{same.code_does}. Why no switch: {same.reason}."), (0, 0, 0, 2)))
