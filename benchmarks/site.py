"""Build the documents into site/, without network: `python benchmarks/site.py` (or `nox -s docs`; the extra `docs`).

The pages of the commands and of the notebook are made first, from those. Then every page is looked through: nothing may
be loaded from elsewhere, and no link may lead nowhere.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "site"
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown: its text, its code, and what its cells showed, pictures inside the page."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
            if "image/png" in data:
                image = data["image/png"].replace("\n", "")
                parts.append(f'<img alt="{escape(source)}" src="data:image/png;base64,{image}">')
            elif "text/html" in data:  # an empty line would end it
                parts.append("\n".join(line for line in data["text/html"].splitlines() if line.strip()))
            else:
                shown = data.get("text/plain") or "".join(output.get("text", ""))
                parts.append(f"```text\n{shown.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


class Page(HTMLParser):
    """What a page loads, where it links to, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        found = {name: value or "" for name, value in attrs}
        self.names |= {found[name] for name in ("id", "name") if name in found}
        if tag in LOADS and found.get("rel") != "canonical" and LOADS[tag] in found:
            self.loads.append(found[LOADS[tag]])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


def problems(site: Path) -> list[str]:
    """Return what is wrong with a built site, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = [] if len(pages) > 10 else [f"{site}: {len(pages)} pages"]
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where}: loads {url}" for url in page.loads if urlsplit(url).netloc]
        for url in [*page.loads, *page.links]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{where}: {url} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
                found.append(f"{where}: {url} has no such place")
    for sheet in site.rglob("*.css"):
        urls = re.findall(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]([^'\"]+)", sheet.read_text("utf-8"))
        found += [f"{sheet.relative_to(site)}: loads {''.join(url)}" for url in urls]
    return found


def main() -> None:
    """Make the pages of the commands and the notebook, build, look through."""
    python = [sys.executable, "-m"]
    commands = ["typer", "dmd_repro.cli", "utils", "docs", "--name", "dmd", "--title", "Commands"]
    subprocess.run([*python, *commands, "--output", "docs/commands.md"], cwd=ROOT, check=True)
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    (ROOT / "docs" / "notebook.md").write_text(notebook_page(notebook), encoding="utf-8")
    subprocess.run([*python, "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=True)
    found = problems(SITE)
    print("\n".join(found) or f"{len(list(SITE.rglob('*.html')))} pages, nothing from elsewhere, no link leads nowhere")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
