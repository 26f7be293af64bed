"""How events are written in a run file: JSON lines with short keys, each long text and each node id written once.

A line is either a text, `{"text": NUMBER, "is": "..."}`, or an event. In events a long text is `{"t": NUMBER}`, a
number that JSON cannot write is `{"f": "nan"}`, a node seen before is its serial number in the episode, and a new one
is `[SERIAL OF ITS PARENT, ORDINAL]`. Encoder and decoder keep the same tables, so a file can be gone on with.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from agentrm_models.errors import DataError
from agentrm_tui.runs.events import FORMAT_VERSION, AnyEvent, RunStarted
from agentrm_tui.search.tree import ROOT, NodeId

TEXT_LIMIT = 40
"""Strings longer than this (characters) are written once and referred to by number."""

_SHORT = {
    "episode": "ep",
    "node": "n",
    "log_probability": "logp",
    "observation": "obs",
    "state_key": "key",
    "milliseconds": "ms",
    "outcome": "out",
    "asked": "a",
    "groups": "g",
    "path": "p",
    "tokens": "tok",
    "usage": "u",
    "values": "v",
}
_LONG = {short: long for long, short in _SHORT.items()}
_USAGE = ("tokens_computed", "tokens_unique", "tokens_generated", "requests", "dropped_observations", "milliseconds")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class Codec:
    """The tables of one file: texts by number, nodes by serial number within their episode."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._text_numbers: dict[str, int] = {}
        self._ids: dict[str, list[NodeId]] = {}
        self._serials: dict[str, dict[NodeId, int]] = {}

    def encode(self, event: AnyEvent) -> bytes:
        """Write an event as one line, after the lines of texts that are new in it."""
        raw = msgspec.to_builtins(event)
        if isinstance(event, RunStarted):
            return _encoder.encode(raw) + b"\n"
        known = len(self._texts)
        record = self._pack(_Ids(self, event.episode).encode(raw))
        texts = [_encoder.encode({"text": known + i, "is": text}) for i, text in enumerate(self._texts[known:])]
        return b"\n".join([*texts, _encoder.encode(record), b""])

    def decode(self, line: bytes) -> AnyEvent | None:
        """Read a line; None for a text.

        Raises:
            DataError: The line is not of this format (the caller adds file and line).
        """
        try:
            raw = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"not JSON ({error})") from None
        if not isinstance(raw, dict):
            raise DataError("not a record of a run")
        if "text" in raw:
            self._learn(raw)
            return None
        if raw.get("type") == "run_started":
            _check_version(raw)
        try:
            if raw.get("type") != "run_started":
                raw = self._unpack(raw)
                raw = _Ids(self, str(raw.get("episode", ""))).decode(raw)
            event: AnyEvent = msgspec.convert(raw, AnyEvent)
        except (msgspec.ValidationError, IndexError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(f"not an event of this version ({error})") from None
        return event

    def _learn(self, raw: dict[str, Any]) -> None:
        if raw["text"] != len(self._texts) or not isinstance(raw.get("is"), str):
            raise DataError("texts are missing before this line")
        self._add_text(raw["is"])

    def _add_text(self, text: str) -> int:
        number = self._text_numbers[text] = len(self._texts)
        self._texts.append(text)
        return number

    def _pack(self, value: Any) -> Any:
        match value:
            case str() if len(value) > TEXT_LIMIT:
                number = self._text_numbers.get(value)
                return {"t": self._add_text(value) if number is None else number}
            case float() if not math.isfinite(value):
                return {"f": str(value)}
            case dict():
                return {_SHORT.get(key, key): self._pack_field(key, item) for key, item in value.items()}
            case list() | tuple():
                return [self._pack(item) for item in value]
            case _:
                return value

    def _pack_field(self, key: str, value: Any) -> Any:
        if key == "usage":
            return [value.get(name, 0) for name in _USAGE]
        return self._pack(value)

    def _unpack(self, value: Any) -> Any:
        match value:
            case {"t": int(number)} if len(value) == 1:
                return self._texts[number]
            case {"f": str(number)} if len(value) == 1:
                return float(number)
            case dict():
                long: dict[str, Any] = {_LONG.get(str(key), str(key)): item for key, item in value.items()}
                return {key: self._unpack_field(key, item) for key, item in long.items()}
            case list():
                return [self._unpack(item) for item in value]
            case _:
                return value

    def _unpack_field(self, key: str, value: Any) -> Any:
        if key == "usage":
            return dict(zip(_USAGE, value, strict=True))
        return self._unpack(value)


class _Ids:
    """Node ids of one episode, written as serial numbers in order of first appearance."""

    def __init__(self, codec: Codec, episode: str) -> None:
        self._ids = codec._ids.setdefault(episode, [ROOT])
        self._serials = codec._serials.setdefault(episode, {ROOT: 0})

    def encode(self, event: dict[str, Any]) -> dict[str, Any]:
        """Replace ids by serials, drop parents that the id tells, and shorten a whole path to its end."""
        if event["type"] == "backpropagated":
            event = {**event, **_short_path(event)}
        return {key: self._encode_field(key, value) for key, value in event.items()}

    def decode(self, event: dict[str, Any]) -> dict[str, Any]:
        """The inverse of `encode`."""
        event = {key: self._decode_field(key, value) for key, value in event.items()}
        return {**event, **_long_path(event)} if event.get("type") == "backpropagated" else event

    def _encode_field(self, key: str, value: Any) -> Any:
        match key:
            case "node":
                return self._encode_id(value)
            case "path" if isinstance(value, dict):
                return {"to": self._encode_id(value["to"])}
            case "asked" | "path":
                return [self._encode_id(item) for item in value]
            case "nodes":
                return [self._encode_item(item) for item in value]
            case "groups":
                return [[self._encode_id(item) for item in group] for group in value]
            case _:
                return value

    def _encode_item(self, item: Any) -> Any:
        if isinstance(item, str):
            return self._encode_id(item)
        kept = {key: value for key, value in item.items() if key != "parent"}
        return {**kept, "node": self._encode_id(item["node"])}

    def _encode_id(self, node: NodeId) -> Any:
        serial = self._serials.get(node)
        if serial is not None:
            return serial
        parent, _, ordinal = node.rpartition(".")
        self._register(node)
        serial = self._serials.get(parent)
        return node if serial is None else [serial, int(ordinal)]

    def _register(self, node: NodeId) -> None:
        self._serials[node] = len(self._ids)
        self._ids.append(node)

    def _decode_field(self, key: str, value: Any) -> Any:
        match key:
            case "node":
                return self._decode_id(value)
            case "path" if isinstance(value, dict):
                return {"to": self._decode_id(value["to"])}
            case "asked" | "path":
                return [self._decode_id(item) for item in value]
            case "nodes":
                return [self._decode_item(item) for item in value]
            case "groups":
                return [[self._decode_id(item) for item in group] for group in value]
            case _:
                return value

    def _decode_item(self, item: Any) -> Any:
        if not isinstance(item, dict):
            return self._decode_id(item)
        node = self._decode_id(item["node"])
        return {**item, "node": node, "parent": node.rpartition(".")[0]}

    def _decode_id(self, written: Any) -> NodeId:
        match written:
            case int():
                return self._ids[written]
            case [int(parent), int(ordinal)]:
                node = f"{self._ids[parent]}.{ordinal}"
            case _:
                node = str(written)
        self._register(node)
        return node


def _short_path(event: dict[str, Any]) -> dict[str, Any]:
    """A path from the root is told by its last node, and equal values by one of them."""
    path, values = list(event["path"]), list(event["values"])
    short: dict[str, Any] = {}
    if path and path == _prefixes(path[-1]):
        short["path"] = {"to": path[-1]}
        if len(path) == len(values) and all(value == values[0] for value in values):
            short["values"] = {"all": values[0]}
    return short


def _long_path(event: dict[str, Any]) -> dict[str, Any]:
    long: dict[str, Any] = {}
    if isinstance(event["path"], dict):
        long["path"] = path = _prefixes(event["path"]["to"])
        if isinstance(event["values"], dict):
            long["values"] = [event["values"]["all"]] * len(path)
    return long


def _prefixes(node: NodeId) -> list[NodeId]:
    """The ids from the root to a node, read from the node's own id."""
    parts = node.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _check_version(raw: dict[str, Any]) -> None:
    version = raw.get("version", FORMAT_VERSION)
    if not isinstance(version, int):
        raise DataError("its version is not a number")
    if version > FORMAT_VERSION:
        raise DataError(
            f"written by a newer version (format {version}, this program reads {FORMAT_VERSION})",
            "Update agentrm-tui.",
        )
