"""EF-LSTM's settings from the tensors of a file: MFN's net, with aligners beside it or not, or MMSA's."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.spec import Scalar
from dmd_repro.systems.told import Shapes, Told, aligned_words, aligners, unequal


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
    widths, beside, missing, mend = aligners(shapes, steps)
    if widths:
        return Told(
            {**net, "align": "ctc"},
            dims={"l": joint - sum(widths.values()), **widths},
            steps={"l": aligned_words(shapes)},
            beside=beside,
        )
    return Told({**net, "align": "none"}, joint=joint, missing=missing, mend=mend)
