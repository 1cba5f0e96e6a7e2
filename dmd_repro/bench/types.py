"""What a measurement asks for and what it found: plain frozen values, which a process can send and JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any, Literal

from dmd_repro.spec import AblationMask, RunSpec

PHASES = ("data", "forward", "losses", "backward", "optimizer")
MOSI_SIZES = "synthetic-mosi"  # generated clips in the sizes of CMU-MOSI: what is measured where no data is named


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure."""

    model: str = "dmd"
    protocol: str = "official"
    mask: AblationMask = field(default_factory=AblationMask)
    overrides: Mapping[str, str] = field(default_factory=dict)
    data: str = MOSI_SIZES
    aligned: bool | None = None  # None: as the data is
    length: int | None = None  # acoustic and visual are cut to this many steps
    stack: int = 1
    threads: int = 1
    device: str = "cpu"
    steps: int | None = None  # None: as many as fit into `seconds`
    seconds: float = 20.0
    against: Literal["", "plain"] = ""
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it, of `n` values."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise at least one value; under four of them the quartiles are the extremes."""
        if len(values) < 4:
            return cls(median(values), min(values), max(values), len(values))
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high, len(values))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what was held once model and data were built, and the most above it during training steps."""

    built: int
    above: int
    source: str  # what counted them


@dataclass(frozen=True, slots=True)
class Counted:
    """What one step does, an optimizer step counted with its share."""

    flops: float
    bytes: float
    ops: float


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine reaches on operations that do one thing only."""

    flops_per_s: float
    bytes_per_s: float
    s_per_op: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """The time each ceiling alone would allow a step, and how much of the highest of them the step reaches."""

    counted: Counted
    ceilings: Ceilings
    ms: Mapping[str, float]  # "flops", "bytes", "ops"
    binding: str  # of a captured step never "ops", which a replay makes at once
    fraction: float  # ms[binding] / the measured time of a step


@dataclass(frozen=True, slots=True)
class Plain:
    """The straightforward implementation of one seed, measured in turn with ours."""

    step_ms: Spread
    seed_step_ms: float  # ours in the same blocks
    ratio: Spread  # time of a seed-step, plain / ours; block by block, the range being the extremes
    memory: Memory
    memory_ratio: float  # plain / (ours / seeds of the stack)


@dataclass(frozen=True, slots=True)
class Operator:
    """One line of a profile of one step."""

    name: str
    calls: int
    self_ms: float
    share: float


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of a case."""

    model: str
    mask: str
    protocol: str
    settings: Mapping[str, str]  # what differs from the preset
    data: str
    setting: str
    lengths: Mapping[str, int]  # steps of l, a, v
    stack: int
    device: str
    threads: int
    batch_size: int
    accumulate: int
    parameters: int  # of one seed
    step_ms: Spread  # one batch, and the share of an optimizer step that falls to it
    optimizer_ms: float  # one optimizer step
    clips_per_s: float  # counting a clip once for each seed that trains on it
    seed_steps_per_s: float
    memory: Memory
    phases: Mapping[str, float]  # shares of a step, which sum to 1
    captured: bool
    why_not_captured: str
    roofline: Roofline
    plain: Plain | None = None
    profile: tuple[Operator, ...] = ()

    @property
    def seed_step_ms(self) -> float:
        """Median milliseconds of a step, divided by the seeds that share it."""
        return self.step_ms.median / self.stack

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**asdict(self), "seed_step_ms": self.seed_step_ms}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case whose words have been understood."""

    case: Case
    spec: RunSpec
    title: str
