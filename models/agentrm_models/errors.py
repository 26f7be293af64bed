"""The errors a person can cause: each says what happened, what to do about it, and how the process should exit."""

from __future__ import annotations


class AgentRMError(Exception):
    """One clear line for the person at the terminal, never a traceback.

    Args:
        cause: What is wrong, naming the file, key or flag.
        remedy: What to do about it; empty when there is nothing to add.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}. {remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy


class UsageError(AgentRMError):
    """A wrong flag, name, level, task or configuration key (exit code 2)."""

    exit_code = 2


class DataError(AgentRMError):
    """A data, run or model file that is missing, cut off, foreign or from a newer version (exit code 3)."""

    exit_code = 3


class MissingExtraError(DataError):
    """A package of an extra is not installed; everything that does not need it works (exit code 3)."""


class MemoryExhaustedError(AgentRMError):
    """The machine or the accelerator has no memory left (exit code 4)."""

    exit_code = 4


class DivergedError(AgentRMError):
    """Training produced a loss that is not finite (exit code 5)."""

    exit_code = 5


class InterruptedRun(AgentRMError):
    """A person stopped the run; what was done so far is saved (exit code 130)."""

    exit_code = 130
