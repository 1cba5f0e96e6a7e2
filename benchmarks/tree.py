"""Print the tree of the package, a line per file from the file's own docstring: `python benchmarks/tree.py`."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {  # in the order the data takes, with what each folder is for
    "": "what everything else uses: no layer below it",
    "data": "a stranger's file -> a validated, memory-mapped FeatureSet",
    "data/pickle_gate": "a stranger's pickle, read without running anything in it",
    "data/formats": "the layouts the field uses -> one",
    "data/checks": "what is wrong with a feature set",
    "data/download": "where the published files are, and how they are fetched",
    "data/store": "validated feature sets on disk",
    "papers": "the printed numbers and recipes",
    "papers/dmd": "what belongs to this paper alone",
    "metrics": "labels and predictions -> a number",
    "stats": "intervals, tests, verdicts",
    "systems": "a batch -> predictions, heads, edges; loss terms",
    "systems/dmd": "DMD",
    "systems/mult": "MulT",
    "nn": "layers with a stack axis",
    "nn/kernels": "what a GPU computes by kernels of our own (Triton)",
    "planning": "a table -> the runs it needs (no torch)",
    "records": "what a run leaves on disk, and whether it still agrees",
    "training": "a spec and features -> a record",
    "execution": "planned runs, made one after the other or side by side",
    "evaluate": "a checkpoint -> scores; a run -> the authors' names",
    "bench": "a case -> time, memory, what bounds it",
    "results": "printed x recorded -> comparisons (no torch)",
    "audit": "printed numbers and code against paper -> findings (no torch)",
    "render": "comparisons and findings -> every format (no torch)",
    "cli": "parse, one library call, print",
}


def first_line(path: Path) -> str:
    """Return what a file says of itself."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def tree() -> str:
    """Return the tree as a text block."""
    lines = ["```text", "tables/       the printed numbers and the recipe of each row, one YAML a table"]
    lines += ["runs/         run records (README.md inside says what a record is)"]
    lines += ["benchmarks/   measurements and generated sections of the documents, by hand"]
    lines += [
        "simulations/  coverage of the intervals, error rates of the verdicts",
        "tests/        test_<what>.py",
        "",
    ]
    for folder, purpose in FOLDERS.items():
        place = ROOT / "dmd_repro" / folder
        lines.append(f"dmd_repro/{folder}{'/' if folder else ''}".ljust(23) + f" {purpose}")
        for path in sorted(place.glob("*.py")):
            if not (path.name == "__init__.py" and not folder):
                lines.append(f"  {path.name:<20}  {first_line(path)}")
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    print(tree())
