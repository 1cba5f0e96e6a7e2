"""RAVEN with the weights of the formula: words with windows of their own, one batch, and ten batches of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmd_repro.systems.raven.net import Shifted, Windows
from golden import formula
from golden.harness import Account

PROTOCOLS = {"raven_official": (False, False), "raven_attached": (True, False), "raven_paper": (True, True)}
OUTPUTS = {"gate_a": "gate_audio", "gate_v": "gate_vision", "shift": "shift_raw", "alpha": "alpha"}
WHOLE = {"shifted": "shifted_words", "states": "word_states"}


def made(of: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return words, windows and how many are true, of `inputs` or of a trajectory's `pool`."""
    count, steps, k = np.array(of["words"]), settings["steps"], settings["windows"]
    inside = np.arange(steps) < count[:, None]
    widths = dict(zip(("text", "audio", "vision"), settings["widths_l_a_v"], strict=True))
    shape = (len(count), steps)
    found = {"words": count, "text": formula.tensor(of["text"][0], (*shape, widths["text"]), *of["text"][1:])}
    found["text"] = found["text"] * inside[:, :, None]
    for name in ("audio", "vision"):
        u = formula.unit(f"{of[name][0]}_windows", len(count) * steps).reshape(shape)
        n = np.floor((k + 1) * u).astype(np.int64) * inside
        x = formula.tensor(of[name][0], (*shape, k, widths[name]), *of[name][1:])
        found |= {name: x * (np.arange(k) < n[:, :, None])[..., None], f"{name}_windows": n}
    return found


class Golden:
    """One file: the net with the formula's weights."""

    def __init__(self, account: Account, dtype: torch.dtype = torch.float64) -> None:
        self.account, self.dtype, c = account, dtype, account.figures["settings"]
        attached, paper = PROTOCOLS[account.name]
        self.net = Shifted(
            dict(zip("lav", c["widths_l_a_v"], strict=True)), c["steps"], norm=c["norm_dim"], cell=c["cell"],
            hidden=c["hidden"], dropout=0.0, scale=c["shift_weight"], sigmoid=paper, capped=paper, attached=attached,
        )  # fmt: skip
        weights = {n.removeprefix("raven/"): torch.from_numpy(x) for n, x in account.weights().items()}
        self.net.load_state_dict(weights)
        self.net.to(dtype)

    def check_made(self) -> None:
        """Assert that formula and figures speak of the same inputs."""
        for name, x in made(self.account.figures["inputs"], self.account.figures["settings"]).items():
            said = self.account.figures["inputs_check"][name]
            np.testing.assert_allclose([x.sum(), np.linalg.norm(x)], [said["sum"], said["norm"]], rtol=1e-11)

    def run(self, of: Mapping[str, Any], index: list[int]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return predictions, the squared error and what lies between."""
        clips = {k: torch.from_numpy(x[index]) for k, x in made(of, self.account.figures["settings"]).items()}
        a, v = (Windows(clips[n].to(self.dtype), clips[f"{n}_windows"]) for n in ("audio", "vision"))
        said, between = self.net(clips["text"].to(self.dtype), a, v, clips["words"])
        labels = torch.tensor(of["labels"], dtype=self.dtype)[index]
        return said[:, 0], (said[:, 0] - labels).square().mean(), between

    def one_batch(self) -> None:
        """Compare outputs, the loss and every gradient."""
        account, inputs = self.account, self.account.figures["inputs"]
        said, loss, between = self.run(inputs, list(range(len(inputs["labels"]))))
        loss.backward()
        account.output("prediction", said.detach().numpy())
        for ours, theirs in {**OUTPUTS, **WHOLE}.items():
            if theirs in account.figures["outputs"]:
                value = between[ours].detach()
                account.output(theirs, (value if ours in WHOLE else value.flatten(0, 1)).numpy())
        account.losses({"total": loss.item()})
        grads = {f"raven/{n}": p.grad for n, p in self.net.named_parameters()}
        account.gradients({n: None if g is None else g.numpy() for n, g in grads.items()})

    def training(self, lr: float = 1e-3) -> None:
        """Compare ten batches and the prediction after."""
        figures, inputs = self.account.figures["trajectory"], self.account.figures["inputs"]
        trained = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=lr)
        totals, norms = [], []
        for index in figures["batches"]:
            optimizer.zero_grad()
            _, loss, _ = self.run(figures["pool"], index)
            loss.backward()
            totals.append(loss.item())
            norms.append(sum(p.grad.square().sum().item() for p in trained if p.grad is not None) ** 0.5)
            optimizer.step()
        self.account.trajectory("trajectory", total=totals, gradient_norm=norms)
        said = self.run(inputs, list(range(len(inputs["labels"]))))[0]
        self.account.output("prediction", said.detach().numpy(), "trajectory/after")
