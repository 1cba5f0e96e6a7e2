"""Which papers there are: `tables/*.yaml` is this paper's, `tables/NAME/*.yaml` a further one's, and so are a user's.

A user's papers lie in the folder that `--papers` or the variable DMD_PAPERS names: tables in it are one paper, called
as the folder is, and each folder in it that holds tables is another. A table of a further paper is `NAME/table`.
"""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

from dmd_repro.errors import ClaimError, nearest

VARIABLE = "DMD_PAPERS"
RESERVED = ("reruns",)  # tables/reruns/: what others measured of printed rows
DATASETS_FILE = "datasets.yaml"  # of a paper's folder: data sets it brings, no table
_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")


def tables_folder() -> Path:
    """Return the folder of this paper's tables: inside the installed package, or beside it in a checkout."""
    package = Path(str(resources.files("dmd_repro")))
    packaged = package / "tables"
    return packaged if packaged.is_dir() else package.parent / "tables"


def tables_in(folder: Path) -> list[str]:
    """Return the names of the tables of one folder."""
    return sorted(path.stem for path in folder.glob("*.yaml") if path.name != DATASETS_FILE)


def further_papers() -> dict[str, Path]:
    """Return the papers besides this one by name, shipped ones first.

    Raises ClaimError: a user's folder without tables, or a paper's name that is taken, reserved or no plain word.
    """
    shipped = tables_folder()
    found = {path.name: path for path in _inside(shipped) if path.name not in RESERVED}
    asked = os.environ.get(VARIABLE)
    if not asked:
        return found
    root = Path(asked).expanduser().absolute()
    if not root.is_dir():
        raise ClaimError.at(f"--papers {asked}", expected="a folder of papers", got="none", do="Check the path")
    own = ([root] if tables_in(root) else []) + _inside(root)
    if not own:
        got = "no table in it or in a folder of it"
        raise ClaimError.at(
            f"--papers {asked}", expected="files such as NAME/table1.yaml", got=got, do="Check the path"
        )
    for path in own:
        _check_name(path, found)
        found[path.name] = path
    return found


def _inside(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and tables_in(path)) if root.is_dir() else []


def _check_name(path: Path, known: dict[str, Path]) -> None:
    name, where = path.name, f"paper {path}"
    if not _NAME.fullmatch(name):
        expected = "a folder called by small letters, digits, - and _"
        raise ClaimError.at(where, expected=expected, got=f"'{name}'", do="Rename it")
    if name in RESERVED:
        raise ClaimError.at(where, expected="a name of its own", got=f"'{name}', which is reserved", do="Rename it")
    if name in tables_in(tables_folder()):
        got = f"'{name}', which is a table of this paper"
        raise ClaimError.at(where, expected="a name of its own", got=got, do="Rename it")
    if name in known:
        raise ClaimError.at(where, expected="a name of its own", got=f"'{name}', as {known[name]}", do="Rename it")


def paper_folder(name: str) -> Path:
    """Return the folder of a paper, "" for this one; raises ClaimError with the nearest name."""
    if not name:
        return tables_folder()
    known = further_papers()
    if name not in known:
        do = nearest(name, known) if known else "Name the folder it lies in with --papers"
        raise ClaimError.at(f"paper '{name}'", expected="a known paper", got="an unknown name", do=do)
    return known[name]


def table_names(folder: Path | None = None, paper: str = "") -> list[str]:
    """Return the names of the tables of this paper, of a further one (`NAME/table`), or of any folder."""
    if folder is not None:
        return tables_in(folder)
    return [f"{paper}/{name}" if paper else name for name in tables_in(paper_folder(paper))]


def all_table_names() -> list[str]:
    """Return the tables of every paper, this one's first."""
    return [name for paper in ("", *further_papers()) for name in table_names(paper=paper)]


def asked_tables(asked: str | None) -> list[str]:
    """Return the tables a command names: one table, every table of a paper, or (None) every table of this paper."""
    if asked is None:
        return table_names()
    return table_names(paper=asked) if "/" not in asked and asked in further_papers() else [asked]


def paper_of(table: str) -> str:
    """Return the paper a table belongs to, "" for this one."""
    return table.rpartition("/")[0]


def paper_asked(name: str) -> str:
    """Return the paper of a table, or of a paper's own name; "" for this one."""
    return paper_of(name) or (name if name in further_papers() else "")
