"""HTML made here, told apart from text that still has to be escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """HTML made here, of text that was escaped: the one kind of text that is not escaped again."""

    __slots__ = ()


def html(text: object) -> Markup:
    """Return any text as HTML that shows it; `Markup` of our own is left as it is."""
    return text if isinstance(text, Markup) else Markup(escape(str(text)))


def attribute(name: str, value: str) -> str:
    """Return an attribute, "" without a value."""
    return f' {name}="{escape(value)}"' if value else ""
