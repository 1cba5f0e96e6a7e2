"""Text of strangers on its way to a reader: what a terminal, a spreadsheet or a page would act on is shown instead.

Standard library only. What belongs to one format alone (HTML, LaTeX, Markdown) is escaped where that format is made.
"""

from __future__ import annotations

import re
import unicodedata

# controls but tab and newline, marks that turn the direction of writing, line ends of Unicode, halves of characters
_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_NUMBER = re.compile(r"[+-][\d.,eE%±✓↓↑?\[\] +−-]*", re.ASCII)  # and what stands beside one in a table
_CLIP = re.compile(r"-[\w$.\[\]-]*", re.ASCII)  # ids of real clips begin with a minus; such a cell can call nothing
_PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"), "±": "+/-", "×": "x", "·": ".", "…": "...", "→": "->",
    "≥": ">=", "≤": "<=", "≠": "!=", "✓": "ok", "↑": "^", "↓": "v", "−": "-", "═": "=",
    **dict.fromkeys("─━╌╴╶╸╺", "-"), **dict.fromkeys("│┃", "|"), **dict.fromkeys("‘’", "'"), **dict.fromkeys("“”", '"'),
}  # fmt: skip


def visible(text: str) -> str:
    """Return text in which every character that would act on a terminal stands as `\\u001b`; a JSON text stays one."""
    return _ACTS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Return `visible` text without line ends and tabs: a name cannot pass for a line of ours."""
    return visible(re.sub(r"[\t\r\n]+", " ", text))


def csv_cell(value: str) -> str:
    """Return a CSV field that no spreadsheet takes for a formula: after an apostrophe where it would begin as one.

    Numbers, and ids of clips that begin with a minus, are left as they are.
    """
    shown = visible(value)
    begins = shown.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    acts = begins and not _NUMBER.fullmatch(shown) and not _CLIP.fullmatch(shown)
    return f"'{shown}" if acts or shown.startswith("\t") else shown


def spelled(text: str, encoding: str) -> str:
    """Return text that an encoding can write: signs as ASCII spells them, accents dropped, the rest as `\\u4e2d`."""
    if _fits(text, encoding):
        return text
    return "".join(character if _fits(character, encoding) else _spell(character) for character in text)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _spell(character: str) -> str:
    if found := _PLAIN.get(character):
        return found
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return letters or "".join(f"\\u{unit:04x}" for unit in _units(character))


def _units(character: str) -> list[int]:
    code = ord(character)
    return [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
