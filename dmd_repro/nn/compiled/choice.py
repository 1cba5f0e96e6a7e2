"""Whether this process computes with the compiled kernels: found out once, and said once where it does not."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

import torch
from torch import Tensor

from dmd_repro.nn.compiled.build import SETS, NotCompiled, load
from dmd_repro.nn.compiled.call import Library

log = logging.getLogger(__name__)
SWITCH = "DMD_COMPILED"  # the environment variable: 0 turns them off, a name of SETS asks for those instructions
OFF = ("0", "no", "off", "false")
ON = ("", "1", "yes", "on", "true")
SAID = "DMD_COMPILED_SAID"  # set once the reason was said: the processes that this one starts need not say it again
VERSION = 2  # of their arithmetic: another number where results round otherwise (a record's "avx512" is the first)


@lru_cache(maxsize=1)
def library() -> Library | None:
    """Return the compiled kernels; None, with one warning, where there can be none, and without where they are off."""
    asked = os.environ.get(SWITCH, "").strip().lower()
    if asked in OFF:
        return None
    try:
        if asked not in (*ON, *(one.name for one in SETS)):
            names = ", ".join(one.name for one in SETS)
            raise NotCompiled(f"{SWITCH}={asked} is none of 0, 1, {names}")
        return Library(*load(asked if asked not in ON else None))
    except NotCompiled as error:
        if not os.environ.get(SAID):
            os.environ[SAID] = "1"
            log.warning(
                "computing without compiled kernels, which is slower: %s; %s=0 turns them off in silence", error, SWITCH
            )
        return None


def compiled_kernels(x: Tensor) -> Library | None:
    """Return the kernels if they can compute with a tensor: float32 on a CPU."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return None
    return library()


def way() -> str:
    """Return what a record calls the way this process computes, "avx512-2"; "" without compiled kernels."""
    found = library()
    return "" if found is None else f"{found.instructions.name}-{VERSION}"
