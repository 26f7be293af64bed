"""Household tasks with the texts, actions and six task types of ALFWorld (arXiv 2010.03768), in pure Python.

The homes, their contents and the tasks are this project's own; nothing is taken from ALFRED's or ALFWorld's games.
"""

from agentrm_tui.environments.household.environment import HouseholdEnvironment

__all__ = ["HouseholdEnvironment"]
