"""What a plain system may not do, found before an epoch is trained: two builds, one step, a few clips evaluated.

A stacked system's layers take names, seeds and dropout from one place: the tests hold them, and nothing is probed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.data.features import Features
from dmd_repro.errors import DmdError, SpecError
from dmd_repro.nn.bert import Bert
from dmd_repro.spec import RunSpec
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch, EmotionModel, as_module
from dmd_repro.systems.plain import PlainSystem, own_generators, plain_of
from dmd_repro.systems.registry import load_model
from dmd_repro.systems.state import read_weights
from dmd_repro.training.build import build, fit_inputs
from dmd_repro.training.feed import gather
from dmd_repro.training.phases import terms_of, unfollowed

CLIPS = 4  # of the probe's batch
TOLERANCE = 1e-5  # between a clip's prediction in one company and in another: batched products round otherwise
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One thing that was looked at, and what is wrong with it ("" for nothing)."""

    name: str
    promise: str
    problem: str = ""


PROMISES = {
    "builds": "can be built, gives (clips, 1), and has a gradient of finite numbers",
    "same weights": "two builds of one seed have the same weights",
    "own randomness": "draws from no global generator (torch, numpy, Python)",
    "all is saved": "keeps every tensor where a checkpoint finds it",
    "clips apart": "in evaluation no clip moves another's prediction",
    "evaluation repeats": "evaluation gives the same numbers twice",
    "losses weighed": "every loss term has a weight",
}


def refuse_unsound(spec: RunSpec, features: Features, bert: Bert | None = None) -> None:
    """Raise SpecError, naming the module or tensor, where a run of a plain system could not be repeated or restored."""
    settings = tuple(sorted((k, str(v)) for k, v in spec.config.items()))
    key = (load_model(spec.model), spec.protocol, spec.mask.off, settings, features.digest)
    if key in _SOUND:
        return
    for check in probe(spec, features, bert):
        if check.problem:
            raise SpecError.at(
                f"model '{spec.model}'", expected=f"a system that {check.promise}", got=check.problem,
                do=f"See docs/add-a-system.md, or: dmd systems check {spec.model}",
            )  # fmt: skip
    _SOUND.add(key)


_SOUND: set[Any] = set()  # what was found sound in this process


def probe(spec: RunSpec, features: Features, bert: Bert | None = None) -> list[ProbeResult]:
    """Look at a system on a few clips and return every check; a stacked system has none."""
    if not issubclass(load_model(spec.model), PlainSystem):
        return []
    try:
        with own_generators(1), Watch() as watch:
            found = list(_probe(spec, features, bert, watch))
    except (DmdError, MemoryError):
        raise
    except Exception as error:  # a stranger's code: whatever it raises is the finding
        return [ProbeResult("builds", PROMISES["builds"], f"{type(error).__name__}: {error}")]
    return [ProbeResult(name, promise, dict(found).get(name, "")) for name, promise in PROMISES.items()]


def _probe(spec: RunSpec, features: Features, bert: Bert | None, watch: Watch) -> Iterator[tuple[str, str]]:
    first, second = (watch.quietly(lambda: _built(spec, features, bert)) for _ in range(2))
    module = as_module(first)
    one, two = (read_weights(as_module(m), spec.model) for m in (first, second))
    for name, value in one.items():
        if not np.array_equal(value, two[name], equal_nan=True):
            yield "same weights", f"'{name}' differs between two builds of seed {spec.seed}"
            break
    plain = plain_of(module)
    assert plain is not None
    hidden = dict(_hidden(plain))
    if hidden:
        yield "all is saved", f"{next(iter(hidden))} is a tensor that is neither a parameter nor a buffer"
    before = {n: b.clone() for n, b in _unsaved_buffers(plain).items()}
    watch.attach(plain)
    batch = _batch(features, range(CLIPS))
    check, problem = _step(first, batch, watch)
    if problem:
        yield check, problem
        return
    if watch.culprit:
        yield "own randomness", watch.culprit
    else:
        _step(second, batch, watch)
        if odd := _other_gradient(module, as_module(second)):
            yield "own randomness", f"one step, done twice, gives '{odd}' two gradients: something draws at random"
    noted = dict(_values(plain))
    _step(first, batch, watch)
    moved = [n for n, value in _values(plain) if n not in noted or not np.array_equal(noted[n], value)]
    if moved and not hidden:
        yield "all is saved", f"{moved[0]} changes with every step and is neither a parameter nor a buffer"
    changed = [n for n, b in _unsaved_buffers(plain).items() if n in before and not torch.equal(b, before[n])]
    if changed and not hidden and not moved:
        yield "all is saved", f"buffer '{changed[0]}' changes in training and is not persistent"
    late = [n for n, _ in _hidden(plain) if n not in hidden]
    if late and not hidden and not changed and not moved:
        yield "all is saved", f"{late[0]} is made in training and is neither a parameter nor a buffer"
    watch.detach()
    yield from _evaluation(first, features, plain)


def _built(spec: RunSpec, features: Features, bert: Bert | None) -> EmotionModel:
    model = build(spec, features, CPU, bert)
    fit_inputs(model, features)
    return model


def _step(model: EmotionModel, batch: Batch, watch: Watch) -> tuple[str, str]:
    """Take one training step without moving a weight; return the check that failed and why, "" for none."""
    module = as_module(model).train()
    module.zero_grad()
    model.stream.begin(0)  # type: ignore[attr-defined]
    out = module(batch)
    if out.prediction.shape != (1, CLIPS, 1):
        return "builds", f"predictions of shape {tuple(out.prediction.shape[1:])}, expected ({CLIPS}, 1)"
    before = watch.states()
    terms, weights = model.loss_terms(out, batch), model.loss_weights()
    for name in terms:
        if name not in weights:
            return "losses weighed", f"the term '{name}' has no weight"
    plain = plain_of(module)
    phases = () if plain is None else plain.phases()
    if missed := unfollowed(phases, terms):
        return "losses weighed", f"no phase follows the term '{missed[0]}'"
    for phase in phases:
        terms_of(phase, terms)
    losses.total(terms, weights).sum().backward()
    watch.note(before, "its loss_terms (or their gradient)")
    for name, p in module.named_parameters():
        if p.grad is not None and not torch.isfinite(p.grad).all():
            return "builds", f"the gradient of '{name.removeprefix('system.')}' is not finite"
    return "builds", ""


def _evaluation(model: EmotionModel, features: Features, plain: PlainSystem) -> Iterator[tuple[str, str]]:
    module = as_module(model).eval()

    def said(clips: Sequence[int]) -> Tensor:
        model.stream.begin(0)  # type: ignore[attr-defined]
        with torch.no_grad():
            found: Tensor = module(_batch(features, clips)).prediction[0, :, 0]
        return found

    whole, again = said(range(CLIPS)), said(range(CLIPS))
    if not torch.equal(whole, again):
        yield "evaluation repeats", f"predictions moved by up to {float((whole - again).abs().max()):.2g}"
    elif not plain.MIXES_CLIPS:
        alone = torch.cat([said([i]) for i in range(CLIPS)])
        turned = said(list(reversed(range(CLIPS)))).flip(0)
        for other, company in ((alone, "alone"), (turned, "in another order")):
            moved = (other - whole).abs() - TOLERANCE * (1 + whole.abs())
            if float(moved.max()) > 0:
                i = int(moved.argmax())
                yield (
                    "clips apart",
                    (
                        f"{float(whole[i]):.4f} for a clip among {CLIPS}, {float(other[i]):.4f} {company}; "
                        "declare MIXES_CLIPS if that is meant"
                    ),
                )
                return


def _batch(features: Features, clips: Sequence[int]) -> Batch:
    split = features.splits["train"]
    return gather(split, np.array([[i % len(split) for i in clips]], dtype=np.int64), CPU)


def _other_gradient(one: nn.Module, two: nn.Module) -> str:
    """Return the name of a parameter whose gradient differs between two models, beyond rounding; "" for none."""
    others = dict(two.named_parameters())
    for name, p in one.named_parameters():
        other = others[name].grad
        if (p.grad is None) != (other is None):
            return name.removeprefix("system.")
        if p.grad is not None and other is not None and not torch.allclose(p.grad, other, rtol=1e-4, atol=1e-6):
            return name.removeprefix("system.")
    return ""


def _values(plain: PlainSystem) -> Iterator[tuple[str, Any]]:
    """Yield numbers and arrays that a module holds as plain attributes, in lists and dicts too."""
    usual = set(vars(nn.Module()))
    for path, module in plain.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in usual:
                where = f"{path}.{attribute}" if path else attribute
                yield from ((f"'{where}'{inner}", x) for inner, x in _numbers_in(value))


def _numbers_in(value: Any, depth: int = 4) -> Iterator[tuple[str, Any]]:
    if isinstance(value, np.ndarray):
        yield "", value.copy()
    elif isinstance(value, (bool, int, float, complex)):
        yield "", value
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from ((f"[{key!r}]{inner}", x) for inner, x in _numbers_in(item, depth - 1))
    elif depth and isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from ((f"[{i}]{inner}", x) for inner, x in _numbers_in(item, depth - 1))


def _unsaved_buffers(plain: PlainSystem) -> dict[str, Tensor]:
    saved = set(plain.state_dict())
    return {name: b for name, b in plain.named_buffers() if name not in saved}


def _hidden(plain: PlainSystem) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors that a module holds outside its parameters and buffers, in lists and dicts too."""
    usual = set(vars(nn.Module()))
    registered = {id(t) for t in (*plain.parameters(), *plain.buffers())}
    for path, module in plain.named_modules():
        for attribute, value in vars(module).items():
            if attribute in usual:
                continue
            where = f"'{path}.{attribute}'" if path else f"'{attribute}'"
            for inner, tensor in _tensors_in(value):
                if id(tensor) not in registered:  # a recurrent layer lists its own weights
                    yield f"{where}{inner}", tensor


def _tensors_in(value: Any, depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield "", value
    elif isinstance(value, nn.Module):  # a module in a plain container is not registered
        yield from ((f" ({n})", p) for n, p in value.named_parameters())
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from ((f"[{key!r}]{inner}", t) for inner, t in _tensors_in(item, depth - 1))
    elif depth and isinstance(value, (list, tuple, set)):
        for i, item in enumerate(value):
            yield from ((f"[{i}]{inner}", t) for inner, t in _tensors_in(item, depth - 1))


class Watch(ExitStack):
    """Tells which module draws from a global generator: their states before and behind every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.culprit = ""
        self.handles: list[Any] = []

    @staticmethod
    def states() -> dict[str, Any]:
        """Return what the global generators stand at."""
        found: dict[str, Any] = {"torch's": torch.get_rng_state().numpy().tobytes(), "Python's": random.getstate()}
        _, keys, place, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
        found["numpy's"] = (np.asarray(keys).tobytes(), place, rest)
        for i in range(torch.cuda.device_count()):
            found[f"CUDA's (card {i})"] = torch.cuda.get_rng_state(i).numpy().tobytes()
        return found

    def quietly(self, work: Callable[[], EmotionModel]) -> EmotionModel:
        """Build, and note a draw that is left behind."""
        before = self.states()
        model = work()
        self.note(before, "its constructor")
        return model

    def attach(self, plain: PlainSystem) -> None:
        """Watch every module's forward pass; `note` tells of what is done between them."""
        started: dict[str, list[dict[str, Any]]] = {}
        for name, module in plain.named_modules():
            words = f"module '{name}' ({type(module).__name__})" if name else "its forward"

            def enter(_: nn.Module, __: Any, name: str = name) -> None:
                started.setdefault(name, []).append(self.states())

            def leave(_: nn.Module, __: Any, ___: Any, name: str = name, words: str = words) -> None:
                self.note(started[name].pop(), words)

            self.handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def detach(self) -> None:
        """Stop watching."""
        for handle in self.handles:
            handle.remove()

    def note(self, before: dict[str, Any], words: str) -> None:
        """Keep the first to blame, where a generator has moved since `before`."""
        after = self.states()
        changed = [name for name, state in before.items() if after[name] != state]
        if changed and not self.culprit:
            self.culprit = f"{words} draws from {changed[0]} global generator"
