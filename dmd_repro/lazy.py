"""The functions of `import dmd_repro as dmd`, each loaded when first asked for: the import itself loads nothing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

FUNCTIONS = {
    "runs_df": "records",
    "predictions_df": "records",
    "history_df": "records",
    "compare": "tables",
    "findings_df": "tables",
    "reproduce": "work",
    "train": "work",
    "load_features": "work",
    "score": "numbers",
    "verdict": "numbers",
    "figure": "drawings",
}


def __getattr__(name: str) -> Any:
    """Load a function on first use (PEP 562); AttributeError, with the nearest name, for any other."""
    if name in FUNCTIONS:
        return getattr(import_module(f"dmd_repro.api.{FUNCTIONS[name]}"), name)
    from difflib import get_close_matches

    close = "" if name.startswith("_") else "".join(get_close_matches(name, FUNCTIONS, n=1))
    hint = f": did you mean '{close}'?" if close else ""
    raise AttributeError(f"module 'dmd_repro' has no attribute '{name}'{hint}")


def __dir__() -> list[str]:
    """List the functions too, so that they complete."""
    return sorted([*FUNCTIONS, "__version__", "__all__", "__doc__"])
