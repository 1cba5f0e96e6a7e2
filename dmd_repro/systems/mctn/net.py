"""MCTN: text is translated into vision and back, its code into audio; what the codes hold predicts.

Source: hainow/MCTN on Keras 2.2.4, with the cells of recurrentshop and of farizrahman4u/seq2seq. Kernels are (in, out),
as Keras has them. The cells are none of torch's, so recurrences loop over the steps: 20, or the 50 of the data files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ORDER = ("l", "v", "a")  # the source, then the targets in the order they are translated to


def hard_sigmoid(x: Tensor) -> Tensor:
    """Keras' straight-line sigmoid: 0.2 x + 0.5 between 0 and 1."""
    return (0.2 * x + 0.5).clamp(0.0, 1.0)


class Dense(nn.Module):
    """A linear map with a Keras kernel (in, out), drawn Glorot uniform, and a bias that starts at 0."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.empty(width, out)), nn.Parameter(torch.empty(out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernel."""
        nn.init.xavier_uniform_(self.kernel)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return x @ self.kernel + self.bias


class GatedCell(nn.Module):
    """The weights of a recurrent cell with four gates: kernel Glorot uniform, recurrent kernel orthogonal."""

    def __init__(self, width: int, hidden: int, *, forget_bias: bool) -> None:
        """`forget_bias`: whether the second slice of the bias starts at 1, as in Keras' LSTM."""
        super().__init__()
        self.hidden, self.forget_bias = hidden, forget_bias
        self.kernel = nn.Parameter(torch.empty(width, 4 * hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        self.recurrent = nn.Parameter(torch.empty(hidden, 4 * hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernels; the bias is 0, but for a forget slice of 1."""
        nn.init.xavier_uniform_(self.kernel)
        nn.init.orthogonal_(self.recurrent)
        nn.init.zeros_(self.bias)
        if self.forget_bias:
            nn.init.ones_(self.bias[self.hidden : 2 * self.hidden])


class Encoder(nn.Module):
    """The sum of a forward and a backward LSTM of recurrentshop.

    Its cell state is squashed before it is kept and not once more on its way out. `old`: the cell before July 2018,
    whose gates are f, i, c, o and whose output gate is linear; since then they are f, i, o, c.
    """

    def __init__(self, width: int, hidden: int, *, old: bool) -> None:
        super().__init__()
        self.fwd, self.bwd = (GatedCell(width, hidden, forget_bias=False) for _ in range(2))
        self.old = old

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, H)."""
        both = torch.stack([x @ self.fwd.kernel + self.fwd.bias, x.flip(1) @ self.bwd.kernel + self.bwd.bias])
        recurrent = torch.stack([self.fwd.recurrent, self.bwd.recurrent])
        h = c = x.new_zeros(2, x.shape[0], self.fwd.hidden)
        states = []
        for given in both.unbind(2):
            f, i, third, fourth = torch.baddbmm(given, h, recurrent).chunk(4, dim=2)
            new, o = (third, fourth) if self.old else (fourth, hard_sigmoid(third))
            c = torch.tanh(hard_sigmoid(f) * c + hard_sigmoid(i) * torch.tanh(new))
            h = o * c
            states.append(h)
        ahead, back = torch.stack(states, dim=2)
        return ahead + back.flip(1)


class Decoder(nn.Module):
    """As many steps as were encoded, each from the whole code; neither the target nor the last output is shown.

    `static`: the reference's energy is linear in code and state, so the state adds one number to every step, which the
    softmax takes away: the attention is one distribution for all steps. Otherwise the energy passes a hidden tanh
    layer (Bahdanau's form), which needs a kernel more. `shared_gate`: the forget gate reads the input gate's slice
    (seq2seq, issue 229), so that the second slice of every kernel is never used.
    """

    def __init__(self, encoded: int, hidden: int, out: int, *, static: bool, shared_gate: bool) -> None:
        super().__init__()
        self.hidden, self.static, self.shared_gate = hidden, static, shared_gate
        self.W3 = Dense(encoded + hidden, 1 if static else hidden)
        self.W1, self.U, self.W2 = Dense(encoded, 4 * hidden), Dense(hidden, 4 * hidden), Dense(hidden, out)
        if not static:
            self.V = Dense(hidden, 1)

    def forward(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, E) -> outputs (B, T, D) in (-1, 1), and the attention of the first step (B, T)."""
        h = c = encoded.new_zeros(encoded.shape[0], self.hidden)
        split = encoded.shape[2]
        seen, kernel = encoded @ self.W3.kernel[:split], self.W3.kernel[split:]  # the part that no step changes
        outputs, first, given = [], None, None
        for _ in range(encoded.shape[1]):
            if given is None or not self.static:
                energy = seen + (c @ kernel + self.W3.bias).unsqueeze(1)
                weights = torch.softmax((energy if self.static else self.V(torch.tanh(energy)))[:, :, 0], dim=1)
                first = weights if first is None else first
                given = self.W1(torch.bmm(weights.unsqueeze(1), encoded)[:, 0])
            i, f, new, o = (given + self.U(h)).chunk(4, dim=1)
            gate = hard_sigmoid(i)
            c = (gate if self.shared_gate else hard_sigmoid(f)) * c + gate * torch.tanh(new)
            h = hard_sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        assert first is not None
        return torch.tanh(self.W2(torch.stack(outputs, dim=1))), first


class Regression(nn.Module):
    """Keras' LSTM, a weighted sum of its states, one linear map."""

    def __init__(self, encoded: int, hidden: int) -> None:
        super().__init__()
        self.lstm = GatedCell(encoded, hidden, forget_bias=True)
        self.att, self.out = Dense(hidden, 1), Dense(hidden, 1)

    def forward(self, encoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, E) -> the score (B, 1), and what lies between by name."""
        cell = self.lstm
        h = c = encoded.new_zeros(encoded.shape[0], cell.hidden)
        states = []
        for given in (encoded @ cell.kernel + cell.bias).unbind(1):
            i, f, new, o = (given + h @ cell.recurrent).chunk(4, dim=1)
            c = hard_sigmoid(f) * c + hard_sigmoid(i) * torch.tanh(new)
            h = hard_sigmoid(o) * torch.tanh(c)
            states.append(h)
        activations = torch.stack(states, dim=1)
        weights = torch.softmax(torch.tanh(self.att(activations))[:, :, 0], dim=1)
        summed = (weights.unsqueeze(2) * activations).sum(1)
        return self.out(summed), {
            "reg_activations": activations, "reg_attention": weights, "reg_sent": summed,
        }  # fmt: skip


class CyclicTranslation(nn.Module):
    """The hierarchical model on three modalities of one length, each padded with zeros to one width."""

    def __init__(
        self,
        width: int,
        hidden_1: int,
        hidden_2: int,
        regression: int,
        *,
        old_cell: bool,
        static: bool,
        shared_gate: bool,
    ) -> None:
        super().__init__()
        self.width = width
        self.enc1, self.enc2 = Encoder(width, hidden_1, old=old_cell), Encoder(hidden_1, hidden_2, old=old_cell)
        self.reg = Regression(hidden_2, regression)
        self.dec1 = Decoder(hidden_1, hidden_1, width, static=static, shared_gate=shared_gate)
        self.dec2 = Decoder(hidden_2, hidden_2, width, static=static, shared_gate=shared_gate)

    def padded(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, width)."""
        return F.pad(x, (0, self.width - x.shape[2]))

    def forward(self, text: Tensor, *, translate: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D_l) -> the score (B, 1), and what lies between; with `translate` what is translated (B, T, width)."""
        encoded = self.enc1(self.padded(text))
        encoded2 = self.enc2(encoded)
        score, found = self.reg(encoded2)
        found |= {"encoded": encoded, "encoded2": encoded2}
        if translate:
            found["decoded"], found["alpha_dec1"] = self.dec1(encoded)
            found["cycled_encoded"] = self.enc1(found["decoded"])
            found["cycled_decoded"], found["alpha_dec1_cycle"] = self.dec1(found["cycled_encoded"])
            found["decoded2"], found["alpha_dec2"] = self.dec2(encoded2)
        return score, found

    def terms(self, found: Mapping[str, Tensor], x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the translation losses, means over every element, padding included, and the squares of out's kernel.

        `x`: l, v, a -> (B, T, D_m), the source and the targets.
        """
        source, first, second = (self.padded(x[m]) for m in ORDER)
        return {
            "trans1": F.mse_loss(found["decoded"], first), "cycle": F.mse_loss(found["cycled_decoded"], source),
            "trans2": F.mse_loss(found["decoded2"], second), "l2": self.reg.out.kernel.square().sum(),
        }  # fmt: skip
