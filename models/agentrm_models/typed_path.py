"""Paths as people type them: `~` is expanded, and what no file system takes ends in one clear line."""

from __future__ import annotations

from pathlib import Path

from agentrm_models.errors import DataError, UsageError


def typed_path(text: str) -> Path:
    """The path of what was typed; it need not exist, but it can be asked whether it does.

    Raises:
        UsageError: The name is too long, its home folder is unknown, or a folder on the way may not be entered.
    """
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{_shown(text)} cannot be opened: {reason}".rstrip(".")) from None
    return path


def refuse_endless(path: Path) -> None:
    """Refuse pipes, sockets and devices before one is opened: reading them could block, or never end.

    Raises:
        DataError: It is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is no ordinary file")


def is_empty_file(path: Path) -> bool:
    """Whether an ordinary file is there, with nothing in it."""
    return path.is_file() and path.stat().st_size == 0


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:80]!r}…"
