"""The README is true: its commands, and what it says can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from dmd_repro import __version__
from dmd_repro.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Return the words of every command and subcommand of `dmd`."""
    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [[name, sub] for sub in inner] if inner else [[name]]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_and_stands_in_the_readme(words: list[str]) -> None:
    """Protects: a user finds each command on the front page, and `--help` explains it."""
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert len(result.output.split("Usage")[1].split()) > 20
    assert f"`{words[-1]}" in README or f"dmd {' '.join(words)}" in README or f"/ `{words[-1]}" in README


def test_the_commands_of_the_readme_exist() -> None:
    """Protects: nothing on the front page is a command of yesterday."""
    known = {words[0] for words in commands()}
    typed = set(re.findall(r"\bdmd ([a-z]+)", README))
    assert typed <= known


def test_no_path_of_one_machine() -> None:
    """Protects: nothing published depends on where it was written."""
    places = "|".join(("home", "root", "work", "tmp"))
    one_machine = re.compile(rf"(?<![\w.}}]])/({places})/\w")
    published = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("*.t*"),
        *(ROOT / "dmd_repro").rglob("*.py"),
    ]
    assert [path.name for path in published if one_machine.search(path.read_text(encoding="utf-8"))] == []


def test_every_link_leads_to_a_file() -> None:
    """Protects: a page that moves takes the links to it along."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "runs" / "README.md"]
    broken, made = [], {"commands.md", "notebook.md"}  # when the site is built
    for page in pages:
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        inside = [link for link in links if "://" not in link and link not in made]
        broken += [(page.name, link) for link in inside if not (page.parent / link).exists()]
    assert broken == []


def test_the_citation_is_of_this_version() -> None:
    """Protects: who cites a release names the version that it is."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    assert cited["license"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
