"""How long a training step takes, what it holds, what bounds it, and how it compares with a plain implementation."""

from __future__ import annotations

from dmd_repro.bench.types import Case, Result

__all__ = ["Case", "Result"]
