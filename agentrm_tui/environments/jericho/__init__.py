"""Z-machine games: TextWorld's generated ones as `jericho`, and a person's own story files as `jericho:PATH`.

Both need the extra `[interactive-fiction]` (textworld and jericho), which is imported when a game is first played.
"""

from agentrm_tui.environments.jericho.generated import JerichoEnvironment
from agentrm_tui.environments.jericho.story import StoryEnvironment

__all__ = ["JerichoEnvironment", "StoryEnvironment"]
