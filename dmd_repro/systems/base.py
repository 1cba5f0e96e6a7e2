"""What every system takes and gives: a batch, a typed output, and the interface the training engine relies on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch for S stacked seeds, each with its own clips (S = 1 for a run on its own)."""

    inputs: Mapping[str, Tensor]  # l, a, v -> (S, B, T_m, D_m) float32
    labels: Tensor  # (S, B) sentiment in [-3, 3]
    lengths: Mapping[str, Tensor] = field(default_factory=dict)  # l, a, v -> (S, B) int64, steps that are not padding
    first: Mapping[str, int] = field(default_factory=dict)  # l, a, v -> which step of the whole sequence is step 0
    pieces: Mapping[str, Tensor] = field(default_factory=dict)  # l -> (S, B, T_l) bool: which token ids are no padding


@dataclass(slots=True)
class ModelOutput:
    """What a forward pass gives; nothing in it is written to later. Every tensor leads with the stacked seeds S."""

    prediction: Tensor  # (S, B, 1)
    heads: Mapping[str, Tensor]  # {"l_homo": (S, B, 1), ...}: the supervised side outputs
    edges: Mapping[str, Tensor] = field(default_factory=dict)  # {"homo": (S, 6, B), "hetero": (S, 6, B)}
    features: Any = field(default_factory=dict)  # the system's own, for its losses: tensors by name, or a dataclass


@dataclass(frozen=True, slots=True)
class UnitFeatures:
    """What the graph units of a system read and give, beside logits and edges; by modality l, a, v."""

    reinforced: dict[str, Tensor] = field(default_factory=dict)  # (S, B, wide), the last step of each modality
    representations: dict[str, dict[str, Tensor]] = field(default_factory=lambda: {"homo": {}, "hetero": {}})
    edge_scores: dict[str, Tensor] = field(default_factory=dict)  # of a unit, homo or hetero: before the softmax


@dataclass(frozen=True, slots=True)
class Phase:
    """One of several optimizer steps on the same batch, each with a forward pass of its own (adversarial training)."""

    name: str
    terms: tuple[str, ...]  # patterns of the loss terms it follows
    weights: tuple[str, ...]  # patterns of the parameters it moves; the others stand still

    def follows(self, term: str) -> bool:
        """Tell whether a loss term belongs to it."""
        return any(fnmatchcase(term, pattern) for pattern in self.terms)

    def moves(self, parameter: str) -> bool:
        """Tell whether a parameter belongs to it."""
        return any(fnmatchcase(parameter, pattern) for pattern in self.weights)


class EmotionModel(Protocol):
    """A system: one file, one class, registered by one line. Training has no `if model ==`."""

    PARTS: ClassVar[frozenset[str]]  # what a mask may switch off; anything else raises SpecError
    PROTOCOLS: ClassVar[tuple[str, ...]]
    INPUTS: ClassVar[InputNeeds]
    STACKABLE: ClassVar[bool]  # may seeds train as one stack
    MODEL_VERSION: ClassVar[int]  # raised by any change that can move a prediction
    CONFIG: ClassVar[type[TrainConfig]]

    def __init__(
        self,
        config: Any,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask,
        seeds: tuple[int, ...],
    ) -> None: ...

    @classmethod
    def preset(cls, dataset: str, *, aligned: bool, protocol: str) -> TrainConfig:
        """Return the configuration for a data set and setting, every value with its source."""
        ...

    def forward(self, batch: Batch, *, keep_features: bool = False) -> ModelOutput:
        """Return predictions, heads and edges; the features too in training or when asked for."""
        ...

    def window(self, spans: Mapping[str, tuple[int, int]]) -> Mapping[str, slice] | None:
        """Return the input steps it needs of clips that lie in `spans` (first, past last), by modality; None: all.

        Other steps may be cut off without effect on any output, loss or gradient. None where padding is data.
        """
        ...

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted terms, each (S,)."""
        ...

    def loss_weights(self) -> dict[str, float]:
        """Return a weight for every term `loss_terms` can give."""
        ...

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the optimizer's parameter groups."""
        ...


def as_module(model: EmotionModel) -> nn.Module:
    """View a system as the torch module it also is."""
    assert isinstance(model, nn.Module)
    return model
