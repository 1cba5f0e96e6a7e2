"""`dmd bench`: how long a training step takes on this machine, what it holds, and what bounds it."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dmd_repro.cli.paths import DataDir, Device, Threads, data_dir
from dmd_repro.cli.tell import tell
from dmd_repro.cli.train import SYSTEMS, Settings, parse_settings
from dmd_repro.errors import SpecError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmd_repro.bench import Result

SETTINGS = {"aligned": True, "unaligned": False}
MEGA = 1 << 20
CASE = "l/a/v x stack"  # steps of each modality, seeds that train as one


def bench(
    model: Annotated[str, typer.Option("--model", help=f"The system, {SYSTEMS}.")] = "dmd",
    protocol: Annotated[str, typer.Option("--protocol", help="official or paper.")] = "official",
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="PART", help="Switch off a part of dmd; repeatable.")
    ] = None,
    settings: Settings = None,
    setting: Annotated[str | None, typer.Option("--setting", help="aligned or unaligned; else as the data is.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="A feature set, or synthetic; else generated in CMU-MOSI's sizes.")
    ] = None,
    stack: Annotated[
        list[str] | None,
        typer.Option("--stack", metavar="S", help="Seeds that train as one model; repeatable, or 1,2,5."),
    ] = None,
    lengths: Annotated[
        list[str] | None,
        typer.Option("--lengths", metavar="T", help="Cut acoustic and visual to T steps (unaligned); or 50,125,250."),
    ] = None,
    threads: Threads = 1,
    device: Device = "cpu",
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Time this many steps, whatever it takes.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Time steps for about so long, two at least.")
    ] = 20,
    against: Annotated[
        str | None, typer.Option("--against", help="plain: measure the straightforward implementation in turn.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Also the costliest operators of one step.")] = False,
    store: DataDir = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else.")
    ] = False,
) -> None:
    """Time training steps, each case in a process of its own: time, memory, phases, and the ceiling that binds.

    Nothing is recorded, and no result of a run depends on it.
    """
    import json
    import math

    from dmd_repro.bench.prepare import machine
    from dmd_repro.bench.process import measure
    from dmd_repro.bench.types import MOSI_SIZES, Case
    from dmd_repro.data.store.folder import Store
    from dmd_repro.records import provenance
    from dmd_repro.spec import AblationMask
    from dmd_repro.training.cards import check_device, one_of

    check_device(device)
    if not math.isfinite(seconds):
        raise SpecError.at(
            "--seconds", expected="a finite number of seconds", got=str(seconds), do="Write --seconds 20"
        )
    cuts: list[int | None] = [*numbers("--lengths", lengths)]
    cases = [
        Case(
            model=model,
            protocol=protocol,
            mask=AblationMask(tuple(part for item in drop or () for part in item.split(",") if part)),
            overrides=parse_settings(settings, None),
            data=data or MOSI_SIZES,
            aligned=_aligned(setting, lengths, data),
            length=length,
            stack=seeds,
            threads=threads,
            device=one_of(device),
            steps=steps,
            seconds=seconds,
            against=_against(against),
            profile=profile,
        )
        for length, seeds in product(cuts or [None], numbers("--stack", stack) or [1])
    ]
    found = measure(cases, Store(data_dir(store)), say=partial(tell, err=True))
    if json_:
        typer.echo(
            json.dumps({**provenance.collect(), **machine(), "cases": [result.to_json() for result in found]}, indent=1)
        )
    else:
        show(found)


def numbers(option: str, given: list[str] | None) -> list[int]:
    """Read whole numbers from 1 on, repeated or after commas; raises SpecError on anything else."""
    words = [word.strip() for item in given or () for word in item.split(",")]
    for word in words:
        if not word.isdecimal() or not 1 <= int(word) < 2**31:
            raise SpecError.at(
                f"{option} {word}", expected="whole numbers from 1 on", got=repr(word), do=f"Write {option} 1,2,5"
            )
    return list(dict.fromkeys(int(word) for word in words))


def _aligned(setting: str | None, lengths: list[str] | None, data: str | None) -> bool | None:
    if setting is None:
        return False if lengths and data is None else None
    if setting not in SETTINGS:
        raise SpecError.at(
            f"--setting {setting}", expected="aligned or unaligned", got="neither", do=nearest(setting, SETTINGS)
        )
    return SETTINGS[setting]


def _against(name: str | None) -> Literal["", "plain"]:
    if name is None:
        return ""
    if name != "plain":
        raise SpecError.at(
            f"--against {name}", expected="plain, the straightforward implementation", got="another name",
            do="Write --against plain",
        )  # fmt: skip
    return "plain"


def show(found: Sequence[Result]) -> None:
    """Print the tables: time and memory, phases and ceilings, the comparison, profiles."""

    from dmd_repro.cli.data_show import table

    first = found[0]
    changed = "".join(f", {name}={value}" for name, value in first.settings.items())
    what = (
        f"{first.model} ({first.mask}, {first.protocol}{changed}) on {first.data}, {first.setting}, {first.device}, "
        f"{first.threads} thread(s), {first.batch_size} clips a batch, a step of the optimizer every "
        f"{first.accumulate} batches; {first.parameters:,} parameters a seed"
    )
    tell(what)
    table("time of a step; MB held by model and data, and by a step above it", *_times(found))
    table("what a step is spent on, and the ms of an optimizer step", *_phases(found))
    table("what a step does, and the time each ceiling of this machine would allow it", *_bounds(found))
    if any(r.plain for r in found):
        head, compared = _compared(found)
        table("against the plain implementation (one seed), step by step in turn", head, compared)
    for r in found:
        if r.profile:
            rows = [(o.name, str(o.calls), f"{o.self_ms:.2f}", f"{o.share:.1%}") for o in r.profile]
            table(f"operators of one step, {_case(r)}", ("operator", "calls", "self ms", "share"), rows)
    reasons = sorted({r.why_not_captured for r in found if not r.captured})
    for line in [f"no step was captured: {why}" for why in reasons] or ["the step is captured once and replayed"]:
        tell(line)


def _case(r: Result) -> str:
    return f"{'/'.join(str(r.lengths[m]) for m in 'lav')} x{r.stack}"


def _times(found: Sequence[Result]) -> tuple[Sequence[str], list[Sequence[str]]]:
    head = (CASE, "ms", "quartiles", "steps", "ms/seed", "clips/s", "held", "+ peak")
    rows: list[Sequence[str]] = [
        (
            _case(r), f"{r.step_ms.median:.1f}", f"{r.step_ms.low:.1f} to {r.step_ms.high:.1f}", str(r.step_ms.n),
            f"{r.seed_step_ms:.1f}", f"{r.clips_per_s:.1f}", f"{r.memory.built / MEGA:.0f}",
            f"{r.memory.above / MEGA:.0f}",
        )
        for r in found
    ]  # fmt: skip
    return head, rows


def _phases(found: Sequence[Result]) -> tuple[Sequence[str], list[Sequence[str]]]:
    names = list(found[0].phases)
    rows = [(_case(r), *(f"{r.phases[name]:.0%}" for name in names), f"{r.optimizer_ms:.1f}") for r in found]
    return (CASE, *names, "ms"), list(rows)


def _bounds(found: Sequence[Result]) -> tuple[Sequence[str], list[Sequence[str]]]:
    head = (CASE, "GFLOP", "ms", "GB", "ms", "ops", "ms", "binds", "reached")
    rows: list[Sequence[str]] = []
    for r in found:
        c, ms = r.roofline.counted, r.roofline.ms
        row = (
            _case(r), f"{c.flops / 1e9:.2f}", f"{ms['flops']:.1f}", f"{c.bytes / 1e9:.2f}", f"{ms['bytes']:.1f}",
            f"{c.ops:.0f}", f"{ms['ops']:.1f}", r.roofline.binding, f"{r.roofline.fraction:.0%}",
        )  # fmt: skip
        rows.append(row)
    return head, rows


def _compared(found: Sequence[Result]) -> tuple[Sequence[str], list[Sequence[str]]]:
    head = (CASE, "plain ms", "ours/seed", "ratio", "range", "blocks", "plain MB", "MB plain / ours a seed")
    rows: list[Sequence[str]] = []
    for r in found:
        if r.plain is not None:
            p = r.plain
            rows.append(
                (_case(r), f"{p.step_ms.median:.1f}", f"{p.seed_step_ms:.1f}", f"{p.ratio.median:.2f}",
                 f"{p.ratio.low:.2f} to {p.ratio.high:.2f}", str(p.ratio.n), f"{p.memory.above / MEGA:.0f}",
                 f"{p.memory_ratio:.2f}")
            )  # fmt: skip
    return head, rows
