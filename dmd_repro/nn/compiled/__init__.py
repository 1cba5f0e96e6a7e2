"""Kernels of our own for a CPU (C++, compiled on the machine that runs them). Every one has a way without it."""

from dmd_repro.nn.compiled.attention import fits
from dmd_repro.nn.compiled.call import Library
from dmd_repro.nn.compiled.choice import SWITCH, compiled_kernels, way
from dmd_repro.nn.compiled.ends import Drops, begin, finish
from dmd_repro.nn.compiled.layer import from_lanes, to_lanes

__all__ = ["SWITCH", "Drops", "Library", "begin", "compiled_kernels", "finish", "fits", "from_lanes", "to_lanes", "way"]
