"""What `dmd systems check` does: the probe, then small trainings whose bits must agree, on synthetic clips."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dmd_repro.data.features import Features
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DmdError
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.records.folder import Records
from dmd_repro.records.run import RunRecord
from dmd_repro.spec import RunSpec, Scalar
from dmd_repro.systems.declare import System
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit
from dmd_repro.training.probe import ProbeResult, probe
from dmd_repro.training.report import EpochReport

CLIPS = {"train": 33, "valid": 9, "test": 9}  # 33: a last batch of one clip
EPOCHS = 3
PROMISES = {
    "trains": "trains on few clips, also where one is left for the last batch",
    "trains equally": "two trainings of one seed agree bit for bit",
    "restores": "its checkpoint gives the recorded predictions",
    "resumes": "interrupted and resumed, it ends in the bits of an undisturbed run",
}


class _Stop(KeyboardInterrupt):
    """Interrupts a training behind an epoch, as Ctrl-C does."""


def conformance(system: System, protocol: str, *, aligned: bool) -> Iterator[ProbeResult]:
    """Yield every check of a system in one setting, as it is made."""
    data = small_features(system, aligned=aligned)
    short: dict[str, Scalar] = {"max_epochs": EPOCHS, "early_stop": EPOCHS}
    if not aligned and system.inputs.unaligned_by:
        short["align"] = system.inputs.unaligned_by
    try:
        spec = resolve_spec(system.name, seed=1, features=data, protocol=protocol, overrides=short)
    except DmdError as error:
        yield ProbeResult("builds", "has a configuration for synthetic data", str(error))
        return
    sound = True
    for check in probe(spec, data):
        sound = sound and not check.problem
        yield check
    if sound:
        yield from _trainings(spec, data)


def small_features(system: System, *, aligned: bool) -> Features:
    """Return a few dozen synthetic clips of a text the system reads."""
    kind = "glove" if "glove" in system.inputs.texts else "hidden"
    whole = load_features(f"synthetic-{'aligned' if aligned else 'unaligned'}-{kind}", Store(Path()))
    splits = {
        name: feature_set(
            ids=part.ids[: CLIPS[name]], language=np.asarray(part.language[: CLIPS[name]]),
            acoustic=np.asarray(part.acoustic[: CLIPS[name]]), visual=np.asarray(part.visual[: CLIPS[name]]),
            labels=np.asarray(part.labels[: CLIPS[name]]), aligned=aligned,
        )
        for name, part in whole.splits.items()
    }  # fmt: skip
    return features("synthetic-check", "synthetic", splits, text=whole.text, standing="synthetic")


def _trainings(spec: RunSpec, data: Features) -> Iterator[ProbeResult]:
    with tempfile.TemporaryDirectory() as folder:
        first = Records(Path(folder) / "one")
        try:
            record = _fit(spec, data, first)
        except Exception as error:  # a stranger's code: whatever it raises is the finding
            words = str(error) if isinstance(error, DmdError) else f"{type(error).__name__}: {error}"
            if "more than 1 value per channel" in words:
                words += ". A last batch of one clip has no variance: give CONFIG `least_batch: int = 2`"
            yield ProbeResult("trains", PROMISES["trains"], words)
            return
        yield ProbeResult("trains", PROMISES["trains"])
        again = _fit(spec, data, Records(Path(folder) / "two"))
        yield ProbeResult("trains equally", PROMISES["trains equally"], _difference(record, again))
        yield ProbeResult("restores", PROMISES["restores"], _restored(record, data, first))
        third = Records(Path(folder) / "three")
        for epoch in range(1, EPOCHS):
            _interrupted(spec, data, third, epoch)
        yield ProbeResult("resumes", PROMISES["resumes"], _difference(record, _fit(spec, data, third)))


def _fit(spec: RunSpec, data: Features, records: Records) -> RunRecord:
    return fit(spec, data, records, execution=Execution())


def _interrupted(spec: RunSpec, data: Features, records: Records, epoch: int) -> None:
    def stop(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise _Stop

    try:
        fit(spec, data, records, execution=Execution(), on_epoch=stop)
    except _Stop:
        return


def _difference(one: RunRecord, two: RunRecord) -> str:
    for split in ("valid", "test"):
        a, b = one.predictions(split).y_pred, two.predictions(split).y_pred
        if not np.array_equal(a, b, equal_nan=True):
            return f"{split} predictions differ by up to {float(np.nanmax(np.abs(a - b))):.2g}"
    before, after = one.checkpoint(), two.checkpoint()
    odd = [name for name, value in before.items() if not np.array_equal(value, after[name], equal_nan=True)]
    return f"the weights '{odd[0]}' differ" if odd else ""


def _restored(record: RunRecord, data: Features, records: Records) -> str:
    found = evaluate_checkpoint(open_checkpoint(str(record.path), records), data, "test", execution=Execution())
    a, b = found.predictions.y_pred, record.predictions("test").y_pred
    if np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True):
        return ""
    return f"evaluation gives other predictions than the record, by up to {float(np.nanmax(np.abs(a - b))):.2g}"
