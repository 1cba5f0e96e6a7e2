"""What a command writes goes where it was sent: nothing else is replaced, and what cannot take it is a sentence."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command import ENTRY, Here
from hypothesis import given
from hypothesis import strategies as st

import dmd_repro
from dmd_repro.disk import write_output
from dmd_repro.visible import csv_cell, one_line, spelled, visible

if sys.platform == "win32":
    pytest.skip("links, pipes and devices as Unix has them", allow_module_level=True)

ROOT = str(Path(dmd_repro.__file__).parents[1])


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `dmd` is this tree's command."""
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))  # an empty part is the working folder
    before = f"set -o pipefail; dmd() {{ {sys.executable} -c '{ENTRY}' \"$@\"; }}; "
    return subprocess.run(
        ["bash", "-c", before + line], cwd=cwd, capture_output=True, timeout=60,
        env={**os.environ, "PYTHONPATH": path, "DMD_RUNS": str(cwd / "runs"), **environment},
    )  # fmt: skip


def test_a_link_is_followed_and_a_file_keeps_its_mode_and_owner(dmd: Here, tmp_path: Path) -> None:
    """-o is no reason to part a link from its file, or to open a private file to others."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "real.md").write_text("old")
    (folder / "real.md").chmod(0o640)
    if os.getuid() == 0:
        os.chown(folder / "real.md", 1234, 1235)
    (tmp_path / "link.md").symlink_to("elsewhere/real.md")
    (tmp_path / "new.md").symlink_to("elsewhere/made.md")
    for name in ("link.md", "new.md"):
        assert dmd("report", "table5", "-o", name).code == 0
        assert (tmp_path / name).is_symlink()
    found = (folder / "real.md").stat()
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert os.getuid() != 0 or (found.st_uid, found.st_gid) == (1234, 1235)
    assert (folder / "real.md").read_text() == (folder / "made.md").read_text() != "old"


def test_a_file_with_two_names_keeps_both(dmd: Here, tmp_path: Path) -> None:
    """A hard link is not parted from its twin."""
    (tmp_path / "one.md").write_text("old")
    os.link(tmp_path / "one.md", tmp_path / "two.md")
    assert dmd("report", "table5", "-o", "one.md").code == 0
    assert (tmp_path / "two.md").read_text() == (tmp_path / "one.md").read_text() != "old"


def test_a_pipe_and_a_device_are_written_into(dmd: Here, tmp_path: Path) -> None:
    """As root, a rename over /dev/null would break the machine: here a node of the same kind stands for it."""
    os.mkfifo(tmp_path / "pipe")
    heard: list[str] = []
    ear = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    ear.start()
    assert dmd("report", "table5", "-o", "pipe", "-f", "csv").code == 0
    ear.join()
    assert heard[0].startswith("table,")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (tmp_path / "null").write_bytes(b"")
    except OSError:
        return  # only root may make one, and not everywhere
    assert dmd("report", "table5", "-o", "null").code == 0
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_dev_stdout_is_where_stdout_is(tmp_path: Path) -> None:
    """Appended to what is there: the file behind it is neither replaced nor cut."""
    (tmp_path / "log").write_text("before\n")
    done = shell("dmd report table5 -f csv -o /dev/stdout >> log", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().startswith("before\ntable,")


@pytest.mark.parametrize("name", ["", " ", ".", "folder", "none/x.md", "loop", "file/x.md", "n" * 300, "closed.md"])
@pytest.mark.parametrize("command", [("report", "table5", "-o"), ("audit", "-o")], ids=["report", "audit"])
def test_a_place_that_is_none_is_one_sentence(dmd: Here, tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    """Exit 2, one line, and nothing is left beside it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed.md").write_text("mine")
    (tmp_path / "closed.md").chmod(0o400)
    if name == "closed.md" and os.getuid() == 0:
        pytest.skip("root may write everywhere")
    before = sorted(tmp_path.rglob("*"))
    said = dmd(*command, name)
    assert said.code == 2
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("dmd: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A report is not written over a disk, whoever asks."""
    (tmp_path / "sda").write_text("x")
    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: True)
    with pytest.raises(OSError, match="a disk is there"):
        write_output(tmp_path / "sda", "text")
    assert (tmp_path / "sda").read_text() == "x"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("dmd report > /dev/full", 2, b"No space left on device"),
        ("dmd report table5 --json > /dev/full", 2, b"No space left on device"),
        ("dmd report table5 >&-", 2, b"Bad file descriptor"),
        ("dmd report | head -1", 141, b""),
        ("mkdir gone; cd gone; rmdir ../gone; dmd report table5", 2, b"working folder"),
    ],
)
def test_a_stdout_that_breaks_is_one_sentence(tmp_path: Path, line: str, code: int, says: bytes) -> None:
    """A full disk, a closed one, a reader that has enough, a working folder that is gone: no traceback."""
    done = shell(line, tmp_path)
    assert done.returncode == code, done
    assert says in done.stderr
    assert done.stderr.count(b"\n") == bool(says), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_of_the_terminal_will_do(tmp_path: Path, encoding: str) -> None:
    """What it cannot write is spelled, not a traceback."""
    done = shell("dmd report table5; dmd report nö_✓_\u4e2d", tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 2, done
    assert b"Traceback" not in done.stderr
    done.stdout.decode(encoding)
    assert {"ascii": b"no_ok_\\u4e2d", "cp1252": b"n\xf6_ok_\\u4e2d", "utf-8": "nö_✓_中".encode()}[
        encoding
    ] in done.stderr


@given(st.text())
def test_shown_text_acts_on_no_terminal(text: str) -> None:
    """No control character but newline and tab is left, text without any is unchanged, and twice is once."""
    shown = visible(text)
    assert not [
        c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000
    ]
    assert visible(shown) == shown
    assert "\n" not in one_line(text)
    assert spelled(text, "ascii").isascii()


@given(st.text(alphabet="=+-@\t 0a1(|.$_", max_size=8))
def test_a_cell_is_no_formula(text: str) -> None:
    """What a spreadsheet would compute or call begins with an apostrophe; numbers and ids of clips are left alone."""
    cell = csv_cell(text)
    assert not cell.startswith(("=", "@"))
    assert cell.startswith("'") or not (cell[:1] in "+-" and set(cell) & set("(|="))


@pytest.mark.parametrize(
    "same", ["-0.5", "+1.25", "-3g5yACwYnA[10]", "-9y-fZ3swSY$_$1", "+0.10 ± 0.20", "a=b", "1e-05"]
)
def test_numbers_and_ids_stay_as_they_are(same: str) -> None:
    """A predictions file can be joined on its ids, those of MOSI that begin with a minus too."""
    assert csv_cell(same) == same
