"""Checkpoints of either kind, read and checked before they meet any data; nothing in a file is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dmd_repro.errors import DataError, RunError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.plain_state import PlainState, names_of, read_plain, refuse_other
from dmd_repro.evaluate.state_file import names_in
from dmd_repro.records.files import read_arrays
from dmd_repro.records.folder import Records
from dmd_repro.records.run import CHECKPOINT, RunRecord
from dmd_repro.spec import RunSpec
from dmd_repro.systems.registry import completed, find_system

STACKED = {official.SYSTEM: official.read_official}  # systems with a stack axis whose files can be read


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read, before it meets any data. Exactly one of `spec` and `state` is there."""

    where: str
    run_id: str | None = None
    spec: RunSpec | None = None
    data: Mapping[str, Any] | None = None  # the stamp of what a run was trained on
    weights: Mapping[str, NDArray[Any]] | None = None
    state: official.OfficialState | PlainState | None = None
    record: RunRecord | None = None  # of a run: what it predicted when it was trained

    @property
    def text(self) -> str | None:
        """The kind of text it was trained on; None where a state_dict leaves GloVe and hidden states open."""
        if self.data is not None:
            return str(self.data["text"])
        return "bert" if self.state is not None and self.state.bert else None


def open_checkpoint(name: str, records: Records, model: str | None = None) -> Checkpoint:
    """Read a run (its id, its folder, its checkpoint.safetensors) or a state_dict file; nothing in it is executed.

    `model`: whose reference's names a state_dict has, dmd's unless said. Raises SpecError for a model with a run,
    RunError for a run that is not there or damaged, DataError for a file that is no checkpoint, or another system's.
    """
    path = Path(name)
    if model is not None:
        find_system(model)
    if path.is_file() and not (path.name == CHECKPOINT and (path.parent / "DONE").exists()):
        if path.suffix != ".safetensors":
            return Checkpoint(where=name, state=_state(path, name, model))
        return _weights_alone(path, name, model)
    missing = not path.is_file() and not path.is_dir() and (path.suffix or len(path.parts) > 1)
    if model is not None and not missing:
        raise _told_by_run(name, model)
    if path.is_file():
        path = path.parent
    if path.is_dir():
        records, run = Records(path.absolute().parent), path.absolute().name
    elif missing:
        raise DataError.at(name, expected="a run, its folder, or a checkpoint file", got="no such file", do="Check it")
    else:
        run = records.find(name)
    if problems := records.verify(run):
        raise RunError.at(f"run {run}", expected="a whole record", got=f"'{problems[0]}'", do="See dmd runs verify")
    record = records.get(run)
    assert record is not None
    return Checkpoint(name, run, record.spec, record.data, record.checkpoint(), record=record)


def _told_by_run(name: str, model: str) -> SpecError:
    return SpecError.at(
        f"--model {model}", expected="a state_dict, which cannot tell its system", got=f"a run ({name})",
        do="Drop --model",
    )  # fmt: skip


def _state(path: Path, name: str, model: str | None) -> official.OfficialState | PlainState:
    """Read a state_dict by a system's names; raises DataError naming another system whose names it has."""
    chosen = model or official.SYSTEM
    try:
        if chosen in STACKED:
            return _of(STACKED[chosen](path, name), chosen)
        return _of(read_plain(path, find_system(chosen), name), chosen)
    except DataError:  # its names may be too foreign to find one model in it
        if found := names_in(path, name):
            refuse_other(name, found, chosen)
        raise


def _of(state: official.OfficialState | PlainState, model: str) -> official.OfficialState | PlainState:
    names = set(state.file.tensors)
    known = official.reference_names() if model in STACKED else names_of(model)
    if not names & known:
        refuse_other(state.where, {state.file.in_file(n) for n in names}, model)
    return state


def _weights_alone(path: Path, name: str, model: str | None) -> Checkpoint:
    try:
        if not _is_ours(path):
            return Checkpoint(where=name, state=_state(path, name, model))
        if model is not None:
            raise _told_by_run(name, model)
        weights, about = read_arrays(path)
        spec = completed(RunSpec.from_json(about["spec"]))
        return Checkpoint(name, None, spec, dict(about["data"]), weights)
    except (RunError, KeyError, TypeError, ValueError) as error:
        raise DataError.at(
            name, expected="a run's checkpoint, its spec inside", got="half of one",
            do="Name the run's folder",
        ) from error  # fmt: skip


def _is_ours(path: Path) -> bool:
    """Whether a safetensors file says what run it is of; a cut one is read, and refused, as a state_dict."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return "meta" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False
