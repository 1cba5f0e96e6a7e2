"""The folder of run records: what is there, what is whole, who may write.

`<root>/<run_id>/` is a finished run, `<run_id>.tmp/` one in progress or interrupted (it is resumed), `<run_id>.failed/`
one that raised (it is tried again from the start). Nothing else in the folder counts. Numpy and safetensors, no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dmd_repro.disk import sentences
from dmd_repro.errors import DmdError, RunError, Unreadable, nearest
from dmd_repro.records.check import examine
from dmd_repro.records.run import DataStamp, Predictions, RunRecord
from dmd_repro.records.writer import RunBusy, RunWriter, kept_epochs
from dmd_repro.spec import RunSpec
from dmd_repro.systems.registry import full_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DataStamp", "Predictions", "Records", "RunBusy", "RunRecord", "RunStatus", "RunWriter", "Unreadable"]

RunStatus = Literal["done", "failed", "partial", "damaged", "unreadable", "missing"]
SCAN_COLUMNS = (
    *("run_id", "status", "model", "protocol", "mask", "dataset", "data", "text", "bert", "aligned", "standing"),
    *("seed", "digest", "configuration", "epochs", "best_epoch", "seconds", "device", "created", "problem"),
)
_ENDINGS: tuple[tuple[RunStatus, str], ...] = (("done", ""), ("partial", ".tmp"), ("failed", ".failed"))
_FOLDER = re.compile(r"([0-9a-f]{12})(\.tmp|\.failed)?")


class Records:
    """The run records under one folder, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def get(self, run_id: str, check: bool = True) -> RunRecord | None:
        """Return a finished record, or None: missing, unfinished, FAILED, foreign or damaged ones never count.

        With `check` it must agree with itself (`check.examine`; the weights, the big file, are left to `verify`).
        Raises Unreadable for one that is there and cannot be read, or that another version wrote.
        """
        record, problems = examine(self.root / run_id, check=check)
        return None if problems or record is None else record.alone()

    def whole(self, run_id: str, check: bool = True) -> RunRecord | None:
        """Return a finished record for who reads many of them: one that `get` would raise for is passed over."""
        try:
            return self.get(run_id, check)
        except Unreadable:
            return None

    def look(self, run_id: str) -> tuple[RunStatus, RunRecord | None, str]:
        """Return how far a run is, its record where that reads, and what is wrong with it; nothing is raised for one.

        The record keeps what was read of its files; of many, keep `record.alone()`.

        "damaged": a finished record that no longer agrees with itself; "unreadable": one that may be whole, but cannot
        be read here and now. Raises RunError if the folder itself cannot be read.
        """
        status, suffix = self._where(run_id)
        path = self.root / f"{run_id}{suffix}"
        try:
            if status == "done":
                record, problems = examine(path)
                return ("damaged" if problems else "done"), record, " ".join(problems)
            if status == "missing":
                return status, None, ""
            problem = (self.failure(run_id) or "").strip().rpartition("\n")[2] if status == "failed" else ""
            return status, RunRecord.load(path), problem
        except Unreadable as error:
            return ("unreadable" if status == "done" else status), None, str(error)
        except DmdError as error:
            return status, None, str(error)

    def status(self, run_id: str) -> RunStatus:
        """Say how far a run is; see `look`."""
        status, _ = self._where(run_id)
        return self.look(run_id)[0] if status == "done" else status

    def _where(self, run_id: str) -> tuple[RunStatus, str]:
        """Return what the folder's names say of a run, and the ending of its folder."""
        with sentences(self.root, "a folder that can be read", RunError, "--runs-dir"):
            for status, suffix in _ENDINGS:
                if (self.root / f"{run_id}{suffix}").exists():
                    return status, suffix
        return "missing", ""

    def begin(self, spec: RunSpec, data: DataStamp, provenance: Mapping[str, Any]) -> RunWriter:
        """Return the writer of a run, to be used in a `with`: opens or re-opens `<run_id>.tmp/` under an OS lock.

        A damaged record of that name is moved aside when the `with` begins, never overwritten. Raises RunError if the
        folder cannot be written, Unreadable if a record of that name is there and cannot be read, RunBusy if another
        process holds the run or has just finished it.
        """
        with sentences(self.root, "a folder that can be written", RunError, "--runs-dir"):
            return RunWriter(self.root, spec, data, provenance, is_whole=lambda name: self.get(name) is not None)

    def begun(self, run_id: str) -> dict[str, Any]:
        """Return the provenance of a run in progress or interrupted; raises RunError if it does not read."""
        return RunRecord.load(self.root / f"{run_id}.tmp").provenance

    def history(self, run_id: str) -> list[str]:
        """Return a line for each finished epoch of a run, whether it is done or not; [] where it was not begun."""
        for ending in ("", ".tmp"):
            with suppress(OSError, UnicodeDecodeError):
                return (self.root / f"{run_id}{ending}" / "history.jsonl").read_text(encoding="utf-8").splitlines()
        return []

    def kept_epochs(self, run_id: str) -> int:
        """Return how many epochs of a run in progress or interrupted are kept; 0 where there is none."""
        return kept_epochs(self.root / f"{run_id}.tmp")

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
        against those noted while training. Raises Unreadable.
        """
        path = self.root / run_id
        if not path.exists():
            return [f"{path}: expected a finished record, got a run that is {self.status(run_id)}."]
        return examine(path, weights=True)[1]

    def scan(self) -> pd.DataFrame:
        """Return one row per run, whatever its status; no array is read.

        Columns: SCAN_COLUMNS; an unreadable record has only run_id, status and `problem`.
        """
        import pandas as pd

        return pd.DataFrame(list(self.rows()), columns=list(SCAN_COLUMNS))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what `scan` returns, run by run, with the record itself under `record`: None where it does not read."""
        for name in self.run_ids():
            status, record, problem = self.look(name)
            yield _row(name, status, record, problem)


def _row(name: str, status: RunStatus, record: RunRecord | None, problem: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCAN_COLUMNS)
    row |= {"run_id": name, "status": status, "problem": problem or None, "record": record}
    if record is None:
        return row
    spec, data, where = record.spec, record.data, record.provenance
    return row | {
        "model": full_name(spec.model, spec.config),
        "protocol": spec.protocol,
        "mask": spec.mask.label,
        "dataset": spec.dataset,
        "data": data["name"],
        "text": data["text"],
        "bert": bert_words(spec.config) or None,
        "aligned": data["aligned"],
        "standing": data["standing"],
        "seed": spec.seed,
        "digest": data["digest"],
        "configuration": record.configuration_id,
        "epochs": kept_epochs(record.path) or None if status == "partial" else where.get("epochs"),
        "best_epoch": where.get("best_epoch"),
        "seconds": where.get("seconds"),
        "device": where.get("device") or (where.get("execution") or {}).get("device"),
        "created": where.get("created"),
    }


def bert_words(config: Mapping[str, Any]) -> str:
    """Return "BERT <fingerprint>, fine-tuned" (or frozen) for a configuration that reads token ids; "" for others."""
    if not config.get("bert"):
        return ""
    return f"BERT {config['bert']}, {'fine-tuned' if config.get('bert_finetune') else 'frozen'}"
