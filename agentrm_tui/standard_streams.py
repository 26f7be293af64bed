"""Standard streams that can be relied on: a descriptor that was closed by the caller leads nowhere, not into a file."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Give descriptors 0, 1 and 2, where they are closed, and their Python streams to the null device.

    Otherwise the next file that is opened would get the number, and what libraries print would be written into it.
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
