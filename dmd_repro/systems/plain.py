"""A system in ordinary PyTorch: whatever modules it uses, its weights, dropout and buffers belong to the run.

A `PlainSystem` sees a batch without the axis of stacked seeds, (B, T, D), and trains one seed at a time. `OneSeed` is
what the training engine sees of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.errors import SpecError
from dmd_repro.nn.dropout import DropoutStream, StreamDropout
from dmd_repro.seeds import seed_for
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput, Phase
from dmd_repro.systems.config import InputNeeds, TrainConfig
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.switches import Switch


class PlainSystem(nn.Module):
    """Base of a system in ordinary PyTorch. What it does not declare has these defaults."""

    NAME: ClassVar[str] = ""  # of a system in a file of its own; those that ship declare it in their config.py
    TITLE: ClassVar[str] = ""
    PAPER: ClassVar[str] = ""
    CONFIG: ClassVar[type[TrainConfig]] = TrainConfig
    INPUTS: ClassVar[InputNeeds] = InputNeeds()
    PARTS: ClassVar[frozenset[str]] = frozenset()
    PROTOCOLS: ClassVar[tuple[str, ...]] = ("official",)
    SWITCHES: ClassVar[tuple[Switch, ...]] = ()
    MODEL_VERSION: ClassVar[int] = 1
    MIXES_CLIPS: ClassVar[bool] = False  # whether clips of a batch influence each other in evaluation
    INNER: ClassVar[str] = ""  # a child whose name is left out of its weights' names ("net." for net.lstm.weight_ih)
    SHARED_INIT: ClassVar[Mapping[str, str]] = {}  # pattern of parameter names -> the name they are initialised under
    keep: bool = False  # whether the losses of a batch will be asked for in evaluation (`selection_loss=total`)
    stream: DropoutStream  # set before the first batch: dropout, and `stream.normals` for random draws of one's own

    def __init__(
        self,
        config: Any,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """`dims` and `steps`: feature width and number of time steps of l, a, v."""
        super().__init__()
        self.config, self.mask = config, mask

    @classmethod
    def preset(cls, dataset: str, *, aligned: bool, protocol: str) -> TrainConfig:
        """Return the configuration of a data set and setting; the default one for all."""
        return cls.CONFIG()

    def fit_inputs(self, train: Mapping[str, NDArray[Any]]) -> None:
        """Take statistics of the training split, l, a, v -> (N, T, D), into buffers. Called once, before training.

        By default an input stage under the name `inputs` takes its own.
        """
        if isinstance(stage := getattr(self, "inputs", None), InputStage):
            stage.fit(train)

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted terms, each a scalar: the mean absolute error of the prediction."""
        return {"task.output": (out.prediction[:, 0] - batch.labels).abs().mean()}

    def loss_weights(self) -> dict[str, float]:
        """Return a weight for every term."""
        return {"task.output": 1.0}

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the optimizer's groups: by default one, of all that is trained.

        A group may have its own `lr`, `weight_decay`, `clip_norm` (its gradient is scaled by itself, behind no other)
        and `plateau` (False: the plateau leaves its rate alone).
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def phases(self) -> Sequence[Phase]:
        """Return the optimizer's steps of a batch, in order: () is one step on all terms and all weights."""
        return ()

    def frozen_text(self) -> Sequence[str]:
        """Return patterns of a fine-tuned BERT's own tensor names that are not trained."""
        return ()

    def last_epoch(self) -> Sequence[str]:
        """Return patterns of weights that the final record takes from the last epoch instead of the selected one."""
        return ()


_DROPOUTS: tuple[type[nn.Module], ...] = (nn.Dropout,)
_NO_STREAM = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def serve_dropout(system: nn.Module, stream: DropoutStream) -> None:
    """Let every dropout module of a system draw from the run's stream; raises SpecError naming what cannot."""
    for name, module in list(system.named_modules()):
        if isinstance(module, _NO_STREAM):
            raise _cannot(name, module, "dropout of single elements (nn.Dropout)")
        if isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1:
            raise _cannot(name, module, "no dropout between its layers (nn.Dropout between layers of one each)")
        if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
            raise _cannot(name, module, "no dropout inside (nn.Dropout on what it returns)")
        for child_name, child in list(module.named_children()):
            if type(child) in _DROPOUTS:
                setattr(module, child_name, StreamDropout(float(child.p), stream))


def _cannot(name: str, module: nn.Module, expected: str) -> SpecError:
    return SpecError.at(
        f"module '{name}' ({type(module).__name__})", expected=expected,
        got="dropout that draws from torch's global generator", do="A run could not be repeated",
    )  # fmt: skip


@contextmanager
def own_generators(seed: int) -> Iterator[None]:
    """Give code that draws from the global generators a seed of its own; afterwards they are as they were."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # the same draws, without the stack trace that is noted each time for a GPU: half a second a model
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


def initialise_plain(system: PlainSystem, seed: int) -> None:
    """Draw every parameter again from a stream of its own, `seed_for(seed, "init", name)`, by its module's own rule.

    So neither the order of construction nor a neighbour moves it. A module without `reset_parameters` keeps what its
    constructor drew. Modules are visited from the inside, so that one that sets its children has the last word.
    """
    for path, module in reversed(list(system.named_modules())):
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if reset is None or not callable(reset):
            continue
        own = dict(module.named_parameters(recurse=False))
        if any(True for child in module.children() for _ in child.parameters()) or not own:
            with own_generators(seed_for(seed, "init", init_name(system, path))):
                reset()
        drawn: dict[str, Tensor] = {}
        inner = {n: p.detach().clone() for n, p in module.named_parameters() if n not in own}
        for name in own:
            with own_generators(seed_for(seed, "init", init_name(system, f"{path}.{name}" if path else name))):
                reset()
            drawn[name] = own[name].detach().clone()
        with torch.no_grad():
            for name, value in drawn.items():
                own[name].copy_(value)
            named = dict(module.named_parameters())
            for name, value in inner.items():
                named[name].copy_(value)


def init_name(system: PlainSystem, name: str) -> str:
    """Return the name a parameter is initialised under: its own, or the one it shares."""
    name = saved_name(system, name)
    return next((shared for pattern, shared in system.SHARED_INIT.items() if fnmatchcase(name, pattern)), name)


class OneSeed(nn.Module):
    """A plain system as the training engine sees it: every tensor leads with the axis of stacked seeds, here 1."""

    def __init__(self, system: PlainSystem, seed: int) -> None:
        super().__init__()
        self.system, self.stream = system, DropoutStream((seed,))
        serve_dropout(system, self.stream)
        system.stream = self.stream

    @property
    def config(self) -> TrainConfig:
        """The system's configuration."""
        config: TrainConfig = self.system.config
        return config

    def forward(self, batch: Batch, *, keep_features: bool = False) -> ModelOutput:
        """(1, B, ...) -> (1, B, 1)."""
        self.system.keep = keep_features
        out = self.system(without_seeds(batch))
        if isinstance(out, Tensor):
            out = ModelOutput(out, {})
        up = {k: {n: x.unsqueeze(0) for n, x in getattr(out, k).items()} for k in ("heads", "edges", "features")}
        return ModelOutput(out.prediction.unsqueeze(0), **up)

    def window(self, spans: Mapping[str, tuple[int, int]]) -> None:
        """Return None: whether padding is data is not known."""

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the system's terms, each (1,)."""
        down = {k: {n: x.squeeze(0) for n, x in getattr(out, k).items()} for k in ("heads", "edges", "features")}
        inner = ModelOutput(out.prediction.squeeze(0), **down)
        return {n: term.reshape(1) for n, term in self.system.loss_terms(inner, without_seeds(batch)).items()}

    def loss_weights(self) -> dict[str, float]:
        """Return the system's weights."""
        return self.system.loss_weights()

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the system's groups."""
        return self.system.param_groups()


def without_seeds(batch: Batch) -> Batch:
    """Return a batch of one seed without the axis of seeds: (1, B, ...) -> (B, ...)."""
    return replace(
        batch, inputs={m: x[0] for m, x in batch.inputs.items()}, labels=batch.labels[0],
        lengths={m: x[0] for m, x in batch.lengths.items()}, pieces={m: x[0] for m, x in batch.pieces.items()},
    )  # fmt: skip


def plain_of(module: nn.Module) -> PlainSystem | None:
    """Return the plain system inside a model, if it is one."""
    return next((part for part in module.modules() if isinstance(part, PlainSystem)), None)


def own_tensors(system: PlainSystem) -> dict[str, Tensor]:
    """Return every parameter, frozen ones too, and every persistent buffer, by the name it is saved under."""
    return {saved_name(system, name): tensor for name, tensor in system.state_dict(keep_vars=True).items()}


def saved_name(system: PlainSystem, name: str) -> str:
    """Return a tensor's name without the inner child's, which a reference does not have."""
    return name.removeprefix(system.INNER)
