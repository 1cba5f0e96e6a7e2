"""A difference between a paper and a reference code, as a named setting that can be turned either way.

A protocol is a set of switch values: "official" does what the reference does, "paper" what the equations say, or what a
repair would do. The switches are fields of a system's configuration, so `--set name=value` overrides one and its effect
can be measured alone. The command line, the audit and docs/deviations.md read the same lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dmd_repro.spec import Scalar


@dataclass(frozen=True, slots=True)
class Switch:
    """One difference that can be turned either way."""

    name: str  # the field of the system's configuration
    official: Scalar
    paper: Scalar
    choices: tuple[str, ...]  # for a word; () for numbers and true/false
    group: Literal["architecture", "losses", "training", "inputs"]
    paper_says: str
    code_does: str
    source: str  # equation or section; the authors' file
    also: str = ""  # a second name `--set` accepts
    others: Mapping[str, Scalar] = field(default_factory=dict)  # by further protocols

    def value(self, protocol: str) -> Scalar:
        """Return the switch's value under a protocol."""
        return self.others.get(protocol, self.paper if protocol == "paper" else self.official)


@dataclass(frozen=True, slots=True)
class Same:
    """Something one of the two sources is silent about, or says otherwise in words only: both protocols do the same."""

    topic: str
    code_does: str
    reason: str
    source: str


def aliases_of(switches: Iterable[Switch]) -> dict[str, str]:
    """Return the second names of switches, each with the setting it stands for."""
    return {s.also: s.name for s in switches if s.also}


def values_under(switches: Iterable[Switch], protocol: str) -> dict[str, Scalar]:
    """Return the value of every switch under a protocol."""
    return {s.name: s.value(protocol) for s in switches}
