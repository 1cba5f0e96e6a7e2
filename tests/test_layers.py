"""Imports point down only, and the audit wing never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dmd_repro

PACKAGE = Path(dmd_repro.__file__).parent
RANKS = {
    7: ("cli",),
    6: ("grid",),
    5: ("training", "evaluate", "bench"),
    4: ("models", "losses"),
    3: ("audit", "compare", "render"),
    2: ("data", "metrics", "records", "published", "stats"),
    1: ("spec", "seeds", "registry", "protocols", "plans", "provenance", "disk"),
    0: ("errors", "shapes"),
}
AUDIT_WING, TRAINING_WING = {3}, {4, 5}
TORCH = {4, 5}


def unit_of(path: Path) -> str:
    """Return the module or subpackage directly below dmd_repro that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rank_of(unit: str) -> int:
    """Return the layer of a unit."""
    for rank, names in RANKS.items():
        if unit in names:
            return rank
    raise AssertionError(f"{unit} has no layer: add it to the picture in README.md and to RANKS")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Return (imported module, at module level and not under TYPE_CHECKING) for every import of a file."""
    found = []

    def visit(node: ast.AST, top: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "dmd_repro" else [f"dmd_repro.{a.name}" for a in node.names]
            found.extend((name, top) for name in names)
        inner = isinstance(node, ast.FunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, top and not inner)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" or p.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_imports_point_down(path: Path) -> None:
    """Protects: one can read the package bottom-up; the wings of training and audit never meet but on disk."""
    unit, here = unit_of(path), rank_of(unit_of(path))
    for name, _ in imports(path):
        if not name.startswith("dmd_repro."):
            continue
        other = name.split(".")[1]
        if other in {unit, "__version__"} or other == "__init__":
            continue
        there = rank_of(other)
        assert there <= here, f"{unit} (layer {here}) imports {other} (layer {there})"
        wings = {here, there}
        assert not (wings & AUDIT_WING and wings & TRAINING_WING), f"{unit} and {other} belong to different wings"


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_torch_stays_in_its_wing(path: Path) -> None:
    """Protects: commands that need no model start at once, because torch is imported in training and models alone."""
    if rank_of(unit_of(path)) in TORCH:
        return
    assert not [name for name, _ in imports(path) if name.partition(".")[0] in {"torch", "transformers"}]


@pytest.mark.parametrize("arguments", [["--help"], ["report", "table1"], ["data", "list"], ["runs", "list"]])
def test_commands_without_a_model_do_not_load_torch(arguments: list[str], tmp_path: Path) -> None:
    """Protects: half a second to `dmd --help`, two to a report, on any machine."""
    code = (
        "import sys, dmd_repro.cli as c\n"
        f"sys.argv = ['dmd', *{arguments!r}]\n"
        "try:\n    c.main()\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    environment = {"DMD_DATA": str(tmp_path), "DMD_RUNS": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
