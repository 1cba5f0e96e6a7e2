"""State_dict files under the authors' names, of small models, and features that fit them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from bert_files import SIZES, STEPS, arrays

from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.nn.layers import named_slices
from dmd_repro.records.folder import Records
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.training.execution import Execution

DIMS, SIZE = {"l": 10, "a": 3, "v": 4}, {"l": STEPS, "a": 9, "v": 8}


def small(mask: tuple[str, ...] = (), **changes: Any) -> DMD:
    """Return a random DMD of mosi's heads on small, unequal lengths."""
    from dmd_repro.spec import AblationMask

    config = DMD.preset("mosi", aligned=False, protocol="official")
    changes = {"d": 20, "layers": 2, "kernel_l": 3, "kernel_a": 2, "kernel_v": 1, **changes}
    config = DMDConfig.from_dict({**config.to_dict(), **changes})
    return DMD(config, dims=DIMS, steps=SIZE, mask=AblationMask(mask), seeds=(5,)).eval()


def state_of(model: DMD) -> dict[str, torch.Tensor]:
    """Return the bytes' content for a model under the authors' names."""
    import io

    weights = {name: p.detach()[0, e].numpy() for name, p, e in named_slices(model)}
    return torch.load(io.BytesIO(official.official_bytes(weights, {}, model.config)), weights_only=True)


def random_features(dims: dict[str, int] = DIMS, name: str = "toy") -> Features:
    """Return unaligned features of these widths."""
    generator = np.random.Generator(np.random.PCG64(2))
    splits = {
        split: feature_set(
            ids=[f"{split}$_${i}" for i in range(n)],
            language=generator.standard_normal((n, STEPS, dims["l"]), dtype=np.float32),
            aligned=False,
            **arrays(n, n),
        )
        for split, n in SIZES.items()
    }
    return features(name, "mosi", splits, text="glove", standing="partial")


def write(path: Path, state: Any) -> str:
    """Save a state_dict (or anything) as torch does."""
    torch.save(state, path)
    return str(path)


def predict(path: str, data: Features, split: str = "test", **options: Any) -> Any:
    """Open a file and evaluate it."""
    checkpoint = open_checkpoint(path, Records(Path(path).parent / "none"))
    return evaluate_checkpoint(checkpoint, data, split, execution=options.pop("execution", Execution()), **options)
