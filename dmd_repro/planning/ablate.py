"""What `dmd ablate` trains: a full model, and arms that differ from it in one thing (a mask, a switch, the protocol).

An ablation is planned as a small table of its own, so that it shares the records, the plan file and the workers of the
printed tables: a run that Table 3 made is not trained again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import is_synthetic, parse_synthetic
from dmd_repro.errors import SpecError, nearest
from dmd_repro.papers.tables import PublishedTable, Recipe, Row, TableBlock
from dmd_repro.planning.grid import SYNTHETIC_FAMILIES, PlannedTable, expand
from dmd_repro.records.folder import Records
from dmd_repro.spec import AblationMask, Scalar
from dmd_repro.systems.declare import System
from dmd_repro.systems.registry import find_system, full_name, setting_names, split_options
from dmd_repro.systems.suggest import meant, suggest

DEFAULT_DATA = "mosi-unaligned-glove"  # what Table 3 is printed for
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Arm:
    """One configuration of an ablation; every arm but a baseline has one to be compared with."""

    key: str
    label: str
    against: str | None  # key of its baseline; None: it is one
    protocol: str
    mask: AblationMask = field(default_factory=AblationMask)
    switches: Mapping[str, Scalar] = field(default_factory=dict)


def masks_asked(model: str, drop: Iterable[str], keep: Iterable[str], all_masks: bool) -> list[AblationMask]:
    """Return the masks of `--drop`, `--keep` and `--all-masks`, the full model left out; [] if none was asked for.

    Raises SpecError on a part the model lacks, on a part both dropped and kept, on an empty list of parts.
    """
    parts = sorted(find_system(split_options(model)[0]).parts)
    dropped, kept = _parts("--drop", model, drop, parts), _parts("--keep", model, keep, parts)
    if all_masks:
        if dropped or kept:
            raise SpecError.at("--all-masks", expected="it alone", got="--drop or --keep beside it", do="Drop one")
        if not parts:
            raise SpecError.at("--all-masks", expected="a model with parts", got=model, do="Use --switch instead")
        return [AblationMask(off) for n in range(1, len(parts) + 1) for off in combinations(parts, n)]
    if both := sorted(set(dropped) & set(kept)):
        raise SpecError.at(
            f"--drop {both[0]} --keep {both[0]}", expected="a part on or off", got="both", do="Drop one of the two"
        )
    off = set(dropped) | (set(parts) - set(kept) if kept else set())
    if kept and not off:
        raise SpecError.at(
            f"--keep {','.join(kept)}", expected="at least one part left out", got="all of them", do="Keep fewer"
        )
    return [AblationMask(tuple(off))] if off else []


def _parts(option: str, model: str, asked: Iterable[str], known: Sequence[str]) -> list[str]:
    items = list(asked)
    found = [part.strip() for item in items for part in item.split(",") if part.strip()]
    if items and not found:
        raise SpecError.at(option, expected="a part of the model", got="none", do=nearest("", known))
    for part in found:
        if part not in known:
            do = nearest(part, known) if known else f"{model} has no part to switch off; use --switch"
            raise SpecError.at(f"{option} {part}", expected=f"a part of {model}", got="an unknown name", do=do)
    return found


def switches_asked(
    model: str, asked: Iterable[str], protocol: str, settings: Mapping[str, str | Scalar]
) -> list[dict[str, str]]:
    """Read `--switch name=value`, one arm each; `a=1,b=2` sets two together. Raises SpecError with the nearest name.

    A switch that has the asked value already, or is set for every arm (`settings`), would measure nothing.
    """
    system = find_system(split_options(model)[0])
    known, aliases, arms = {switch.name: switch for switch in system.switches}, system.aliases, []
    if (asked := list(asked)) and not known:
        raise SpecError.at(
            f"--switch {asked[0]}", expected="a system with switches", got=f"{system.name}, which declares none",
            do="Change a setting of all its runs with --set NAME=VALUE",
        )  # fmt: skip
    for item in asked:
        arm: dict[str, str] = {}
        for pair in item.split(","):
            typed, equals, value = (part.strip() for part in pair.partition("="))
            name = aliases.get(typed.replace("-", "_"), typed.replace("-", "_"))
            if name not in known:
                raise SpecError.at(
                    f"--switch {typed}", expected=f"a switch of {system.name}", got="an unknown name",
                    do=_no_switch(system, name),
                )  # fmt: skip
            if not (equals and value):
                raise SpecError.at(f"--switch {pair}", expected="name=value", got=repr(pair), do=_example(system, name))
            if name in arm or name in settings or any(aliases.get(s) == name for s in settings):
                raise SpecError.at(f"--switch {pair}", expected="each switch once", got="it twice", do="Drop one")
            if value.lower() == str(known[name].value(protocol)).lower():
                raise SpecError.at(
                    f"--switch {pair}", expected=f"another value than that of protocol {protocol}", got="the same",
                    do=_example(system, name),
                )  # fmt: skip
            arm[name] = value
        arms.append(arm)
    return arms


def _no_switch(system: System, name: str) -> str:
    """Return what to do about a name that is no switch: perhaps it is a setting, or means one."""
    switches, settings = {switch.name for switch in system.switches}, setting_names(system.name)
    means = [name] if name in settings else meant(name, settings)
    if means and not switches.intersection(means):
        return f"It is a setting, which changes every arm alike: --set {means[0]}=VALUE"
    return f"{suggest(name, {*switches, *system.aliases})} All of them: dmd protocol show {system.name}"


def _example(system: System, name: str) -> str:
    switch = next(switch for switch in system.switches if switch.name == name)
    words = " or ".join(switch.choices) if switch.choices else f"{switch.official} or {switch.paper}"
    return f"Write --switch {name}=VALUE, with {words.lower() if not switch.choices else words}"


def arms_of(
    model: str,
    protocols: Sequence[str],
    masks: Sequence[AblationMask],
    switches: Sequence[Mapping[str, str]],
    *,
    mixed: bool,
) -> tuple[Arm, ...]:
    """Return every arm of an ablation, each baseline before what is compared with it.

    Raises SpecError if there is nothing to compare, or several protocols without `mixed`.
    """
    protocols = list(dict.fromkeys(protocols)) or ["official"]
    for protocol in protocols:
        known = find_system(split_options(model)[0]).protocols
        if protocol not in known:
            raise SpecError.at(
                f"--protocol {protocol}", expected=f"a protocol of {model}", got="an unknown name",
                do=nearest(protocol, known),
            )  # fmt: skip
    if len(protocols) > 1 and not mixed:
        raise SpecError.at(
            f"--protocol {' --protocol '.join(protocols)}", expected="one protocol in a table", got=f"{len(protocols)}",
            do="Add --mix-protocols to have both, named in every row",
        )  # fmt: skip
    if not masks and not switches and len(protocols) < 2:
        raise SpecError.at(
            "dmd ablate", expected="something to take away or to switch", got="nothing",
            do="Add --drop heterogd, --keep fd, --all-masks or --switch edge_prior=uniform",
        )  # fmt: skip
    arms: list[Arm] = []
    for protocol in protocols:
        mark = f"{protocol}:" if len(protocols) > 1 else ""
        words = f" [{protocol}]" if mark else ""
        full = f"{mark}full"
        arms.append(Arm(full, f"full{words}", arms[0].key if arms else None, protocol))
        for mask in masks:
            arms.append(Arm(f"{mark}-{'-'.join(mask.off)}", f"{mask.label}{words}", full, protocol, mask))
        for switch in switches:
            name = ",".join(f"{k}={v}" for k, v in switch.items())
            arms.append(Arm(f"{mark}{name}", f"{name}{words}", full, protocol, switches=dict(switch)))
    return tuple(arms)


def plan_name(model: str, arms: Sequence[Arm]) -> str:
    """Return the plan's name, one per question: `ablate-heterogd`, `ablate-edge_prior=uniform`, `ablate-all-masks`."""
    masked = [arm for arm in arms if arm.mask.off]
    names = [
        arm.key.rpartition(":")[2].lstrip("-") for arm in arms if arm.against and arm.key.rpartition(":")[2] != "full"
    ]
    names = [name for name in dict.fromkeys(names) if not (len(masked) >= 15 and "=" not in name)]
    protocols = list(dict.fromkeys(arm.protocol for arm in arms))
    parts = ["ablate", *([] if model == "dmd" else [model]), *([] if protocols == ["official"] else protocols)]
    parts += ["all-masks"] if len(masked) >= 15 else []
    name = re.sub(r"[^A-Za-z0-9._+=,-]", "_", "-".join([*parts, *names]))
    if len(name) > LONGEST_NAME:
        name = f"{'-'.join(parts)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def ablation_table(model: str, arms: Sequence[Arm], data: str, store: Store, *, with_bert: bool) -> PublishedTable:
    """Return the ablation as a table without printed numbers, a row an arm, for the data it runs on."""
    dataset, setting, text = _facts(data, store, with_bert)
    name, options = split_options(model)
    rows = tuple(
        Row(
            key=arm.key, block="ablation", method=arm.label, dataset=dataset, setting=setting, text=text, cells={},
            convention="non0", f1_order="plain", certainty="ours", source=None, reason=None,
            recipe=Recipe(name, arm.protocol, arm.mask, data, overrides={**options, **arm.switches}),
        )
        for arm in arms
    )  # fmt: skip
    block = TableBlock("ablation", None, (), rows, None)
    return PublishedTable(plan_name(model, arms), f"the ablation of {full_name(name, options)}", (), (block,), ())


def _facts(data: str, store: Store, with_bert: bool) -> tuple[str, str, str]:
    """Return (data set, setting, text) the rows are to be planned for."""
    if data in SYNTHETIC_FAMILIES:  # Table 3's setting, so that its runs are shared
        return "mosi", "unaligned", "glove"
    if is_synthetic(data):
        text, aligned, _ = parse_synthetic(data)
        return "mosi", "aligned" if aligned else "unaligned", text
    manifest = store.manifest(data)
    order = ("bert", "glove", "hidden") if with_bert else ("glove", "hidden", "bert")
    kinds = [kind for kind in order if kind in manifest.texts]
    return manifest.dataset, "aligned" if manifest.aligned else "unaligned", kinds[0]


def plan_ablation(
    model: str,
    arms: Sequence[Arm],
    *,
    data: str | None,
    seeds: Sequence[int],
    store: Store,
    records: Records,
    overrides: Mapping[str, str | Scalar],
    bert: Callable[[], str] | None = None,
) -> PlannedTable:
    """Plan an ablation: every arm on the same data and seeds, or a SpecError that says why one cannot be run."""
    if data is None and DEFAULT_DATA not in store.names():
        raise SpecError.at(
            "dmd ablate", expected=f"--data, or the feature set '{DEFAULT_DATA}' in the store", got="neither",
            do=f"Get it (dmd data download {DEFAULT_DATA}, or dmd data import FILE --name {DEFAULT_DATA} --dataset "
            "mosi), or try the program on stand-in data: --data synthetic",
        )  # fmt: skip
    name = data or DEFAULT_DATA
    table = ablation_table(model, arms, name, store, with_bert=bert is not None)
    planned = expand(table, seeds=seeds, store=store, records=records, data=(name,), overrides=overrides, bert=bert)
    for arm in arms:
        row = planned.plan.rows[arm.key]
        if row.status == "skipped":
            reason = (row.reason or "").removeprefix("cannot be run: ")
            typed = next((name for name in arm.switches if reason.startswith(f"--set {name}")), None)
            raise SpecError(reason.replace("--set", "--switch") if typed else reason)
        for earlier in arms:
            same = planned.plan.rows[earlier.key].runs == row.runs
            if same and earlier.key != arm.key:
                raise SpecError.at(
                    f"'{arm.label}' beside '{earlier.label}'", expected="two different runs", got="one and the same",
                    do="Take away or switch something that the settings leave on",
                )  # fmt: skip
    return planned
