"""Ten batches of MISA through our own loop: its steps, its clip, gradients of several batches, what is frozen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.nn.bert import Bert
from dmd_repro.spec import AblationMask, RunSpec
from dmd_repro.systems.base import Batch
from dmd_repro.systems.misa.config import PRESETS
from dmd_repro.training import feed as feed_module
from dmd_repro.training.loop import Loop
from parity.dmd import silence_dropout

CPU = torch.device("cpu")


def pool(z: dict[str, np.ndarray], *, mmsa: bool) -> Features:
    """Return the clips of a file as features whose three splits are all of them."""
    if mmsa:
        language, visual, acoustic = z["pool/text"].astype(np.int64), z["pool/vision"], z["pool/audio"]
    else:
        visual, acoustic, mask = z["pool/visual"], z["pool/acoustic"], z["pool/bert_mask"]
        if "pool/bert_hidden" in z:
            language = z["pool/bert_hidden"].astype(np.float32) * mask[:, :, None].astype(np.float32)
        else:
            language = np.stack([z["pool/bert_ids"], mask, z["pool/bert_types"]], axis=1).astype(np.int64)
    n = len(visual)
    split = FeatureSet(
        ids=tuple(str(i) for i in range(n)), language=language, acoustic=acoustic.astype(np.float32),
        visual=visual.astype(np.float32), lengths={m: np.full(n, 1, dtype=np.int64) for m in "lav"},
        labels=z["pool/labels"].astype(np.float32).flatten(), aligned=False, digest="pool",
    )  # fmt: skip
    text = "bert" if language.dtype.kind == "i" else "hidden"
    return Features("pool", "mosi", text, False, "partial", dict.fromkeys(("train", "valid", "test"), split), "pool")  # type: ignore[arg-type]


class Trained:
    """What our loop makes of a file's batches: terms and gradient norm of each, weights and predictions after."""

    def __init__(
        self, z: dict[str, np.ndarray], named: dict[str, Tensor], settings: dict[str, Any], bert: Bert | None, *,
        frozen: int, mmsa: bool, double: bool,
    ) -> None:  # fmt: skip
        """`named`: the weights to begin with, BERT's under `bertmodel.` (MMSA: `bertmodel.model.`)."""
        preset = PRESETS["mmsa" if mmsa else "official"]["mosi"]
        config = replace(
            preset, d=settings["hidden_size"], dropout=0.0, batch_size=z["traj/batch_index"].shape[1],
            diff_weight=settings["diff_weight"], sim_weight=settings["sim_weight"], frozen_layers=frozen,
            clip_scale=False, recon_weight=settings["recon_weight"],
        )  # fmt: skip
        assert (config.clip_value, config.learning_rate, config.accumulate) == (
            settings["grad_clip" if mmsa else "clip"], settings["learning_rate"], settings.get("update_epochs", 1)
        )  # fmt: skip
        spec = RunSpec("misa", 1, "mosi", "official", AblationMask(), config.to_dict())
        self.loop = Loop([spec], pool(z, mmsa=mmsa), CPU, bert, capture=False)
        self.prefix = "bertmodel.model." if mmsa else "bertmodel."
        with torch.no_grad():
            for name, p in self.parameters().items():
                p.copy_(named[name])
        silence_dropout(self.loop.model)  # type: ignore[arg-type]
        self.double = double
        if double:
            self.loop.module.double()
            self.loop.take_seeds()  # the optimizer's views are of the parameters as they are now
        self.rows: list[list[float]] = []
        self.norms: list[float] = []
        real, real_count = self.loop.backward, self.loop._count

        def backward(*arguments: Any) -> None:
            real(*arguments)
            grads = [p.grad for p in self.loop.module.parameters() if p.grad is not None]
            self.norms.append(sum(float(g.square().sum()) for g in grads) ** 0.5)

        def count(name: str, value: Tensor) -> None:
            real_count(name, value)
            self.rows.append(value[:, 0].tolist())

        with mock.patch.multiple(self.loop, backward=backward, _count=count), self._precision():
            self.loop.train_batches(z["traj/batch_index"].reshape(1, -1))

    def parameters(self) -> dict[str, Tensor]:
        """Return the loop's parameters by the file's names."""
        found = {}
        for name, p in self.loop.module.named_parameters():
            own = name.removeprefix("system.").removeprefix("system.").removeprefix("net.")
            found[own.replace("text_model.model.", self.prefix)] = p
        return found

    def predict(self, index: np.ndarray) -> Tensor:
        """Return the predictions of some clips, (N, 1)."""
        with self._precision(), torch.no_grad():
            out: Tensor = self.loop.module.eval()(self.loop.feed.batch("test", index[None])).prediction[0]
        return out

    def _precision(self) -> Any:
        real = feed_module.gather

        def gather(*arguments: Any) -> Batch:
            batch = real(*arguments)
            if not self.double:
                return batch
            inputs = {m: x.double() if x.is_floating_point() else x for m, x in batch.inputs.items()}
            return replace(batch, inputs=inputs, labels=batch.labels.double())

        return mock.patch.object(feed_module, "gather", gather)
