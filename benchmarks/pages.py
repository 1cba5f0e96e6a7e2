"""What the commands in the documents print: `python benchmarks/pages.py` writes it again; tests/test_pages.py holds it.

A block is fenced as `console`: a line `$ dmd ...`, or several, each with what it prints (stderr first), in a window of
80 columns. `| head -N`, `| tail -N` and `| sed -n '/TEXT/,$p'` (from a line that holds TEXT on) cut it.
A line above a block says what is special about it:
`<!-- digits vary -->`: it holds times or trained numbers, so digits, ids and the spaces around them are not compared;
`<!-- needs FILE -->`: the block is left out where that file of ../shared/data is not there.
A `toml` block is the dmd.toml of the folder that the page's commands are typed in.
"""

from __future__ import annotations

import lzma
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
PAGES = ("README.md", "docs/tutorial.md", "docs/verdicts.md", "docs/defaults.md", "docs/hours.md")
VARIABLES = {"COLUMNS": "80", "DMD_JOBS": "1"}  # one process at a time: what a machine with one core prints
_BLOCK = re.compile(r"(?:^<!-- (?P<about>[^>]*) -->\n)?^```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    commands: tuple[tuple[str, str], ...]  # as typed, and what stands under it
    body: tuple[int, int]  # its place in the page
    digits_vary: bool
    needs: str | None


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page in order."""
    found = []
    for match in _BLOCK.finditer(text):
        about = match["about"] or ""
        parts = re.split(r"^\$ (.*)\n", match["body"], flags=re.MULTILINE)
        commands = tuple(zip(parts[1::2], parts[2::2], strict=True))
        needs = about.removeprefix("needs ") if about.startswith("needs ") else None
        found.append(Block(commands, match.span("body"), about == "digits vary", needs))
    return found


def split(command: str) -> tuple[list[str], Callable[[str], str]]:
    """Return a command's words after `dmd`, and what its pipe makes of what it prints."""
    typed, _, pipe = command.partition(" | ")
    cut = re.fullmatch(r"(head|tail) -(\d+)", pipe)
    start = re.fullmatch(r"sed -n '/(.+)/,\$p'", pipe)
    words = shlex.split(typed)
    if words[0] != "dmd" or (pipe and not (cut or start)):
        raise ValueError(f"'{command}': expected dmd ..., with head, tail or sed behind it")

    def shorten(text: str) -> str:
        lines = [line.rstrip() for line in text.splitlines()]
        if cut:
            lines = lines[: int(cut[2])] if cut[1] == "head" else lines[-int(cut[2]) :]
        if start:
            lines = lines[next((n for n, line in enumerate(lines) if start[1] in line), len(lines)) :]
        while lines and not lines[-1]:
            lines.pop()
        return "".join(f"{line}\n" for line in lines)

    return words[1:], shorten


def masked(text: str) -> str:
    """Return a text without what differs from machine to machine: digits, ids, times, and the spaces they take."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    text = re.sub(r"\d+(\.\d+)? (s|min \d+ s|h \d+ min)\b", "TIME", text)
    text = re.sub(r"\d+(\.\d+)?", "#", text)
    return re.sub(r"[ ─]+", " ", text)


def unpack(name: str, folder: Path) -> bool:
    """Put a file that blocks need into the folder they are typed in; False where it is not there."""
    packed = SHARED / f"{name}.xz"
    if not packed.is_file():
        return False
    if not (folder / name).exists():
        (folder / name).write_bytes(lzma.decompress(packed.read_bytes()))
    return True


def written(text: str, folder: Path, run: Callable[[list[str]], str]) -> str:
    """Return a page with each command's output as it is now."""
    pieces, at = [], 0
    if settings := re.search(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (folder / "dmd.toml").write_text(settings[1], encoding="utf-8")
    for block in blocks(text):
        if block.needs and not unpack(block.needs, folder):
            continue
        body = ""
        for command, stands in block.commands:
            words, shorten = split(command)
            prints = shorten(run(words))
            same = block.digits_vary and masked(prints) == masked(stands)  # then only the machine's day differs
            body += f"$ {command}\n{stands if same else prints}"
        pieces += [text[at : block.body[0]], body]
        at = block.body[1]
    return "".join([*pieces, text[at:]])


def main() -> None:
    """Rewrite the pages named, or all."""
    for name in sys.argv[1:] or PAGES:
        page = ROOT / name
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("DMD_", "XDG_"))}
            environment = kept | VARIABLES | {"HOME": str(folder)}

            def run(words: list[str], folder: Path = folder, environment: dict[str, str] = environment) -> str:
                done = subprocess.run(["dmd", *words], cwd=folder, env=environment, capture_output=True, text=True)
                return (done.stderr + done.stdout).replace(str(folder), "~")

            old = page.read_text(encoding="utf-8")
            new = written(old, folder, run)
        page.write_text(new, encoding="utf-8")
        print(f"{name}: {'unchanged' if new == old else 'written'}")


if __name__ == "__main__":
    main()
