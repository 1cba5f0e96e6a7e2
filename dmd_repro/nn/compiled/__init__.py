"""Kernels of our own for a CPU (C++, compiled on the machine that runs them). Every one has a way without it."""

from dmd_repro.nn.compiled.choice import SWITCH, compiled_kernels, way

__all__ = ["SWITCH", "compiled_kernels", "way"]
