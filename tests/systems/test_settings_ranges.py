"""Settings, folders and devices that no run can use: a sentence, not the error of a library far below."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Here

QUICK = ("train", "dmd", "--data", "synthetic", "--epochs", "1")


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    "setting",
    [
        *("d=0", "d=-8", "heads=0", "layers=0", "kernel_l=0", "gd_homo=0", "batch_size=0", "early_stop=-1"),
        *("learning_rate=nan", "learning_rate=inf", "learning_rate=-1", "adam_eps=-1", "adam_beta1=1", "gamma=nan"),
        *("plateau_factor=2", "text_dropout=7", "attn_dropout_a=-0.1", "clip_value=-1", "selection_digits=-400"),
        f"batch_size={10**30}",
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(dmd: Here, setting: str) -> None:
    """Such values divided by zero, overflowed, or trained something else than was asked for."""
    said = dmd(*QUICK, "--set", setting)
    assert said.code == 2
    assert said.err.startswith(f"dmd: --set {setting.partition('=')[0]}: expected ")
    assert said.err.count("\n") == 1
    assert not (dmd.folder / "runs").exists()


def test_a_device_that_gives_nothing_back_is_refused(dmd: Here) -> None:
    """torch takes "meta" as a device, and fails only at the first number read from it."""
    said = dmd(*QUICK, "--device", "meta")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("dmd: --device meta: expected ")


@pytest.mark.parametrize("command", [("runs", "list"), ("runs", "verify"), ("report", "table1"), ("audit", "--code")])
def test_a_file_in_place_of_the_runs_folder_is_named(dmd: Here, command: tuple[str, ...]) -> None:
    """Read as an empty folder it would say "no runs", and the user would look for them elsewhere."""
    (dmd.folder / "a file").write_text("x")
    said = dmd(*command, "--runs-dir", "a file")
    assert (said.code, said.out) == (2, "")
    assert "expected a folder, got a file" in said.err


def test_the_home_of_a_user_who_is_not_there_is_a_sentence(dmd: Here) -> None:
    """`~name/` of an unknown name is an error of pathlib; a feature store and a runs folder both may be named so."""
    for command in (("runs", "list", "--runs-dir"), ("data", "list", "--data-dir")):
        said = dmd(*command, "~no-such-user-here/x")
        assert (said.code, said.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("folder", ["nowhere", "empty", "a file"])
def test_an_audit_of_a_folder_without_tables_is_refused(dmd: Here, folder: str) -> None:
    """It would find nothing wrong, and exit as if the tables had been looked at."""
    (dmd.folder / "empty").mkdir()
    (dmd.folder / "a file").write_text("x")
    said = dmd("audit", "--tables", folder)
    assert (said.code, said.out) == (2, "")
    assert "expected files such as table1.yaml" in said.err
