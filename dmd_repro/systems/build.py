"""From a spec to a model: constructed, initialised from the run's seeds, dropout served from its stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmd_repro.errors import SpecError
from dmd_repro.seeds import seed_for
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import EmotionModel
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.declare import System
from dmd_repro.systems.plain import OneSeed, PlainSystem, initialise_plain, own_generators


def construct(
    system: System,
    config: TrainConfig,
    *,
    dims: Mapping[str, int],
    steps: Mapping[str, int],
    mask: AblationMask,
    seeds: Sequence[int],
) -> EmotionModel:
    """Return a model of these seeds with its initial parameters; raises SpecError for several seeds of a plain one."""
    cls = system.load()
    if not issubclass(cls, PlainSystem):
        model: EmotionModel = cls(config, dims=dims, steps=steps, mask=mask, seeds=tuple(seeds))
        return model
    if len(seeds) != 1:
        raise SpecError.at(
            f"model '{system.name}'", expected="one seed at a time", got=f"{len(seeds)} stacked seeds", do="--stack 1"
        )
    mask.check(system.name, system.parts)
    with own_generators(seed_for(seeds[0], "init", system.name)):  # for modules that have no rule of their own
        plain = cls(config, dims=dims, steps=steps, mask=mask)
    initialise_plain(plain, seeds[0])
    return OneSeed(plain, seeds[0])  # type: ignore[return-value]
