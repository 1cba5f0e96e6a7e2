"""What a format prints, its own spelling of numbers undone, so that one number can be looked for in all formats."""

from __future__ import annotations

import html
import re


def flat(text: str, format_: str) -> str:
    """Return the text of a format in one line: `84.45±1.08`, `−0.5`, `[+0.10, +2.30]`, whatever the format."""
    if format_ == "latex":
        text = re.sub(
            r"\\rlap\{\\textsuperscript\{(?:[^{}]|\{[^{}]*\})*\}\}|\\phantom\{(?:[^{}]|\{[^{}]*\})*\}", "", text
        )
        text = text.replace(r"\,$\pm$\,", "±").replace(r"$\pm$", "±").replace("$-$", "−").replace("$+$", "+")
        text = text.replace("$<$", "<").replace(r"\textless{}", "<").replace(r"\textgreater{}", ">").replace("--", "–")
        text = text.replace("{[}", "[").replace("{]}", "]").replace("\\", "")
    if format_ == "markdown":
        text = re.sub(r"\\(.)", r"\1", text)
    if format_ == "html":
        text = html.unescape(text)
    return " ".join(text.replace(" ± ", "±").split())
