"""`dmd evaluate` scores a checkpoint, `dmd export` writes one under the authors' names."""

from __future__ import annotations

import math
import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli.paths import (
    BertSource,
    DataDir,
    Device,
    RunsDir,
    Threads,
    bert_source,
    data_dir,
    encoded_dir,
    output_path,
    runs_dir,
)
from dmd_repro.cli.tell import tell
from dmd_repro.cli.train import parse_settings
from dmd_repro.errors import SpecError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmd_repro.data.features import Features
    from dmd_repro.evaluate.checkpoint import Checkpoint
    from dmd_repro.evaluate.predict import Evaluated
    from dmd_repro.records.folder import Predictions
    from dmd_repro.results.single import PrintedRow, Score
    from dmd_repro.stats.learned import Learned

CheckpointName = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A run (id or folder), its checkpoint.safetensors, or a .pth file.")
]
FORMATS = ("official",)


def evaluate(
    checkpoint: CheckpointName,
    data: Annotated[
        str | None, typer.Option("--data", help="A feature set (see `dmd data list`). Else what a run was trained on.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The system of a .pth file; else dmd. A run tells its own.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, valid or test.")] = "test",
    text: Annotated[str | None, typer.Option("--text", help="glove, hidden or bert; else what the file tells.")] = None,
    bert: BertSource = None,
    heads: Annotated[
        int | None, typer.Option("--heads", min=1, help="Attention heads of a .pth file; else the preset's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting that no tensor of a .pth file tells; repeatable."),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=0, max=100_000, help="Draws of clips for the intervals; 0: none.")
    ] = 2000,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="FILE", parser=output_path, help="Write id, y_true, y_pred and heads as CSV."
        ),
    ] = None,
    device: Device = "cpu",
    threads: Threads = 1,
    runs: RunsDir = None,
    store: DataDir = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")] = False,
) -> None:
    """Score a checkpoint: a run of yours, or a file the authors published. Nothing in a file is executed."""
    import json

    from dmd_repro.evaluate.checkpoint import open_checkpoint
    from dmd_repro.evaluate.predict import evaluate_checkpoint
    from dmd_repro.evaluate.stored import compare_stored
    from dmd_repro.records.folder import Records
    from dmd_repro.results.single import Subject, beside, score_predictions, to_json
    from dmd_repro.shapes import SPLITS
    from dmd_repro.training.fit import Execution

    if split not in SPLITS:
        raise SpecError.at(f"--split {split}", expected="a split", got="an unknown one", do=nearest(split, SPLITS))
    found = open_checkpoint(checkpoint, Records(runs_dir(runs)), model)
    features = _features(found, data, text, store)
    execution = Execution(device=device, threads=threads, bert=bert_source(bert), cache=str(encoded_dir(store)))
    given = parse_settings(settings, None)
    done = evaluate_checkpoint(found, features, split, execution=execution, heads=heads, given=given)
    scores = score_predictions(done.predictions, features.dataset, resamples=resamples)
    row, why = beside(
        Subject(
            model=done.model,
            mask=done.mask,
            protocol=done.protocol,
            dataset=features.dataset,
            aligned=features.aligned,
            text=features.text,
            standing=features.standing,
            split=split,
            bert=done.bert,
            finetuned=done.finetuned,
            changed=done.changed,
        ),
        scores,
    )
    judged, judged_on = _judge(found, done, features, split)
    stored = compare_stored(found.record, features.digest, split, done.predictions)
    if predictions is not None:
        _write_csv(predictions, done.predictions)
    if json_:
        document = _facts(found, done, features, split) | dict(to_json(scores, row, why))
        largest = stored.largest if stored and math.isfinite(stored.largest) else None
        document["learned"] = {"outcome": judged.outcome, "reason": judged.reason or None, "on": judged_on}
        document["recorded"] = {"agrees": stored.agrees, "largest_difference": largest} if stored else None
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        said = [stored.words] if stored else []
        lost = f"NOT LEARNED, by the {judged_on} clips: {judged.reason}"
        first, *rest = _lines(found, done, features, split, scores, row, why)
        lines = [first, *([lost] if judged.outcome == "not learned" else []), *rest, *said]
        tell("\n".join(lines))
    if stored and not stored.agrees:
        raise typer.Exit(1)


def _judge(found: Checkpoint, done: Evaluated, features: Features, split: str) -> tuple[Learned, str]:
    """Say whether it learned: a run by its own validation split, a bare checkpoint by the clips that were scored."""
    from dmd_repro.results.learned import judged, learned

    if found.record is not None:
        return learned(found.record), "validation"
    median = statistics.median(map(float, features.splits["train"].labels))
    return judged(done.predictions, features.dataset, median), split


def _features(found: Checkpoint, data: str | None, text: str | None, store: Path | None) -> Features:
    from dmd_repro.cli.train import text_kind
    from dmd_repro.data.resolve import load_features
    from dmd_repro.data.store.folder import Store
    from dmd_repro.data.synthetic import is_synthetic

    trained = found.data or {}
    name = data or trained.get("name")
    if name is None:
        raise SpecError.at(
            found.where, expected="--data with a state_dict, which cannot tell what it was trained on", got="none",
            do="Name a feature set: dmd data list",
        )  # fmt: skip
    aligned = trained.get("aligned") if is_synthetic(name) and name.count("-") < 2 else None
    return load_features(name, Store(data_dir(store)), text=text_kind(text or found.text), aligned=aligned)


def _write_csv(path: Path, said: Predictions) -> None:
    import csv
    import io

    from dmd_repro.disk import sentences, write_output
    from dmd_repro.visible import csv_cell

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "y_true", "y_pred", *map(csv_cell, said.heads)])
    for i, clip in enumerate(said.ids):
        numbers = (said.y_true[i], said.y_pred[i], *(head[i] for head in said.heads.values()))
        writer.writerow([csv_cell(clip), *(f"{float(x):.9g}" for x in numbers)])  # 9 digits give float32 back exactly
    with sentences(path, "a file that can be written", SpecError, "--predictions"):
        write_output(path, buffer.getvalue())
    tell(f"written: {path}", err=True)


def _facts(found: Checkpoint, done: Evaluated, features: Features, split: str) -> dict[str, Any]:
    return {
        "checkpoint": found.where,
        "kind": "official" if found.state is not None else "run",
        "run_id": found.run_id,
        "model": done.name,
        "mask": list(done.mask.off),
        "protocol": done.protocol,
        "bert": {"fingerprint": done.bert, "finetuned": done.finetuned} if done.bert else None,
        "sizes": dict(done.sizes),
        "assumed": dict(done.assumed),
        "data": {
            "name": features.name, "dataset": features.dataset, "text": features.text, "aligned": features.aligned,
            "standing": features.standing, "label": features.label, "digest": features.digest,
        },
        "split": split,
        "clips": len(done.predictions.ids),
        "notes": list(done.notes),
    }  # fmt: skip


def _lines(
    found: Checkpoint,
    done: Evaluated,
    features: Features,
    split: str,
    scores: Sequence[Score],
    row: PrintedRow | None,
    why: str,
) -> list[str]:
    from dmd_repro.metrics.registry import METRICS
    from dmd_repro.records.folder import bert_words
    from dmd_repro.systems.bert import BERT_BASE
    from dmd_repro.systems.registry import fallback_words

    what = f"run {found.run_id}" if found.run_id else found.where
    bert = bert_words({"bert": done.bert, "bert_finetune": done.finetuned})
    lines = [
        f"{what}: {done.name} ({done.mask.label}, {done.protocol}) on "
        f"{features.label}{', ' + bert if bert else ''}, {split}, {len(done.predictions.ids)} clips"
    ]
    if found.state is not None:
        read = ", ".join(f"{name} {_brief(value)}" for name, value in done.sizes.items())
        lines.append(f"read from the tensors: {read}")
    for name, value in done.assumed.items():
        if name == "seed":
            lines.append(f"not told by any tensor: the seed its draws in evaluation come from; {value} was taken")
            continue
        where = fallback_words(done.model, features.dataset) or f"the preset of {features.dataset}"
        if name == "bert_heads":
            where = "BERT-base, whose shape it has" if done.bert.startswith(BERT_BASE) else "the BERT of --bert"
        lines.append(f"not told by any tensor, taken from {where}: {name} {value}")
    drawn = f"95 % over {scores[0].drawn if scores else 'clips'}"
    lines.append(f"  {'':5} {'value':>9}   {drawn:19}  counted as")
    for one in scores:
        between = f"[{_number(one, one.low)}, {_number(one, one.high)}]" if one.low is not None else "–"
        counted = one.counted.partition(": ")[0]
        lines.append(f"  {one.title:5} {_number(one, one.value):>9}   {between:19}  {counted}")
    if row is not None:
        lines.append(f"printed beside it: {row.table}, {row.label} ({row.key})")
        for cell in row.cells:
            digits = METRICS[cell.metric].digits
            here = "–" if cell.value is None else f"{cell.value:.{digits}f}"
            gap = "" if cell.difference is None else f"   difference {cell.difference:+.{digits}f}"
            lines.append(f"  {cell.column:5} printed {cell.printed:>5}   here {here:>6}{gap}")
    lines.append(row.verdict if row else f"no printed row: {why}")
    if any(one.value is None for one in scores):
        lines.append("–: the metric does not exist on these clips, or the predictions are not numbers")
    return [*lines, *done.notes]


def _brief(value: Any) -> str:
    return "/".join(str(v) for v in value.values()) if isinstance(value, dict) else str(value)


def _number(score_predictions: Score, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} %" if score_predictions.unit == "%" else f"{value:.3f}"


def export(
    run: CheckpointName,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", parser=output_path, help="The file to write, e.g. dmd.pth."),
    ],
    format_: Annotated[
        str, typer.Option("--format", help="official: a state_dict under the authors' names.")
    ] = "official",
    bert: BertSource = None,
    runs: RunsDir = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a run's weights as the authors' code saves them; `dmd evaluate FILE` then predicts the same."""
    from dmd_repro.disk import sentences, write_output
    from dmd_repro.evaluate.checkpoint import open_checkpoint
    from dmd_repro.evaluate.export import export_official
    from dmd_repro.records.folder import Records
    from dmd_repro.training.fit import Execution

    if format_ not in FORMATS:
        raise SpecError.at(f"--format {format_}", expected="official", got="another", do=nearest(format_, FORMATS))
    if os.path.lexists(output) and not force:
        raise SpecError.at(str(output), expected="a new file", got="one that is there", do="Add --force to replace it")
    found = open_checkpoint(run, Records(runs_dir(runs)))
    content, notes = export_official(found, Execution(bert=bert_source(bert)))
    with sentences(output, "a file that can be written", SpecError, "--output"):
        write_output(output, content)
    tell(f"written: {output} ({len(content) / 1e6:.1f} MB); read back, it predicts as the run does")
    for note in notes:
        tell(note)
