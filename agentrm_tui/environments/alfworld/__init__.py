"""ALFWorld on its original engine (TextWorld and Fast Downward), with own homes and a person's own games.

It needs the extra `[alfworld]`, which is looked for when an episode is first begun; the engine has its own process.
"""

from agentrm_tui.environments.alfworld.environment import ALFWorldEnvironment

__all__ = ["ALFWorldEnvironment"]
