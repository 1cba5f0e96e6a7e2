"""Every failure a user can mend is one of these, with one sentence: where, expected, got, what to do.

The command line turns a `DmdError` into that sentence on stderr and exit code 2; anything else is a bug and keeps its
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self

from dmd_repro.visible import one_line


class DmdError(Exception):
    """Base of all errors a user can mend; one made by `at` keeps what was expected and what was found."""

    expected = got = ""

    @classmethod
    def at(cls, where: str, *, expected: str, got: str, do: str) -> Self:
        """Build the one sentence every message follows: `where: expected X, got Y. Do Z.`

        A name in it that holds control characters or line ends is shown, not obeyed.
        """
        made = cls(one_line(f"{where}: expected {expected}, got {got}. {do if do.endswith(('?', '.')) else f'{do}.'}"))
        made.expected, made.got = expected, got
        return made


class DataError(DmdError):
    """A feature file or a stored feature set cannot be used as it is."""


class SpecError(DmdError):
    """A run was asked for that no model can carry out: unknown name, wrong type, contradictory switches."""


class RunError(DmdError):
    """A run or the folder of run records cannot be read or written."""


class Unreadable(RunError):
    """A record or plan that cannot be read here and now, or by this version: not damaged, and nothing may move it."""


class ClaimError(DmdError):
    """A table of published numbers is malformed or unknown."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ' Did you mean ...?' for the closest known name, or the list of known names when none is close."""
    known = sorted(set(choices))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known names: {', '.join(known)}" if known else "Nothing is there yet"
