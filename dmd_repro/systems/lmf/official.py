"""LMF's settings from the tensors of a file: the authors' and MMSA's names are the same."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.systems.tfn.official import pooled
from dmd_repro.systems.told import Shapes, Told


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes and the rank. Raises KeyError or IndexError on other tensors."""
    return pooled(shapes, {"rank": shapes["audio_factor"][0]})
