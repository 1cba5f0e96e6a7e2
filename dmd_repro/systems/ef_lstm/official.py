"""EF-LSTM's settings from the tensors of a file: MFN's net, with aligners beside it or not, or MMSA's."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.spec import Scalar
from dmd_repro.systems.told import Shapes, Told, unequal

ALIGNER = "pred_output_position_inclu_blank"


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the net, its sizes and the aligners; `steps` of the features. Raises KeyError or IndexError on others."""
    if "lstm.weight_hh_l0" in shapes:
        layers = sum(name.startswith("lstm.weight_hh_l") for name in shapes)
        pooled: dict[str, Scalar] = {"align": "pool"} if unequal(steps) else {"align": "none"}
        return Told(
            {"net": "mmsa", "hidden": shapes["lstm.weight_hh_l0"][1], "layers": layers, **pooled},
            joint=shapes["lstm.weight_ih_l0"][1],
        )
    joint = shapes["lstm.weight_ih"][1]
    net: dict[str, Scalar] = {"net": "mfn", "hidden": shapes["lstm.weight_hh"][1]}
    if any(name.startswith(("a2l.", "v2l.")) for name in shapes):
        a, v = (shapes[f"{m}2l.{ALIGNER}.weight_ih_l0"][1] for m in "av")
        words = shapes[f"a2l.{ALIGNER}.weight_hh_l0"][1] - 1
        return Told(
            {**net, "align": "ctc"},
            dims={"l": joint - a - v, "a": a, "v": v},
            steps={"l": words},
            beside=("a2l.", "v2l."),
        )
    missing = mend = ""
    if unequal(steps):
        lengths = " / ".join(str(steps[m]) for m in "lav")
        missing = f"the weights of its aligners (a2l.*, v2l.*), which {lengths} steps need"
        mend = "Score it on aligned features, or a file that holds them (dmd export writes them)"
    return Told({**net, "align": "none"}, joint=joint, missing=missing, mend=mend)
