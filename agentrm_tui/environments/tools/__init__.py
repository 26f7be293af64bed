"""Shared machinery of the tool environments: calls with JSON arguments, local servers, subgoals and call lists."""

from agentrm_tui.environments.tools.environment import ToolEnvironment
from agentrm_tui.environments.tools.server import Draft, Fact, Plan, Result, ToolServer
from agentrm_tui.environments.tools.signatures import RefusedError, Tool, tool_table

__all__ = ["Draft", "Fact", "Plan", "RefusedError", "Result", "Tool", "ToolEnvironment", "ToolServer", "tool_table"]
