"""Writing one run: an epoch at a time into `<run_id>.tmp/`, renamed to `<run_id>/` when everything is there.

At any instant a kill leaves either the state before an epoch or the state after it. An OS lock, which dies with its
process, keeps a second writer out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import traceback as tracebacks
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dmd_repro.disk import free_name, fsync_folder, sentences, write_atomic
from dmd_repro.errors import RunError, Unreadable
from dmd_repro.records.files import pack_arrays, read_arrays, sha256_file
from dmd_repro.records.lock import PATIENCE, RunLock, writer_of
from dmd_repro.records.run import CHECKPOINT, DataStamp, Predictions, RunRecord, spec_document
from dmd_repro.spec import RunSpec, run_id

log = logging.getLogger(__name__)
RESUME = "resume.safetensors"
ASIDE = ".damaged-"  # and a number: the ending of what was set aside


def read_resume(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return arrays and meta of the last finished epoch; RunError if the file is damaged in any bit."""
    arrays, meta = read_arrays(path)
    if "sha256" in meta and meta["sha256"] != _content_digest(arrays, {k: v for k, v in meta.items() if k != "sha256"}):
        raise RunError.at(
            str(path),
            expected="the state that was saved",
            got="other bytes",
            do="Run the same command again: this run starts afresh",
        )
    return arrays, meta


def kept_epochs(folder: Path) -> int:
    """Return how many epochs of an unfinished run are kept, from what it resumes from; 0 where that does not read."""
    try:
        with (folder / RESUME).open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(size, os.fstat(stream.fileno()).st_size)))
        return int(json.loads(header["__metadata__"]["meta"])["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _content_digest(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(meta))  # as it will be read: keys are text then
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _chain(lines: Sequence[str], before: str = "") -> str:
    for line in lines:
        before = hashlib.sha256((before + line).encode()).hexdigest()
    return before


class RunBusy(RunError):
    """Another process is writing this run, or has just finished it."""

    run_id = ""

    @classmethod
    def of(cls, run_id: str, expected: str, got: str, do: str) -> Self:
        """Name the run, so that a queue can put it back."""
        error = cls.at(f"run {run_id}", expected=expected, got=got, do=do)
        error.run_id = run_id
        return error


class RunWriter:
    """The one writer of one run; a context manager.

    Leaving by an ordinary exception records the run as FAILED with its traceback. An interruption, or trouble with the
    disk (RunError), leaves the finished epochs for the next attempt.
    """

    def __init__(
        self,
        root: Path,
        spec: RunSpec,
        data: DataStamp,
        provenance: Mapping[str, Any],
        is_whole: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self.root, self.spec, self.data = root, spec, data
        self.run_id = run_id(spec, data.digest)
        self.path = root / f"{self.run_id}.tmp"
        self._provenance = dict(provenance)
        self._is_whole = is_whole
        self._epochs = 0
        self._history = ""  # what the lines of history so far hash to, each with the one before
        self._closed = False  # finished or failed: nothing more may be written
        self._lock = RunLock(root, self.run_id)

    def _storage(self) -> Any:
        return sentences(self.path, "a folder that can be written", RunError, "--runs-dir")

    def __enter__(self) -> Self:
        with self._storage():
            if not self._lock.take(PATIENCE):
                raise self._busy()
            try:
                if not self._lock.sign():
                    raise self._busy()
                self._open()
            except BaseException:
                self._lock.free()
                raise
        return self

    def _busy(self) -> RunBusy:
        by = writer_of(self.root, self.run_id)
        return RunBusy.of(
            self.run_id,
            expected="to be its only writer",
            got="another process training it" + (f", {by}" if by else ""),
            do="Wait for that one: the same command then uses its result",
        )

    def _open(self) -> None:
        final = self.root / self.run_id
        if final.exists() and not self._is_whole(self.run_id):  # under the lock: else it may be another's new record
            final.rename(free_name(final, ASIDE))
        if final.exists():  # its owner finished between our look and our lock
            raise RunBusy.of(
                self.run_id,
                expected="a run still to be trained",
                got="one finished in the meantime",
                do="Run the same command again to use it",
            )
        self.path.mkdir(exist_ok=True)
        (self.path / "DONE").unlink(missing_ok=True)  # killed between DONE and the rename: the last epoch redoes it
        try:
            before = dict(RunRecord.load(self.path).provenance)
            self._provenance["earlier"] = [*(before.pop("earlier", None) or []), before]
        except Unreadable:
            raise
        except RunError:  # nothing to tell of before: the first attempt
            pass
        write_atomic(self.path / "spec.json", json.dumps(spec_document(self.spec, self.data), indent=1))
        write_atomic(self.path / "provenance.json", json.dumps(self._provenance, indent=1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception) and not isinstance(error, RunError) and not self._closed:
                self.fail("".join(tracebacks.format_exception(kind, error, trace)))
        finally:
            self._closed = True
            self._lock.free()

    def resume(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return arrays and state of the last finished epoch, the history cut back to it; None to start afresh.

        A resume file that does not read, or a history shorter than it, means a damaged disk: the run starts afresh.
        """
        history = self.path / "history.jsonl"
        with self._storage():
            lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
            try:
                arrays, meta = read_resume(self.path / RESUME)
                kept = [*lines[: meta["epochs"] - 1], json.dumps(meta["line"])]
                whole = len(kept) == meta["epochs"] and meta.get("history") in (None, _chain(kept[:-1]))
            except Unreadable:  # what cannot be read now may be read later: no epoch is made again in silence
                raise
            except (RunError, KeyError, TypeError):
                whole = False
            if not whole:
                if (self.path / RESUME).exists():
                    log.warning("what was saved of run %s cannot be read: it starts afresh", self.run_id)
                (self.path / RESUME).unlink(missing_ok=True)
                history.unlink(missing_ok=True)
                self._epochs, self._history = 0, ""
                return None
            # killed after the state was replaced and before its line was added: the state carries that line
            write_atomic(history, "".join(f"{line}\n" for line in kept))
            self._epochs, self._history = meta["epochs"], _chain(kept)
            log.info("run %s resumes after epoch %d, kept in %s", self.run_id, self._epochs, self.path)
            return arrays, meta["state"]

    def save_epoch(
        self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any], history_line: Mapping[str, Any]
    ) -> None:
        """Make one epoch durable: the whole state in ONE atomic replace, then its line of history.

        Raises RunError when the disk refuses; the state of the epoch before is then still whole.
        """
        self._check_open()
        meta = {"state": dict(state), "line": dict(history_line), "epochs": self._epochs + 1, "history": self._history}
        content = pack_arrays(arrays, {**meta, "sha256": _content_digest(arrays, meta)})
        with self._storage():
            write_atomic(self.path / RESUME, content)
            self._epochs += 1
            self._history = _chain([json.dumps(dict(history_line))], self._history)
            with (self.path / "history.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(dict(history_line)) + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    def finish(
        self,
        *,
        predictions: Mapping[str, Predictions],
        epochs: Mapping[str, NDArray[np.float32]],
        checkpoint: Mapping[str, NDArray[Any]],
        provenance: Mapping[str, Any],
    ) -> RunRecord:
        """Write the record, DONE last, and rename it into place. RunError when the disk refuses (it can be resumed)."""
        self._check_open()
        arrays: dict[str, NDArray[Any]] = {}
        for split, said in predictions.items():
            arrays |= {f"{split}/y_true": said.y_true, f"{split}/y_pred": said.y_pred}
            arrays |= {f"{split}/head/{name}": head for name, head in said.heads.items()}
        ids = {split: list(said.ids) for split, said in predictions.items()}
        self._provenance |= dict(provenance)
        history = self.path / "history.jsonl"
        final = self.root / self.run_id
        with self._storage():
            history.touch()
            files = {
                "provenance.json": json.dumps(self._provenance, indent=1).encode(),
                "predictions.safetensors": pack_arrays(arrays, {"ids": ids}),
                "epochs.safetensors": pack_arrays(epochs),
                CHECKPOINT: pack_arrays(checkpoint, spec_document(self.spec, self.data)),
            }
            for name, content in files.items():
                write_atomic(self.path / name, content)
            names = ["spec.json", "history.jsonl", *files]
            done = {name: sha256_file(self.path / name) for name in sorted(names)}
            write_atomic(self.path / "DONE", json.dumps(done, indent=1))
            self.path.rename(final)
            fsync_folder(self.root)
            self._closed = True
            (final / RESUME).unlink(missing_ok=True)
            shutil.rmtree(self.root / f"{self.run_id}.failed", ignore_errors=True)
        return RunRecord.load(final)

    def fail(self, traceback: str) -> None:
        """Record the run as FAILED: `<run_id>.failed/` with the traceback; the next plan trains it from the start."""
        self._check_open()
        failed = self.root / f"{self.run_id}.failed"
        with self._storage():
            (self.path / RESUME).unlink(missing_ok=True)  # what led to the failure would lead to it again
            write_atomic(self.path / "FAILED", traceback)
            shutil.rmtree(failed, ignore_errors=True)
            self.path.rename(failed)
            fsync_folder(self.root)
        self._closed = True

    def _check_open(self) -> None:
        if self._closed or not self._lock.held:
            raise RuntimeError("RunWriter is used outside its `with` block, or after finish() or fail()")
        if not self._lock.still_ours():
            raise self._busy()
