"""What a clip costs each system, as measured: `measured.json`, written by `benchmarks/steps.py`, and what is looked up.

A figure is of one configuration on clips of one size: another setting, width or number of steps has none, and none is
made up for it. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from dmd_repro.spec import RunSpec, Scalar
from dmd_repro.systems.registry import find_system, full_name

Kind = Literal["cpu", "cuda"]
FILE = "measured.json"
COUNTS = ("max_epochs", "early_stop")  # settings that move the number of epochs, and not what one costs


@dataclass(frozen=True, slots=True)
class Case:
    """What decides the cost of a clip, of any data set: the net with its settings, and the size of a clip."""

    model: str  # with its options: mult+gd
    protocol: str
    mask: str  # a label: "full", "-ca -heterogd"
    changed: str  # settings besides the preset, "name=value ..."; "": none
    dataset: str  # whose preset it is
    steps: tuple[int, ...]  # of l, a, v
    widths: tuple[int, ...]  # of l, a, v
    batch: int

    @classmethod
    def of(cls, spec: RunSpec, *, aligned: bool, text: str, steps: Iterable[int], widths: Iterable[int]) -> Case:
        """Return the case of a run."""
        system = find_system(spec.model)
        preset = system.preset_for(spec.dataset, aligned=aligned, protocol=spec.protocol).for_text(text).to_dict()
        name = full_name(spec.model, spec.config)
        passed = {*COUNTS, "pad_side", "batch_size", *name.split("+")[1:]}
        changed = {k: v for k, v in spec.config.items() if k not in passed and v != preset.get(k)}
        words = " ".join(f"{k}={_word(v)}" for k, v in sorted(changed.items()))
        batch = int(spec.config["batch_size"] or 0)
        return cls(
            name, spec.protocol, spec.mask.label, words, spec.dataset, tuple(steps), tuple(widths), batch,
        )  # fmt: skip


def _word(value: Scalar) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Figure:
    """Milliseconds that a clip takes one seed, on one machine."""

    case: Case
    kind: Kind
    machine: str  # the processor, or the card
    date: str
    how: str
    train_ms: float
    evaluate_ms: float | None  # None: not measured apart
    stack: int = 1  # seeds that shared the step
    measured_batch: int = 0  # clips of the step that was timed; 0: the case's

    @property
    def evaluation(self) -> float:
        """Milliseconds of an evaluated clip; where they were not measured a training step's, which is more."""
        return self.train_ms if self.evaluate_ms is None else self.evaluate_ms

    def epoch(self, clips: Mapping[str, int]) -> float:
        """Return the seconds an epoch takes one seed: every training clip, then valid and test."""
        return (clips["train"] * self.train_ms + (clips["valid"] + clips["test"]) * self.evaluation) / 1000

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Figure:
        """Read `to_json`."""
        case = {**data["case"], "steps": tuple(data["case"]["steps"]), "widths": tuple(data["case"]["widths"])}
        return cls(**{**data, "case": Case(**case)})


@cache
def measured() -> tuple[Figure, ...]:
    """Return every figure that comes with the program."""
    text = resources.files("dmd_repro.planning").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(Figure.from_json(entry) for entry in json.loads(text))


def look_up(case: Case, kind: str, seeds: int, figures: Sequence[Figure]) -> Figure | None:
    """Return the figure of a case on a kind of device: of the largest stack that so many seeds fill, the latest."""
    fitting = [f for f in figures if f.case == case and f.kind == kind and f.stack <= max(1, seeds)]
    return max(fitting, key=lambda f: (f.stack, f.date), default=None)
