"""docs/notebook.ipynb says what the program says."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def runner() -> ModuleType:
    """What executes the notebook and stores its outputs."""
    spec = importlib.util.spec_from_file_location("notebook_runner", ROOT / "benchmarks" / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kinds(outputs: list[dict[str, Any]]) -> list[Any]:
    """What a cell shows, without its content."""
    return [sorted(output.get("data", {"stream": 0})) for output in outputs]


def texts(outputs: list[dict[str, Any]]) -> list[str]:
    """The text of what a cell shows."""
    return ["".join(output.get("text") or output["data"]["text/plain"]) for output in outputs]


def test_the_notebook_shows_what_its_cells_give(tmp_path: Path, monkeypatch) -> None:
    """Protects: every output in the documents is made, not remembered (made anew by `python benchmarks/notebook.py`).

    What training gives may round otherwise on another machine: there the kind of output is held.
    """
    pytest.importorskip("matplotlib")
    importlib.import_module("dmd_repro.figures.make")  # loaded later it would keep what is put in the place of to_bytes
    monkeypatch.setattr("dmd_repro.figures.page.to_bytes", lambda page, ending, dpi: b"a picture")  # other tests save
    module, names = runner(), {}
    notebook = json.loads(module.NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    with module.apart(tmp_path):
        for cell in module.cells(notebook):
            source, tags = "".join(cell["source"]), cell["metadata"].get("tags", ())
            now = module.execute(source, names)
            assert kinds(now) == kinds(cell["outputs"]), source
            if "trained" not in tags:
                assert texts(now) == texts(cell["outputs"]), f"{source}\nrun python benchmarks/notebook.py"
