"""The runs at hand by mask: all that is recorded of one configuration of DMD on one feature set, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dmd_repro.errors import DmdError, RunError, nearest
from dmd_repro.planning.plans import list_plans
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.results.runs import Runs
from dmd_repro.results.scores import mark_of
from dmd_repro.spec import Scalar, canonical
from dmd_repro.systems.dmd.switches import turned

PARTS = ("fd", "homogd", "ca", "heterogd")  # in the order of Table 3
ALL_MASKS = 2 ** len(PARTS)
Off = tuple[str, ...]


@dataclass
class MaskGroup:
    """Runs that differ in mask and seed alone."""

    data: Mapping[str, Any]  # the stamp of the feature set
    protocol: str
    config: Mapping[str, Scalar]
    masks: dict[Off, dict[int, str]] = field(default_factory=dict)  # parts off -> seed -> run id, failed ones too
    settings: Mapping[str, Any] = field(default_factory=dict)  # what --set changed, where a plan says so

    @property
    def size(self) -> int:
        """Number of runs."""
        return sum(len(runs) for runs in self.masks.values())

    @property
    def missing(self) -> list[Off]:
        """The masks no run was made of, in the order of `all_masks`."""
        return [off for off in all_masks() if off not in self.masks]

    @property
    def mark(self) -> str | None:
        """SYNTHETIC DATA or PARTIAL DATA."""
        return mark_of([self.data["standing"]])

    @property
    def line(self) -> str:
        """What the runs are of, in one line."""
        turned_here = turned(self.protocol, self.config)
        changed = ", ".join(f"{k}={v}" for k, v in sorted({**turned_here, **self.settings}.items()))
        label, digest = self.data["label"], str(self.data["digest"])[:12]
        return f"{label}, digest {digest}, protocol {self.protocol}" + (f", settings {changed}" if changed else "")

    def command(self, seeds: Iterable[int]) -> str:
        """Return the command that makes what is missing."""
        chosen = sorted(seeds)
        parts = ["dmd ablate --all-masks", f"--data {self.data['name']}"]
        parts += [f"--seeds {','.join(map(str, chosen))}{',' if len(chosen) == 1 else ''}"] if chosen else []
        parts += [f"--protocol {self.protocol}"] if self.protocol != "official" else []
        return " ".join([*parts, *(f"--set {k}={v}" for k, v in sorted(self.settings.items()))])


def all_masks() -> list[Off]:
    """Return the 16 sets of parts that can be off, from none to all, sorted as masks are."""
    bits = range(ALL_MASKS)
    masks = [tuple(sorted(p for i, p in enumerate(PARTS) if code >> i & 1)) for code in bits]
    return sorted(masks, key=lambda off: (len(off), [PARTS.index(p) for p in off]))


def parts_on(off: Off) -> str:
    """Return a mask as Table 3 writes it: the parts that are on, joined by +; `none`."""
    return "+".join(part for part in PARTS if part not in off) or "none"


def mask_groups(records: Records, data: Iterable[str] = ()) -> list[MaskGroup]:
    """Return the groups of DMD's recorded runs, finished or failed, those with most masks first.

    `data` names feature sets; `synthetic` is any synthetic one. Raises RunError if none of the runs is on them.
    """
    found: dict[str, MaskGroup] = {}
    for name in records.run_ids():
        record = _load(records, name)
        if record is None or record.spec.model != "dmd":
            continue
        rest = {**record.spec.hashed(), "seed": None, "mask": None, "digest": record.data["digest"]}
        group = found.setdefault(canonical(rest), MaskGroup(record.data, record.spec.protocol, record.spec.config))
        group.masks.setdefault(record.spec.mask.off, {})[record.spec.seed] = name
    wanted = list(data)
    groups = [g for g in found.values() if not wanted or any(_named(g, name) for name in wanted)]
    if wanted and not groups:
        known = {str(group.data["name"]) for group in found.values()}
        raise RunError.at(
            f"--data {' '.join(wanted)}", expected=f"runs of dmd on it in {records.root}", got="none",
            do=nearest(wanted[0], known),
        )  # fmt: skip
    settings = _settings(records)
    for group in groups:
        runs = (run for by_seed in group.masks.values() for run in by_seed.values())
        group.settings = next((settings[run] for run in runs if run in settings), {})
    return sorted(groups, key=lambda g: (-len(g.masks), -g.size, g.line))


def _named(group: MaskGroup, name: str) -> bool:
    held = str(group.data["name"])
    return held == name or (name in ("synthetic", "synthetic-mosi") and held.startswith("synthetic-"))


def _load(records: Records, name: str) -> RunRecord | None:
    status = records.status(name)
    folder = {"done": name, "failed": f"{name}.failed"}.get(status)
    try:
        return RunRecord.load(records.root / folder) if folder else None
    except DmdError:
        return None


def _settings(records: Records) -> dict[str, Mapping[str, Any]]:
    return {
        run: row.overrides
        for plan in list_plans(records.root)
        for row in plan.rows.values()
        for run in row.runs.values()
    }


def group_runs(group: MaskGroup, runs: Runs) -> dict[Off, dict[int, str]]:
    """Return a group's finished runs whose predictions can be read, by mask."""
    return {
        off: {seed: run for seed, run in by_seed.items() if not isinstance(runs.get(run), str)}
        for off, by_seed in group.masks.items()
    }
