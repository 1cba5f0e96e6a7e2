"""The real command, killed, starved, damaged: no corrupt record counts, nothing finished is lost, the next call ends.

A few of each here, from fixed seeds; `benchmarks/faults.py` does thousands, with the figures in docs/faults.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("kills and limits of a process as Unix has them", allow_module_level=True)

import fault_trust
from fault_session import Session
from fault_tools import Faulty


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with tempfile.TemporaryDirectory() as folder, Faulty() as dmd:
        Path(folder).chmod(0o755)
        yield Session(Path(folder), dmd)


@pytest.fixture(scope="module")
def other() -> Iterator[Faulty]:
    """A second process that serves commands, beside the session's."""
    with Faulty() as dmd:
        yield dmd


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_import_leaves_the_old_store_or_the_new_one(session: Session, seed: int) -> None:
    """kill -9 before any disk operation or at any time."""
    session.kill_import(seed)


@pytest.mark.parametrize("seed", range(100, 103))
def test_a_killed_download_goes_on(session: Session, seed: int) -> None:
    """kill -9 while bytes arrive, are verified, imported or checked."""
    session.kill_download(seed)


@pytest.mark.parametrize("seed", range(200, 204))
def test_a_killed_training_changes_no_bit(session: Session, seed: int) -> None:
    """kill -9 in an epoch, in saving one, in writing the record, once or more."""
    session.kill_training(seed)


@pytest.mark.parametrize("seed", range(300, 302))
def test_a_killed_table_changes_no_bit(session: Session, seed: int) -> None:
    """kill -9 of `dmd reproduce` between and in its runs."""
    session.kill_training(seed, "reproduce")


@pytest.mark.parametrize("seed", range(400, 402))
def test_a_killed_report_leaves_the_old_file(session: Session, seed: int) -> None:
    """kill -9 while a table is rendered into a file."""
    session.kill_report(seed)


@pytest.mark.parametrize("seed", range(500, 506))
def test_a_full_disk_is_one_sentence(session: Session, seed: int) -> None:
    """A limit on file size that strikes anywhere in import, download, training and report."""
    session.full_disk(seed)


@pytest.mark.parametrize("seed", range(600, 602))
def test_missing_rights_are_one_sentence(session: Session, seed: int) -> None:
    """A folder that may not be written, or not even listed."""
    if os.getuid() != 0 and seed > 600:
        pytest.skip("one is enough without root's powers to give up")
    session.no_rights(seed)


def test_a_wrong_clock_changes_nothing(session: Session) -> None:
    """Years back and forth, between the commands and before them."""
    session.wrong_clock(700)


def test_two_commands_share_the_work(session: Session, other: Faulty) -> None:
    """No run is made twice, and both commands end with the table."""
    session.two_at_once(800, other)


@pytest.mark.parametrize("seed", range(900, 908))
def test_damage_to_runs_is_found_and_repaired(session: Session, seed: int) -> None:
    """A flipped bit, a cut or missing file: exit 1, counted nowhere, moved aside by --repair."""
    session.damaged_runs(seed)


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_damage_to_the_store_is_found_and_mended(session: Session, seed: int) -> None:
    """A flipped bit, a cut or missing file: one sentence, and another import mends it."""
    session.damaged_store(seed)


@pytest.mark.parametrize("seed", range(1100, 1103))
@pytest.mark.parametrize("name", ["unreadable_runs", "no_locks", "outputs", "strangers", "odd_values"])
def test_nothing_good_is_moved_replaced_or_trusted(session: Session, name: str, seed: int) -> None:
    """Unreadable files, missing locks, odd places for output, strangers' text and forged values."""
    getattr(fault_trust, name)(session, seed)


def test_a_repair_takes_nothing_from_a_training(session: Session, other: Faulty) -> None:
    """`verify --repair` in a loop while a table is trained."""
    fault_trust.repair_at_work(session, 1200, other)
