"""How events are written in a run file: one JSON record a line, with full field names.

Each record also holds its sequence number (`seq`, from 0), the run's short id (`run`) and, last, a checksum of what
stands before it (`crc`). So a line that was lost, repeated, moved, changed, or put in from another run is noticed. What
a reader of another program needs is in `docs/run-files.md` and in the schema that `agentrm-tui schema` prints.
"""

from __future__ import annotations

import re
from binascii import crc32
from typing import Any

import msgspec

from agentrm_models.errors import DataError
from agentrm_tui.runs.events import FORMAT_VERSION, AnyEvent, RunStarted

LONGEST_RECORD = 64_000_000
"""Bytes of one record; a longer line is no record of a run."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_CHECK = re.compile(rb',"crc":"([0-9a-f]{8})"\}\Z')


class _Header(msgspec.Struct):
    seq: int | None = None
    run: str = ""
    type: str = ""
    version: int = FORMAT_VERSION


_header_decoder = msgspec.json.Decoder(_Header)


class Codec:
    """Writes and reads the records of one file, in order."""

    def __init__(self) -> None:
        self._run = ""
        self._next = 0

    def encode(self, event: AnyEvent) -> bytes:
        """Write an event as the next line of the file."""
        run = ""
        if isinstance(event, RunStarted):
            self._run = event.run
        else:
            run = f'"run":"{self._run}",'
        body = f'{{"seq":{self._next},{run}'.encode() + _encoder.encode(event)[1:-1]
        self._next += 1
        return b'%s,"crc":"%08x"}\n' % (body, crc32(body))

    def decode(self, line: bytes) -> AnyEvent:
        """Read the next line of the file, given without its line break.

        Raises:
            DataError: It is not a record of this format, was changed, or is not the one that comes next (the caller
                adds file and line).
        """
        header = _decoded(line, _header_decoder)
        if header.type == "run_started":
            _check_version(header)
        check = _CHECK.search(line)
        if header.seq is None or check is None:
            raise DataError("not a record of a run")
        if int(check[1], 16) != crc32(line[: check.start()]):
            raise DataError("the record was changed after it was written: its checksum does not fit")
        self._check_place(header)
        event: AnyEvent = _decoded(line, _decoder)
        if isinstance(event, RunStarted):
            self._run = event.run
        self._next += 1
        return event

    def _check_place(self, header: _Header) -> None:
        if header.run != self._run and self._next:
            raise DataError("the record belongs to another run")
        if header.seq != self._next:
            lost = "records are missing before it" if (header.seq or 0) > self._next else "it stands here a second time"
            raise DataError(f"record {header.seq} comes where number {self._next} is due: {lost}")


def decode_alone(line: bytes) -> AnyEvent:
    """Read a record without the ones before it, as a list of runs does; errors as in `Codec.decode`."""
    header = _decoded(line, _header_decoder)
    codec = Codec()
    codec._run, codec._next = header.run, header.seq or 0
    return codec.decode(line)


def schema() -> dict[str, Any]:
    """The JSON schema of one record of a run file."""
    (found,), components = msgspec.json.schema_components([AnyEvent], ref_template="#/$defs/{name}")
    added = {
        "seq": {"type": "integer", "minimum": 0, "description": "Number of the record in its file, from 0."},
        "run": {"type": "string", "description": "Short id of the run."},
        "crc": {"type": "string", "pattern": "^[0-9a-f]{8}$", "description": "CRC-32 of the bytes before this field."},
    }
    events = [reference["$ref"].rpartition("/")[2] for reference in found["anyOf"]]
    for name in events:
        components[name]["properties"].update(added)
        components[name]["required"] = ["seq", "run", *components[name].get("required", []), "crc"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"One line of a run file of agentrm-tui, format {FORMAT_VERSION}",
        **found,
        "$defs": components,
    }


def _decoded(line: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.ValidationError, OverflowError) as error:
        raise DataError(f"not an event of this version ({str(error)[:200]})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not JSON ({str(error)[:200]})") from None
    except RecursionError:
        raise DataError("nested too deeply") from None


def _check_version(header: _Header) -> None:
    if header.version > FORMAT_VERSION:
        raise DataError(
            f"written by a newer version (format {header.version}, this program reads {FORMAT_VERSION})",
            "Update agentrm-tui.",
        )
    if header.version < FORMAT_VERSION or header.seq is None:
        raise DataError(
            f"written by an earlier version (format 1, this program reads {FORMAT_VERSION})",
            "Play the run again: its plan stands in its first line.",
        )
