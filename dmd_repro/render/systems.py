"""What is declared of systems, as grids of text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from dmd_repro.datasets import DATASETS
from dmd_repro.errors import SpecError
from dmd_repro.results.sheet import NONE, TextGrid
from dmd_repro.spec import Scalar
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.declare import Setting, System

PRINTED = ("mosi", "mosei", "synthetic")  # of a system that does not say which it has presets for


def settings_of(system: System) -> dict[tuple[str, str, str], TrainConfig]:
    """Return every preset of a system by data set, setting and protocol."""
    found: dict[tuple[str, str, str], TrainConfig] = {}
    for protocol in system.protocols:
        for dataset in system.datasets or PRINTED:
            for setting in ("aligned",) if system.inputs.aligned_only else ("aligned", "unaligned"):
                try:
                    config = system.preset(dataset, aligned=setting == "aligned", protocol=protocol)
                except SpecError:  # no preset there
                    continue
                found[dataset, setting, protocol] = config
    return found


def systems_grid(systems: Sequence[System]) -> TextGrid:
    """Return a line for each system."""
    rows = []
    for s in systems:
        grade = s.grade(Setting("mosi", True, s.protocols[0]))
        needs = f"{'aligned, ' if s.inputs.aligned_only else ''}{' or '.join(s.inputs.texts)}"
        rows.append((s.name, s.title, grade, s.reads, needs, ", ".join(s.protocols)))
    heads = ("name", "title", "evidence", "reads", "input", "protocols")
    return TextGrid("Systems", heads, "llllll", tuple(rows))


def system_grids(system: System) -> list[TextGrid]:
    """Return evidence, switches and settings of a system, each a grid."""
    first = Setting("mosi", True, system.protocols[0])
    evidence = tuple((aspect, e.grade, e.words) for aspect, e in system.evidence(first).items())
    grids = [TextGrid(f"Evidence (MOSI, aligned, {first.protocol})", ("of", "grade", "why"), "lll", evidence)]
    if system.parts:
        grids.append(TextGrid("Parts a mask may switch off", ("part",), "l", tuple((p,) for p in sorted(system.parts))))
    if system.switches:
        heads = ("switch", *system.protocols)
        rows = tuple((s.name, *(_text(s.value(p)) for p in system.protocols)) for s in system.switches)
        grids.append(TextGrid("Switches (dmd protocol show says why)", heads, "l" * len(heads), rows))
    if others := [name for name in DATASETS if system.falls_back(name)]:
        lines = tuple((name, system.fallback_words(name)) for name in others)
        grids.append(TextGrid("Settings on other data sets, a paper's own too", ("data set", "settings"), "ll", lines))
    presets = settings_of(system)
    names = [f.name for f in fields(system.config)]
    values = {name: {_text(getattr(c, name)) for c in presets.values()} for name in names}
    same = tuple((n, next(iter(v))) for n, v in values.items() if len(v) == 1)
    differ = [n for n, v in values.items() if len(v) > 1]
    rows = tuple((*key, *(_text(getattr(c, n)) for n in differ)) for key, c in presets.items())
    for i in range(0, max(len(differ), 1), 4):
        part = differ[i : i + 4]
        heads = ("data set", "setting", "protocol", *part)
        cut = tuple((*row[:3], *row[3 + i : 3 + i + len(part)]) for row in rows)
        grids.append(TextGrid("Settings that differ", heads, "l" * len(heads), cut))
    grids.append(TextGrid("Settings that are everywhere the same", ("setting", "value"), "ll", same))
    return grids


def systems_json(system: System) -> dict[str, Any]:
    """Return what is declared of a system as plain JSON values."""
    first = Setting("mosi", True, system.protocols[0])
    return {
        "name": system.name, "title": system.title, "paper": system.paper, "origin": system.origin,
        "model_version": system.model_version, "stackable": system.stackable, "reads": system.reads,
        "parts": sorted(system.parts), "protocols": list(system.protocols), "options": list(system.options),
        "inputs": {"aligned_only": system.inputs.aligned_only, "texts": list(system.inputs.texts)},
        "evidence": {k: {"grade": e.grade, "words": e.words} for k, e in system.evidence(first).items()},
        "switches": [s.name for s in system.switches],
        "fallback": {name: words for name in DATASETS if (words := system.fallback_words(name))},
        "settings": [
            {"dataset": d, "setting": s, "protocol": p, "values": c.to_dict()}
            for (d, s, p), c in settings_of(system).items()
        ],
    }  # fmt: skip


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return NONE if value == "" else str(value)
