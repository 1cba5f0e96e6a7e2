"""Defaults of one's own: an option over the environment over the file, and a file that is wrong is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import shellingham
import typer
from command import Here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmd_repro.cli import app
from dmd_repro.cli.settings import FILE, KEYS, read_settings
from dmd_repro.errors import SpecError


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own, with no variable set."""
    here = Here(tmp_path, monkeypatch, capsys)
    for key in KEYS.values():
        monkeypatch.delenv(key.variable, raising=False)
    return here


def options() -> dict[str, set[str]]:
    """Return, for each environment variable of an option, the names of the options that take it."""
    found: dict[str, set[str]] = {}

    def walk(command: Any) -> None:
        for inner in getattr(command, "commands", {}).values():
            walk(inner)
        for parameter in command.params:
            if variable := getattr(parameter, "envvar", None):
                found.setdefault(variable, set()).update(parameter.opts)

    walk(typer.main.get_command(app))
    return found


def test_every_key_is_an_option_and_every_variable_a_key() -> None:
    """Protects: a key that no command reads, or a variable that `dmd config show` does not know."""
    assert options() == {key.variable: {f"--{key.name}"} for key in KEYS.values()}


def test_option_over_environment_over_file_over_default(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the order, and that a folder in a file starts at the file, wherever the command is typed."""
    assert dmd("runs", "list").words == f"no runs in {dmd.folder}/runs"
    (dmd.folder / FILE).write_text('runs_dir = "kept"\nthreads = 2\nseeds = [7]\n')
    (dmd.folder / "below").mkdir()
    monkeypatch.chdir(dmd.folder / "below")
    assert dmd("runs", "list").words == f"no runs in {dmd.folder}/kept"
    shown = json.loads(dmd("config", "show", "--json").out)
    assert shown["file"] == str(dmd.folder / FILE)
    told = {name: (row["value"], row["from"]) for name, row in shown["defaults"].items()}
    assert told["runs-dir"] == (f"{dmd.folder}/kept", "file")
    assert told["threads"] == (2, "file")
    assert told["seeds"] == ("7,", "file")  # a seed, not a count
    assert told["device"] == ("cpu", "default")
    assert "default: 2" in " ".join(dmd("train", "--help").out.split())
    monkeypatch.setenv("DMD_RUNS", "other")
    monkeypatch.setenv("DMD_THREADS", "3")
    assert dmd("runs", "list").words == f"no runs in {dmd.folder}/below/other"
    shown = json.loads(dmd("config", "show", "--json").out)["defaults"]
    assert (shown["threads"]["value"], shown["threads"]["from"]) == (3, "environment")
    assert dmd("runs", "list", "--runs-dir", "typed").words == f"no runs in {dmd.folder}/below/typed"


def test_a_project_file_and_who_wins(dmd: Here) -> None:
    """`[tool.dmd]` is read where there is no dmd.toml; a project that says nothing of dmd is passed over."""
    (dmd.folder / "pyproject.toml").write_text('[tool.dmd]\nruns-dir = "project"\n')
    (inner := dmd.folder / "inner").mkdir()
    (inner / "pyproject.toml").write_text("[project\nnot TOML, and not ours")
    assert "project\n" in dmd("runs", "list").out
    dmd._monkeypatch.chdir(inner)
    assert f"{dmd.folder}/project\n" in dmd("runs", "list").out
    (inner / FILE).write_text("")
    assert f"{inner}/runs\n" in dmd("runs", "list").out


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (FILE, b"deivce = 'cpu'", "deivce: expected a key of the defaults, got an unknown one. Did you mean 'device'?"),
        (FILE, b"threads = '2'", "threads: expected a whole number from 1 on, got the text '2'"),
        (FILE, b"threads = true", "got true"),
        (FILE, b"jobs = 0", "got 0"),
        (FILE, b"device = 3", "device: expected text, got 3"),
        (FILE, b"runs-dir = ' '", "got an empty text"),
        (FILE, b"runs-dir = 'a'\nruns_dir = 'b'", "'runs-dir' twice"),
        (FILE, b"papers = '~no-such-user/x'", "a user of this machine"),
        (FILE, b"stack = 'many'", 'Write stack = "auto"'),
        (FILE, b"seeds = [1, 1]", "seeds that differ, got a list"),
        (FILE, b"[train]\ndevice = 'cpu'", "train: expected a key"),
        (FILE, b"threads = \n", "expected TOML, got invalid value (at line 1"),
        (FILE, b"\xff\xfe", "not UTF-8"),
        (FILE, b"#" * (1 << 21), "more than 1 MB"),
        ("pyproject.toml", b"[tool]\ndmd = 3", "expected a table [tool.dmd], got 3"),
        ("pyproject.toml", b"[tool.dmd", "expected TOML"),
    ],
    ids=lambda value: value.decode(errors="replace")[:20] if isinstance(value, bytes) else "",
)
def test_a_wrong_file_is_one_sentence(dmd: Here, name: str, content: bytes, told: str) -> None:
    """Every command stops before it does anything, and names file and key."""
    (dmd.folder / name).write_bytes(content)
    said = dmd("runs", "list")
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith(f"dmd: {dmd.folder / name}: ")
    assert told in said.err
    assert said.err.count("\n") == 1


def test_a_wrong_variable_is_named(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dmd config show` says which variable is wrong."""
    monkeypatch.setenv("DMD_THREADS", "many")
    said = dmd("config", "show")
    assert said.code == 2
    assert said.err.startswith("dmd: DMD_THREADS: expected a whole number from 1 on, got the text 'many'")


@pytest.mark.parametrize("value", ["x", "0", "1.5"])
def test_a_wrong_variable_stops_a_command_in_one_sentence(
    dmd: Here, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The option that takes it says the same as `dmd config show`, not the option parser's box about `--threads`."""
    monkeypatch.setenv("DMD_THREADS", value)
    said = dmd("train", "dmd", "--data", "synthetic")
    assert said.code == 2
    assert said.err.startswith("dmd: DMD_THREADS: expected a whole number from 1 on, got ")
    assert said.err.count("\n") == 1
    typed = dmd("train", "dmd", "--data", "synthetic", "--threads", value)
    assert typed.code == 2
    assert not typed.err.startswith("dmd: DMD_THREADS")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_no_file_ends_in_a_traceback(dmd: Here, content: bytes) -> None:
    """Whatever stands in a file of defaults, it is read or refused in one line."""
    (dmd.folder / FILE).write_bytes(content)
    try:
        said = " ".join(read_settings().values)
    except SpecError as error:
        said = str(error)
    assert "\n" not in said


def test_verbose_says_where_things_come_from_and_quiet_says_nothing(dmd: Here) -> None:
    """`-v` names the file of defaults and the folders on stderr; the next command without it is quiet again."""
    (dmd.folder / FILE).write_text("")
    said = dmd("-v", "runs", "list")
    assert str(dmd.folder / FILE) in said.err
    assert f"--runs-dir is {dmd.folder}/runs" in said.err
    assert dmd("runs", "list").err == ""


def test_completion_knows_the_commands(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that asks is told the commands."""
    monkeypatch.setenv("_DMD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "dmd re")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert set(dmd().out.split()) == {"report", "reproduce", "reruns"}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("report table", {"table1", "table2", "table3", "table4", "table5"}),
        ("train mult --data sy", {"synthetic"}),
        ("train mi", {"misa"}),
        ("runs show 4", {"4" * 12}),
        ("runs show --runs-dir nowhere 4", set()),
        ("runs show --runs-dir dmd.toml 4", set()),  # a file: nothing to offer, nothing said
    ],
)
def test_completion_knows_what_is_here(
    dmd: Here, monkeypatch: pytest.MonkeyPatch, line: str, offered: set[str]
) -> None:
    """Tables, feature sets, systems and the runs of the folder that counts are offered."""
    (dmd.folder / FILE).write_text('runs-dir = "mine"\n')
    (dmd.folder / "mine" / ("4" * 12)).mkdir(parents=True)
    monkeypatch.setenv("_DMD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"dmd {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split())))
    said = dmd()
    assert (set(said.out.split()), said.err) == (offered, "")


@pytest.mark.parametrize("found", [None, "tcsh"])
def test_completion_without_a_shell_is_one_sentence(
    dmd: Here, monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    """Outside a shell that Typer can complete for, the shells that it can are named, and no file is written."""

    def detect() -> tuple[str, str]:
        if found is None:
            raise shellingham.ShellDetectionFailure
        return found, f"/bin/{found}"

    monkeypatch.setattr(shellingham, "detect_shell", detect)
    monkeypatch.setenv("HOME", str(dmd.folder))
    for option in ("--show-completion", "--install-completion"):
        said = dmd(option)
        assert (said.code, said.out) == (2, "")
        assert f"expected to be typed in bash, zsh, fish, powershell, pwsh, got {found or 'no shell'}" in said.err
    assert list(dmd.folder.iterdir()) == []
