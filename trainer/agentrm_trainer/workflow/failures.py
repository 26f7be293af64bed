"""Failures of a machine that a person can mend, whichever library reports them: a full disk, memory that ran out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from agentrm_models.errors import DataError, MemoryExhaustedError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of files that a person can cause and mend; any other is a bug and fails loudly."""

_WHOLE = "then add --resume: the last checkpoint is whole."
_LESS = f"Use smaller batches or fewer processes, {_WHOLE}"


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn such failures into errors of one line; any other passes through.

    Raises:
        DataError: A file cannot be written.
        MemoryExhaustedError: The machine or the accelerator has no memory left.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryExhaustedError(f"out of memory: {error.strerror}", _LESS) from None
        if error.errno not in (*_FULL, *_FORBIDDEN):
            raise
        remedy = f"Make room, {_WHOLE}" if error.errno in _FULL else f"Allow writing there, {_WHOLE}"
        raise DataError(f"{error.filename or 'a file'} cannot be written: {error.strerror}", remedy) from None
    except MemoryError as error:
        raise MemoryExhaustedError(f"out of memory{_said(error)}", _LESS) from None
    except Exception as error:
        if _is_memory(error):
            raise MemoryExhaustedError(f"out of memory{_said(error)}", _LESS) from None
        if _is_file(error):
            raise DataError(f"weights cannot be written{_said(error)}", f"Make room, {_WHOLE}") from None
        raise


def _is_memory(error: Exception) -> bool:
    """What torch raises: a class of its own for accelerators, a plain `RuntimeError` for the machine's memory."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def _is_file(error: Exception) -> bool:
    """What safetensors raises: the system's words with its error number, in a class of its own."""
    return type(error).__name__ == "SafetensorError" and any(
        f"(os error {number})" in str(error) for number in (*_FULL, *_FORBIDDEN)
    )


def _said(error: BaseException) -> str:
    line = str(error).strip().splitlines()[0][:200].rstrip(".") if str(error).strip() else ""
    return f": {line}" if line else ""
