"""When words may be read off a row: stages at fixed numbers of runs, each with its own level.

A stage is the first n planned seeds. The levels sum to 0.05, so by the union bound a row gets a false word of a kind
with a chance of at most 5 % however often, and whenever, it is looked at: adding seeds is legitimate, and no log of
looks decides anything. A plan sealed before its first run may name one n instead and spend the whole 0.05 there.
"""

from __future__ import annotations

from dataclasses import dataclass

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Stage:
    """The first `n` planned seeds, and the level of the tests on them."""

    n: int
    level: float


STAGES = (Stage(5, 0.020), Stage(10, 0.015), Stage(20, 0.010), Stage(50, 0.005))


def stages_of(one_look: int | None) -> tuple[Stage, ...]:
    """Return the stages of a plan: the usual four, or the only one of a plan that named its n before its first run."""
    return STAGES if one_look is None else (Stage(one_look, ALPHA),)


def reached(stages: tuple[Stage, ...], ended: int) -> tuple[Stage, ...]:
    """Return the stages whose first n planned seeds have all ended, where the first `ended` of them have."""
    return tuple(stage for stage in stages if stage.n <= ended)


def next_stage(stages: tuple[Stage, ...], n: int) -> Stage | None:
    """Return the first stage beyond n runs, None after the last."""
    return next((stage for stage in stages if stage.n > n), None)
