"""ScienceWorld, the original simulator (Java), with light steps and random numbers that repeat.

It needs the extra `[scienceworld]` and a Java runtime; both are looked for when an episode is first begun.
"""

from agentrm_tui.environments.scienceworld.environment import ScienceWorldEnvironment

__all__ = ["ScienceWorldEnvironment"]
