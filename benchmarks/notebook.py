"""Execute docs/notebook.ipynb and store what its cells show: `python benchmarks/notebook.py`. No Jupyter is needed.

A cell shows what it prints and its last expression, as Jupyter would: text, HTML where the value has it, PNG for
figures. Runs and features go into a temporary folder, so that the notebook says the same everywhere.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def execute(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell in the names of those before it; return its outputs in the notebook's format."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(tree, "cell", "exec"), names)  # noqa: S102 (the notebook of this repository)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        outputs.append({"output_type": "display_data", "metadata": {}, "data": shown(value)})
    return outputs


def shown(value: Any) -> dict[str, Any]:
    """Return a value as a notebook keeps it, by kind."""
    data: dict[str, Any] = {"text/plain": _lines(repr(value))}
    picture = value._repr_png_() if hasattr(value, "_repr_png_") else None
    if picture:
        return {**data, "image/png": base64.b64encode(picture).decode()}
    return {**data, "text/html": _lines(value._repr_html_())} if hasattr(value, "_repr_html_") else data


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


@contextlib.contextmanager
def apart(folder: Path):
    """Keep the program's folders inside `folder` while the block runs, and pandas' tables 80 columns wide."""
    import pandas as pd

    before = {name: os.environ.get(name) for name in ("DMD_RUNS", "DMD_DATA", "DMD_PAPERS")}
    os.environ |= {"DMD_RUNS": str(folder / "runs"), "DMD_DATA": str(folder / "data")}
    os.environ.pop("DMD_PAPERS", None)
    try:
        with pd.option_context("display.width", 80, "display.max_columns", 8, "display.precision", 2):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cells that hold code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def main() -> None:
    """Execute every cell and write the notebook."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, apart(Path(folder)):
        for number, cell in enumerate(cells(notebook), start=1):
            cell["outputs"] = execute("".join(cell["source"]), names)
            cell["execution_count"] = number
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
