"""Write the switches between paper and code into docs/deviations.md: `python benchmarks/deviations.py`."""

from __future__ import annotations

from pathlib import Path

from sections import write_section

from dmd_repro.render.protocols import protocol_text
from dmd_repro.systems.dmd.config import SYSTEM
from dmd_repro.systems.dmd.switches import PROTOCOLS
from dmd_repro.systems.registry import SHIPPED, find_system

DEVIATIONS = Path(__file__).resolve().parents[1] / "docs" / "deviations.md"


def earlier() -> str:
    """Return the switches of every other system that has some, under its title."""
    parts = []
    for name in SHIPPED:
        system = find_system(name)
        if system.switches and name != SYSTEM.name:
            text = protocol_text(system, system.protocols, "markdown").replace("\n### ", "\n#### ")
            parts.append(f"### {system.title}\n\n{text.strip()}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write_section(DEVIATIONS, "protocols", protocol_text(SYSTEM, PROTOCOLS, "markdown"))
    write_section(DEVIATIONS, "earlier", earlier())
