"""A system from a file of one's own: imported under a name of its own, its class turned into a declaration."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dmd_repro.errors import SpecError
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.declare import System
from dmd_repro.systems.plain import PlainSystem


def system_in_file(path: Path) -> System:
    """Return the system that a Python file holds.

    The file is a program of the user's and is run. Raises SpecError where it is missing, cannot be run, or does not
    hold exactly one system.
    """
    where = f"--system {path}"
    if not path.is_file():
        raise SpecError.at(where, expected="a Python file with a system", got="no such file", do="Check the path")
    module = _imported(path, where)
    found = [
        x for x in vars(module).values()
        if isinstance(x, type) and issubclass(x, PlainSystem) and x.__module__ == module.__name__ and x.NAME
    ]  # fmt: skip
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise SpecError.at(
            where, expected="one class that extends PlainSystem and has a NAME", got=names,
            do="See docs/add-a-system.md; `dmd systems template` prints a file to begin with",
        )  # fmt: skip
    return system_of(found[0], str(path))


def _imported(path: Path, where: str) -> ModuleType:
    name = f"dmd_system_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise SpecError.at(
            where, expected="Python", got=f"a syntax error in line {error.lineno}: {error.msg}", do="Correct the file"
        ) from error
    except Exception as error:  # whatever the file does when it is run
        del sys.modules[name]
        raise SpecError.at(
            where, expected="a file that can be imported", got=f"{type(error).__name__}: {error}", do="Correct the file"
        ) from error
    return module


def system_of(thing: Any, origin: str) -> System:
    """Return the declaration of a class of one's own, or a declaration as it is; raises SpecError for anything else."""
    if isinstance(thing, System):
        return thing
    if not (isinstance(thing, type) and issubclass(thing, PlainSystem)):
        raise SpecError.at(
            f"a system of {origin}", expected="a class that extends PlainSystem, or a System", got=repr(thing),
            do="See docs/add-a-system.md",
        )  # fmt: skip
    if not issubclass(thing.CONFIG, TrainConfig):
        raise SpecError.at(
            f"system '{thing.NAME}' of {origin}", expected="a CONFIG that extends TrainConfig",
            got=thing.CONFIG.__name__, do="Let it extend TrainConfig",
        )  # fmt: skip
    return System(
        name=thing.NAME,
        title=thing.TITLE or thing.NAME,
        paper=thing.PAPER,
        model=thing,
        config=thing.CONFIG,
        preset=thing.preset,
        inputs=thing.INPUTS,
        parts=thing.PARTS,
        protocols=thing.PROTOCOLS,
        model_version=thing.MODEL_VERSION,
        switches=thing.SWITCHES,
        origin=origin,
    )
