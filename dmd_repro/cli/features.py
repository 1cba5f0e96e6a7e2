"""`dmd features RUN`: the decoupled features of a run from its checkpoint, stored beside it for Figures 3 and 4."""

from __future__ import annotations

from typing import Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.paths import BertSource, DataDir, RunsDir, bert_source, data_dir, encoded_dir, runs_dir
from dmd_repro.cli.tell import tell
from dmd_repro.cli.train import Device, Threads
from dmd_repro.errors import SpecError, nearest


def features(
    run: Annotated[
        list[str],
        typer.Argument(autocompletion=complete.runs, metavar="RUN...", help="Runs of dmd: ids, or their beginnings."),
    ],
    split: Annotated[str, typer.Option("--split", help="train, valid or test.")] = "test",
    bert: BertSource = None,
    device: Device = "cpu",
    threads: Threads = 1,
    force: Annotated[bool, typer.Option("--force", help="Make them again where they are there.")] = False,
    runs: RunsDir = None,
    store: DataDir = None,
) -> None:
    """Compute X^com and X^prt of every clip from a run's weights, and store them beside its checkpoint.

    A vector a clip and modality: the mean over the steps that are not padding. Trains nothing. `dmd figure fig3` and
    `fig4` are drawn from them.
    """
    from dmd_repro.data.resolve import load_features
    from dmd_repro.data.store.folder import Store
    from dmd_repro.errors import RunError
    from dmd_repro.evaluate.checkpoint import open_checkpoint
    from dmd_repro.evaluate.features import decouple
    from dmd_repro.records.decoupled import file_name, read_decoupled, write_decoupled
    from dmd_repro.records.folder import Records
    from dmd_repro.shapes import SPLITS
    from dmd_repro.training.execution import Execution

    if split not in SPLITS:
        raise SpecError.at(f"--split {split}", expected="a split", got="an unknown one", do=nearest(split, SPLITS))
    records = Records(runs_dir(runs))
    names = list(dict.fromkeys(records.find(name) for name in run))
    execution = Execution(device=device, threads=threads, bert=bert_source(bert), cache=str(encoded_dir(store)))
    for name in names:
        checkpoint = open_checkpoint(name, records)
        record, data = checkpoint.record, checkpoint.data
        assert record is not None
        assert data is not None
        if not force:
            try:
                read_decoupled(record, split)
                tell(f"run {name}: its features of {split} are there (--force makes them again)")
                continue
            except RunError:
                pass
        loaded = load_features(str(data["name"]), Store(data_dir(store)), text=data["text"])
        found = decouple(checkpoint, loaded, split, execution=execution)
        digest = write_decoupled(record, split, found)
        wide = next(iter(found.common.values())).shape[1]
        tell(
            f"run {name} (seed {record.spec.seed}, {record.spec.mask.label}): {len(found.ids)} {split} clips x "
            f"{'/'.join(found.modalities)}, {wide} wide, {data['label']}\n  {name}/{file_name(split)}, {digest[:12]}"
        )
