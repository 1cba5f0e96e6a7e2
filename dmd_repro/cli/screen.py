"""What the command line prints through: a stranger's escape codes are shown, and a stream that breaks is one sentence.

Commands print text with `typer.echo`, which meets the filter here. Rich, which writes escape codes of its own, goes
past it to the same stream; what it is given of strangers is made `visible` where it is laid out.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from dmd_repro.visible import spelled, visible


class Screen(io.TextIOBase):
    """A text stream that can write any text in any encoding, and remembers the error that broke it."""

    def __init__(self, stream: TextIO | None, through: Screen | None = None) -> None:
        self._stream, self._through = stream, through
        self.broken: OSError | None = None

    @property
    def rich_proxied_file(self) -> Screen:
        """Where rich writes instead: the same stream without the filter."""
        return self._through or self

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        shown = visible(text) if self._through else text
        with self._noting():
            if self._stream is None:
                raise OSError(9, os.strerror(9))
            self._stream.write(spelled(shown, self.encoding))
        return len(text)

    def flush(self) -> None:
        with self._noting():
            if self._stream is not None:
                self._stream.flush()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.broken = error
            if self._through:
                self._through.broken = error
            raise

    @property
    def error(self) -> OSError | None:
        """The error that broke this stream or its twin."""
        return self.broken or (self._through.broken if self._through else None)


@contextmanager
def screens() -> Iterator[Screen]:
    """Print through screens while the block runs; yields that of stdout. Nothing is left to be flushed at exit."""
    before = sys.stdout, sys.stderr
    out, err = (Screen(stream, Screen(stream)) for stream in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        for screen in (out, err):
            with suppress(OSError, ValueError):
                screen.flush()
            if screen.error is not None:  # the interpreter would try again, and complain
                with suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), screen.fileno())
        sys.stdout, sys.stderr = before
