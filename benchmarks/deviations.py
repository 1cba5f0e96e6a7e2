"""Write the switches between paper and code into docs/deviations.md: `python benchmarks/deviations.py`."""

from __future__ import annotations

from pathlib import Path

from sections import write_section

from dmd_repro.render.protocols import protocol_text
from dmd_repro.systems.dmd.config import SYSTEM
from dmd_repro.systems.dmd.switches import PROTOCOLS

DEVIATIONS = Path(__file__).resolve().parents[1] / "docs" / "deviations.md"

if __name__ == "__main__":
    write_section(DEVIATIONS, "protocols", protocol_text(SYSTEM, PROTOCOLS, "markdown"))
