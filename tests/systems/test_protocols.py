"""The switches between the paper and the authors' code: complete, each read by something, documented from one list."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Here

from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.render.protocols import protocol_text
from dmd_repro.systems.dmd.switches import ALIASES, PROTOCOLS, SAME, SWITCHES, Switch, switch_values
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.loop import Loop

ROOT = Path(__file__).resolve().parents[2]
NAMES = {switch.name for switch in SWITCHES} | {same.topic for same in SAME}
SMALL = {
    "d": 4, "heads": 2, "layers": 1, "kernel_l": 3, "kernel_a": 3, "kernel_v": 3, "batch_size": 4, "accumulate": 2,
    "max_epochs": 1, "learning_rate": 0.01, "early_stop": 1,
}  # fmt: skip
OTHER = {"max_epochs": (1, 2), "early_stop": (1, 0), "accumulate": (2, 1), "homo_repr": (False, True)}
TOGETHER: Mapping[str, Mapping[str, object]] = {  # what must be set beside a switch for it to have a say
    "edge_prior": {"edge_reg": False},
    "early_stop": {"max_epochs": 3, "learning_rate": 5.0},  # the second epoch is worse than the first
}

# Which of our names claim a row of the notes on the authors' code: a distinctive piece of the row -> names.
LOSS_ROWS = {
    "L_task": ("heads_supervised",),
    "(2), (3)": ("norm_reduction",),
    "(4) triples": ("margin", "margin_space"),
    "(5) cos": ("ort_axis", "ort_clamp"),
    "(7)-(8)": ("edge_projection", "edge_softmax", "edge_softmax_scale", "edge map"),
    "(9) ": ("edge_prior",),
    "no regulariser": ("edge_reg",),
    "homo = 0.05": ("homo_repr", "weights of the terms"),
    "hetero = 0.05": ("hetero_repr", "graph loss over a batch"),
    "teacher detached": ("teacher",),
    "λ1 L_dec": ("weights of the terms",),
}
NOT_IN_PAPER = {
    "convolutions without padding": ("conv_padding",),
    "self-attention encoders on x_com": ("common_summary",),
    "masks, positions and LayerNorm": ("causal_mask", "positions", "layer norm"),
    "projections before g": ("edge_projection",),
}
TRAINING = {
    "Gradients of 10 batches are summed": ("accumulate",),
    "clamped to ±0.6": ("clip_value",),
    "steps on the 10th": ("accumulate",),
    "never steps": ("trailing_step",),
    "Selection: lowest validation loss": ("selection_mean", "selection_digits"),
    "a tie keeps": ("selection_digits",),
    "early stop": ("early_stop",),
    "no epoch limit": ("max_epochs",),
    "Valid and test loaders": ("order of clips",),
    "test is evaluated": ("order of clips",),
    "Metrics are rounded": ("averages over seeds",),
    "STD is the population": ("averages over seeds",),
    "MAE × 100": ("averages over seeds",),
    "Audio −inf": ("missing values",),
    "NaN is kept": ("missing values",),
    "Plateau": ("optimizer",),
    "Loaders": ("order of clips",),
    "Left padding explodes": ("padding",),
}
ARCHITECTURE = {
    "1. ": ("text dropout", "conv_padding"),
    "2. ": ("decoupling",),
    "3. ": ("margin_space",),
    "4. ": ("residual heads", "homogeneous heads"),
    "5. ": ("common_summary",),
    "6. ": ("memory encoders",),
    "7. ": ("fusion",),
    "Encoder: ": ("positions", "layer norm", "padding"),
    "Causal mask": ("causal_mask",),
    "Attention dropout": ("attention dropout",),
    "BERT: ": (),  # no difference that could be switched: text as token ids is a setting of the data
}


def left_padded() -> Features:
    """A dozen clips with unequal lengths, padded on the left with exact zeros."""
    draw = np.random.Generator(np.random.PCG64(5))

    def split(name: str, n: int):
        steps, widths = {"l": 7, "a": 9, "v": 8}, {"l": 6, "a": 3, "v": 4}
        lengths = {m: draw.integers(4, t + 1, n) for m, t in steps.items()}
        arrays = {m: draw.standard_normal((n, t, widths[m]), dtype=np.float32) for m, t in steps.items()}
        for m, x in arrays.items():
            x[np.arange(steps[m])[None] < steps[m] - lengths[m][:, None]] = 0.0
        labels = np.resize(np.array([-2, 1.2, -0.6, 2, 1.2, 0], np.float32), n)
        return feature_set(
            ids=[f"{name}$_${i}" for i in range(n)], language=arrays["l"], acoustic=arrays["a"], visual=arrays["v"],
            lengths=lengths, labels=labels, aligned=False,
        )  # fmt: skip

    made = {"train": split("a", 10), "valid": split("b", 6), "test": split("c", 3)}
    return features("padded", "mosi", made, text="glove", standing="partial")


def outcome(data: Features, settings: Mapping[str, object]) -> str:
    """Train a small model to its end and return a digest of everything it became: weights, losses, epochs."""
    spec = resolve_spec("dmd", seed=3, features=data, overrides={**SMALL, **settings})  # type: ignore[dict-item]
    loop, digest = Loop([spec], data, torch.device("cpu")), hashlib.sha256()
    while not loop.seed_states[0].at.stopped:
        digest.update(repr(loop.epoch()[0]["valid_loss"]).encode())
    for parameter in loop.module.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("switch", SWITCHES, ids=[s.name for s in SWITCHES])
def test_every_switch_moves_a_training(switch: Switch) -> None:
    """A switch that nothing reads would be a promise kept by no one: each value must lead somewhere else."""
    values = switch.choices or OTHER.get(switch.name) or (switch.official, switch.paper)
    beside, data = TOGETHER.get(switch.name, {}), left_padded()
    found = {value: outcome(data, {**beside, switch.name: value}) for value in values}
    assert len(set(found.values())) == len(values) > 1, found


def test_the_official_protocol_is_the_default_of_every_switch() -> None:
    """The two protocols are sets of values of the same fields, and a second name leads to a switch."""
    from dmd_repro.systems.dmd.model import DMD

    for protocol in PROTOCOLS:
        config = DMD.preset("mosi", aligned=True, protocol=protocol)
        assert {name: getattr(config, name) for name in switch_values(protocol)} == switch_values(protocol)
    assert set(ALIASES.values()) <= {s.name for s in SWITCHES}
    assert not set(ALIASES) & {s.name for s in SWITCHES}
    for switch in SWITCHES:
        assert not switch.choices or {switch.official, switch.paper} <= set(switch.choices)


def section(text: str, title: str) -> str:
    """The text below a heading."""
    return re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def claimed(rows: list[str], claims: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Assert that every row is claimed by a name and every claim finds a row; return the names."""
    for row in rows:
        assert any(piece in row for piece in claims), f"no switch and no 'same in both' claims: {row[:90]}"
    for piece, names in claims.items():
        assert any(piece in row for row in rows), f"nothing says '{piece}' any more"
        assert set(names) <= NAMES, set(names) - NAMES
    return {name for names in claims.values() for name in names}


def test_every_difference_noted_in_the_code_is_a_switch_or_the_same_in_both(shared: Path) -> None:
    """The list of switches is complete: no row of the notes on the authors' code is without a name here."""
    text = (shared / "OFFICIAL_CODE.md").read_text(encoding="utf-8")
    losses = section(text, "Losses")
    table = [line for line in losses.splitlines() if line.startswith("|")][2:]
    extras = losses.partition("Not in the paper at all:")[2].partition("\n\n")[0].replace("\n", " ").split(";")
    facts, _, padding = section(text, "Training").replace("\n", " ").partition("**Left padding")
    training = [*re.split(r"(?<=[.;])\s+", facts.strip()), f"Left padding{padding}"]
    items = re.findall(r"^(?:\d\. |[A-Z])[^\n]+", section(text, "Architecture, in the order of the forward pass"), re.M)
    names = claimed(table, LOSS_ROWS) | claimed(extras, NOT_IN_PAPER) | claimed(items, ARCHITECTURE)
    names |= claimed(training, TRAINING)
    left = NAMES - names - {"initialisation"}
    assert not left, f"claimed by no row: {left}"


def test_the_generated_section_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """DEVIATIONS.md says what the code does: its tables are made from the list the model reads."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from sections import read_section

    wanted = protocol_text(find_system("dmd"), PROTOCOLS, "markdown").strip()
    found = read_section(ROOT / "docs" / "deviations.md", "protocols").strip()
    assert found == wanted, "run: python benchmarks/deviations.py"
    sys.modules.pop("sections", None)


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


def test_protocols_are_printed_with_their_sources(dmd: Here) -> None:
    """Whoever doubts a number finds every difference, both values and both sources in one command."""
    shown = dmd("protocol", "show", "paper").out
    for switch in SWITCHES:
        assert switch.name in shown
    for same in SAME:
        assert same.topic in shown
    document = json.loads(dmd("protocol", "diff", "official", "paper", "--json").out)
    named = {s["name"] for s in document["switches"]}
    assert named == {s.name for s in SWITCHES if s.official != s.paper}
    assert all(s["paper_says"] and s["code_does"] and s["source"] for s in document["switches"])
    assert json.loads(dmd("protocol", "show", "dmd", "paper", "--json").out)["protocols"] == ["paper"]
    assert "mult has no switch" in dmd("protocol", "show", "mult").out
    assert "edge\\_prior | authors | none" in dmd("protocol", "diff", "-f", "markdown").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "papr"), "Did you mean 'paper'?"),
        (("show", "mult", "paper"), "a protocol of mult"),
        (("show", "mlut"), "Did you mean 'mult'?"),
        (("diff", "paper", "paper"), "two protocols"),
        (("show", "--format", "markdwn"), "Did you mean 'markdown'?"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, arguments: tuple[str, ...], told: str) -> None:
    """A wrong name is answered with the right one, exit code 2."""
    said = dmd("protocol", *arguments)
    assert said.code == 2
    assert told in said.err
