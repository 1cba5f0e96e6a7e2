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
    # settings that move a prediction and that no tensor tells
    open: tuple[str, ...] = ("last_steps", "visual_scale", "pad_side")
    beside: tuple[str, ...] = ()  # beginnings of names that the reference's own files lack and ours hold
    missing: str = ""
    mend: str = ""  # what to do about it
    protocol: str = ""  # the protocol whose code the tensors are of, where they tell; else the system's first
    draws: str = ""  # the switch by which evaluation draws at random: its seed is in no tensor either


def by_modality(name: str, shapes: Shapes, pattern: str, axis: int) -> dict[str, Scalar]:
    """Return `NAME_l`, `NAME_a`, `NAME_v`: the sizes of one axis of three tensors, `*` in their name the modality."""
    return {f"{name}_{m}": shapes[pattern.replace("*", m)][axis] for m in MODALITIES}


def widths(shapes: Shapes, pattern: str) -> dict[str, int]:
    """Return the feature width of l, a, v: the second axis of three tensors, `*` in their name the modality."""
    return {m: shapes[pattern.replace("*", m)][1] for m in MODALITIES}


_LOGITS = "pred_output_position_inclu_blank"  # the one layer of MulT's CTC module


def aligners(shapes: Shapes, steps: Mapping[str, int]) -> tuple[dict[str, int], tuple[str, ...], str, str]:
    """Return the widths of a and v that MulT's CTC modules in a file are made for, {} where it holds none.

    Then the beginnings of their names, which are in no reference's file, and, where these steps need modules that are
    not there, what is missing and what to do about it.
    """
    if any(name.startswith(("a2l.", "v2l.")) for name in shapes):
        return {m: shapes[f"{m}2l.{_LOGITS}.weight_ih_l0"][1] for m in "av"}, ("a2l.", "v2l."), "", ""
    if not unequal(steps):
        return {}, (), "", ""
    lengths = " / ".join(str(steps[m]) for m in "lav")
    missing = f"the weights of its aligners (a2l.*, v2l.*), which {lengths} steps need"
    return {}, (), missing, "Score it on aligned features, or a file that holds them (dmd export writes them)"


def aligned_words(shapes: Shapes) -> int:
    """Return the number of words that the CTC modules in a file align to."""
    return shapes[f"a2l.{_LOGITS}.weight_hh_l0"][1] - 1


def unequal(steps: Mapping[str, int]) -> bool:
    """Whether the modalities have different numbers of steps."""
    return len(set(steps.values())) > 1
