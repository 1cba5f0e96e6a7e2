"""A word of the field leads to the setting or the option that does it, wherever it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from command import Here

from dmd_repro.cli.command import app
from dmd_repro.cli.settings import KEYS
from dmd_repro.errors import SpecError
from dmd_repro.planning.ablate import switches_asked
from dmd_repro.systems import suggest as module
from dmd_repro.systems.registry import SHIPPED, find_system, setting_names
from dmd_repro.systems.suggest import suggest, suggest_key, suggest_option


def all_options() -> set[str]:
    """Every option of every command."""
    found: set[str] = set()

    def collect(command: Any) -> None:
        found.update(name for param in command.params for name in param.opts)
        for inner in getattr(command, "commands", {}).values():
            collect(inner)

    collect(typer.main.get_command(app))
    return found


def test_a_suggestion_exists() -> None:
    """Protects: no word leads to a setting that no system has, or to an option that no command has."""
    settings = {name for model in SHIPPED for name in setting_names(model)}
    assert {name for names in module._SETTINGS for name in names.split()} <= settings
    assert {name for names in module._OPTIONS for name in names.split()} <= all_options()


def test_a_word_means_one_thing() -> None:
    """Protects: a word that stands twice would lead to what comes first, whatever was meant."""
    for words in (module._SETTINGS, module._OPTIONS):
        said = [word for line in words.values() for word in line.split()]
        assert len(said) == len(set(said))


@pytest.mark.parametrize(
    ("model", "word", "expected"),
    [
        ("dmd", "lr", "Did you mean 'learning_rate'?"),
        ("dmd", "weight-decays", "Did you mean 'weight_decay'?"),
        ("dmd", "wd", "Did you mean 'weight_decay'?"),
        ("dmd", "bs", "Did you mean 'batch_size'?"),
        ("dmd", "Batch", "Did you mean 'batch_size'?"),
        ("dmd", "patience", "Did you mean 'early_stop' or 'plateau_patience'?"),
        ("dmd", "nlevels", "Did you mean 'layers'?"),
        ("dmd", "update_epochs", "Did you mean 'accumulate'?"),
        ("dmd", "seed", "Did you mean the option --seed or --seeds?"),
        ("dmd", "gpu", "Did you mean the option --device?"),
        ("lf-lstm", "hidden_size", "Did you mean 'hidden_l', 'hidden_a' or 'hidden_v'?"),
        ("misa", "dropouts", "Did you mean 'dropout'?"),
        ("dmd", "edge_piror", "Did you mean 'edge_prior'?"),
    ],
)
def test_a_word_leads_to_the_setting(model: str, word: str, expected: str) -> None:
    """Protects: meaning before spelling, and of the meanings those that this system has."""
    assert suggest(word, setting_names(model)) == expected
    with pytest.raises(SpecError, match="expected a known setting") as caught:
        find_system(model).config().with_overrides({word: "1"})
    assert str(caught.value).endswith(expected)


def test_the_dropouts_of_a_system_are_named() -> None:
    """Protects: DMD has six dropouts and MISA one."""
    assert suggest("dropout", setting_names("dmd")).count("dropout") == 6
    assert suggest("drop_rate", setting_names("misa")) == "Did you mean 'dropout'?"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--lr", "Did you mean --set learning_rate=VALUE?"),
        ("--batch-size", "Did you mean --set batch_size=VALUE?"),
        ("--random-seed", "Did you mean --seeds?"),
        ("--gpu", "Did you mean --device?"),
        ("--datset", "Did you mean --data?"),
        ("--num-epochs", "Did you mean --epochs?"),
        ("--dropout", "Did you mean --set NAME=VALUE, NAME being attn_dropout, "),
        ("--devise", "Did you mean --device?"),
        ("--foo", "It has --data, --device, "),
    ],
)
def test_an_option_leads_to_the_option_or_the_setting(option: str, expected: str) -> None:
    """Protects: `--lr 1e-4`, as every other program takes it, is answered with what to type here."""
    there = ("--data", "--device", "--epochs", "--seeds", "--set")
    assert suggest_option(option, there, setting_names("dmd")).startswith(expected)
    assert "--set" not in suggest_option(option, ("--data",), ())


def test_what_a_command_takes_without_an_option_is_called_so() -> None:
    """Protects: `dmd train --model dmd` and `dmd report --table table1` are answered with what to type."""
    for option, argument in (("--model", "model"), ("--arch", "model"), ("--table", "table")):
        assert suggest_option(option, ("--data",), (), (argument,)).startswith(f"Write the {argument} without")
    assert suggest_option("--model", ("--model",), (), ("checkpoint",)) == "Did you mean --model?"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("gpu", "Did you mean 'device'?"),
        ("seed", "Did you mean 'seeds'?"),
        ("num_workers", "Did you mean 'jobs' or 'threads'?"),
        ("lr", "It is a setting, which a command takes: --set learning_rate=VALUE"),
        ("weight-decay", "It is a setting, which a command takes: --set weight_decay=VALUE"),
        ("devise", "Did you mean 'device'?"),
    ],
)
def test_a_key_of_a_file_of_defaults_is_understood(key: str, expected: str) -> None:
    """Protects: what is written into dmd.toml is answered as what is typed."""
    assert suggest_key(key, KEYS) == expected


def test_a_switch_that_is_a_setting_is_called_one() -> None:
    """Protects: what is no difference between paper and code is changed for all arms alike."""
    for typed in ("learning_rate=1", "lr=1"):
        with pytest.raises(SpecError, match=r"It is a setting, .*: --set learning_rate=VALUE"):
            switches_asked("dmd", [typed], "official", {})
    with pytest.raises(SpecError, match="Did you mean 'causal_mask'"):
        switches_asked("dmd", ["attn_mask=true"], "official", {})


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "train dmd --data synthetic --lr 1",
            "dmd: --lr: expected an option of dmd train, got an unknown one. Did you",
        ),
        (
            "reproduce table1 --set lr=1",
            "dmd: --set lr: expected a known setting, got an unknown name. Did you mean 'le",
        ),
        ("ablate --switch lr=1", "--set learning_rate=VALUE"),
        ("bench --dropout 1", "--set NAME=VALUE"),
        ("--lr 1", "dmd: --lr: expected an option of dmd, got an unknown one."),
    ],
)
def test_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, said: str
) -> None:
    """Protects: exit code 2 and one line, before any data are looked for."""
    found = Here(tmp_path, monkeypatch, capsys)(*typed.split())
    assert (found.code, found.out, len(found.err.splitlines())) == (2, "", 1)
    assert said in found.err
