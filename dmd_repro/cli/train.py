"""`dmd train`: one run, from a feature set to a record with its test metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.paths import (
    BertSource,
    DataDir,
    Device,
    Jobs,
    RunsDir,
    Stacked,
    Threads,
    bert_source,
    data_dir,
    encoded_dir,
    runs_dir,
)
from dmd_repro.cli.slurm import Account, Gpus, NoWait, On, Partition, Sbatch, Setup, TimeLimit, executor
from dmd_repro.cli.tell import tell
from dmd_repro.errors import SpecError, nearest
from dmd_repro.systems.registry import SHIPPED

if TYPE_CHECKING:
    from dmd_repro.data.features import TextKind
    from dmd_repro.records.folder import Records

SYSTEMS = f"{', '.join(SHIPPED)}, or one of yours; an option after a plus, as in mult+gd (`dmd systems list`)"
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting of the preset; repeatable.")
]
MaxEpochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Short for --set max_epochs=N.")]


def train(
    context: typer.Context,
    model: Annotated[str, typer.Argument(autocompletion=complete.systems, help=f"The system to train, {SYSTEMS}.")],
    data: Annotated[
        str,
        typer.Option(
            "--data", autocompletion=complete.feature_sets, help="A feature set (see `dmd data list`), or synthetic."
        ),
    ],
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="One seed; else 1111.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Several: a count from 1111 on (5), or the seeds (7,8,9).")
    ] = None,
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
    jobs: Jobs = None,
    stack: Stacked = "auto",
    on: On = None,
    gpus: Gpus = None,
    partition: Partition = None,
    time: TimeLimit = None,
    account: Account = None,
    sbatch: Sbatch = "",
    setup: Setup = "",
    no_wait: NoWait = False,
    runs: RunsDir = None,
    store: DataDir = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else.")
    ] = False,
) -> None:
    """Train one run, or with --seeds several, or resume them. A run that is there already is shown, not repeated."""
    import json

    from dmd_repro.cli.outcome import report, result
    from dmd_repro.cli.planned import seeds_of_one_model
    from dmd_repro.cli.progress import Epochs, say
    from dmd_repro.cli.train_seeds import train_seeds
    from dmd_repro.data.resolve import load_features
    from dmd_repro.data.sides import padding_words
    from dmd_repro.data.store.folder import Store
    from dmd_repro.records.folder import Records, bert_words
    from dmd_repro.render.duration import duration
    from dmd_repro.seeds import FIRST_SEED, parse_seeds
    from dmd_repro.spec import AblationMask, run_id
    from dmd_repro.systems.registry import fallback_words, full_name
    from dmd_repro.systems.resolve import resolve_spec
    from dmd_repro.training.cards import one_of
    from dmd_repro.training.execution import Execution

    if seed is not None and seeds is not None:
        raise SpecError.at(f"--seeds {seeds}", expected="no --seed beside it", got=f"--seed {seed}", do="Drop one")
    chosen = parse_seeds(seeds) if seeds is not None else (FIRST_SEED if seed is None else seed,)
    most_of_one = seeds_of_one_model(stack, device) if len(chosen) > 1 else 1
    source, held = bert_source(bert), Store(data_dir(store))
    execution = Execution(device=device, threads=threads, stack=most_of_one, bert=source, cache=str(encoded_dir(store)))
    if on is None:
        execution.prepare()
        if len(chosen) == 1 and (card := one_of(device)) != device:
            tell(f"note: one run takes one card: {card}", err=True)
    if (where := context.get_parameter_source("bert")) and where.name != "COMMANDLINE":
        bert = None  # one that the environment or a file names is used where token ids are read, and asks for nothing
    features = load_features(data, held, text=text_kind(text or ("bert" if bert else None)))
    if bert and features.text != "bert":
        raise SpecError.at("--bert", expected="--text bert", got=f"--text {features.text}", do="Drop one of the two")
    mask = AblationMask(tuple(part for item in drop or () for part in item.split(",") if part))
    overrides = parse_settings(settings, epochs)
    reader = fingerprint(source) if features.text == "bert" else ""
    specs = [
        resolve_spec(model, seed=one, features=features, protocol=protocol, mask=mask, overrides=overrides, bert=reader)
        for one in chosen
    ]
    records, spec = Records(runs_dir(runs)), specs[0]
    name = run_id(spec, features.digest)
    what = f"{full_name(spec.model, spec.config)} ({spec.mask.label}, {spec.protocol})"
    said = f", on {features.label}"
    said += f", {words}" if (words := bert_words(spec.config)) else ""
    said += f", settings: {words}" if (words := fallback_words(spec.model, spec.dataset)) else ""
    if words := padding_words(features, str(spec.config["pad_side"])):
        tell(f"note: {words}", err=True)
    slurm = executor(
        on, records, held.root, execution, model, jobs=jobs, gpus=gpus, partition=partition, time=time,
        account=account, sbatch=sbatch, setup=setup, no_wait=no_wait, say=partial(tell, err=True),
    )  # fmt: skip
    if seeds is not None or slurm:
        what += f", seeds {', '.join(map(str, chosen))}{said}"
        with telling(records, [run_id(one, features.digest) for one in specs]):
            train_seeds(
                specs, features, records, held, execution=execution, jobs=jobs, json_=json_, said=what, slurm=slurm,
                wait=not no_wait,
            )  # fmt: skip
        return
    from dmd_repro.training.fit import fit, seconds_per_epoch

    said = f"run {name}: {what}, seed {spec.seed}{said}"
    if (record := records.get(name)) is None:
        each, most = seconds_per_epoch(spec, features, execution), int(spec.config["max_epochs"] or 0)
        count = "1 epoch" if most == 1 else f"{most} epochs"
        left = f"at most {count} of about {duration(each)}, so at most {duration(each * most)}"
        goes_on = ", resumed from the last finished epoch" if records.status(name) == "partial" else ""
        with telling(records, [name]), Epochs(most) as progress:
            say(progress.console, f"{said}{goes_on}; {left}")
            record = fit(spec, features, records, execution=execution, on_epoch=progress.on_epoch)
    else:
        tell(f"{said}: already there, not trained again", err=True)
    if json_:
        typer.echo(json.dumps(result(record), indent=1))
    else:
        tell(report(record))


@contextmanager
def telling(records: Records, names: list[str]) -> Iterator[None]:
    """Say what is kept of runs that Ctrl-C ends while the block runs; the command then ends with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        kept = [(name, records.status(name), records.kept_epochs(name)) for name in names]
        words = {1: "epoch 1 is kept"}
        lines = [f"run {name}: {words.get(n, f'epochs 1 to {n} are kept')}" for name, _, n in kept if n]
        if done := sum(state == "done" for _, state, _ in kept):
            lines.insert(0, f"{done} of {len(names)} runs are done")
        # the bar left the cursor in its line
        typer.echo("\n" + "".join(f"{line}\n" for line in lines), err=True, nl=False)
        how = "run the same command again to resume" if lines else "no epoch was finished, so nothing is kept"
        typer.echo(f"dmd: interrupted: {how}.", err=True)
        raise typer.Exit(130) from None


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
