"""The ways out to a terminal: lines on stdout and stderr that carry no control characters, whoever writes them.

`write_line` and `tell` are for this program's own lines. The streams themselves are guarded as well, for tracebacks,
warnings and whatever libraries print; only what draws by itself (the screen, a progress bar) goes around the guard.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from agentrm_models.terminal_text import on_one_line, printable_line, strip_controls


def write_line(line: str, stream: TextIO | None = None) -> None:
    """Write one line as it is laid out, to stdout if no stream is given; what is unsafe is spelled out."""
    (sys.stdout if stream is None else stream).write(printable_line(line) + "\n")


def tell(message: str) -> None:
    """Write a message for a person to stderr, folded into one line."""
    write_line(on_one_line(message), sys.stderr)


class GuardedStream(io.TextIOWrapper):
    """A text stream that leaves out escape sequences and unsafe characters of all that is written to it.

    Args:
        behind: The stream whose buffer it writes to, and with it keeps open.
    """

    def __init__(self, behind: io.TextIOWrapper) -> None:
        behind.flush()
        super().__init__(
            behind.buffer,
            encoding=behind.encoding,
            errors="backslashreplace",
            line_buffering=behind.line_buffering,
            write_through=behind.write_through,
        )
        self.behind = behind

    def write(self, text: str, /) -> int:
        """Write what is safe; returns the length that was given, as callers expect."""
        super().write(strip_controls(text))
        return len(text)

    def close(self) -> None:
        """Flush only: the buffer belongs to the stream behind."""
        self.flush()


def drawing_stream() -> TextIO:
    """Stderr for what draws by itself, such as a progress bar: without the guard, where there is one."""
    return sys.stderr.behind if isinstance(sys.stderr, GuardedStream) else sys.stderr


def open_standard_streams() -> None:
    """Make descriptors 0, 1 and 2 and their Python streams reliable: open, guarded, and able to write any character.

    A closed descriptor leads to the null device: otherwise the next file that is opened would get the number, and what
    libraries print would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)
    # Libraries' progress bars return to the start of their line, which the guard makes a new line: seldom, then.
    os.environ.setdefault("TQDM_MININTERVAL", "5")


def _guarded(stream: TextIO) -> TextIO:
    if isinstance(stream, GuardedStream) or not isinstance(stream, io.TextIOWrapper):
        return stream
    return GuardedStream(stream)
