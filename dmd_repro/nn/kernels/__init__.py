"""Kernels of our own for a GPU (Triton). Every one has a way without it, which is what a CPU takes."""

from dmd_repro.nn.kernels.choice import Kernels, gpu_kernels

__all__ = ["Kernels", "gpu_kernels"]
