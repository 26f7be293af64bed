"""The lines that travel over the private socket pair between a link and its engine: JSON, one message a line."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agentrm_tui.engine.commands import Command, Status
from agentrm_tui.runs.plan import RunPlan


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The first line an engine reads: what to run, and where to write it.

    Attributes:
        run_path: The run file, new or (with `resume`) one to go on with.
        paused: Wait at the first request.
        resume: `run_path` holds an interrupted run of this plan.
        wait_at_end: Pause when an episode has ended.
        send_key: Servers that the plan names may be sent a key.
    """

    plan: RunPlan
    run_path: str
    paused: bool = False
    resume: bool = False
    wait_at_end: bool = False
    send_key: bool = True


class InFlight(msgspec.Struct, frozen=True, tag="status"):
    """Carries a status; a later one replaces it."""

    status: Status


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """The error that ended the engine, as `AgentRMError` words it."""

    cause: str
    remedy: str
    exit_code: int


ToEngine: TypeAlias = Start | Command
FromEngine: TypeAlias = InFlight | Failure

_ENCODER = msgspec.json.Encoder()
_TO_ENGINE: msgspec.json.Decoder[ToEngine] = msgspec.json.Decoder(ToEngine)
_FROM_ENGINE: msgspec.json.Decoder[FromEngine] = msgspec.json.Decoder(FromEngine)


def encode_line(message: ToEngine | FromEngine) -> bytes:
    """Write a message as one line, its newline included."""
    return _ENCODER.encode(message) + b"\n"


def decode_to_engine(line: bytes) -> ToEngine:
    """Read a line that a link wrote; raises `msgspec.ValidationError` if it did not."""
    return _TO_ENGINE.decode(line)


def decode_from_engine(line: bytes) -> FromEngine:
    """Read a line that an engine wrote; raises `msgspec.ValidationError` if it did not."""
    return _FROM_ENGINE.decode(line)


class LineBuffer:
    """Cuts a stream of bytes into lines; the last, unfinished one waits for its rest."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and return the lines it completes, without their newlines."""
        self._rest += data
        if b"\n" not in data:
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        return [bytes(line) for line in lines]
