"""The documents are true: what stands under a command is what it prints, and what is shown can be typed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml
from command import Here

from dmd_repro.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = {"commands.md", "notebook.md"}  # when the site is built


def script(name: str) -> ModuleType:
    """Return a script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pages, site = script("pages"), script("site")


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_page_says_what_the_program_prints(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of the page, in order and in one folder; where machines differ, all but the digits.

    `python benchmarks/pages.py` writes the page again.
    """
    dmd = Here(tmp_path, monkeypatch, capsys)
    for variable in ("DMD_RUNS", "DMD_DATA", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in (*pages.VARIABLES.items(), ("HOME", str(tmp_path))):
        monkeypatch.setenv(variable, value)

    def run(words: list[str]) -> str:
        said = dmd(*words)
        return (said.err + said.out).replace(str(tmp_path), "~")

    text = (ROOT / name).read_text(encoding="utf-8")
    now = pages.written(text, tmp_path, run)
    for block, again in zip(pages.blocks(text), pages.blocks(now), strict=True):
        for (command, stands), (_, prints) in zip(block.commands, again.commands, strict=True):
            same = pages.masked if block.digits_vary else str
            assert same(stands) == same(prints), command
    for page in ("records.md", "pandas.md") if name.endswith("tutorial.md") else ():
        names: dict[str, Any] = {}  # a block goes on from those above it
        for code in fenced("python", (ROOT / "docs" / page).read_text(encoding="utf-8")):
            exec(compile(code, page, "exec"), names)  # noqa: S102 (our own page, on the runs that the tutorial made)


def fenced(language: str, text: str) -> list[str]:
    """Return the blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@cache
def root() -> Any:
    """Return all commands."""
    return typer.main.get_command(app)


def typed(text: str) -> list[str]:
    """Return the `dmd` commands of a page's blocks, each as one line."""
    shell = "\n".join(fenced("sh", text)).replace("\\\n", " ")
    console = [line[2:] for block in fenced("console", text) for line in block.splitlines() if line.startswith("$ ")]
    parts = [part for line in [*shell.splitlines(), *console] for part in re.split(r"&&|[|;>]", line)]
    found = (re.match(r"\s*(?:\w+=\S+\s+)*(?:\S*/)?dmd\s+(.*)", part) for part in parts)
    return [match[1] for match in found if match]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in DOCS if page.name not in MADE])
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    """Protects: a page shows no command, option or kind of value that is gone."""
    for command in typed(page.read_text(encoding="utf-8")):
        words = shlex.split(command, comments=True)
        group = root()
        while words and (words[0].startswith("-") or words[0] in getattr(group, "commands", {})):
            if words[0] in ("-v", "--verbose", "--version"):
                words = words[1:]
            elif words[0] in ("--system",):
                words = words[2:]
            else:
                assert hasattr(group, "commands"), command
                group, words = group.commands[words[0]], words[1:]
                if not hasattr(group, "commands"):
                    break
        assert not hasattr(group, "commands") or not words, command
        group.make_context("dmd", [word.replace("$SLURM_ARRAY_TASK_ID", "1") for word in words])


def test_the_readme_is_a_front_page() -> None:
    """It fits a screen or three, and shows ten lines or so of what the program prints."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 7000
    (block,) = pages.blocks(text)
    assert 8 <= sum(len(prints.splitlines()) for _, prints in block.commands) <= 14


def test_the_site_has_every_page() -> None:
    """Protects: a page that is written and cannot be found, or an entry without a page."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+\.md", str(yaml.safe_load(text)["nav"])))
    assert named == {page.name for page in (ROOT / "docs").glob("*.md")} | MADE


def test_a_site_that_loads_from_elsewhere_or_links_nowhere_is_told(tmp_path: Path) -> None:
    """Protects the check that `nox -s docs` makes: fonts, scripts, pictures, dead links and dead places."""
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">fine</a> <a href="https://example.org">fine</a> <a href="c.html">gone</a>'
        '<a href="b.html#there">gone</a> <script src="//cdn.example.org/x.js"></script> <img src="missing.png">'
    )
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "s.css").write_text("@font-face { src: url(https://fonts.example.org/f) } p { background: url(b.png) }")
    assert [line for line in site.problems(tmp_path) if "pages" not in line] == [
        "a.html: loads //cdn.example.org/x.js",
        "a.html: missing.png leads nowhere",
        "a.html: c.html leads nowhere",
        "a.html: b.html#there has no such place",
        "s.css: loads https://fonts.example.org/f",
    ]
