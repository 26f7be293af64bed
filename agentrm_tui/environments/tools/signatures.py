"""A tool is a Python function: its signature is what calls are checked against, its docstring what people read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from agentrm_models.spelling import nearest

_SHOWN = 40
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}
_PLURALS = {str: "texts", int: "whole numbers", float: "numbers"}


class RefusedError(Exception):
    """A call that was not understood or is not possible; the message becomes the observation."""


def quoted(text: str) -> str:
    """A clipped text as ASCII in quotation marks, so that nothing a caller wrote reaches the screen raw."""
    return json.dumps(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool: its type, the type in words, and its default (`inspect.Parameter.empty`: required)."""

    name: str
    kind: Any
    words: str
    default: Any

    @property
    def required(self) -> bool:
        """It has no default."""
        return self.default is inspect.Parameter.empty

    def check(self, tool: str, value: Any) -> Any:
        """The value in the parameter's type.

        Raises:
            RefusedError: It is of another type.
        """
        try:
            return msgspec.convert(value, self.kind)
        except msgspec.ValidationError:
            given = quoted(value) if isinstance(value, str) else quoted(json.dumps(value)).strip('"')
            raise RefusedError(f"{tool}: {self.name} must be {self.words}, not {given}") from None


@dataclass(frozen=True, slots=True)
class Tool:
    """A callable tool. The function takes the server's data and then the arguments by name."""

    name: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., Any]

    @property
    def signature(self) -> str:
        """`name(argument, argument)`."""
        return f"{self.name}({', '.join(parameter.name for parameter in self.parameters)})"

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check arguments and add defaults.

        Raises:
            RefusedError: One is missing, unknown or of the wrong type; the message names it.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in arguments:
            if name not in known:
                takes = f"it takes {', '.join(known)}" if known else "it takes none"
                raise RefusedError(f"{self.name} has no argument {quoted(name)}; {takes}")
        bound = {}
        for name, parameter in known.items():
            if name in arguments:
                bound[name] = parameter.check(self.name, arguments[name])
            elif parameter.required:
                raise RefusedError(f"{self.name} needs the argument {name}, {parameter.words}")
            else:
                bound[name] = parameter.default
        return bound


def make_tool(function: Callable[..., Any]) -> Tool:
    """Describe a function as a tool; its first parameter (the server's data) is not an argument."""
    hints = get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    described = (Parameter(p.name, hints[p.name], _in_words(hints[p.name]), p.default) for p in parameters)
    return Tool(function.__name__, tuple(described), function)


def tool_table(functions: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
    """Tools by name, in the given order."""
    return {function.__name__: make_tool(function) for function in functions}


def find_tool(tools: Mapping[str, Tool], name: str) -> Tool:
    """Look a tool up.

    Raises:
        RefusedError: No such tool; the message offers the nearest name.
    """
    if name in tools:
        return tools[name]
    near = nearest(name, tools)
    hint = f"; did you mean {near}?" if near else ""
    raise RefusedError(f"there is no tool {quoted(name)} here{hint}")


def _in_words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(value) for value in inner)
    if origin is list:
        item = inner[0]
        if get_origin(item) is list:
            return "a list of lists"
        return f"a list of {_PLURALS.get(item, 'values')}"
    if origin in (Union, UnionType):
        return " or ".join(_in_words(part) for part in inner)
    return _WORDS[kind]
