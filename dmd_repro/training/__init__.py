"""Train one run: resolve its spec, loop epoch by epoch into a record, resume from the last finished epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dmd_repro import provenance
from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.errors import SpecError, nearest
from dmd_repro.models.base import TrainConfig
from dmd_repro.records import DataStamp, Predictions, Records, RunRecord
from dmd_repro.registry import load_model, split_options
from dmd_repro.spec import AblationMask, RunSpec, Scalar
from dmd_repro.training.loop import EVALUATED, Loop, gather
from dmd_repro.training.text import prepare, with_bert

TRAINING_VERSION = 1


@dataclass(frozen=True, slots=True)
class Execution:
    """How a run is computed, as opposed to what: numerical noise, so kept out of the run's identity."""

    device: str = "cpu"
    threads: int = 1
    deterministic: bool = True
    bert: str = ""  # where the BERT lies that a spec names by its weights: a folder or a hub name
    cache: str = ""  # the folder that keeps what a frozen BERT has encoded; "": kept in memory only

    def facts(self) -> dict[str, Any]:
        """Return what of it can move a bit of a result."""
        return {"device": self.device, "threads": self.threads, "deterministic": self.deterministic}

    def prepare(self) -> torch.device:
        """Set threads and determinism and return the device; raises SpecError if it is not there."""
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device).item()  # "meta" takes tensors too, and can give nothing back
        except (RuntimeError, AssertionError) as error:
            raise SpecError.at(
                f"--device {self.device}", expected="a device of this machine", got=str(error).partition("\n")[0],
                do="Use --device cpu, or install a torch build for your GPU",
            ) from None  # fmt: skip
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=device.type != "cpu")
        return device


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What a progress display is told after each epoch."""

    epoch: int
    max_epochs: int
    seconds: float
    valid_loss: float
    best_epoch: int
    best_valid_loss: float
    stopped: bool


def resolve_spec(
    model: str,
    *,
    seed: int,
    features: Features,
    protocol: str = "official",
    mask: AblationMask = AblationMask(),
    overrides: Mapping[str, str | Scalar] | None = None,
    bert: str = "",
) -> RunSpec:
    """Return the spec of a run with every hyper-parameter resolved: preset of the data set, then the overrides.

    `model` may carry options: `mult+gd` is `mult` with its setting gd on, the very same run.
    Raises SpecError on an unknown model, protocol, part or setting, on text the model cannot read, and where an epoch
    has fewer batches than gradients are summed over, so that no step would ever be taken.
    """
    model, options = split_options(model)
    if twice := sorted(set(options).intersection(overrides or {})):
        raise SpecError.at(
            f"--set {twice[0]}",
            expected=f"it once, here or in the model's name (+{twice[0]})",
            got="both",
            do="Drop one",
        )
    cls = load_model(model)
    if protocol not in cls.PROTOCOLS:
        raise SpecError.at(
            f"protocol '{protocol}'",
            expected=f"a protocol of {model}",
            got="an unknown one",
            do=nearest(protocol, cls.PROTOCOLS),
        )
    mask.check(model, cls.PARTS)
    if features.text not in cls.INPUTS.readable or (cls.INPUTS.aligned_only and not features.aligned):
        raise SpecError.at(
            f"model '{model}' on {features.name}",
            expected=f"{'aligned ' if cls.INPUTS.aligned_only else ''}{' or '.join(cls.INPUTS.readable)} text",
            got=f"{'aligned' if features.aligned else 'unaligned'} {features.text} text",
            do="Choose another feature set, or --text",
        )
    config: TrainConfig = cls.preset(features.dataset, aligned=features.aligned, protocol=protocol)
    config = config.with_overrides({**options, **(overrides or {})})
    config = with_bert(config, features.text, bert, overrides or {})
    _check_loop(config, len(features.splits["train"]))
    config.check(features.steps, mask)
    return RunSpec(
        model=model,
        seed=seed,
        dataset=features.dataset,
        protocol=protocol,
        mask=mask,
        config=config.to_dict(),
        model_version=cls.MODEL_VERSION,
        training_version=TRAINING_VERSION,
    )


def _check_loop(config: TrainConfig, clips: int) -> None:
    config.check_ranges()
    if config.selection_mean not in ("batches", "clips"):
        raise SpecError.at(
            "--set selection_mean", expected="batches or clips", got=repr(config.selection_mean),
            do=nearest(config.selection_mean, ["batches", "clips"]),
        )  # fmt: skip
    batches = math.ceil(clips / config.batch_size)
    if batches < config.accumulate:
        raise SpecError.at(
            f"training on {clips} clips",
            expected=f"at least {config.accumulate} batches an epoch (gradients of that many are summed for a step)",
            got=f"{batches} (of {config.batch_size})",
            do="No step would ever be taken. Step more often: --set accumulate=1",
        )


def fit(
    spec: RunSpec,
    features: Features,
    records: Records,
    *,
    execution: Execution,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> RunRecord:
    """Train a run to its end, or go on with it from its last finished epoch, and return its record.

    The epoch is selected on the validation split alone; test is evaluated at each epoch and read by nothing here.
    Raises SpecError for a device that is not there, RunError where the record cannot be written.
    """
    device = execution.prepare()
    stamp = DataStamp.of(features)
    facts = {**provenance.collect(), "execution": {**execution.facts(), "stack": 1, "torch": torch.__version__}}
    features, bert = prepare(spec, features, execution.bert, execution.cache, device)
    with records.begin(spec, stamp, facts) as writer:
        loop = Loop(spec, features, device, bert)
        if (found := writer.resume()) is not None:
            loop.restore(*found)
        at = loop.at
        while not at.stopped:
            line = loop.epoch()
            writer.save_epoch(*loop.save(), line)
            if on_epoch:
                on_epoch(
                    EpochReport(
                        at.epoch, loop.config.max_epochs, line["seconds"], line["valid_loss"] or math.nan,
                        at.best_epoch, at.best_loss, at.stopped,
                    )
                )  # fmt: skip
        return writer.finish(
            predictions={s: _predictions(features.splits[s], at.best, s) for s in EVALUATED},
            epochs={s: np.stack(at.curves[s]) for s in EVALUATED},
            checkpoint={k.removeprefix("weights/"): v for k, v in at.best.items() if k.startswith("weights/")},
            provenance={"seconds": round(at.seconds, 3), "epochs": at.epoch, "best_epoch": at.best_epoch,
                        "hit_max_epochs": at.epoch - at.best_epoch < loop.config.early_stop},
        )  # fmt: skip


def _predictions(split: FeatureSet, best: Mapping[str, NDArray[Any]], name: str) -> Predictions:
    said = {k.removeprefix(f"{name}/"): v for k, v in best.items() if k.startswith(f"{name}/")}
    return Predictions(split.ids, np.asarray(split.labels), said.pop("y_pred"), said)


def seconds_per_epoch(spec: RunSpec, features: Features, execution: Execution) -> float:
    """Time a few real batches and return the estimated seconds of one epoch; the run itself is not touched."""
    device = execution.prepare()
    features, bert = prepare(spec, features, execution.bert, execution.cache, device)
    loop = Loop(spec, features, device, bert)
    size, sizes = loop.config.batch_size, features.sizes
    order = np.arange(min(2 * size, sizes["train"]), dtype=np.int64)
    loop.train_batches(order[:size])  # the first batch pays for caches and code that is loaded late
    started = time.perf_counter()
    loop.train_batches(order)
    train = (time.perf_counter() - started) / len(order) * sizes["train"]
    started = time.perf_counter()
    loop.module.eval()
    with torch.inference_mode():
        loop.model.forward(gather(features.splits["train"], order[None], device))
    return train + (time.perf_counter() - started) / len(order) * (sizes["valid"] + sizes["test"])
