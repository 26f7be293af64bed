"""Colossal Cave through the `adventure` package: the original game, with own subgoals, snapshots and an expert."""

from agentrm_tui.environments.adventure.environment import AdventureEnvironment

__all__ = ["AdventureEnvironment"]
