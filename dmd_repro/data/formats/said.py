"""What an import has to say of a file: what was read differently than it stands there, and what to be wary of."""

from __future__ import annotations

from dataclasses import dataclass, field

from dmd_repro.shapes import SPLITS


@dataclass(slots=True)
class ImportNotes:
    """Notes (lossless: read under another name or shape) and warnings, each with the splits it holds for."""

    _notes: dict[str, list[str]] = field(default_factory=dict)
    _warnings: dict[str, list[str]] = field(default_factory=dict)

    def note(self, text: str, split: str = "") -> None:
        """Say once what was read differently."""
        _add(self._notes, text, split)

    def warn(self, text: str, split: str = "") -> None:
        """Say once what a user must know."""
        _add(self._warnings, text, split)

    @property
    def notes(self) -> tuple[str, ...]:
        return _lines(self._notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        return _lines(self._warnings)


def _add(lines: dict[str, list[str]], text: str, split: str) -> None:
    splits = lines.setdefault(text, [])
    if split and split not in splits:
        splits.append(split)


def _lines(lines: dict[str, list[str]]) -> tuple[str, ...]:
    some = {text: "" if set(splits) >= set(SPLITS) or not splits else f" ({', '.join(splits)})"
            for text, splits in lines.items()}  # fmt: skip
    return tuple(text + where for text, where in some.items())
