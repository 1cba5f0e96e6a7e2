"""The decoupled features of a run from its checkpoint: one vector a clip and modality, for Figures 3 and 4.

The paper does not say which vector its t-SNE is of. Ours: the mean of X_m^com and X_m^prt over the steps that are not
padding (a window of the convolution counts if any of its steps does), so that a clip's length does not enter.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from dmd_repro.data.features import Features
from dmd_repro.errors import RunError, SpecError
from dmd_repro.evaluate.checkpoint import Checkpoint
from dmd_repro.evaluate.predict import own_model
from dmd_repro.evaluate.stored import NEAR
from dmd_repro.nn.padding import after_convolution, mean_over_steps, valid_steps
from dmd_repro.records.decoupled import SPACES, Decoupled
from dmd_repro.records.run import PREDICTED_SPLITS
from dmd_repro.systems.base import Batch, EmotionModel, as_module
from dmd_repro.systems.dmd.terms import DMDFeatures
from dmd_repro.training.execution import Execution
from dmd_repro.training.feed import Feed

SUMMARY = "mean over the steps that are not padding"


def decouple(checkpoint: Checkpoint, features: Features, split: str, *, execution: Execution) -> Decoupled:
    """Return X^com and X^prt of every clip of a split, by a run's weights at its selected epoch.

    Raises SpecError for a run without the feature decoupling, DataError where the features are not those it was trained
    on, RunError where its weights do not predict what it recorded.
    """
    spec, record = checkpoint.spec, checkpoint.record
    if spec is None or record is None:
        raise SpecError.at(checkpoint.where, expected="a recorded run", got="weights alone", do="Name the run")
    if spec.model != "dmd" or "fd" in spec.mask.off:
        raise SpecError.at(
            f"run {record.run_id}", expected="a run of dmd with its feature decoupling (fd), which makes them",
            got=f"{spec.model} ({spec.mask.label})", do="Name another run: dmd runs list",
        )  # fmt: skip
    if features.digest != record.data["digest"]:
        raise RunError.at(
            f"run {record.run_id}", expected=f"the data it was trained on ({record.data['digest'][:12]})",
            got=f"{features.name} ({features.digest[:12]})", do="Import those again: dmd data list",
        )  # fmt: skip
    device = execution.prepare()
    model, ready = own_model(checkpoint, features, execution, device)
    found, said = _forward(cast(EmotionModel, model), ready, split, device)
    _agree(record.predictions(split).y_pred if split in PREDICTED_SPLITS else said, said, record.run_id)
    data = ready.splits[split]
    about = {"summary": SUMMARY, "data_digest": features.digest, "run": record.run_id}
    return Decoupled(data.ids, np.asarray(data.labels), found["common"], found["private"], about)


def _forward(
    model: EmotionModel, features: Features, split: str, device: torch.device
) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    module, feed = as_module(model).eval(), Feed({split: features.splits[split]}, model, device)
    pieces: dict[tuple[str, str], list[Tensor]] = {}
    said, orders = [], list(feed.whole(split))
    with torch.inference_mode():
        for order in orders:
            batch = feed.batch(split, order[None])
            out = module(batch, keep_features=True)
            kept: DMDFeatures = out.features
            for m, common in kept.common.items():
                valid = _valid(batch, kept, m, common.shape[2])
                for space, x in zip(SPACES, (common, kept.private[m]), strict=True):
                    pieces.setdefault((space, m), []).append(mean_over_steps(x, valid)[0])
            said.append(out.prediction[0, :, 0])
    back = np.argsort(np.concatenate(orders), kind="stable")
    found: dict[str, dict[str, np.ndarray]] = {space: {} for space in SPACES}
    for (space, m), parts in pieces.items():
        found[space][m] = torch.cat(parts).float().cpu().numpy()[back]
    return found, torch.cat(said).float().cpu().numpy()[back]


def _valid(batch: Batch, kept: DMDFeatures, m: str, steps: int) -> Tensor:
    """(S, B, T') bool: the steps of X̃_m that are no padding, whatever the model makes of padding."""
    if m in kept.valid:
        return kept.valid[m]
    inputs = batch.inputs[m]
    tokens = inputs.dtype == torch.int64  # ids, mask and segments (S, B, 3, T)
    valid = inputs[:, :, 1] != 0 if tokens else valid_steps(inputs)
    return after_convolution(valid, valid.shape[2] - steps + 1)


def _agree(then: np.ndarray, now: np.ndarray, run: str) -> None:
    gap = np.abs(then.astype(np.float64) - now) if then.shape == now.shape else np.array([np.inf])
    if not (gap <= NEAR).all():
        raise RunError.at(
            f"run {run}", expected="weights that predict what the run recorded",
            got=f"predictions that differ by up to {gap.max():.3g}",
            do="It is of another version, or one of the two was replaced: see dmd evaluate and dmd runs verify",
        )  # fmt: skip
