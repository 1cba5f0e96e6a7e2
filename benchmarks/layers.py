"""Write docs/layers.md from the ranks the layer test holds: `python benchmarks/layers.py`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from test_layers import OWN, RANKS, SIDEWAYS, circles, long_files, upward  # noqa: E402


def page() -> str:
    """Return the page: a line a rank, the modules with a rank of their own, the sideways pairs."""
    lines = [
        "# Layers",
        "",
        "Imports point down only; `tests/test_layers.py` holds this table, which is made from it",
    ]
    lines += [
        "(`python benchmarks/layers.py`). torch is imported in ranks 4 to 6 alone.",
        "",
        "| rank | packages |",
        "| --- | --- |",
    ]
    lines += [
        f"| {rank} | {', '.join(f'`{n}`' for n in names)} |" for rank, names in sorted(RANKS.items(), reverse=True)
    ]
    lines += ["", "Modules ranked apart from their package:", "", "| module | rank |", "| --- | --- |"]
    lines += [f"| `{pattern}` | {rank} |" for pattern, rank in OWN.items()]
    lines += [
        "",
        "Sideways imports between packages of one rank, all that are allowed:",
        "",
        "| from | to |",
        "| --- | --- |",
    ]
    lines += [f"| `{a}` | `{b}` |" for a, b in sorted(SIDEWAYS)]
    counts = f"imports that point up {len(upward())}, circles of modules {len(circles())}"
    lines += ["", f"Counted when this page was made: {counts}, files over 400 lines {len(long_files())}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "layers.md").write_text(page(), encoding="utf-8")
