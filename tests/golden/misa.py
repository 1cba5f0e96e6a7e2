"""MISA with the weights of the formula, on given hidden states: one batch, and ten batches of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.systems.misa.net import TwoSpaces, summed, terms
from golden import formula
from golden.harness import Account

KINDS = ("orig", "private", "shared", "recon")
PARTS = {"diff_ps_": "diff_private_shared_", "diff_p_": "diff_private_"}


def made(of: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return hidden states with their mask, rows and how many are true, of `inputs` or of a trajectory's `pool`."""
    words = np.array(of["words"])
    widths = dict(zip(("text", "vision", "audio"), settings["widths_t_v_a"], strict=True))
    found = {"words": words, "mask": (np.arange(of["bert_positions"]) < words[:, None] + 2).astype(np.int64)}
    for name, steps in (("text", of["bert_positions"]), ("vision", of["steps"]), ("audio", of["steps"])):
        x = formula.tensor(of[name][0], (len(words), steps, widths[name]), *of[name][1:])
        found[name] = x if name == "text" else x * (np.arange(steps) < words[:, None])[:, :, None]
    return found


class Golden:
    """The file's net with the formula's weights, in float64."""

    def __init__(self, account: Account) -> None:
        self.account, c = account, account.figures["settings"]
        widths = dict(zip("tva", c["widths_t_v_a"], strict=True))
        self.net = TwoSpaces(widths, c["hidden"], 0.0, unused_norm=600, orthogonal=True)
        weights = {n.removeprefix("misa/"): torch.from_numpy(x) for n, x in account.weights().items()}
        self.net.load_state_dict(weights)
        self.net.double().eval()  # no dropout
        self.weights = dict(zip(("diff", "cmd", "recon"), c["loss_weights_diff_sim_recon"], strict=True))

    def check_made(self) -> None:
        """Assert that formula and figures speak of the same inputs."""
        for name, x in made(self.account.figures["inputs"], self.account.figures["settings"]).items():
            said = self.account.figures["inputs_check"][name]
            np.testing.assert_allclose([x.sum(), np.linalg.norm(x)], [said["sum"], said["norm"]], rtol=1e-11)

    def run(self, of: Mapping[str, Any], index: list[int]) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Return predictions, what lies between, and every part of the loss by the file's name."""
        x = {k: torch.from_numpy(v[index]) for k, v in made(of, self.account.figures["settings"]).items()}
        said, between = self.net(x["text"], x["mask"], x["vision"], x["audio"], x["words"], x["words"])
        labels = torch.tensor(of["labels"], dtype=torch.float64)[index]
        found = {"cls": (said[:, 0] - labels).square().mean(), **(parts := terms(between)), **summed(parts)}
        found["total"] = found["cls"] + torch.stack([w * found[k] for k, w in self.weights.items()]).sum()
        for ours, theirs in PARTS.items():
            found = {n.replace(ours, theirs) if n.startswith(ours) else n: v for n, v in found.items()}
        return said, between, found

    def one_batch(self) -> None:
        """Compare outputs, every part of the loss, its gradient, and every gradient of the total."""
        account, inputs = self.account, self.account.figures["inputs"]
        said, between, found = self.run(inputs, list(range(len(inputs["labels"]))))
        shown = {"prediction": said, "fusion_tokens_out": between["tokens_out"].transpose(0, 1)}
        shown |= {f"utterance_{m}": between[f"utterance_{m}"] for m in "tva"}
        for m in "tva":
            shown |= {f"utt_{m}_{k}": between[f"{k}_{m}"] for k in ("orig", "recon")}
            shown |= {f"utt_{k}_{m}": between[f"{k}_{m}"] for k in ("private", "shared")}
        for name, x in shown.items():
            account.output(name, x.detach().numpy())
        account.losses({n: x.item() for n, x in found.items()})
        trained = [p for p in self.net.parameters() if p.requires_grad]
        for name in account.figures["term_gradients"]:
            each = torch.autograd.grad(found[name], trained, retain_graph=True, allow_unused=True)
            norm = sum(g.square().sum().item() for g in each if g is not None) ** 0.5
            account.losses({name: norm}, "term_gradients")
        found["total"].backward()
        account.gradients(
            {f"misa/{n}": None if p.grad is None else p.grad.numpy() for n, p in self.net.named_parameters()}
        )

    def training(self, clip: float = 1.0) -> None:
        """Compare ten batches and the prediction after."""
        figures, inputs = self.account.figures["trajectory"], self.account.figures["inputs"]
        trained = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=1e-4)
        rows: list[dict[str, float]] = []
        noted: dict[str, list[float]] = {"gradient_norm": [], "clamped_elements": []}
        for index in figures["batches"]:
            optimizer.zero_grad()
            found = self.run(figures["pool"], index)[2]
            found["total"].backward()
            rows.append({n: x.item() for n, x in found.items()})
            grads = [p.grad for p in trained if p.grad is not None]
            noted["gradient_norm"].append(sum(g.square().sum().item() for g in grads) ** 0.5)
            noted["clamped_elements"].append(sum(int((g.abs() > clip).sum()) for g in grads))
            nn.utils.clip_grad_value_(trained, clip)
            optimizer.step()
        self.account.trajectory(
            "trajectory", total=[r["total"] for r in rows], **{k: v for k, v in noted.items() if k in figures}
        )
        for name, values in figures["terms"].items():
            self.account.near("trajectory/terms", [r[name] for r in rows], values, "trajectory")
        said = self.run(inputs, list(range(len(inputs["labels"]))))[0]
        self.account.output("prediction", said.detach().numpy(), "trajectory/after")
