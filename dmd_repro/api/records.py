"""Recorded runs as pandas tables: what there is, what a run predicted, how it went."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmd_repro.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from dmd_repro.records.folder import Records, RunRecord

Folder = Path | str | None


def records_in(runs_dir: Folder) -> Records:
    """Return the records of a folder: the one named, else DMD_RUNS, else ./runs, as on the command line."""
    from dmd_repro.cli.paths import runs_dir as folder
    from dmd_repro.records.folder import Records

    return Records(folder(None if runs_dir is None else Path(runs_dir)))


def runs_df(runs_dir: Folder = None, *, scores: bool = True) -> pd.DataFrame:
    """Return a line for every recorded run, whatever its status, indexed by its id.

    Columns as `dmd runs list --json` has them (status, model, protocol, mask, data, standing, seed, epochs, seconds,
    problem ...). With `scores`, the test measures of finished runs too, in the unit tables print (`test_acc2_non0` in
    percent, `test_mae` in units of sentiment), computed from the stored predictions. `standing` says what the data are:
    official, partial or synthetic; only official runs stand beside printed numbers.

    Raises RunError where the folder cannot be read.
    """
    import pandas as pd

    from dmd_repro.metrics.registry import metrics_of
    from dmd_repro.records.folder import SCAN_COLUMNS

    lines = []
    for row in records_in(runs_dir).rows():
        record: RunRecord | None = row.pop("record")
        if scores and record is not None and row["status"] == "done":
            true, said = record.scores("test")
            row |= {f"test_{name}": m.shown(true, said) for name, m in metrics_of(str(row["dataset"])).items()}
        lines.append(row)
    return pd.DataFrame(lines, columns=None if lines else list(SCAN_COLUMNS)).set_index("run_id")


def predictions_df(runs: str | Iterable[str], split: str = "test", *, runs_dir: Folder = None) -> pd.DataFrame:
    """Return what runs predicted, a line a clip and run, at each run's selected epoch.

    Columns: run_id, seed, id (of the clip), y_true and y_pred (sentiment, on the scale of the data set, not clipped),
    and one for each further head (`l_homo` ...; NaN where another run lacks it). `split` is test or valid; a run is
    named by its id or its unique beginning. `attrs["standing"]` says what the data are.

    Raises RunError for a run that is not there, not finished or damaged, and for another split.
    """
    import pandas as pd

    frames, standings = [], []
    for record in _finished(runs, runs_dir):
        said = record.predictions(split)
        columns: dict[str, Any] = {"run_id": record.run_id, "seed": record.spec.seed, "id": list(said.ids)}
        frames.append(pd.DataFrame({**columns, "y_true": said.y_true, "y_pred": said.y_pred, **said.heads}))
        standings.append(str(record.data["standing"]))
    return _together(frames, standings)


def history_df(runs: str | Iterable[str], *, runs_dir: Folder = None) -> pd.DataFrame:
    """Return how runs went, a line an epoch and run.

    Columns: run_id, seed, epoch, selected (whether it is the epoch the run was selected at), learning_rate, valid_loss,
    and flat names for the rest: `train.rec.l` (an unweighted loss term, mean over the batches), `valid.mae`,
    `test.acc2_non0` (a fraction, as it is recorded), `edges.homo.l->v` (mean edge, teacher -> student).

    Raises RunError as `predictions_df` does.
    """
    import pandas as pd

    frames, standings = [], []
    for record in _finished(runs, runs_dir):
        best = int(record.provenance.get("best_epoch") or 0)
        lines = [_flat(line) | {"selected": line.get("epoch") == best} for line in record.history()]
        frame = pd.DataFrame(lines)
        frame.insert(0, "run_id", record.run_id)
        frame.insert(1, "seed", record.spec.seed)
        frames.append(frame)
        standings.append(str(record.data["standing"]))
    return _together(frames, standings)


def _finished(runs: str | Iterable[str], runs_dir: Folder) -> list[RunRecord]:
    records, found = records_in(runs_dir), []
    for name in [runs] if isinstance(runs, str) else runs:
        run = records.find(str(name))
        record = records.get(run)
        if record is None:
            raise RunError.at(
                f"run {run}", expected="a finished run", got=f"one that is {records.status(run)}", do="See runs_df()"
            )
        found.append(record)
    if not found:
        raise RunError.at("runs", expected="at least one run", got="none", do="Name some: runs_df().index")
    return found


def _together(frames: list[pd.DataFrame], standings: list[str]) -> pd.DataFrame:
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    whole.attrs["standing"] = ", ".join(sorted(set(standings)))
    return whole


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    from dmd_repro.systems.edges import EDGE_NAMES

    out: dict[str, Any] = {}
    for name, value in line.items():
        if name == "edges" and isinstance(value, dict):
            out |= {f"edges.{u}.{e}": x for u, edges in value.items() for e, x in zip(EDGE_NAMES, edges, strict=True)}
        elif isinstance(value, dict):
            out |= {f"{name}.{inner}": x for inner, x in value.items()}
        else:
            out[name] = value
    return out
