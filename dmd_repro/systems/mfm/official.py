"""MFM's settings from the tensors of a file: the authors' and MMSA's names are the same."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.spec import Scalar
from dmd_repro.systems.told import Shapes, Told, by_modality, unequal, widths


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes; unequal lengths need the pooling. Raises KeyError or IndexError on other tensors."""
    sizes: dict[str, Scalar] = by_modality("h", shapes, "mfn_encoder.lstm_*.weight_hh", 1)
    sizes |= by_modality("z", shapes, "encoder_*.lstm.weight_hh", 1)
    sizes |= by_modality("f", shapes, "z*_to_f*_fc1.weight", 0)
    sizes |= {"z_y": shapes["last_to_zy_fc1.weight"][0], "f_y": shapes["zy_to_fy_fc1.weight"][0]}
    sizes |= {n: shapes[f"mfn_encoder.{n}_fc1.weight"][0] for n in ("att1", "att2", "gamma1", "gamma2", "out")}
    sizes |= {"memory": shapes["mfn_encoder.att2_fc2.weight"][0], "align": "pool" if unequal(steps) else "none"}
    return Told(sizes, dims=widths(shapes, "encoder_*.lstm.weight_ih"))
