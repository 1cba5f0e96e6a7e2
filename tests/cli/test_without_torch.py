"""Planning needs no torch: every preset and its evidence come from a process that cannot import it."""

from __future__ import annotations

import subprocess
import sys

from dmd_repro.systems.registry import SHIPPED

PRESETS = """
import sys
sys.modules["torch"] = None  # an import of it raises ImportError
from dmd_repro.systems.declare import Setting
from dmd_repro.systems.registry import find_system
for name in sys.argv[1:]:
    system = find_system(name)
    for protocol in system.protocols:
        for dataset in (*system.datasets, "sims", "custom"):
            for aligned in (True,) if system.inputs.aligned_only else (True, False):
                system.preset_for(dataset, aligned=aligned, protocol=protocol).check_ranges()
                system.grade(Setting(dataset, aligned, protocol))
    print(name)
"""


def test_every_preset_of_every_system() -> None:
    """Protects: a system that ships tells its settings and evidence without the library that trains it."""
    said = subprocess.run([sys.executable, "-c", PRESETS, *SHIPPED], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == list(SHIPPED)
