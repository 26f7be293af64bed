"""Classic planning domains (barman, blockworld, gripper, tyreworld) as text, on an own typed STRIPS engine."""

from agentrm_tui.environments.pddl.environment import PDDLEnvironment

__all__ = ["PDDLEnvironment"]
