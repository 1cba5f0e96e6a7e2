"""`dmd train`: one run, from a feature set to a record with its test metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli.paths import BertSource, DataDir, RunsDir, bert_source, data_dir, encoded_dir, runs_dir
from dmd_repro.errors import SpecError, nearest
from dmd_repro.systems.registry import SHIPPED

if TYPE_CHECKING:
    from dmd_repro.data.features import TextKind
    from dmd_repro.records.folder import RunRecord

SYSTEMS = f"{', '.join(SHIPPED)}, or one of yours; an option after a plus, as in mult+gd (`dmd systems list`)"
Device = Annotated[
    str, typer.Option("--device", help="cpu, cuda (a table: all cards), cuda:1. Not part of a run's identity.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of a run. Equal results need equal threads.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting of the preset; repeatable.")
]
Stacked = Annotated[
    str,
    typer.Option(
        "--stack", metavar="auto|K", help="Seeds of a row that train as one model. auto: what a GPU holds, 1 on a CPU."
    ),
]
MaxEpochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Short for --set max_epochs=N.")]


def train(
    model: Annotated[str, typer.Argument(help=f"The system to train, {SYSTEMS}.")],
    data: Annotated[str, typer.Option("--data", help="A feature set (see `dmd data list`), or synthetic.")],
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1)] = 1111,
    epochs: MaxEpochs = None,
    settings: Settings = None,
    text: Annotated[str | None, typer.Option("--text", help="glove, hidden or bert; else what the set holds.")] = None,
    bert: BertSource = None,
    protocol: Annotated[
        str, typer.Option("--protocol", help="official (the authors' code) or paper (the equations).")
    ] = "official",
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="PART", help="Switch off a part (see `dmd systems show MODEL`); repeatable."),
    ] = None,
    device: Device = "cpu",
    threads: Threads = 1,
    runs: RunsDir = None,
    store: DataDir = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else.")
    ] = False,
) -> None:
    """Train one run, or resume it. A run that is there already is shown, not repeated."""
    import json

    from dmd_repro.cli.progress import Epochs, duration, say
    from dmd_repro.data.resolve import load_features
    from dmd_repro.data.store.folder import Store
    from dmd_repro.records.folder import Records, bert_words
    from dmd_repro.spec import AblationMask, run_id
    from dmd_repro.systems.registry import fallback_words, full_name
    from dmd_repro.systems.resolve import resolve_spec
    from dmd_repro.training.fit import Execution, fit, seconds_per_epoch

    source = bert_source(bert)
    execution = Execution(device=device, threads=threads, bert=source, cache=str(encoded_dir(store)))
    execution.prepare()
    features = load_features(data, Store(data_dir(store)), text=text_kind(text or ("bert" if bert else None)))
    if bert and features.text != "bert":
        raise SpecError.at("--bert", expected="--text bert", got=f"--text {features.text}", do="Drop one of the two")
    spec = resolve_spec(
        model,
        seed=seed,
        features=features,
        protocol=protocol,
        mask=AblationMask(tuple(part for item in drop or () for part in item.split(",") if part)),
        overrides=parse_settings(settings, epochs),
        bert=fingerprint(source) if features.text == "bert" else "",
    )
    records = Records(runs_dir(runs))
    name = run_id(spec, features.digest)
    what = f"{full_name(spec.model, spec.config)} ({spec.mask.label}, {spec.protocol})"
    said = f"run {name}: {what}, seed {seed}, on {features.label}"
    said += f", {words}" if (words := bert_words(spec.config)) else ""
    said += f", settings: {words}" if (words := fallback_words(spec.model, spec.dataset)) else ""
    if (record := records.get(name)) is None:
        each, most = seconds_per_epoch(spec, features, execution), int(spec.config["max_epochs"] or 0)
        left = f"at most {most} epochs of about {duration(each)}, so at most {duration(each * most)}"
        goes_on = ", resumed from the last finished epoch" if records.status(name) == "partial" else ""
        with Epochs(most) as progress:
            say(progress.console, f"{said}{goes_on}; {left}")
            record = fit(spec, features, records, execution=execution, on_epoch=progress.on_epoch)
    else:
        typer.echo(f"{said}: already there, not trained again", err=True)
    typer.echo(json.dumps(result(record), indent=1) if json_ else report(record))


def fingerprint(source: str) -> str:
    """Return what names a BERT in a run: the digest of its weights. Raises SpecError where it is not there."""
    from dmd_repro.nn.bert import load_bert

    return load_bert(source).fingerprint


def text_kind(text: str | None) -> TextKind | None:
    """Read `--text`; raises SpecError with the nearest kind."""
    from dmd_repro.data.features import TEXT_KINDS

    for kind in TEXT_KINDS:
        if text == kind:
            return kind
    if text is None:
        return None
    raise SpecError.at(
        f"--text {text}", expected="a kind of text", got="an unknown one", do=nearest(text, list(TEXT_KINDS))
    )


def parse_settings(settings: list[str] | None, epochs: int | None) -> dict[str, str]:
    """Read `--set name=value` and `--epochs N`; raises SpecError where the form is wrong or a name comes twice."""
    found = {} if epochs is None else {"max_epochs": str(epochs)}
    for item in settings or []:
        name, equals, value = item.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals and value.strip()):
            raise SpecError.at(f"--set {item}", expected="name=value", got=repr(item), do="Write --set accumulate=1")
        if name in found:
            raise SpecError.at(f"--set {item}", expected="each setting once", got=f"'{name}' twice", do="Drop one")
        found[name] = value.strip()
    return found


def result(record: RunRecord) -> dict[str, Any]:
    """Return what `--json` prints of a record."""
    from dmd_repro.cli.progress import scores
    from dmd_repro.results.learned import learned

    facts, data, spec, judged = record.provenance, record.data, record.spec, learned(record)
    return {
        "run_id": record.run_id,
        "path": str(record.path),
        "model": spec.model,
        "protocol": spec.protocol,
        "mask": list(spec.mask.off),
        "seed": spec.seed,
        "dataset": spec.dataset,
        "data": {k: data[k] for k in ("name", "text", "aligned", "digest", "standing", "label")},
        "standing": data["standing"],
        "config": dict(spec.config),
        "epochs": facts.get("epochs"),
        "best_epoch": facts.get("best_epoch"),
        "seconds": facts.get("seconds"),
        "learned": {"outcome": judged.outcome, "reason": judged.reason or None},
        "metrics": {split: scores(record, split) for split in ("test", "valid")},
    }


def report(record: RunRecord) -> str:
    """Return a finished run as text: the metrics in both conventions, what they are of, and where they lie."""
    from dmd_repro.records.folder import bert_words

    bert = bert_words(record.spec.config)
    from dmd_repro.systems.registry import fallback_words, full_name

    facts, spec, standing = record.provenance, record.spec, record.data["standing"]
    mark = {"synthetic": "SYNTHETIC DATA: these numbers compare with nothing printed", "official": ""}.get(
        standing, "PARTIAL DATA: not the official split, these numbers compare with nothing printed"
    )
    hit = "  (stopped by max_epochs, not by the early stop)" if facts.get("hit_max_epochs") else ""
    chosen = "taken, as it is the last" if spec.config.get("selection_epoch") == "last" else "selected on valid"
    lines = [
        f"{full_name(spec.model, spec.config)} on {record.data['label']}{', ' + bert if bert else ''}, "
        f"seed {spec.seed}: epoch {facts.get('best_epoch')} of {facts.get('epochs')} {chosen}{hit}",
        *metric_lines(record),
        *([f"settings: {words}"] if (words := fallback_words(spec.model, spec.dataset)) else []),
        *left_out(record),
        *([mark] if mark else []),
        f"record: {shorten(record.path)}",
    ]
    return "\n".join(lines)


def left_out(record: RunRecord) -> list[str]:
    """Return a line on the clips that no batch of an epoch held; none where all were trained on."""
    config = record.spec.config
    if not (clips := record.provenance.get("left_out_clips")):
        return []
    why = "is not full" if config.get("drop_last") else f"has fewer than {config.get('least_batch')}"
    which = "the same" if config.get("order") == "once" else "others"
    return [f"left out: {clips} clip{'s' if clips > 1 else ''} an epoch, the last batch {why} ({which} each time)"]


def metric_lines(record: RunRecord) -> list[str]:
    """Return the table of a run's metrics: both ways of counting the zeros side by side, then the others.

    Above it stands that the run did not learn, where it did not.
    """
    from dmd_repro.cli.progress import scores, shown
    from dmd_repro.metrics.registry import METRICS, shown_in
    from dmd_repro.results.learned import learned

    split, judged = {name: scores(record, name) for name in ("test", "valid")}, learned(record)
    lines = [f"NOT LEARNED: {judged.reason}"] if judged.outcome == "not learned" else []
    lines += [f"  {'':6} {'test':>10} {'valid':>10}   counted as"]
    for name in shown_in("run", record.data["dataset"]):
        metric = METRICS[name]
        cells = [shown(name, split[s][name]) for s in ("test", "valid")]
        lines.append(f"  {metric.heading:6} {cells[0]:>10} {cells[1]:>10}   {metric.words}".rstrip())
    return lines


def shorten(path: Path) -> str:
    """Return a path as the user would type it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
