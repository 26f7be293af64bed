"""ToolQuery: weather, movie and academia tools with JSON arguments, over own seeded data."""

from agentrm_tui.environments.toolquery.environment import ToolQueryEnvironment

__all__ = ["ToolQueryEnvironment"]
