"""The systems the program knows: those that ship, those of installed packages, those of the user's own files.

A further system that ships is a folder of its own and one line here. Others come by the entry point group
`dmd_repro.systems`, or by `--system FILE.py`, which worker processes read from the environment.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from dmd_repro.errors import SpecError, nearest
from dmd_repro.spec import RunSpec, Scalar
from dmd_repro.systems.declare import System, check_declaration

SHIPPED: dict[str, str] = {  # name -> where its declaration is
    "dmd": "dmd_repro.systems.dmd.config:SYSTEM",
    "mult": "dmd_repro.systems.mult.config:SYSTEM",
    "ef-lstm": "dmd_repro.systems.ef_lstm.config:SYSTEM",
    "lf-lstm": "dmd_repro.systems.lf_lstm.config:SYSTEM",
    "tfn": "dmd_repro.systems.tfn.config:SYSTEM",
    "lmf": "dmd_repro.systems.lmf.config:SYSTEM",
    "mfm": "dmd_repro.systems.mfm.config:SYSTEM",
    "graph-mfn": "dmd_repro.systems.graph_mfn.config:SYSTEM",
    "raven": "dmd_repro.systems.raven.config:SYSTEM",
    "mctn": "dmd_repro.systems.mctn.config:SYSTEM",
    "misa": "dmd_repro.systems.misa.config:SYSTEM",
    "language": "dmd_repro.systems.language.config:SYSTEM",
    "pmr": "dmd_repro.systems.pmr.config:SYSTEM",
    "fdmer": "dmd_repro.systems.fdmer.config:SYSTEM",
}
GROUP = "dmd_repro.systems"
FILES = "DMD_SYSTEMS"  # the environment variable that lists the user's files


def _declared(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _shipped(name: str) -> System:
    return check_declaration(_declared(SHIPPED[name]))


@cache
def _others(files: str) -> dict[str, System]:
    """Return the systems that do not ship, by name; raises SpecError where two have one name."""
    found: dict[str, System] = {}
    packages = [_of_entry(e, f"package {e.dist.name if e.dist else e.value}") for e in entry_points(group=GROUP)]
    own = [_loader().system_in_file(Path(path)) for path in dict.fromkeys(files.split(os.pathsep)) if path]
    for system in (*packages, *own):
        before = "this program" if system.name in SHIPPED else getattr(found.get(system.name), "origin", "")
        if before:
            raise SpecError.at(
                f"system '{system.name}' of {system.origin}", expected="a name of its own",
                got=f"one that {before} has", do="Rename one of the two",
            )  # fmt: skip
        found[system.name] = check_declaration(system)
    return found


def _loader() -> Any:
    return importlib.import_module("dmd_repro.systems.files")  # by name: it imports torch, which nothing here may


def _of_entry(entry: Any, origin: str) -> System:
    try:
        system: System = _loader().system_of(entry.load(), origin)
        return system
    except SpecError:
        raise
    except Exception as error:  # whatever a stranger's package does when it is imported
        raise SpecError.at(
            f"system '{entry.name}' of {origin}", expected=f"an entry point that can be imported ({entry.value})",
            got=f"{type(error).__name__}: {error}", do="Fix or uninstall that package",
        ) from error  # fmt: skip


def add_file(path: Path) -> System:
    """Let the program know the system of a file, worker processes too; raises SpecError where it is none."""
    known = [p for p in os.environ.get(FILES, "").split(os.pathsep) if p]
    resolved = str(path.resolve())
    if resolved not in known:
        os.environ[FILES] = os.pathsep.join([*known, resolved])
    try:
        return next(s for s in _others(os.environ[FILES]).values() if s.origin == resolved)
    except SpecError:
        os.environ[FILES] = os.pathsep.join(known)
        raise


def system_names() -> tuple[str, ...]:
    """Return every name, those that ship first."""
    return (*SHIPPED, *_others(os.environ.get(FILES, "")))


def find_system(name: str) -> System:
    """Return a system by name; raises SpecError with the nearest one. No torch for those that ship."""
    if name in SHIPPED:
        return _shipped(name)
    others = _others(os.environ.get(FILES, ""))
    if name not in others:
        raise SpecError.at(
            f"model '{name}'", expected="a known model", got="an unknown name", do=nearest(name, system_names())
        )
    return others[name]


def setting_names(model: str) -> frozenset[str]:
    """Return the names `--set` takes for a model, second names too; raises SpecError where the model is unknown."""
    config = find_system(model).config
    return frozenset(f.name for f in fields(config)) | set(config.ALIASES)


def split_options(name: str) -> tuple[str, dict[str, Scalar]]:
    """Read `mult+gd` as ("mult", {"gd": True}); a plain name as itself. Raises SpecError with the nearest name."""
    model, *options = name.split("+")
    known = find_system(model).options if options else ()
    for option in options:
        if option not in known:
            full = [f"{model}+{o}" for o in known] or list(system_names())
            raise SpecError.at(
                f"model '{name}'", expected=f"a known option of {model}", got=repr(option), do=nearest(name, full)
            )
    return model, dict.fromkeys(options, True)


def full_name(model: str, config: Mapping[str, Scalar]) -> str:
    """Return a model's name with the options its configuration has on: the reverse of `split_options`.

    A record of a system that is not at hand keeps its plain name.
    """
    options = _shipped(model).options if model in SHIPPED else ()
    return "+".join([model, *(option for option in options if config.get(option))])


def fallback_words(model: str, dataset: str) -> str:
    """Return what is said of a system on a data set it has no preset for; "" where it has one, or is not at hand."""
    return find_system(model).fallback_words(dataset) if model in system_names() else ""


def completed(spec: RunSpec) -> RunSpec:
    """Return a spec that was read with every setting added since it was written, at its neutral value.

    So an older run and a new one at the neutral values have the same configuration; the identity stays. The spec of a
    system that is not at hand stays as it is.
    """
    return spec.completed(find_system(spec.model).config.neutral()) if spec.model in system_names() else spec


def load_model(name: str) -> Any:
    """Import and return a model's class; raises SpecError with the nearest name. Imports torch."""
    return find_system(name).load()
