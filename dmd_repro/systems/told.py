"""What the tensors of a state_dict under a reference's names tell of the model they belong to. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import Scalar

Shapes = Mapping[str, tuple[int, ...]]  # of the tensors, by the reference's names
INPUTS = "inputs."  # what our exports hold beside the reference's names: statistics of the training split


@dataclass(frozen=True, slots=True)
class Told:
    """Settings and sizes read from tensors; what they cannot tell is named, so that it is said where it is assumed.

    `missing` says why the tensors cannot predict what they are asked to; "" where they can.
    """

    settings: Mapping[str, Scalar]
    dims: Mapping[str, int] = field(default_factory=dict)  # feature width, of the modalities that have one of their own
    steps: Mapping[str, int] = field(default_factory=dict)  # time steps, where a tensor is made for a number of them
    joint: int = 0  # width of the three modalities together, where tensors tell only that
    open: tuple[str, ...] = ("last_steps", "visual_scale")  # settings that move a prediction and that no tensor tells
    beside: tuple[str, ...] = ()  # beginnings of names that the reference's own files lack and ours hold
    missing: str = ""
    mend: str = ""  # what to do about it


def by_modality(name: str, shapes: Shapes, pattern: str, axis: int) -> dict[str, Scalar]:
    """Return `NAME_l`, `NAME_a`, `NAME_v`: the sizes of one axis of three tensors, `*` in their name the modality."""
    return {f"{name}_{m}": shapes[pattern.replace("*", m)][axis] for m in MODALITIES}


def widths(shapes: Shapes, pattern: str) -> dict[str, int]:
    """Return the feature width of l, a, v: the second axis of three tensors, `*` in their name the modality."""
    return {m: shapes[pattern.replace("*", m)][1] for m in MODALITIES}


def unequal(steps: Mapping[str, int]) -> bool:
    """Whether the modalities have different numbers of steps."""
    return len(set(steps.values())) > 1
