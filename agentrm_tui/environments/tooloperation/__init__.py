"""ToolOperation: to-do and sheet tools with JSON arguments, over own seeded data."""

from agentrm_tui.environments.tooloperation.environment import ToolOperationEnvironment

__all__ = ["ToolOperationEnvironment"]
