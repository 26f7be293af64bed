"""The tools of a server as functions that a model calls: their signatures say name, description and parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from agentrm_models.functions import ActionFunctions, Function, UnreadCallError, read_arguments
from agentrm_models.messages import Call
from agentrm_tui.environments.tools import calls
from agentrm_tui.environments.tools.signatures import RefusedError, Tool


class ToolFunctions(ActionFunctions):
    """Tools as functions; what is wrong with a call's name or arguments is left to the environment to say."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        super().__init__([_function(tool) for tool in tools])

    def action(self, call: Call) -> str:
        """`NAME with Action Input: {…}`; arguments that are no JSON object stand there as they were written."""
        name = " ".join(call.name.removeprefix("functions.").split())
        if not name:
            raise UnreadCallError("the call names no function")
        try:
            return calls.format_call(calls.Call(name, read_arguments(call)))
        except UnreadCallError:
            return f"{name} with Action Input: {' '.join(call.arguments.split())}"

    def call(self, action: str) -> Call | None:
        """The call of an action that is written as one."""
        try:
            read = calls.parse_call(action)
        except RefusedError:
            return None
        return Call(read.name, json.dumps(read.arguments))


def _function(tool: Tool) -> Function:
    required = [parameter.name for parameter in tool.parameters if parameter.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {parameter.name: msgspec.json.schema(parameter.kind) for parameter in tool.parameters},
        "required": required,
    }
    said = (tool.function.__doc__ or tool.name).strip().splitlines()[0]
    return Function(tool.name, said, schema)
