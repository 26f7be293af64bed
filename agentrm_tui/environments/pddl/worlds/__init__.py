"""The four classic domains: one module and one `.pddl` file each."""

from __future__ import annotations

from agentrm_tui.environments.pddl.world import World
from agentrm_tui.environments.pddl.worlds.barman import Barman
from agentrm_tui.environments.pddl.worlds.blockworld import Blockworld
from agentrm_tui.environments.pddl.worlds.gripper import Gripper
from agentrm_tui.environments.pddl.worlds.tyreworld import Tyreworld

WORLDS: tuple[World, ...] = (Barman(), Blockworld(), Gripper(), Tyreworld())
"""All worlds, by name. They hold rules and words only, no episode."""
