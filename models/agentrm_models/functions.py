"""Actions as functions that a model calls: what is offered, and the way from a call to an action and back.

An environment says which functions its actions are; a model that speaks tool calls is offered them. Only text comes
out: the action that the call means is the one that the text grammar would have given.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from agentrm_models.messages import Call

ARGUMENTS_LIMIT = 20_000
"""Characters of a call's arguments that are read."""

_SHOWN = 60


class UnreadCallError(Exception):
    """A call that means no action; its message says what is wrong, in words that the model is shown."""


class Function(NamedTuple):
    """A function that a model may call.

    Attributes:
        parameters: The JSON schema of its arguments, an object.
    """

    name: str
    description: str
    parameters: dict[str, Any]

    def as_tool(self) -> dict[str, Any]:
        """As chat templates and servers are given it."""
        return {"type": "function", "function": self._asdict()}

    def schema_of(self, parameter: str) -> dict[str, Any]:
        """The schema of one parameter; empty where there is none of that name."""
        properties = self.parameters.get("properties")
        found = properties.get(parameter) if isinstance(properties, dict) else None
        return found if isinstance(found, dict) else {}


class ActionFunctions(ABC):
    """An environment's actions as functions. Derive one for an environment whose calls are written in its own way.

    Args:
        offered: The functions, in the order in which models are shown them; at least one.
    """

    def __init__(self, offered: Sequence[Function]) -> None:
        self.offered = tuple(offered)

    @cached_property
    def tools(self) -> list[dict[str, Any]]:
        """All functions as chat templates and servers are given them."""
        return [function.as_tool() for function in self.offered]

    @cached_property
    def key(self) -> str:
        """Equal keys, equal functions."""
        return json.dumps(self.tools, sort_keys=True)

    @property
    def names(self) -> str:
        """The functions' names in words."""
        return ", ".join(function.name for function in self.offered)

    @abstractmethod
    def action(self, call: Call) -> str:
        """The action that a call means, in the text that the environment takes.

        Raises:
            UnreadCallError: It means none.
        """

    @abstractmethod
    def call(self, action: str) -> Call | None:
        """The call that means an action; None where the action's text is none that a call could mean."""


class OneFunction(ActionFunctions):
    """All actions through one function with one argument, the action's text.

    Args:
        description: What the function does.
        example: An action, for the argument's description.
        actions: Every action that there is; empty where they cannot be listed.
    """

    NAME = "act"
    ARGUMENT = "action"

    def __init__(self, description: str = "", example: str = "", actions: Sequence[str] = ()) -> None:
        such_as = f", such as: {example}" if example else ""
        argument: dict[str, Any] = {
            "type": "string",
            "description": f"The action, written as the instruction says{such_as}",
        }
        if actions:
            argument["enum"] = list(actions)
        parameters = {"type": "object", "properties": {self.ARGUMENT: argument}, "required": [self.ARGUMENT]}
        super().__init__((Function(self.NAME, description or "Take one action.", parameters),))
        self._actions = tuple(actions)

    def action(self, call: Call) -> str:
        """The text of the one argument.

        A function of another name is read where its name and its arguments, put together, are one of the actions that
        were listed (`move` with `{"direction": "up"}` where `move up` is an action).
        """
        if _bare(call.name) != self.NAME:
            return self._listed(call)
        arguments = read_arguments(call)
        if self.ARGUMENT not in arguments:
            raise UnreadCallError(f'{self.NAME} needs the argument "{self.ARGUMENT}"')
        action = arguments[self.ARGUMENT]
        if not isinstance(action, str):
            raise UnreadCallError(f'"{self.ARGUMENT}" must be a text, not {_shown(json.dumps(action))}')
        return _one_line(action)

    def call(self, action: str) -> Call:
        """The action as the one argument."""
        return Call(self.NAME, json.dumps({self.ARGUMENT: action}, ensure_ascii=False))

    def _listed(self, call: Call) -> str:
        unknown = f"there is no function {_shown(json.dumps(call.name))}; call {self.NAME}({self.ARGUMENT})"
        if not self._actions:
            raise UnreadCallError(unknown)
        words = [_bare(call.name).replace("_", " "), *(str(value) for value in read_arguments(call).values())]
        action = " ".join(" ".join(words).split())
        if action not in self._actions:
            raise UnreadCallError(unknown)
        return action


def read_arguments(call: Call) -> dict[str, Any]:
    """The arguments of a call by name; a JSON object that was written into a JSON text once more is read too.

    Raises:
        UnreadCallError: They are no JSON object, or too long.
    """
    text = call.arguments.strip()
    if len(text) > ARGUMENTS_LIMIT:
        raise UnreadCallError(f"the arguments of {call.name[:_SHOWN]} have more than {ARGUMENTS_LIMIT:,} characters")
    arguments: Any = text or None
    for _ in range(2):
        if not isinstance(arguments, str):
            break
        try:
            arguments = json.loads(arguments, strict=False)
        except (ValueError, RecursionError) as error:
            why = (
                f": {error.msg.lower()} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            )
            raise UnreadCallError(f"the arguments of {call.name[:_SHOWN]} are not JSON{why}") from None
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise UnreadCallError(f"the arguments of {call.name[:_SHOWN]} must be a JSON object")
    return arguments


def plain_arguments(call: Call) -> str:
    """The arguments as JSON without escaped letters; those that are no JSON object as an empty one."""
    try:
        return json.dumps(read_arguments(call), ensure_ascii=False)
    except UnreadCallError:
        return "{}"


def _one_line(action: str) -> str:
    """An action as it stands behind `Action:`."""
    action = action.strip()
    if not action:
        raise UnreadCallError("the action is empty")
    if len(action.splitlines()) > 1:
        raise UnreadCallError("an action is one line")
    return action


def _bare(name: str) -> str:
    """A name without the namespace that some models put before it."""
    return name.strip().removeprefix("functions.")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
