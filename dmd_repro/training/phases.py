"""Several optimizer steps on one batch, as a system declares them: which terms each follows, which weights it moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from dmd_repro.errors import SpecError
from dmd_repro.systems.base import Phase
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.plain import plain_of


def phases_of(module: nn.Module, config: TrainConfig) -> tuple[Phase, ...]:
    """Return the phases a system declares; () where a batch has one step.

    Raises SpecError where a phase moves no weight of its own, or gradients would be summed over batches as well.
    """
    plain = plain_of(module)
    phases = () if plain is None else tuple(plain.phases())
    if not phases or plain is None:
        return ()
    if config.accumulate != 1:
        raise SpecError.at(
            f"a batch of {len(phases)} phases", expected="accumulate=1", got=f"accumulate={config.accumulate}",
            do="Each phase steps at every batch: --set accumulate=1",
        )  # fmt: skip
    names = [name for name, p in plain.named_parameters() if p.requires_grad]
    for phase in phases:
        if not any(map(phase.moves, names)):
            raise SpecError.at(
                f"phase '{phase.name}'", expected="a pattern of weights it moves",
                got=f"{', '.join(phase.weights) or 'none'}, which no weight has", do="Change it in the system's file",
            )  # fmt: skip
    if still := [name for name in names if not any(phase.moves(name) for phase in phases)]:
        raise SpecError.at(
            "the phases of a batch", expected="one that moves every weight", got=f"none that moves '{still[0]}'",
            do="Add it to a phase, or freeze it: requires_grad_(False)",
        )  # fmt: skip
    return phases


def terms_of(phase: Phase, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the terms a phase follows; raises SpecError where there is none."""
    found = {name: term for name, term in terms.items() if phase.follows(name)}
    if not found:
        raise SpecError.at(
            f"phase '{phase.name}'", expected=f"a loss term it follows ({', '.join(terms)})",
            got=", ".join(phase.terms) or "none", do="Change it in the system's file",
        )  # fmt: skip
    return found


def unmoved(module: nn.Module, phase: Phase) -> Iterator[nn.Parameter]:
    """Yield the parameters that a phase leaves alone."""
    plain = plain_of(module)
    assert plain is not None
    yield from (p for name, p in plain.named_parameters() if not phase.moves(name))


def unfollowed(phases: Sequence[Phase], terms: Mapping[str, Tensor]) -> list[str]:
    """Return the terms that no phase follows."""
    return [name for name in terms if phases and not any(phase.follows(name) for phase in phases)]
