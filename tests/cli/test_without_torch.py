"""Planning needs no torch: presets, evidence and the hours of the paper come from a process that cannot import it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


WHOLE = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("no torch here")
sys.meta_path.insert(0, NoTorch())
sys.argv = ["dmd", "reproduce", "all", "--dry-run", "--seeds", "2"]
from dmd_repro.cli import main
main()
"""


def test_the_whole_paper_is_planned_without_torch_and_data(tmp_path: Path) -> None:
    """Protects: what all five tables take is told on a machine with no feature set and no library that trains."""
    said = subprocess.run(
        [sys.executable, "-c", WHOLE], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "DMD_DATA": str(tmp_path / "none")},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("What table1 to table5 take")
    assert max(map(len, said.stdout.splitlines())) <= 80
    assert not list(tmp_path.iterdir())
