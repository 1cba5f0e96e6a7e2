"""The folder of run records: what is there, what is whole, who may write.

`<root>/<run_id>/` is a finished run, `<run_id>.tmp/` one in progress or interrupted (it is resumed), `<run_id>.failed/`
one that raised (it is tried again from the start). Nothing else in the folder counts. Numpy and safetensors, no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dmd_repro.disk import sentences
from dmd_repro.errors import DmdError, RunError, nearest
from dmd_repro.records.run import (
    CHECKPOINT,
    PREDICTED_SPLITS,
    RECORD_FILES,
    DataStamp,
    Predictions,
    RunRecord,
    read_json,
    sha256_file,
)
from dmd_repro.records.writer import RunBusy, RunWriter
from dmd_repro.spec import RunSpec
from dmd_repro.systems.registry import full_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DataStamp", "Predictions", "Records", "RunBusy", "RunRecord", "RunStatus", "RunWriter"]

RunStatus = Literal["done", "failed", "partial", "damaged", "missing"]
SCAN_COLUMNS = (
    *("run_id", "status", "model", "protocol", "mask", "dataset", "data", "text", "bert", "aligned", "standing"),
    *("seed", "digest", "configuration", "epochs", "best_epoch", "seconds", "device", "created", "problem"),
)
_FOLDER = re.compile(r"([0-9a-f]{12})(\.tmp|\.failed)?")


class Records:
    """The run records under one folder, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def get(self, run_id: str, check: bool = True) -> RunRecord | None:
        """Return a finished record, or None: missing, unfinished, FAILED, foreign or damaged ones never count.

        With `check` every file but the checkpoint (the big one; `verify` reads it too) must have its recorded sha256.
        """
        path = self.root / run_id
        try:
            return RunRecord.load(path) if not self._damage(path, check=check) else None
        except DmdError:
            return None

    def status(self, run_id: str) -> RunStatus:
        """Say how far a run is; "damaged": a finished record that no longer agrees with itself."""
        with sentences(self.root, "a folder that can be read", RunError, "--runs-dir"):
            if (self.root / run_id).exists():
                return "done" if self.get(run_id) else "damaged"
            if (self.root / f"{run_id}.tmp").exists():
                return "partial"
            return "failed" if (self.root / f"{run_id}.failed").exists() else "missing"

    def begin(self, spec: RunSpec, data: DataStamp, provenance: Mapping[str, Any]) -> RunWriter:
        """Return the writer of a run, to be used in a `with`: opens or re-opens `<run_id>.tmp/` under an OS lock.

        A damaged record of that name is moved aside when the `with` begins, never overwritten. Raises RunError if the
        folder cannot be written, RunBusy if another process holds the run or has just finished it.
        """
        with sentences(self.root, "a folder that can be written", RunError, "--runs-dir"):
            return RunWriter(self.root, spec, data, provenance, is_whole=lambda name: self.get(name) is not None)

    def begun(self, run_id: str) -> dict[str, Any]:
        """Return the provenance of a run in progress or interrupted; raises RunError if it does not read."""
        return RunRecord.load(self.root / f"{run_id}.tmp").provenance

    def failure(self, run_id: str) -> str | None:
        """Return the traceback of the last attempt if that one FAILED."""
        path = self.root / f"{run_id}.failed" / "FAILED"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def run_ids(self) -> list[str]:
        """Return the ids of every run of any status, sorted."""
        if not self.root.is_dir():
            return []
        with sentences(self.root, "a folder that can be read", RunError, "--runs-dir"):
            found = (_FOLDER.fullmatch(p.name) for p in self.root.iterdir() if p.is_dir())
            return sorted({match[1] for match in found if match})

    def find(self, name: str) -> str:
        """Return the full id a user means by an id, its unique beginning, or the path of a record's folder.

        Raises RunError for none or several, with the nearest.
        """
        known = self.run_ids()
        wanted = Path(name).name.split(".")[0]
        hits = [known_id for known_id in known if wanted and known_id.startswith(wanted)]
        if len(hits) != 1:
            got = f"{len(hits)} of them ({', '.join(hits[:5])})" if hits else "none"
            do = "Write more digits" if hits else nearest(wanted, known)
            raise RunError.at(f"run '{name}' in {self.root}", expected="one run", got=got, do=do)
        return hits[0]

    def verify(self, run_id: str) -> list[str]:
        """Return what is wrong with a finished record, in sentences; [] when it agrees with itself.

        Every hash; the id against spec and data; the selected epoch's predictions and the metrics computed from them
        against those noted while training.
        """
        path = self.root / run_id
        if not path.exists():
            return [f"{path}: expected a finished record, got a run that is {self.status(run_id)}."]
        try:
            problems = self._damage(path, check=True, checkpoint=True)
            return problems or disagreements(RunRecord.load(path))
        except DmdError as error:
            return [str(error)]

    @staticmethod
    def _damage(path: Path, *, check: bool, checkpoint: bool = False) -> list[str]:
        try:
            done = read_json(path / "DONE")
            RunRecord.load(path)
        except DmdError as error:
            return [str(error)]
        if not isinstance(done, dict):
            return [f"{path / 'DONE'}: expected a hash for each file, got {type(done).__name__}."]
        problems = []
        for name in sorted({*RECORD_FILES, *done}):
            file = path / str(name)
            if name not in done or not file.is_file() or "/" in name:
                problems.append(f"{file}: expected a file listed in DONE, got none.")
            elif check and (checkpoint or name != CHECKPOINT) and _hash(file) != done[name]:
                problems.append(f"{file}: expected the sha256 written when the run ended, got another: it was changed.")
        return problems

    def scan(self) -> pd.DataFrame:
        """Return one row per run, whatever its status; no array is read.

        Columns: SCAN_COLUMNS; an unreadable record has only run_id, status and `problem`.
        """
        import pandas as pd

        return pd.DataFrame([self._row(name) for name in self.run_ids()], columns=list(SCAN_COLUMNS))

    def _row(self, name: str) -> dict[str, Any]:
        status = self.status(name)
        row: dict[str, Any] = {"run_id": name, "status": status, "problem": None}
        suffix = {"partial": ".tmp", "failed": ".failed"}.get(status, "")
        try:
            record = RunRecord.load(self.root / f"{name}{suffix}")
        except DmdError as error:
            return row | {"problem": str(error)}
        if status == "damaged":
            row["problem"] = " ".join(self._damage(record.path, check=True))
        elif status == "failed":
            row["problem"] = (self.failure(name) or "").strip().rpartition("\n")[2]
        spec, data, where = record.spec, record.data, record.provenance
        return row | {
            "model": full_name(spec.model, spec.config),
            "protocol": spec.protocol,
            "mask": spec.mask.label,
            "dataset": spec.dataset,
            "data": data.get("name"),
            "text": data.get("text"),
            "bert": bert_words(spec.config) or None,
            "aligned": data.get("aligned"),
            "standing": data.get("standing"),
            "seed": spec.seed,
            "digest": data["digest"],
            "configuration": record.configuration_id,
            "epochs": where.get("epochs"),
            "best_epoch": where.get("best_epoch"),
            "seconds": where.get("seconds"),
            "device": where.get("device") or where.get("execution", {}).get("device"),
            "created": where.get("created"),
        }


def bert_words(config: Mapping[str, Any]) -> str:
    """Return "BERT <fingerprint>, fine-tuned" (or frozen) for a configuration that reads token ids; "" for others."""
    if not config.get("bert"):
        return ""
    return f"BERT {config['bert']}, {'fine-tuned' if config.get('bert_finetune') else 'frozen'}"


def _hash(path: Path) -> str:
    with sentences(path, "a file that can be read", RunError):
        return sha256_file(path)


def disagreements(record: RunRecord) -> list[str]:
    """Return where a record's predictions are not those of its selected epoch, or score otherwise than its history."""
    from dmd_repro.metrics.registry import METRICS

    best, history = int(record.provenance.get("best_epoch") or 0), record.history()
    noted = next((line for line in history if line.get("epoch") == best), None)
    if noted is None:
        return [f"{record.path}: expected a selected epoch among its {len(history)}, got {best}."]
    problems = []
    for split in PREDICTED_SPLITS:
        said, curves = record.predictions(split), record.epochs(split)
        if curves.shape[0] < best or not np.array_equal(curves[best - 1], said.y_pred, equal_nan=True):
            problems.append(f"{record.path}: the {split} predictions are not those of its selected epoch {best}.")
        for name, value in noted.get(split, {}).items():
            if name not in METRICS:
                continue
            now = METRICS[name].function(said.y_true, said.y_pred)
            then = math.nan if value is None else float(value)
            if not (math.isclose(now, then, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(now) and math.isnan(then))):
                problems.append(
                    f"{record.path}: expected {split} {name} {then:.6f} as noted while training, got {now:.6f}."
                )
    return problems
