"""Imports point down only, and the audit wing never loads torch."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import dmd_repro

PACKAGE = Path(dmd_repro.__file__).parent
RANKS = {  # by package; `OWN` ranks the modules of packages that span two layers
    9: ("cli", "api"),
    8: ("render", "figures"),
    7: ("results", "audit"),
    6: ("execution", "evaluate", "bench"),
    5: ("training",),
    4: ("systems", "nn"),
    3: ("planning", "records", "data"),
    2: ("papers", "stats", "metrics"),
    1: ("spec", "seeds", "datasets"),
    0: ("lazy", "errors", "shapes", "disk", "visible"),
}
OWN = {
    "systems.registry": 1,
    "systems.config": 1,
    "systems.resolve": 1,
    "systems.declare": 1,
    "systems.suggest": 1,
    "systems.switches": 1,
    "systems.bert": 1,
    "systems.rules": 1,
    "systems.pooled_config": 1,
    "systems.told": 1,
    "systems.*.official": 1,
    "systems.edges": 1,
    "systems.*.config": 1,
    "systems.*.switches": 1,
    "papers.dmd.claims": 7,
    "papers.dmd.parts": 7,
    "papers.dmd.edges": 7,
    "papers.dmd.table4": 7,
    "papers.dmd.separation": 7,
    "papers.dmd.claimed": 7,
}
SIDEWAYS = {  # between packages of one rank: (from, to)
    ("api", "cli"),
    ("systems", "nn"),
    ("systems", "spec"),
    ("systems", "datasets"),
    ("disk", "errors"),
    ("errors", "visible"),
    ("shapes", "errors"),
    ("stats", "metrics"),
    ("papers", "metrics"),
    ("planning", "data"),
    ("planning", "records"),
    ("records", "data"),
    ("records", "planning"),
    ("audit", "results"),
    ("audit", "papers"),
    ("papers", "audit"),
    ("papers", "results"),
}
TRAINING_WING, PRINTING_WING = {4, 5, 6}, {7, 8}
TORCH = {4, 5, 6}


def module_of(path: Path) -> str:
    """Return a file's dotted name below dmd_repro; a package's own file is the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def rank_of(module: str) -> int:
    """Return the layer of a module."""
    for pattern, rank in OWN.items():
        if fnmatchcase(module, pattern):
            return rank
    for rank, names in RANKS.items():
        if module.partition(".")[0] in names:
            return rank
    raise AssertionError(f"{module} has no layer: add it to RANKS")


def imports(path: Path) -> list[str]:
    """Return every module a file imports, in functions too, those under TYPE_CHECKING left out."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.extend(_named(node.module, alias.name) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _named(module: str, name: str) -> str:
    inner = PACKAGE.parent.joinpath(*module.split("."), name)
    return f"{module}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else module


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" or p.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_imports_point_down(path: Path) -> None:
    """Protects: one can read the package bottom-up; training and printing never meet but on disk."""
    module = module_of(path)
    here = rank_of(module)
    for name in imports(path):
        other = name.removeprefix("dmd_repro").removeprefix(".")
        if not name.startswith("dmd_repro") or not other or other == "__version__":
            continue
        there, ours, theirs = rank_of(other), module.partition(".")[0], other.partition(".")[0]
        assert there <= here, f"{module} (layer {here}) imports {other} (layer {there})"
        if there == here and ours != theirs:
            assert (ours, theirs) in SIDEWAYS, f"{module} imports {other} sideways: list the pair in SIDEWAYS, or don't"
        if ours != theirs:
            met = {here, there}
            assert not (met & TRAINING_WING and met & PRINTING_WING), f"{module} and {other} are in different wings"


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_torch_stays_in_its_wing(path: Path) -> None:
    """Protects: commands that need no model start at once, because torch is imported in training and models alone."""
    if rank_of(module_of(path)) in TORCH:
        return
    assert not [name for name in imports(path) if name.partition(".")[0] in {"torch", "transformers"}]


def upward() -> list[tuple[str, str]]:
    """Return the imports that point up: (module, what it imports)."""
    found = []
    for path in FILES:
        module = module_of(path)
        names = [name.removeprefix("dmd_repro.") for name in imports(path) if name.startswith("dmd_repro.")]
        found += [(module, n) for n in names if n != "__version__" and rank_of(n) > rank_of(module)]
    return found


def circles() -> list[list[str]]:
    """Return the groups of modules that import each other, in functions too."""
    names = {module_of(path): path for path in FILES}
    graph = {
        name: {n for other in imports(path) if (n := other.removeprefix("dmd_repro.")) in names and n != name}
        for name, path in names.items()
    }
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:  # imports nothing that is left: it is in no circle
            del left[name]
    return [sorted(left)] if left else []


def long_files(most: int = 400) -> list[str]:
    """Return the Python files of the repository with more lines than that."""
    places = ("dmd_repro", "tests", "benchmarks", "simulations")
    files = (path for place in places for path in (PACKAGE.parent / place).rglob("*.py"))
    return [path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > most]


def test_no_circle_of_imports() -> None:
    """Protects: every module can be read, and tested, after those it imports."""
    assert circles() == []


def test_no_file_is_longer_than_400_lines() -> None:
    """Protects: a file is about one thing."""
    assert long_files() == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_file_is_a_docstring_and_re_exports(path: Path) -> None:
    """Protects: what a package does is found in a file with a name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module(body=body, type_ignores=[]))
    for node in body[1:]:
        for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if for_checkers and all(isinstance(one, ast.ImportFrom) for one in node.body) and not node.orelse:
            continue  # what is loaded lazily, told to type checkers
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "__version__")
        assert named or isinstance(node, ast.ImportFrom), f"{path.parent.name}: {ast.unparse(node)[:60]}"


WITHOUT_TORCH = [
    "--help",
    "report table1",
    "data list",
    "runs list",
    "systems list",
    "systems show dmd",
    "protocol show dmd",
    "reproduce table1 --data synthetic --dry-run",
    "reproduce table3 --data synthetic --dry-run",
    "ablate --data synthetic --all-masks --dry-run",
]


@pytest.fixture(scope="module")
def ran_without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """Every such command, one after the other in one process: its exit code, and whether torch was there after it."""
    code = (
        "import json, sys, dmd_repro.cli as c\n"
        "found = {}\n"
        f"for line in {WITHOUT_TORCH!r}:\n"
        "    sys.argv = ['dmd', *line.split()]\n"
        "    try:\n        c.main()\n        found[line] = [0]\n"
        "    except SystemExit as e:\n        found[line] = [e.code or 0]\n"
        "    found[line].append('torch' in sys.modules)\n"
        "print('\\n' + json.dumps(found))\n"
    )
    folder = tmp_path_factory.mktemp("without_torch")
    environment = {"DMD_DATA": str(folder), "DMD_RUNS": str(folder), "PATH": "", "HOME": str(folder)}
    environment["PYTHONPATH"] = str(PACKAGE.parent)  # this tree, whichever is installed
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("line", WITHOUT_TORCH)
def test_commands_without_a_model_do_not_load_torch(line: str, ran_without_torch: dict[str, list[object]]) -> None:
    """Protects: half a second to `dmd --help`, two to a report, on any machine; the first that fails loaded it."""
    assert ran_without_torch[line] == [0, False]


def test_every_preset_of_every_system_that_ships_is_read_without_torch() -> None:
    """Protects: what is declared of a system is known before its model is loaded, however many systems there are."""
    code = (
        "import sys\n"
        "from dmd_repro.render.systems import settings_of\n"
        "from dmd_repro.systems.registry import SHIPPED, find_system\n"
        "assert all(settings_of(find_system(name)) for name in SHIPPED)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr


def test_the_page_of_layers_is_what_this_test_holds() -> None:
    """Protects: docs/layers.md is made from these ranks (`python benchmarks/layers.py`), not remembered."""
    spec = importlib.util.spec_from_file_location("layers_page", PACKAGE.parent / "benchmarks" / "layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (PACKAGE.parent / "docs" / "layers.md").read_text(encoding="utf-8") == module.page()
