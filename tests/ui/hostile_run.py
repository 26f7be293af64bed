"""Runs in which every string of every record is hostile, built from the records' own fields, new ones included."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

import msgspec

from agentrm_tui.runs import events as ev

HOSTILE = (
    "\x1b]0;owned\x07",  # the window's title
    "\x1b]52;c;b3duZWQ=\x1b\\",  # the clipboard
    "\x1b[2J\x1b[31m\x1b[?1049h",
    "\x9b31m\x90q\x9c\x9d0;owned\x9c",  # the same in single bytes
    "one\rtwo\x08\x08\x0b\x0c\x00\x7f\nthree",
    "\u202eright to left\u202c \u2066isolated\u2069",
    "zero\u200bwidth\u200d\u2060\ufeff \u2028 \u2029 \x85",
)
UNSAFE = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
"""What must not reach a terminal, written down here once more on purpose."""

NODE = "0.0"
_WIRED = {
    "episode": "e\x1b]0;owned\x07",
    "node": NODE,
    "parent": "0",
    "asked": ("0",),
    "path": ("0",),
    "to": 0,
    "parent_event": -1,
}
"""What must fit together for a file to be applied at all: ids of nodes and episodes."""
_ORDER = ("RunStarted", "ModelLoading", "EpisodeStarted", "Proposed", "Scored", "Acted", "Pruned")


def hostile_events(text: str) -> list[ev.AnyEvent]:
    """One event of each type, as far as possible in the order of a run; what ends something comes last."""
    kinds = sorted(typing.get_args(ev.AnyEvent), key=_place)
    started = [_hostile(kind, text) for kind in kinds]
    return [event for event in started if not isinstance(event, ev.Rewound)]


def _place(kind: type) -> tuple[int, str]:
    if kind.__name__ in _ORDER:
        return _ORDER.index(kind.__name__), ""
    last = {"Chosen": 90, "EpisodeFinished": 91, "RunFinished": 92}
    return last.get(kind.__name__, 50), kind.__name__


def _hostile(kind: type, text: str) -> Any:
    """A record of this type whose strings are all hostile."""
    values = {}
    hints = typing.get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        if field.name == "version":
            continue  # another version is refused before anything of the file is shown
        if (kind is ev.EpisodeStarted and field.name == "parent") or (
            kind is ev.RunStarted and field.name == "episode"
        ):
            values[field.name] = ""
        elif kind is ev.Scored and field.name == "groups":
            values[field.name] = ((NODE,),)
        elif kind is ev.Pruned and field.name == "nodes":
            values[field.name] = (NODE,)
        elif field.name in _WIRED:
            values[field.name] = _WIRED[field.name]
        else:
            values[field.name] = _value(hints[field.name], text)
    return kind(**values)


def _value(kind: Any, text: str) -> Any:
    """A value of an annotation: hostile text wherever a string is allowed, one member in each collection."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _value(arguments[0], text)
    if origin is Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return _value(next(part for part in arguments if part is not type(None)), text)
    if origin is tuple:
        return (_value(arguments[0], text),)
    if origin is dict:
        return {_value(arguments[0], text): _value(arguments[1], text)}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _hostile(kind, text)
    return {str: text, bool: False, int: 1, float: 0.5}[kind]
