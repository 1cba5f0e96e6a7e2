"""Holding a system against its golden figures: one `Account` a file, and every figure compared or excused in words.

    account = Account("ef_lstm")                        # figures/ef_lstm.json, tolerances of float64
    account.check_made()                                # the formula makes what the figures were computed from
    weights, inputs = account.weights(), account.inputs()
    account.output("prediction", out)                   # in the reference's own layout
    account.losses({"total": value})
    account.gradients({name: gradient or None, ...})    # all names, by the authors' names: norms and probes
    account.trajectory("trajectory", total=[...], gradient_norm=[...])
    account.output("prediction", after, "trajectory/after")
    account.finish({"outputs/last_cell": "our layer does not give it"})

A deviation is relative to the largest entry of an array, or to the value. `misses` holds every figure that is off, so
that a planted error can be shown to be seen; `finish` fails on them, and on a figure that nothing was held against.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from golden import formula

FOLDER = Path(__file__).parent / "figures"
DESCRIBED = (  # what says how the figures were made
    "system", "format", "source", "licence", "settings", "parameter_prefixes", "scales", "inputs", "weights_check",
    "inputs_check", "parameter_layout", "worst_dev32_relative", "outputs_note",
)  # fmt: skip
NOT_FIGURES = ("optimizer", "rules", "epochs", "batches", "pool")  # of a trajectory
FLOAT64 = {"outputs": 1e-6, "losses": 1e-6, "term_gradients": 1e-6, "gradients": 1e-6, "trajectory": 1e-6}
FLOAT64 |= {"after": 1e-6, "clamped": 0, "zero": 1e-9}
FLOAT32 = {"outputs": 1e-5, "losses": 1e-5, "term_gradients": 1e-4, "gradients": 1e-3, "trajectory": 1e-5}
FLOAT32 |= {"after": 1e-4, "clamped": 3, "zero": 1e-7}


@cache
def figures(name: str) -> dict[str, Any]:
    """Return the figures of one file."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def sampled(x: np.ndarray) -> dict[str, Any]:
    """Return a tensor as the figures hold it: whole, or its sum, its norm and 16 of its values."""
    flat = np.asarray(x, np.float64).ravel()
    if flat.size <= 24:
        return {"shape": list(x.shape), "values": flat}
    places = np.arange(16) * (flat.size - 1) // 15
    return {"shape": list(x.shape), "values": flat[places], "sum": flat.sum(), "norm": np.linalg.norm(flat)}


def leaves(document: Mapping[str, Any]) -> set[str]:
    """Return the path of every figure."""
    found = set()
    for key, value in document.items():
        if key in DESCRIBED:
            continue
        if key.startswith("trajectory"):
            found |= {f"{key}/{k}" for k in value if k not in (*NOT_FIGURES, "after") and not k.endswith("dev32")}
            found |= {f"{key}/after/{k}" for k in value.get("after", {})}
        elif isinstance(value, dict):
            found |= {f"{key}/{k}" for k in value}
        else:
            found.add(key)
    return found


class Account:
    """The figures of one file, what was held against them, and what was off."""

    def __init__(self, name: str, tolerances: Mapping[str, float] = FLOAT64) -> None:
        self.name, self.figures, self.tolerances = name, figures(name), tolerances
        self.seen: set[str] = set()
        self.misses: dict[str, float] = {}

    def weights(self) -> dict[str, np.ndarray]:
        """Return every parameter by the authors' name."""
        return formula.weights(self.figures)

    def inputs(self, of: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Return text, audio and vision of the one batch, or of a trajectory's pool."""
        return formula.sequences(of or self.figures["inputs"], self.figures["settings"])

    def check_made(self) -> None:
        """Assert that formula and figures speak of the same weights and inputs."""
        made, said = self.weights().values(), self.figures["weights_check"]
        assert (len(made), sum(x.size for x in made)) == (said["tensors"], said["numbers"])
        np.testing.assert_allclose(sum(x.sum() for x in made), said["sum"], rtol=1e-10)
        np.testing.assert_allclose(sum((x**2).sum() for x in made) ** 0.5, said["norm"], rtol=1e-12)
        for source, x in self.inputs().items():
            stated = self.figures["inputs_check"][source]
            np.testing.assert_allclose([x.sum(), np.linalg.norm(x)], [stated["sum"], stated["norm"]], rtol=1e-11)

    def near(self, path: str, ours: Any, theirs: Any, kind: str, scale: float | None = None) -> None:
        """Note whether numbers agree, relative to the largest of theirs (or to `scale`)."""
        self.seen.add(path)
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if ours.shape != theirs.shape:
            self.misses[path] = np.inf
            return
        off = float(np.max(np.abs(ours - theirs)))
        off = off if kind in ("clamped", "zero") else off / (np.max(np.abs(theirs)) if scale is None else scale)
        if not off <= self.tolerances[kind]:
            self.misses[path] = max(off, self.misses.get(path, 0.0)) if off == off else np.inf

    def output(self, name: str, ours: np.ndarray, group: str = "outputs") -> None:
        """Compare one tensor, whole or sampled."""
        theirs = self.figures
        for part in (*group.split("/"), name):
            theirs = theirs[part]
        path, found, kind = f"{group}/{name}", sampled(ours), "after" if group.endswith("after") else "outputs"
        self.near(path, found["shape"], theirs["shape"], "zero")
        if path in self.misses:
            return
        self.near(path, found["values"], theirs["values"], kind)
        if "norm" in theirs:
            self.near(path, found["norm"], theirs["norm"], kind)
            self.near(path, found["sum"], theirs["sum"], kind, scale=max(abs(theirs["sum"]), theirs["norm"]))

    def losses(self, ours: Mapping[str, float], group: str = "losses") -> None:
        """Compare the values of losses (or, as `term_gradients`, the norm of each term's gradient)."""
        for name, value in ours.items():
            self.near(f"{group}/{name}", value, self.figures[group][name][0], group)

    def gradients(self, ours: Mapping[str, np.ndarray | None]) -> None:
        """Compare norm and probe of every parameter's gradient; those that are 0 in exact arithmetic absolutely."""
        for name, (shape, norm, *rest) in self.figures["gradients"].items():
            path, g = f"gradients/{name}", ours.get(name)
            if norm is None or g is None or list(g.shape) != shape:
                self.seen.add(path)
                if (norm is None) != (g is None) or (g is not None and list(g.shape) != shape):
                    self.misses[path] = np.inf
                continue
            wide = np.asarray(g, np.float64)
            both = [np.linalg.norm(wide), (wide * formula.probe(name, shape)).sum()]
            tiny = norm < 1e-7
            self.near(path, both, [norm, rest[1]], "zero" if tiny else "gradients", scale=norm)

    def trajectory(self, group: str, **ours: Sequence[float]) -> None:
        """Compare what was noted at each batch of a training."""
        for key, values in ours.items():
            theirs = np.asarray(self.figures[group][key], np.float64)
            kind = "clamped" if key == "clamped_elements" else "trajectory"
            self.near(f"{group}/{key}", values, theirs, kind)

    def finish(self, excused: Mapping[str, str]) -> None:
        """Assert that no figure is off and none was forgotten; `excused` gives a reason for a pattern of paths."""
        worst = sorted(self.misses.items(), key=lambda item: -item[1])[:8]
        assert not self.misses, f"{self.name}: {len(self.misses)} figures are off, among them {worst}"
        left = {p for p in leaves(self.figures) - self.seen if not any(fnmatchcase(p, e) for e in excused)}
        assert not left, f"{self.name}: neither compared nor excused: {sorted(left)[:12]}"
        idle = [e for e in excused if not any(fnmatchcase(p, e) for p in leaves(self.figures) - self.seen)]
        assert not idle, f"{self.name}: excused, but compared or absent: {idle}"
