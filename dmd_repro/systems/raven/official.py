"""RAVEN's settings from the tensors of a file, with aligners beside it or not. Gates and scale are in no tensor."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.spec import Scalar
from dmd_repro.systems.told import Shapes, Told, aligners

OPEN = ("gates", "scaling", "scale", "padding", "dropout", "test_dropout", "batch_size")


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes and the aligners; `steps` of the features. Raises KeyError or IndexError on other tensors."""
    sizes: dict[str, Scalar] = {
        "norm": shapes["fc_rszcovarep.weight"][0],
        "cell": shapes["covarepLSTM.weight_hh_l0"][1],
        "hidden": shapes["lstm1.layer_1.lstm.weight_hh"][1],
    }
    widths, beside, missing, mend = aligners(shapes, steps)
    words = {"l": shapes["normcovarep.weight"][0]}  # a channel a word position
    own = widths or {"a": shapes["fc_rszcovarep.weight"][1], "v": shapes["fc_rszFacet.weight"][1]}
    return Told(
        {**sizes, "align": "ctc" if widths else "none"},
        dims={"l": shapes["calcAddon.weight"][0], **own},
        steps=words if widths else dict.fromkeys("lav", words["l"]),
        open=OPEN, beside=beside, missing=missing, mend=mend, draws="test_dropout",
    )  # fmt: skip
