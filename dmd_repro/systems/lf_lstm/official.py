"""LF-LSTM's settings from the tensors of a file under our own names: there is no public original."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.systems.told import Shapes, Told, by_modality, widths


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes. Raises KeyError or IndexError on other tensors."""
    hidden = by_modality("hidden", shapes, "lstm_*.weight_hh_l0", 1)
    return Told({**hidden, "head": shapes["fc1.weight"][0]}, dims=widths(shapes, "lstm_*.weight_ih_l0"))
