"""Whether somebody still writes a run file: asked of the system, without a lock of one's own."""

from __future__ import annotations

from pathlib import Path

LOCKS = Path("/proc/locks")
"""Linux lists the locks of all files here, each with the number of its file."""


def is_written(path: Path) -> bool | None:
    """Whether a program holds the lock of a run file (see `RunWriter`); None where the system does not tell.

    Trying to lock the file would tell too, but a writer that begins in that moment would find it taken.
    """
    try:
        number = str(path.stat().st_ino)
        lines = LOCKS.read_text("ascii").splitlines()
    except OSError:
        return None
    return any("FLOCK" in words and words[-3].rpartition(":")[2] == number for words in map(str.split, lines))
