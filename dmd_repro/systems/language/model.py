"""Language alone: a plain reader of the text, one hidden map, one output."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmd_repro.nn.padding import first_and_count, to_front, valid_steps
from dmd_repro.nn.recurrent import bilstm_over
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.language.config import LanguageConfig
from dmd_repro.systems.plain import PlainSystem


class Language(PlainSystem):
    """Reads the true steps of the text, whichever side is padded; acoustic and visual features are never read."""

    config: LanguageConfig

    def __init__(
        self,
        config: LanguageConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError for an unknown reader."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.lstm = config.reader == "lstm"
        if self.lstm:
            self.rnn = nn.LSTM(dims["l"], config.hidden, batch_first=True, bidirectional=True)
        self.fc1 = nn.Linear(2 * config.hidden if self.lstm else dims["l"], config.hidden)
        self.drop_in, self.drop = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        self.fc2 = nn.Linear(config.hidden, 1)

    def forward(self, batch: Batch) -> ModelOutput:
        """l -> (B, T, D_l) to the prediction (B, 1)."""
        x = batch.inputs["l"]
        valid = batch.pieces["l"] if "l" in batch.pieces else valid_steps(x)
        read = self._last(x, valid) if self.lstm else _mean(x, valid)
        out: Tensor = self.fc2(self.drop(torch.relu(self.fc1(self.drop_in(read)))))
        return ModelOutput(out, {})

    def _last(self, x: Tensor, valid: Tensor) -> Tensor:
        first, count = first_and_count(valid)
        _, forth, back = bilstm_over(self.rnn, to_front(x, first, count), count)
        return torch.cat([forth, back], dim=1)


def _mean(x: Tensor, valid: Tensor) -> Tensor:
    weights = valid.unsqueeze(2).to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1)
