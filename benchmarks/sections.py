"""Generated sections of a Markdown file, between `<!-- begin NAME -->` and `<!-- end NAME -->`; not edited by hand."""

from __future__ import annotations

from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """Return the two lines around a section."""
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def read_section(path: Path, name: str) -> str:
    """Return a section's text; raises ValueError if its marks are not there once each."""
    begin, end = marks(name)
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{path}: expected '{begin}' and '{end}' once each")
    return text.partition(begin)[2].partition(end)[0].strip("\n") + "\n"


def write_section(path: Path, name: str, content: str) -> None:
    """Put new text between a section's marks."""
    old, (begin, end) = read_section(path, name), marks(name)
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2]
    path.write_text(f"{head}{begin}\n\n{content.strip()}\n\n{end}{tail}", encoding="utf-8")
    print(f"{path.name}, section {name}: {'unchanged' if old.strip() == content.strip() else 'written'}")
