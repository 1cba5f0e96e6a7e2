"""Grids of text and sheets of them: how a result is handed to every format.

A sheet is a few grids with what must be read beside them; JSON takes its document instead of the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NONE = "—"
NOT_COMPARABLE = "not comparable with the printed numbers"  # what a mark means


@dataclass(frozen=True, slots=True)
class TextGrid:
    """A table of text."""

    title: str
    headers: tuple[str, ...]
    align: str  # l or r per column
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One result: grids, notes on it, the data it is from, how it was made."""

    name: str
    title: str
    grids: tuple[TextGrid, ...]
    answer: tuple[str, ...] = ()  # what it says, in a sentence or a few: stands first
    notes: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    mark: str | None = None  # SYNTHETIC DATA, PARTIAL DATA
    document: Mapping[str, Any] = field(default_factory=dict)  # what JSON holds

    @property
    def heading(self) -> str:
        """The title with the mark."""
        return marked(self.title, self.mark)

    def to_json(self) -> dict[str, Any]:
        """Return the sheet as plain JSON values."""
        return {
            "sheet": self.name, "title": self.title, "mark": self.mark, "answer": list(self.answer), **self.document,
            "notes": list(self.notes), "data": list(self.data), "rule": list(self.rule),
        }  # fmt: skip

    @property
    def lists(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Notes, data and rule under their headings, the empty ones left out."""
        named = (("Notes", self.notes), ("Data", self.data), ("How to read it", self.rule))
        return tuple((title, items) for title, items in named if items)


def marked(title: str, mark: str | None) -> str:
    """Return the title of a result with the mark of its data, which no reader may miss."""
    return f"{title} ({mark}, {NOT_COMPARABLE})" if mark else title


def p_value(p: float) -> str:
    """Return a p-value with three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
