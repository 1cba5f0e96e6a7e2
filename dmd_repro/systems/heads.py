"""The authors' prediction head, which every DMD branch and MulT's output share."""

from __future__ import annotations

from torch import Tensor, nn

from dmd_repro.nn.dropout import Dropout, DropoutStream
from dmd_repro.nn.layers import Linear


class ResidualHead(nn.Module):
    """Linear, ReLU, dropout, Linear, plus the input, then Linear to 1: E heads of one shape."""

    def __init__(
        self, names: list[tuple[str, str, str]], width: int, hidden: int, rate: float, stream: DropoutStream
    ) -> None:
        """`names` are the three maps' names for each of E heads."""
        super().__init__()
        first, second, last = (list(column) for column in zip(*names, strict=True))
        stack = len(stream.seeds)
        self.first = Linear(first, width, hidden, stack=stack)
        self.second = Linear(second, hidden, width, stack=stack)
        self.last = Linear(last, width, 1, stack=stack)
        self.dropout = Dropout(rate, stream)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(G, B, width) -> logit (G, B, 1), hidden after ReLU (G, B, hidden), residual sum (G, B, width)."""
        hidden = self.first(x, relu=True)
        summed = self.second(self.dropout(hidden)) + x
        return self.last(summed), hidden, summed
